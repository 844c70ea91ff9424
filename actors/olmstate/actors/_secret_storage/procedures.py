"""Opening secret storage, and what is done with it once it is open.

A key is worked out from a passphrase in a thread of the asker's, while nobody waits for a lock.
"""

from __future__ import annotations

import secrets
from collections.abc import Iterable
from functools import partial

from olmstate.actors._account_data.procedures import account_data
from olmstate.actors._engine.capability import BesideTurns
from olmstate.actors._identities.actor import CommittedIdentity
from olmstate.actors._identities.identity import Usage
from olmstate.actors._identities.signing import Seeds, seed_from_base64
from olmstate.actors._requests.courier import Courier
from olmstate.actors._secrets.actor import BACKUP_KEY, CommittedPrivateKeys
from olmstate.actors._secrets.private_keys import usable
from olmstate.actors._secrets.procedures import learn_own_identity
from olmstate.actors._wire import base64
from olmstate.actors._wire.quiet_struct import QuietStruct
from olmstate.messages import (
    BootstrapCrossSigning,
    CreateSecretStorage,
    CrossSigningStatus,
    DescribeSecretStorage,
    IdentityKeys,
    JsonObject,
    MalformedMessage,
    MalformedRecoveryKey,
    MalformedSecret,
    NoSecretStorage,
    NoSuchSecret,
    NoTransport,
    OpenSecretStorage,
    ReadSecret,
    Recovered,
    RecoverFromSecretStorage,
    RemoveSecretStorageKey,
    RequestDelayed,
    RequestId,
    RequestKind,
    SecretStorageCreated,
    SecretStorageExists,
    SecretStorageInfo,
    SecretStorageKey,
    SecretStorageKeyInfo,
    SetBackupWanted,
    SetDefaultSecretStorageKey,
    UnsupportedSecretStorage,
    WriteSecret,
    WrongSecretStorageKey,
)
from olmstate.storage import in_thread

from .operations import NAMES, ForgetKey, StoreNewKey, StoreSecret, TakeRecovered, WriteOne, with_names
from .recovery_key import read_recovery_key, recovery_key
from .ssss import (
    DEFAULT_ITERATIONS,
    DEFAULT_KEY,
    IV_BYTES,
    KEY_BACKUP,
    KEY_BYTES,
    KeyDescription,
    Passphrase,
    backup_wanted,
    backup_wanted_content,
    decrypt_secret,
    default_key_content,
    default_key_id,
    describe_key,
    is_right_key,
    key_from_passphrase,
    key_ids,
    key_type,
    read_key_description,
)

_ID_BYTES = 24
"""Of a key's id, and of a salt: 32 characters."""


class OpenKey(QuietStruct, kw_only=True, frozen=True):
    """A storage key that was checked."""

    key_id: str
    key: bytes
    is_right: bool = True
    """False: its description has nothing to check it by. With the right one, some secret can be read."""

    @property
    def told(self) -> SecretStorageKey:
        """As people are told of it."""
        return SecretStorageKey(key_id=self.key_id, recovery_key=recovery_key(self.key))


async def open_key(supervisor: BesideTurns, text: str, key_id: str | None, *, patience: float) -> OpenKey:
    """The storage key that a recovery key or a passphrase stands for, once it was checked.

    Raises:
        OlmStateError: As `OpenSecretStorage`.
    """
    if key_id is None:
        key_id = default_key_id((await account_data(supervisor, (DEFAULT_KEY,), patience=patience))[DEFAULT_KEY])
    if key_id is None:
        raise NoSecretStorage
    description = await _description(supervisor, key_id, patience=patience)
    key = await _key(text, description)
    if len(key) != KEY_BYTES:
        raise UnsupportedSecretStorage(reason=f"its key has {len(key)} bytes")
    if not is_right_key(key, description):
        raise WrongSecretStorageKey(key_id=key_id)
    return OpenKey(key_id=key_id, key=key, is_right=description.has_check)


async def _key(text: str, description: KeyDescription) -> bytes:
    try:
        return read_recovery_key(text)
    except MalformedRecoveryKey:
        if description.passphrase is None:
            raise
    return await in_thread(partial(key_from_passphrase, text, description.passphrase), abandon_on_cancel=True)


