"""To-device events: one of any shape, in the midst of good ones."""

from __future__ import annotations

import zlib
from collections.abc import Iterable

from olmstate.actors._to_device.receiving import _open  # pyright: ignore[reportPrivateUsage]
from olmstate.actors._wire.olm_message import OlmMessage
from olmstate.messages import DecryptedToDevice, DecryptToDevice, Inbox, Json, PlainToDevice, ReceiveSync
from tests.faults.fuzz.device import RECEIVED, Device, lived, on_device, recording
from tests.faults.fuzz.target import Target, dump, parse
from tests.peer.encoding import b64, unb64

TOLD = "TOLD BEFORE"
"""Stands for the pre-key message that was decrypted before, and is another in every process: ``{TOLD: [3, 128]}`` is
the message with bit 7 of byte 3 flipped."""


def _seeds() -> Iterable[bytes]:
    for sync in recording().syncs[RECEIVED - 4 : RECEIVED + 8]:
        for event in sync.get("to_device", {}).get("events", ())[:8]:
            yield dump(event)
    yield dump({"type": "org.example.letter", "sender": "@bob:rec.test", "content": {"text": "é"}})
    first = lived().first_pre_key
    content = first["content"]
    own = lived().identity.curve25519
    yield dump({**first, "content": {**content, "ciphertext": {own: {"type": 0, "body": {TOLD: []}}}}})


def _run(data: bytes) -> None:
    own = lived().identity
    event, told = _told_before(parse(data))
    opened = _open(event, own)
    if not isinstance(opened, OlmMessage) and zlib.crc32(data) % 16:
        return  # it goes no further, and the way there is long

    async def decrypt(device: Device) -> None:
        (before,) = await device.supervisor.ask(DecryptToDevice(events=(event,)))
        # whatever is changed on bob's message, or around it: it was decrypted, and must not be again
        assert not (told and isinstance(before, DecryptedToDevice)), "a replay was decrypted"
        again = await device.supervisor.ask(ReceiveSync(sync={"next_batch": "n", "to_device": {"events": [event] * 2}}))
        assert not any(isinstance(outcome, DecryptedToDevice) for outcome in again.to_device), "a replay was decrypted"
        if isinstance(before, PlainToDevice) and not str(event["type"]).startswith("m.") and len(event["type"]) < 64:
            kept = [each.event for each in (await device.supervisor.ask(Inbox())).events]
            assert [before] * 3 == kept[-3:], "an event for the app is not in the inbox as it came"

    on_device(decrypt)


def _told_before(event: Json) -> tuple[Json, bool]:
    """The event with the message in the place of `TOLD`, and whether there was such a place."""
    own = lived().identity.curve25519
    try:
        ciphertext = event["content"]["ciphertext"][own]
        changes = ciphertext["body"][TOLD]
        body = bytearray(unb64(lived().first_pre_key["content"]["ciphertext"][own]["body"]))
        for at, flip in zip(changes[::2], changes[1::2], strict=True):
            body[at] ^= flip
    except (AttributeError, IndexError, LookupError, TypeError, ValueError):
        return event, False
    ciphertext["body"] = b64(bytes(body))
    return event, True


TARGET = Target(seeds=_seeds, run=_run)
