"""Wrong values in messages that reach a homeserver, or a verification: no bug, and nobody else is harmed.

As `tests.operations.test_wrong_types`, on a device that has a transport, an identity, secret storage, and a
verification that goes on, so that a value gets as far as it can.
"""

from __future__ import annotations

import contextlib
from typing import Any

import pytest
import trio
import trio.testing
from vodozemac import Account

from olmstate.actors import Supervisor
from olmstate.messages import (
    AcceptVerification,
    BootstrapCrossSigning,
    CancelRoomKeyRequests,
    ConfirmVerification,
    CreateSecretStorage,
    CrossSigningStatus,
    DescribeSecretStorage,
    EncryptForRoom,
    EncryptionInfoOf,
    EncryptionSettings,
    ExportCrossSigningKeys,
    ForgetParkedEvents,
    Identity,
    ImportCrossSigningKeys,
    InternalError,
    MarkVerificationMessageRefused,
    MarkVerificationMessageSent,
    Message,
    NoSecretStorage,
    OlmStateError,
    OpenSecretStorage,
    OutgoingRequests,
    ParkedEvents,
    ParkEvents,
    PinIdentity,
    PublishAccount,
    ReadSecret,
    ReceiveSync,
    ReceiveVerificationEvent,
    RecoverFromSecretStorage,
    RemoveSecretStorageKey,
    RequestRoomKeys,
    RequestVerification,
    ResetCrossSigning,
    RoomId,
    RoomSettings,
    RotationPeriod,
    ScanQrCode,
    SetBackupWanted,
    SetDefaultSecretStorageKey,
    SetDeviceTrust,
    SetRoomSettings,
    SharingStrategy,
    ShowQrCode,
    SignDevice,
    StartSas,
    SyncToken,
    TrackUsers,
    UpdateDevices,
    UserId,
    VerificationMethod,
    Verifications,
    VerifyUser,
    WithdrawVerification,
    WriteSecret,
)
from olmstate.messages import DeviceTrust as Trust
from tests.actors.world import World
from tests.operations.wrong_values import VALUES, spoiled

BOB = UserId("@bob:example.org")
ROOM = RoomId("!room:example.org")
PATIENCE = 2.0
"""Seconds, which pass at once."""