async def _description(supervisor: BesideTurns, key_id: str, *, patience: float) -> KeyDescription:
    described = key_type(key_id)
    content = (await account_data(supervisor, (described,), patience=patience))[described]
    if not content:
        raise NoSecretStorage
    return read_key_description(key_id, content)


async def read_with(
    supervisor: BesideTurns, opened: OpenKey, names: Iterable[str], *, patience: float
) -> dict[str, str]:
    """Those of some secrets that a key opens, by name.

    Raises:
        DamagedSecret, MalformedSecret: One that it should.
    """
    contents = await account_data(supervisor, tuple(names), patience=patience)
    return {
        name: decrypt_secret(opened.key, opened.key_id, name, content)
        for name, content in contents.items()
        if opened.key_id in key_ids(content)
    }


async def _deliver(supervisor: BesideTurns, request_ids: tuple[RequestId, ...], patience: float) -> None:
    await supervisor.services[Courier].deliver(RequestKind.ACCOUNT_DATA, request_ids, patience=patience)


# --- what is asked ------------------------------------------------------------------------------------------


async def open_secret_storage(supervisor: BesideTurns, procedure: OpenSecretStorage) -> SecretStorageKey:
    """Check a key."""
    return (await open_key(supervisor, procedure.key, procedure.key_id, patience=procedure.patience)).told


async def describe_secret_storage(supervisor: BesideTurns, procedure: DescribeSecretStorage) -> SecretStorageInfo:
    """First what names the keys, then their descriptions."""
    names = with_names(procedure.names)
    there = await account_data(supervisor, (DEFAULT_KEY, KEY_BACKUP, *names), patience=procedure.patience)
    default = default_key_id(there[DEFAULT_KEY])
    stored = {name: ids for name in names if (ids := key_ids(there[name]))}
    named = dict.fromkeys(
        (*(() if default is None else (default,)), *(each for ids in stored.values() for each in ids))
    )
    described = await account_data(supervisor, tuple(map(key_type, named)), patience=procedure.patience)
    keys = [_info(key_id, described[key_type(key_id)]) for key_id in named]
    return SecretStorageInfo(
        default_key_id=default,
        keys=tuple(key for key in keys if key is not None),
        secrets=stored,
        backup_wanted=backup_wanted(there[KEY_BACKUP]),
    )


def _info(key_id: str, content: JsonObject | None) -> SecretStorageKeyInfo | None:
    try:
        description = read_key_description(key_id, content)
    except (UnsupportedSecretStorage, MalformedSecret):
        return None
    return SecretStorageKeyInfo(key_id=key_id, name=description.name, has_passphrase=description.passphrase is not None)


async def create_secret_storage(supervisor: BesideTurns, procedure: CreateSecretStorage) -> SecretStorageCreated:
    """Collect the secrets, make a key, and write all of it."""
    await supervisor.ask(IdentityKeys())  # or there is no account
    patience, names = procedure.patience, with_names(procedure.names)
    there = await account_data(supervisor, (DEFAULT_KEY, *names), patience=patience)
    default = default_key_id(there[DEFAULT_KEY])
    known: dict[str, str] = {}
    if procedure.present_key is not None:
        opened = await open_key(supervisor, procedure.present_key, default, patience=patience)
        known = await read_with(supervisor, opened, names, patience=patience)
    elif default is not None and not procedure.replace:
        raise SecretStorageExists(key_id=default)
    here = await secrets_here(supervisor)
    key, how = await _new_key(procedure.passphrase)
    description = describe_key(
        key,
        secrets.token_urlsafe(_ID_BYTES),
        iv=secrets.token_bytes(IV_BYTES),
        name=procedure.name,
        passphrase=how,
    )
    request_ids = await supervisor.ask(
        StoreNewKey(
            key=key,
            description=description,
            secrets=known | here,
            known=frozenset(name for name, secret in known.items() if here.get(name, secret) == secret),
            instead_of=default,
        )
    )
    published = True
    try:
        await _deliver(supervisor, request_ids, patience)
    except (NoTransport, RequestDelayed):
        published = False
    return SecretStorageCreated(key=OpenKey(key_id=description.key_id, key=key).told, published=published)


async def secrets_here(supervisor: BesideTurns) -> dict[str, str]:
    """The secrets that this device has and that are right, by name."""
    own = (await supervisor.ask(IdentityKeys())).user_id
    keys, known = await supervisor.ask(CommittedPrivateKeys()), await supervisor.ask(CommittedIdentity(user_id=own))
    right = usable(keys, None if known is None else known.identity)
    return {name: base64.encode(secret) for name, secret in right.items()}


