"""olmstate as a device: the one place in these tests where a client is built on it.

Owns: `OlmstateDevice`, a supervisor with a session as its transport.
Rule: a test asks `device` for what the library promises, and this class for what a client does.
"""

from __future__ import annotations

import time
from collections.abc import AsyncGenerator, Sequence
from contextlib import asynccontextmanager
from pathlib import Path

import attrs
import trio

import olmstate.messages as m
from olmstate.actors import Options, Supervisor, open_supervisor
from tests.interop.device import Ears, Heard, text
from tests.operations.transport import transport_of
from tests.peer.session import Session, encrypted_events

KEY = bytes(range(32))
LETTER = "org.example.letter"
"""A type of to-device event that is the app's."""


@attrs.define(eq=False, kw_only=True)
class OlmstateDevice:
    """One olmstate device on a homeserver, real or in memory."""

    session: Session
    device: Supervisor = attrs.field(init=False)
    rotation: m.RotationPeriod | None = None
    """None: as the room says."""
    ears: Ears = attrs.field(factory=Ears)
    taken: list[m.ToDeviceOutcome] = attrs.field(factory=list[m.ToDeviceOutcome])
    """What became of the to-device events of all syncs."""
    events: dict[m.EventId, tuple[m.RoomId, m.JsonObject]] = attrs.field(
        factory=dict[m.EventId, tuple[m.RoomId, m.JsonObject]]
    )
    """All encrypted ones that came."""
    waiting: dict[m.EventId, tuple[m.RoomId, m.JsonObject]] = attrs.field(
        factory=dict[m.EventId, tuple[m.RoomId, m.JsonObject]]
    )
    """Those that could not be read yet."""
    later: int = 0
    """Milliseconds that its clock is ahead."""

    def wall_clock(self) -> int:
        """In milliseconds since 1970."""
        return round(time.time() * 1000) + self.later

    async def upload_keys(self) -> None:
        """Wait until the server has what it lacks: that is uploaded in the background."""
        while any(  # noqa: ASYNC110 - nothing tells when it is done
            each.kind is m.RequestKind.KEYS_UPLOAD for each in await self.device.ask(m.OutgoingRequests())
        ):
            await trio.sleep(0.02)

    async def sync(self) -> None:
        """Take in a sync's answer, and read the rooms."""
        since = await self.device.ask(m.SyncToken())
        answer = await self.session.sync(since)
        received = await self.device.ask(m.ReceiveSync(sync=answer, since=since))
        self.taken.extend(received.to_device)
        await self.upload_keys()
        for room_id, event in encrypted_events(answer):
            self.waiting[event["event_id"]] = self.events[event["event_id"]] = room_id, event
        waiting = tuple(self.waiting.items())
        outcomes = await self.device.ask(m.DecryptRoomEvents(events=tuple(event for _, event in waiting)))
        for (event_id, (room_id, event)), read in zip(waiting, outcomes, strict=True):
            if isinstance(read, m.DecryptedRoomEvent):
                del self.waiting[event_id]
                heard = Heard(
                    room_id=room_id,
                    sender=event["sender"],
                    type=read.type,
                    content=read.content,
                    session_id=read.session_id,
                )
                self.ears.hear(event_id, heard)
            else:
                self.ears.unread[event_id] = type(read).__name__

    async def look(self, room_id: m.RoomId, event_id: m.EventId) -> Heard:
        """Read one event as a push helper does: without the sync's token, and without what it brings to the rooms.

        Raises:
            DecryptionError: It can't be read.
        """
        event = await self.session.event(room_id, event_id)
        since = await self.device.ask(m.SyncToken())
        while True:
            try:
                read = await self.device.ask(m.DecryptRoomEvent(room_id=room_id, event=event))
            except m.DecryptionError:
                answer = await self.session.sync(since, only_to_device=True)
                if not answer.get("to_device", {}).get("events"):
                    raise
                events = tuple(answer["to_device"]["events"])
                taken = await self.device.ask(m.DecryptToDevice(events=events))
                self.taken += taken
                since = answer["next_batch"]
            else:
                return Heard(
                    room_id=room_id,
                    sender=event["sender"],
                    type=read.type,
                    content=read.content,
                    session_id=read.session_id,
                )

    @property
    def trouble(self) -> list[str]:
        """Why to-device events could not be decrypted."""
        return [str(each.error) for each in self.taken if isinstance(each, m.UndecryptableToDevice)]

    async def letters(self) -> dict[int, int]:
        """Numbers of the letters in the inbox, and their places there."""
        page = await self.device.ask(m.Inbox(types=(LETTER,)))
        return {
            each.event.content["number"]: each.number
            for each in page.events
            if isinstance(each.event, m.DecryptedToDevice)
        }

    async def send(self, room_id: m.RoomId, body: str, also: Sequence[m.UserId] = ()) -> m.EventId:
        """Send a text that everybody's devices in the room, and those of others, can read."""
        encrypted = await self.device.ask(
            m.EncryptForRoom(
                room_id=room_id,
                members=(*await self.session.members(room_id), *also),
                type="m.room.message",
                content=text(body),
                rotation=self.rotation,
            )
        )
        return await self.session.send(room_id, "m.room.encrypted", encrypted.content)

    async def rotate(self, room_id: m.RoomId) -> None:
        """Use a new session from now on."""
        await self.device.ask(m.DiscardRoomKey(room_id=room_id))


@asynccontextmanager
async def open_olmstate_device(
    session: Session, store: Path, *, helper: bool = False
) -> AsyncGenerator[OlmstateDevice]:
    """Open a store, or make it, with the device's keys uploaded; a helper finds all of that."""
    device = OlmstateDevice(session=session)
    async with open_supervisor(
        store,
        user_id=session.user_id,
        device_id=session.device_id,
        key=KEY,
        transport=transport_of(session),
        options=Options(wall_clock=device.wall_clock),
    ) as device.device:
        if not helper:
            await device.device.ask(m.PublishAccount())
            await device.sync()
        yield device
