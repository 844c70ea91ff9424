"""Olm sessions, and to-device events both ways."""

from __future__ import annotations

from olmstate.actors._engine.capability import Capability
from olmstate.actors._requests.points import ANSWERS, Answer
from olmstate.messages import (
    CreateOlmSessions,
    DecryptToDevice,
    EncryptToDevice,
    ImportAccount,
    MissingSessions,
    RequestKind,
)

from .actor import CommittedSessions, OlmSessionsActor
from .claims import missing_sessions, take_claim_answer
from .importing import import_account
from .sending import create_olm_sessions, encrypt_to_device
from .turns import DecryptSome, decrypt_some, decrypt_to_device

CAPABILITY = Capability(
    actor=OlmSessionsActor,
    commands=(
        CreateOlmSessions.by(create_olm_sessions),
        DecryptSome.by(decrypt_some),
        EncryptToDevice.by(encrypt_to_device),
        ImportAccount.by(import_account),
    ),
    queries=(CommittedSessions.answered_by(OlmSessionsActor),),
    procedures=(DecryptToDevice.by(decrypt_to_device), MissingSessions.by(missing_sessions)),
    additions=(ANSWERS.add(Answer(kind=RequestKind.KEYS_CLAIM, take=take_claim_answer)),),
)