async def live(world: World, supervisor: Supervisor) -> dict[type[Message[Any]], dict[str, Any]]:
    """Have all that there is to have; the arguments that a program would give to each message then."""
    await world.log_in(BOB, "PHONE", one_time_keys=50, fallback=True)
    me = world.session.user_id
    own = await world.log_in(me, "SECOND", one_time_keys=50, fallback=True)
    waiting: dict[str, Any] = {"patience": PATIENCE}
    await supervisor.ask(PublishAccount(**waiting))
    await supervisor.ask(UpdateDevices(users=(BOB, me), **waiting))
    await supervisor.ask(BootstrapCrossSigning(**waiting))
    created = await supervisor.ask(CreateSecretStorage(**waiting))
    key, key_id = created.key.recovery_key, created.key.key_id
    content = {"body": ["hello", 1, None]}
    sent = await supervisor.ask(EncryptForRoom(room_id=ROOM, members=(BOB,), type="m.test", content=content, **waiting))
    flow = await supervisor.ask(RequestVerification(user_id=BOB))
    seeds = await supervisor.ask(ExportCrossSigningKeys())
    unread = {
        "type": "m.room.encrypted",
        "sender": BOB,
        "event_id": "$1",
        "content": {**sent.content, "session_id": "x"},
    }
    request: dict[str, Any] = {"msgtype": "m.key.verification.request", "methods": ["m.sas.v1"], "to": me, "body": "?"}
    asked: dict[str, Any] = {
        "type": "m.room.message",
        "sender": BOB,
        "event_id": "$2",
        "origin_server_ts": round(trio.current_time() * 1000),
        "content": {**request, "from_device": "PHONE"},
    }
    to_device: dict[str, Any] = {
        "type": "m.key.verification.request",
        "sender": BOB,
        "content": {"from_device": "PHONE", "methods": ["m.sas.v1"], "transaction_id": "t", "timestamp": 0},
    }
    its: dict[str, Any] = {"user_id": BOB, "flow_id": flow.flow_id}
    secret: dict[str, Any] = {"key": key, "key_id": key_id, **waiting}
    auth = {"type": "m.login.password", "session": "x", "identifier": {"type": "m.id.user", "user": me}}
    settings = EncryptionSettings(algorithm="m.megolm.v1.aes-sha2", rotation=RotationPeriod(), shared_history=False)
    return {
        AcceptVerification: {**its, "methods": (VerificationMethod.SAS,)},
        CancelRoomKeyRequests: {"sessions": ((ROOM, sent.session_id),)},
        ConfirmVerification: its,
        CreateSecretStorage: {"present_key": key, "replace": True, "names": ("m.cross_signing.master",), **waiting},
        DescribeSecretStorage: {"names": ("m.cross_signing.master",), **waiting},
        EncryptForRoom: {
            "room_id": ROOM,
            "members": (BOB,),
            "type": "m.test",
            "content": content,
            "rotation": RotationPeriod(),
            "strategy": SharingStrategy.ALL_DEVICES,
            **waiting,
        },
        EncryptionInfoOf: {"room_id": ROOM, "session_id": sent.session_id, "sender": me},
        ForgetParkedEvents: {"events": ((ROOM, "$1"),)},
        Identity: {"user_id": BOB},
        ImportCrossSigningKeys: {"seeds": seeds},
        MarkVerificationMessageRefused: {"transaction_id": "t"},
        MarkVerificationMessageSent: {"transaction_id": "t", "event_id": "$3"},
        OpenSecretStorage: secret,
        ParkEvents: {"events": ((ROOM, unread), (ROOM, unread))},
        PinIdentity: {"user_id": BOB, "master_key": Account().ed25519_key.to_base64()},
        PublishAccount: waiting,
        ReadSecret: {"name": "m.cross_signing.master", **secret},
        ReceiveSync: {"sync": {"next_batch": "s1", "to_device": {"events": [to_device]}}, "since": None},
        ReceiveVerificationEvent: {"room_id": ROOM, "event": asked},
        RecoverFromSecretStorage: secret,
        RemoveSecretStorageKey: {"key_id": "another", "names": ("org.example",), **waiting},
        RequestRoomKeys: {"sessions": ((ROOM, "unknown"),)},
        RequestVerification: {"user_id": BOB, "devices": ("PHONE",), "methods": (VerificationMethod.SAS,)},
        RoomSettings: {"room_id": ROOM},
        ScanQrCode: {**its, "data": b"MATRIX\x02\x00\x00\x05" + b"x" * 80},
        SetBackupWanted: {"wanted": True, **waiting},
        SetDefaultSecretStorageKey: {"key_id": key_id, **waiting},
        SetDeviceTrust: {"user_id": BOB, "device_id": "PHONE", "trust": Trust.UNSET},
        SetRoomSettings: {"room_id": ROOM, "settings": settings},
        ShowQrCode: its,
        SignDevice: {"device_id": "SECOND", "ed25519": own.peer.ed25519, **waiting},
        StartSas: its,
        TrackUsers: {"users": (BOB,)},
        UpdateDevices: {"users": (BOB,), **waiting},
        VerifyUser: {"user_id": BOB, "master_key": Account().ed25519_key.to_base64(), **waiting},
        WithdrawVerification: {"user_id": BOB, "master_key": Account().ed25519_key.to_base64()},
        WriteSecret: {"name": "org.example", "secret": "s", "keep_others": True, **secret},
        BootstrapCrossSigning: {"auth": auth, **waiting},
        ResetCrossSigning: {"auth": auth, **waiting},
    }


@pytest.mark.parametrize("value", VALUES.values(), ids=VALUES)
async def test_no_value_is_a_bug_and_the_device_goes_on(value: object, autojump_clock: trio.testing.MockClock) -> None:
    # a negative patience, a secret with a lone surrogate, and what is no JSON in an event or an answer to a challenge
    # were InternalError, whose text asks to report a bug; in a sync, the whole of it was lost
    world = World()
    async with world.process(account=False) as supervisor:
        for cls, right in (await live(world, supervisor)).items():
            for field, argument in right.items():
                for wrong in spoiled(argument, value):
                    try:
                        message = cls(**{**right, field: wrong})
                    except (TypeError, ValueError):
                        continue
                    with trio.move_on_after(600):  # somebody may be very patient
                        await ask(supervisor, message)
        await supervisor.ask(SyncToken())
    async with world.process(account=False) as supervisor:  # all that is stored can be read
        await supervisor.ask(Verifications())
        await supervisor.ask(ParkedEvents())
        await supervisor.ask(CrossSigningStatus())
        await supervisor.ask(OutgoingRequests())
        with contextlib.suppress(NoSecretStorage):
            await supervisor.ask(DescribeSecretStorage(patience=PATIENCE))


async def ask(supervisor: Supervisor, message: Message[Any]) -> None:
    """What it is refused with must be an error that somebody meant."""
    try:
        await supervisor.ask(message)
    except InternalError:
        raise
    except OlmStateError:
        pass
