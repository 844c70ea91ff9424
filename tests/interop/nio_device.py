"""matrix-nio as a device: a client of its own in a process of its own, on the homeserver that its session names."""

from __future__ import annotations

from pathlib import Path

import attrs

from olmstate.messages import EventId, Json, RoomId
from tests.interop.device import Ears, Heard, text
from tests.interop.homeserver import HttpSession
from tests.interop.program import Program


@attrs.define(eq=False, kw_only=True)
class NioDevice:
    """One `AsyncClient`."""

    session: HttpSession
    store: Path
    ears: Ears = attrs.field(factory=Ears)
    _program: Program = attrs.field(alias="program")

    async def ask(self, command: str, **arguments: object) -> Json:
        """Any command of `nio_program.py`, for this device."""
        return await self._program.ask(command, m=self._name, **arguments)

    @property
    def _name(self) -> str:
        return f"{self.session.user_id} {self.session.device_id}"

    async def open(self) -> None:
        """Start, or start again, from what its store has."""
        session = self.session
        await self.ask(
            "open",
            url=session.url,
            user_id=session.user_id,
            device_id=session.device_id,
            token=session.token,
            store=str(self.store),
        )

    async def close(self) -> None:
        """Stop; `open` goes on."""
        await self.ask("close")

    async def sync(self) -> None:
        """Take in what is new."""
        taken = await self.ask("sync")
        self.ears.unread.clear()
        self.ears.unread.update(taken["unread"])
        for message in taken["messages"]:
            self.ears.hear(EventId(message.pop("event_id")), Heard(**message))

    async def send(self, room_id: RoomId, body: str) -> EventId:
        """Send a text that everybody's devices in the room can read."""
        return EventId(await self.ask("send", room_id=room_id, type="m.room.message", content=text(body)))

    async def rotate(self, room_id: RoomId) -> None:
        """Use a new session from now on."""
        await self.ask("rotate", room_id=room_id)


async def nio_device(program: Program, session: HttpSession, store: Path) -> NioDevice:
    """A new device, with its keys uploaded."""
    device = NioDevice(session=session, store=store, program=program)
    await device.open()
    await device.sync()
    return device
