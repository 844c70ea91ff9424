"""Secret storage: secrets in account data, encrypted with a key that the user keeps."""

from __future__ import annotations

from olmstate.actors._engine.capability import Capability
from olmstate.messages import (
    CreateSecretStorage,
    DescribeSecretStorage,
    OpenSecretStorage,
    ReadSecret,
    RemoveSecretStorageKey,
    SetBackupWanted,
    SetDefaultSecretStorageKey,
    WriteSecret,
)

from .operations import (
    ForgetKey,
    StoreNewKey,
    StoreSecret,
    WriteOne,
    forget_key,
    store_new_key,
    store_secret,
    write_one,
)
from .procedures import (
    create_secret_storage,
    describe_secret_storage,
    open_secret_storage,
    read_secret,
    remove_secret_storage_key,
    set_backup_wanted,
    set_default_secret_storage_key,
    write_secret,
)

CAPABILITY = Capability(
    commands=(
        ForgetKey.by(forget_key),
        StoreNewKey.by(store_new_key),
        StoreSecret.by(store_secret),
        WriteOne.by(write_one),
    ),
    procedures=(
        CreateSecretStorage.by(create_secret_storage),
        DescribeSecretStorage.by(describe_secret_storage),
        OpenSecretStorage.by(open_secret_storage),
        ReadSecret.by(read_secret),
        RemoveSecretStorageKey.by(remove_secret_storage_key),
        SetBackupWanted.by(set_backup_wanted),
        SetDefaultSecretStorageKey.by(set_default_secret_storage_key),
        WriteSecret.by(write_secret),
    ),
)
