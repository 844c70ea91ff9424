"""Olm sessions, and to-device events both ways."""

from __future__ import annotations

from olmstate.actors._engine.capability import Capability
from olmstate.actors._requests.points import ANSWERS, REFUSALS, Answer, Refusal
from olmstate.messages import (
    CreateOlmSessions,
    DecryptToDevice,
    EncryptToDevice,
    ImportAccount,
    MissingSessions,
    RequestKind,
    SendToDevice,
)

from .actor import CommittedSessions, OlmSessionsActor
from .claims import claim_refused, halve_claim, missing_sessions, take_claim_answer
from .delivery import ClaimForDevices, PrepareToDevice, claim_for_devices, prepare_to_device, send_to_device
from .importing import import_account
from .sending import create_olm_sessions, encrypt_to_device
from .turns import DecryptSome, decrypt_some, decrypt_to_device

CAPABILITY = Capability(
    actor=OlmSessionsActor,
    commands=(
        ClaimForDevices.by(claim_for_devices),
        CreateOlmSessions.by(create_olm_sessions),
        DecryptSome.by(decrypt_some),
        EncryptToDevice.by(encrypt_to_device),
        ImportAccount.by(import_account),
        PrepareToDevice.by(prepare_to_device),
    ),
    queries=(CommittedSessions.answered_by(OlmSessionsActor),),
    procedures=(
        DecryptToDevice.by(decrypt_to_device),
        MissingSessions.by(missing_sessions),
        SendToDevice.by(send_to_device),
    ),
    additions=(
        ANSWERS.add(Answer(kind=RequestKind.KEYS_CLAIM, take=take_claim_answer)),
        REFUSALS.add(Refusal(kind=RequestKind.KEYS_CLAIM, take=claim_refused, halve=halve_claim, leaves_out=True)),
    ),
)
