"""What an Olm message may say: any bytes, truly encrypted by a device that is known or not."""

from __future__ import annotations

import zlib
from collections.abc import Iterable

from vodozemac import Session

from olmstate.actors._devices.senders import KnownSender
from olmstate.actors._wire.payload import check_payload
from olmstate.actors._wire.signatures import check_device_keys
from olmstate.messages import (
    DecryptedToDevice,
    DecryptToDevice,
    Inbox,
    MalformedMessage,
    MismatchedRecipient,
    MismatchedSender,
    UndecryptableToDevice,
    UnknownSender,
    UserId,
)
from tests.faults.fuzz.device import ROOM, Device, lived, on_device
from tests.faults.fuzz.sealed import PICKLE_KEY
from tests.faults.fuzz.target import Target, dump

DOCUMENTED = MalformedMessage, MismatchedRecipient, MismatchedSender, UnknownSender


def _seeds() -> Iterable[bytes]:
    bob, own, group = lived().bob, lived().identity, lived().group
    for event_type, content in (
        ("m.room_key", bob.room_key(ROOM, group)),
        ("m.room_key.withheld", {"room_id": ROOM, "session_id": "a", "code": "m.unverified"}),
        ("m.forwarded_room_key", {**bob.room_key(ROOM, group), "sender_claimed_ed25519_key": bob.ed25519}),
        ("m.dummy", {}),
        ("org.example.letter", {"text": "é"}),
    ):
        yield dump(bob.payload(own, event_type, content))
        yield dump(bob.payload(own, event_type, content, sender_device_keys=bob.device_keys()))
    yield from (b"", b"{}", b"\xff", b"[" * 200)


def _run(data: bytes) -> None:
    bob, own = lived().bob, lived().identity
    known = check_device_keys(bob.user_id, bob.device_id, bob.device_keys())
    believed = False
    for sender in (bob.user_id, UserId("@\0é:rec.test")):
        for devices in ((), (known,)):
            try:
                payload = check_payload(
                    data, sender=sender, sender_key=bob.curve25519, own=own, known=KnownSender(devices)
                )
            except DOCUMENTED:
                continue
            assert payload.sender == sender
            believed = True
    if not believed and zlib.crc32(data) % 16:
        return
    event = bob.olm_event(own, data, Session.from_pickle(bob.sessions[-1].pickle(PICKLE_KEY), PICKLE_KEY))

    async def decrypt(device: Device) -> None:
        (outcome,) = await device.supervisor.ask(DecryptToDevice(events=(event,)))
        if isinstance(outcome, UndecryptableToDevice):
            assert isinstance(outcome.error, DOCUMENTED), outcome
        else:
            assert isinstance(outcome, DecryptedToDevice), outcome
            assert "session_key" not in outcome.content or outcome.type not in ("m.room_key", "m.forwarded_room_key")
            if not outcome.type.startswith("m.") and len(outcome.type) < 64:
                assert outcome == (await device.supervisor.ask(Inbox())).events[-1].event

    on_device(decrypt)


TARGET = Target(seeds=_seeds, run=_run)