async def recover_from_secret_storage(supervisor: BesideTurns, procedure: RecoverFromSecretStorage) -> Recovered:
    """Open, read, compare, keep; then all is as if this device had made the keys, and it gets its signature."""
    patience = procedure.patience
    opened = await open_key(supervisor, procedure.key, procedure.key_id, patience=patience)
    found = await read_with(supervisor, opened, NAMES, patience=patience)
    seeds = {
        usage.value: seed_from_base64(found[usage.secret_name], usage) for usage in Usage if usage.secret_name in found
    }
    backup_key = _backup_key(found.get(BACKUP_KEY))
    await learn_own_identity(supervisor, patience)
    await supervisor.ask(TakeRecovered(seeds=Seeds(**seeds), backup_key=backup_key))
    await supervisor.ask(BootstrapCrossSigning(patience=patience))
    return Recovered(keys=await supervisor.ask(CrossSigningStatus()), backup_key=backup_key is not None)


def _backup_key(text: str | None) -> bytes | None:
    try:
        key = base64.decode((text or "").strip(), "the backup key")
    except MalformedMessage:
        return None
    return key if len(key) == KEY_BYTES else None


async def _new_key(passphrase: str | None) -> tuple[bytes, Passphrase | None]:
    if passphrase is None:
        return secrets.token_bytes(KEY_BYTES), None
    how = Passphrase(salt=secrets.token_urlsafe(_ID_BYTES), iterations=DEFAULT_ITERATIONS)
    return await in_thread(partial(key_from_passphrase, passphrase, how), abandon_on_cancel=True), how


async def read_secret(supervisor: BesideTurns, procedure: ReadSecret) -> str:
    """Open, and read one."""
    opened = await open_key(supervisor, procedure.key, procedure.key_id, patience=procedure.patience)
    found = await read_with(supervisor, opened, (procedure.name,), patience=procedure.patience)
    if procedure.name not in found:
        raise NoSuchSecret(name=procedure.name)
    return found[procedure.name]


async def write_secret(supervisor: BesideTurns, procedure: WriteSecret) -> None:
    """Open, learn what other keys have, and write one."""
    opened = await open_key(supervisor, procedure.key, procedure.key_id, patience=procedure.patience)
    if not opened.is_right:
        raise UnsupportedSecretStorage(reason="nothing in its description shows whether the key is right")
    await account_data(supervisor, (procedure.name,), patience=procedure.patience)
    request_ids = await supervisor.ask(
        StoreSecret(
            name=procedure.name,
            secret=procedure.secret,
            key_id=opened.key_id,
            key=opened.key,
            keep_others=procedure.keep_others,
        )
    )
    await _deliver(supervisor, request_ids, procedure.patience)


async def set_default_secret_storage_key(supervisor: BesideTurns, procedure: SetDefaultSecretStorageKey) -> None:
    """Make sure that it is described."""
    await _description(supervisor, procedure.key_id, patience=procedure.patience)
    there = await account_data(supervisor, (DEFAULT_KEY,), patience=procedure.patience)
    if default_key_id(there[DEFAULT_KEY]) != procedure.key_id:
        await _write(supervisor, DEFAULT_KEY, default_key_content(procedure.key_id), procedure.patience)


async def remove_secret_storage_key(supervisor: BesideTurns, procedure: RemoveSecretStorageKey) -> None:
    """Learn what is encrypted with it, and write all of that without it."""
    names = with_names(procedure.names)
    types = (DEFAULT_KEY, key_type(procedure.key_id), *names)
    await account_data(supervisor, types, patience=procedure.patience)
    request_ids = await supervisor.ask(ForgetKey(key_id=procedure.key_id, names=names))
    await _deliver(supervisor, request_ids, procedure.patience)


async def set_backup_wanted(supervisor: BesideTurns, procedure: SetBackupWanted) -> None:
    """Write it."""
    await _write(supervisor, KEY_BACKUP, backup_wanted_content(enabled=procedure.wanted), procedure.patience)


async def _write(supervisor: BesideTurns, data_type: str, content: JsonObject, patience: float) -> None:
    await _deliver(supervisor, await supervisor.ask(WriteOne(type=data_type, content=content)), patience)
