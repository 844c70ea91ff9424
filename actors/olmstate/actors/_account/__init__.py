"""The device's own account."""

from __future__ import annotations

from olmstate.actors._engine.capability import Capability
from olmstate.actors._requests.points import ANSWERS, UPKEEP, Answer, Upkeep
from olmstate.messages import (
    CreateAccount,
    IdentityKeys,
    MarkKeysPublished,
    OneTimeKeysLow,
    PrepareAccount,
    PrepareOneTimeKeys,
    PublishAccount,
    RequestKind,
    SignedDeviceKeys,
    SyncToken,
)

from .actor import AccountActor, AreKeysDue, IsPublished
from .operations import create_account, mark_keys_published, prepare_account, prepare_one_time_keys
from .procedures import publish_account
from .upkeep import make_upload, take_upload_answer, uploads_due

CAPABILITY = Capability(
    actor=AccountActor,
    commands=(
        CreateAccount.by(create_account),
        MarkKeysPublished.by(mark_keys_published),
        PrepareAccount.by(prepare_account),
        PrepareOneTimeKeys.by(prepare_one_time_keys),
    ),
    queries=(
        AreKeysDue.answered_by(AccountActor),
        IdentityKeys.answered_by(AccountActor),
        IsPublished.answered_by(AccountActor),
        SignedDeviceKeys.answered_by(AccountActor),
        SyncToken.answered_by(AccountActor),
    ),
    procedures=(PublishAccount.by(publish_account),),
    events=(OneTimeKeysLow,),
    additions=(
        ANSWERS.add(Answer(kind=RequestKind.KEYS_UPLOAD, take=take_upload_answer)),
        UPKEEP.add(Upkeep(due=uploads_due, make=make_upload)),
    ),
)
