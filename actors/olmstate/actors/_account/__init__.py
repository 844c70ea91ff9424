"""The device's own account."""

from __future__ import annotations

from olmstate.actors._engine.capability import Capability
from olmstate.messages import (
    CreateAccount,
    IdentityKeys,
    MarkKeysPublished,
    PrepareAccount,
    PrepareOneTimeKeys,
    SignedDeviceKeys,
    SyncToken,
)

from .actor import AccountActor
from .operations import create_account, mark_keys_published, prepare_account, prepare_one_time_keys

CAPABILITY = Capability(
    actor=AccountActor,
    commands=(
        CreateAccount.by(create_account),
        MarkKeysPublished.by(mark_keys_published),
        PrepareAccount.by(prepare_account),
        PrepareOneTimeKeys.by(prepare_one_time_keys),
    ),
    queries=(
        IdentityKeys.answered_by(AccountActor),
        SignedDeviceKeys.answered_by(AccountActor),
        SyncToken.answered_by(AccountActor),
    ),
)
