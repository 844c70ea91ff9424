"""Users and their devices of all three kinds, and the rooms that they meet in.

Owns: the devices of a test, which are closed when it ends.
Rule: every user is new. Nobody syncs by themselves: what comes when is the test's to say.
"""

from __future__ import annotations

from collections.abc import AsyncGenerator, Sequence
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Literal, TypeAlias

import attrs
import trio

from olmstate.messages import EventId, JsonObject, RoomId, UserId
from tests.interop.device import Device
from tests.interop.homeserver import Homeserver, HttpSession
from tests.interop.nio_device import NioDevice, nio_device
from tests.interop.olmstate_device import OlmstateDevice, open_olmstate_device
from tests.interop.program import Program
from tests.interop.rust_device import RustDevice, rust_device

Kind: TypeAlias = Literal["olmstate", "rust", "nio"]


@attrs.define(eq=False, kw_only=True)
class People:
    """Makes users, devices and rooms."""

    homeserver: Homeserver
    folder: Path
    _rust: Program = attrs.field(alias="rust")
    _nio: Program = attrs.field(alias="nio")
    _nursery: trio.Nursery = attrs.field(alias="nursery")
    _over: trio.Event = attrs.field(factory=trio.Event)

    async def olmstate(self, session: HttpSession | None = None) -> OlmstateDevice:
        """A device with an olmstate store; of a new user, if no session is given."""
        session = session or await self.homeserver.register("olmstate")
        store = self.folder / f"olmstate-{session.device_id}"
        device: OlmstateDevice = await self._nursery.start(self._keep_open, session, store)
        return device

    async def _keep_open(self, session: HttpSession, store: Path, task_status: trio.TaskStatus[OlmstateDevice]) -> None:
        async with open_olmstate_device(session, store) as device:
            task_status.started(device)
            await self._over.wait()

    async def rust(self, session: HttpSession | None = None) -> RustDevice:
        """An OlmMachine; of a new user, if no session is given."""
        return await rust_device(self._rust, session or await self.homeserver.register("rust"))

    async def nio(self, session: HttpSession | None = None) -> NioDevice:
        """A matrix-nio client; of a new user, if no session is given."""
        session = session or await self.homeserver.register("nio")
        return await nio_device(self._nio, session, self.folder / f"nio-{session.device_id}")

    async def device(self, kind: Kind, user_id: UserId | None = None) -> Device:
        """A device of that kind; of a new user, or another one of that user."""
        session = None if user_id is None else await self.homeserver.log_in(user_id)
        match kind:
            case "olmstate":
                return await self.olmstate(session)
            case "rust":
                return await self.rust(session)
            case "nio":
                return await self.nio(session)

    async def one_of_each(self) -> list[Device]:
        """An olmstate device, an OlmMachine and a matrix-nio client, of three new users."""
        return [await self.olmstate(), await self.rust(), await self.nio()]

    @classmethod
    @asynccontextmanager
    async def on(cls, homeserver: Homeserver, rust: Program, nio: Program, folder: Path) -> AsyncGenerator[People]:
        """Until the block is left."""
        async with trio.open_nursery() as nursery:
            people = cls(homeserver=homeserver, folder=folder, rust=rust, nio=nio, nursery=nursery)
            yield people
            people._over.set()


async def meet(devices: Sequence[Device], *, encryption: JsonObject | None = None) -> RoomId:
    """A room with the users of all these devices in it; the first one's has made it. All devices know it."""
    sessions = {device.session.user_id: device.session for device in devices}
    host, *guests = sessions.values()
    room_id = await host.create_room(invite=[guest.user_id for guest in guests], encryption=encryption)
    for guest in guests:
        await guest.join(room_id)
    await sync_all(devices)
    return room_id


async def sync_all(devices: Sequence[Device]) -> None:
    """Each syncs twice: what one uploads or asks for at the first, the others see at the second."""
    for _ in range(2):
        for device in devices:
            await device.sync()


async def all_say(devices: Sequence[Device], room_id: RoomId, what: str = "hello") -> dict[EventId, str]:
    """Each sends a message, one after another. What everybody has to have read then."""
    said: dict[EventId, str] = {}
    for number, device in enumerate(devices):
        body = f"{what} from {type(device).__name__} {number}"
        said[await device.send(room_id, body)] = body
    return said


def what_they_read(devices: Sequence[Device], said: dict[EventId, str]) -> list[dict[EventId, str]]:
    """Of what was said, what each has read."""
    return [{event_id: body for event_id, body in d.ears.bodies.items() if event_id in said} for d in devices]
