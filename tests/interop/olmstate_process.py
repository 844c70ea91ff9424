"""olmstate as a device in a process of its own, which may be killed at any time and started again on the same store."""

from __future__ import annotations

import sys
from collections.abc import AsyncGenerator, Sequence
from contextlib import asynccontextmanager
from pathlib import Path

import attrs

from olmstate.messages import EventId, RoomId, UserId
from tests.interop.device import Ears, Heard
from tests.interop.homeserver import HttpSession
from tests.interop.program import Process, Program, running_program
from tests.peer.session import Session

PROGRAM = (sys.executable, "-m", "tests.interop.olmstate_program")


@attrs.define(eq=False, kw_only=True)
class OlmstateProcess:
    """One life of it."""

    session: HttpSession
    ears: Ears = attrs.field(factory=Ears)
    trouble: list[str] = attrs.field(factory=list[str])
    """Why to-device events could not be decrypted in this life."""
    _program: Program = attrs.field(alias="program")
    _process: Process = attrs.field(alias="process")

    async def sync(self) -> None:
        """Take in what is new."""
        taken = await self._program.ask("sync")
        self.ears.unread.clear()
        self.ears.unread.update(taken["unread"])
        for event_id, heard in taken["heard"].items():
            self.ears.hear(event_id, Heard(**heard))
        self.trouble = taken["trouble"]

    async def look(self, room_id: RoomId, event_id: EventId) -> None:
        """Read one event as a push helper does."""
        read = await self._program.ask("look", room_id=room_id, event_id=event_id)
        self.trouble = read.pop("trouble")
        self.ears.hear(event_id, Heard(**read))

    async def post(self, to: Session, number: int) -> bool:
        """Send a device a letter; whether it was delivered at once."""
        delivered: bool = await self._program.ask("post", user_id=to.user_id, device_id=to.device_id, number=number)
        return delivered

    async def letters(self) -> dict[int, int]:
        """Numbers of the letters in the inbox, and their places there."""
        return dict(await self._program.ask("letters"))

    async def acknowledge(self, *numbers: int) -> None:
        """They are dealt with."""
        await self._program.ask("acknowledge", numbers=numbers)

    async def send(self, room_id: RoomId, body: str, also: Sequence[UserId] = ()) -> EventId:
        """Send a text that everybody's devices in the room, and those of others, can read."""
        return EventId(await self._program.ask("send", room_id=room_id, body=body, also=also))

    async def rotate(self, room_id: RoomId) -> None:
        """Use a new session from now on."""
        await self._program.ask("rotate", room_id=room_id)

    def kill(self) -> None:
        """SIGKILL."""
        self._process.kill()


@asynccontextmanager
async def open_olmstate_process(
    session: HttpSession, store: Path, *, helper: bool = False
) -> AsyncGenerator[OlmstateProcess]:
    """Run a process on a store, which it makes if there is none, until the block is left or it is killed."""
    with running_program("olmstate", PROGRAM) as process:
        async with process.used() as program:
            await program.ask(
                "open",
                url=session.url,
                user_id=session.user_id,
                device_id=session.device_id,
                token=session.token,
                store=str(store),
                helper=helper,
            )
            yield OlmstateProcess(session=session, program=program, process=process)
