"""The measured device: a supervisor on a fresh store, ready for a job."""

from __future__ import annotations

import os
from collections.abc import AsyncGenerator, Sequence
from contextlib import asynccontextmanager
from pathlib import Path

from olmstate.actors import Options, Supervisor, open_supervisor
from olmstate.messages import (
    CreateAccount,
    DecryptRoomEvents,
    EncryptRoomEvent,
    IdentityKeys,
    ImportRoomKeys,
    JsonObject,
    MarkKeysPublished,
    MarkRoomKeyShared,
    NoAccount,
    PrepareOneTimeKeys,
    PrepareRoomKey,
    RoomId,
    RotationPeriod,
)
from tests.peer.device import PeerDevice
from tests.peer.room_session import RoomSession

USER, DEVICE = "@bench:example.org", "BENCH"
KEY = os.urandom(32)
ROOM = RoomId("!bench:example.org")
CONTENT: JsonObject = {"msgtype": "m.text", "body": "x" * 100}
MESSAGE = EncryptRoomEvent(room_id=ROOM, type="m.room.message", content=CONTENT)
NEVER = RotationPeriod(messages=2**31)


@asynccontextmanager
async def device(
    folder: Path, *, options: Options | None = None, key: bytes | None = KEY
) -> AsyncGenerator[Supervisor]:
    """A device with an account; a second one on the same folder is another handle on the same store."""
    async with open_supervisor(folder, user_id=USER, device_id=DEVICE, key=key, options=options) as supervisor:
        try:
            await supervisor.ask(IdentityKeys())
        except NoAccount:
            await supervisor.ask(CreateAccount())
        yield supervisor


async def share(supervisor: Supervisor) -> None:
    """Make the room's outbound session ready for `MESSAGE`, for good."""
    made = await supervisor.ask(PrepareRoomKey(room_id=ROOM, rotation=NEVER))
    await supervisor.ask(MarkRoomKeyShared(room_id=ROOM, session_id=made.session_id, devices=()))


async def encrypted_events(supervisor: Supervisor, count: int) -> list[JsonObject]:
    """Room events on the room's session."""
    return [
        {
            "type": "m.room.encrypted",
            "event_id": f"$event{number}",
            "sender": USER,
            "content": (await supervisor.ask(MESSAGE)).content,
        }
        for number in range(count)
    ]


def exported_sessions(count: int, *, events: int | None = None) -> tuple[list[JsonObject], list[JsonObject]]:
    """So many room keys as an export has them, and an event on each, or on the first ``events`` of them."""
    sender = PeerDevice(USER)
    sessions = [RoomSession(sender, ROOM) for _ in range(count)]
    encrypted = [session.send(event_id=f"$session{number}") for number, session in enumerate(sessions[:events])]
    return [session.export() for session in sessions], encrypted


async def hold_sessions(supervisor: Supervisor, count: int) -> list[JsonObject]:
    """Store so many inbound sessions and have them all cached; an event on each."""
    keys, events = exported_sessions(count)
    await supervisor.ask(ImportRoomKeys(keys=tuple(keys)))
    await decrypt_all(supervisor, events)
    return events


async def decrypt_all(supervisor: Supervisor, events: Sequence[JsonObject]) -> None:
    """Decrypt events in batches; an error is an error of the benchmark."""
    for start in range(0, len(events), 500):
        chunk = tuple((ROOM, event) for event in events[start : start + 500])
        for decrypted in await supervisor.ask(DecryptRoomEvents(events=chunk)):
            if isinstance(decrypted, Exception):
                raise decrypted


async def published_keys(supervisor: Supervisor, count: int) -> list[str]:
    """So many one-time keys, as others claim them."""
    keys: list[str] = []
    while len(keys) < count:
        made = await supervisor.ask(PrepareOneTimeKeys())
        await supervisor.ask(MarkKeysPublished(key_ids=made.key_ids, one_time_key_counts={"signed_curve25519": 0}))
        keys.extend(key["key"] for key in made.one_time_keys.values())
    return keys[:count]
