"""Olm sessions that one side can't use: they are repaired by themselves, and the room key that was lost comes."""

from __future__ import annotations

import attrs
import pytest
import trio

from olmstate.messages import JsonObject, OutgoingRequests, RequestKind
from tests.interop.device import Device
from tests.interop.homeserver import HttpSession
from tests.interop.nio_device import NioDevice
from tests.interop.olmstate_device import OlmstateDevice
from tests.interop.people import Kind, People, all_say, meet, sync_all, what_they_read
from tests.interop.rust_device import RustDevice
from tests.peer.session import Request

KINDS: tuple[Kind, ...] = ("olmstate", "rust", "nio")
TWO_HOURS = 7_200_000


@attrs.define
class Line:
    """A device's connection, on which Olm messages may be spoilt."""

    request: Request
    spoils: bool = False

    async def __call__(self, method: str, target: str, body: JsonObject | None) -> JsonObject:
        answer = await self.request(method, target, body)
        if self.spoils and "/sync?" in target:
            for event in answer.get("to_device", {}).get("events", ()):
                for ciphertext in event["content"].get("ciphertext", {}).values():
                    text: str = ciphertext["body"]
                    ciphertext["body"] = text[:-4] + ("AAAA" if text[-4:] != "AAAA" else "BBBB")  # of the MAC
        return answer


def on_a_line(session: HttpSession) -> tuple[HttpSession, Line]:
    line = Line(session.request)
    return attrs.evolve(session, request=line), line


async def settle(device: OlmstateDevice) -> None:
    """Wait until it has nothing left to send."""
    while any(  # noqa: ASYNC110 - nothing tells when it is done
        each.kind in {RequestKind.KEYS_CLAIM, RequestKind.TO_DEVICE}
        for each in await device.device.ask(OutgoingRequests())
    ):
        await trio.sleep(0.02)


async def settle_all(*devices: Device) -> None:
    for device in devices:
        if isinstance(device, OlmstateDevice):
            await settle(device)


async def exchange(*devices: Device) -> None:
    """Two times, so that each has what another had to say to what came."""
    for _ in range(2):
        await sync_all(devices)
        await settle_all(*devices)


@pytest.mark.parametrize("kind", KINDS)
async def test_what_this_side_can_not_decrypt_has_a_new_session_made(kind: Kind, people: People) -> None:
    session, line = on_a_line(await people.homeserver.register("olmstate"))
    alice, other = await people.olmstate(session), await people.device(kind)
    room = await meet([alice, other])
    await all_say([alice, other], room)
    await exchange(alice, other)
    line.spoils = True
    await other.rotate(room)
    lost = await all_say([other], room, "lost")
    await settle_all(other)
    await alice.sync()
    line.spoils = False
    await exchange(alice, other)
    if kind == "nio":
        await other.rotate(room)  # it takes the new session, and has no key shared again
    after = await all_say([other], room, "after")
    await exchange(alice, other)
    said = {**lost, **after} if kind == "olmstate" else after  # another shares from the present index on
    assert [said] == what_they_read([alice], said)


@pytest.mark.parametrize("kind", ["rust", "nio"])
async def test_who_could_not_decrypt_a_room_key_gets_it_again(kind: Kind, people: People) -> None:
    alice = await people.olmstate()
    other, line = await _with_a_line(kind, people)
    room = await meet([alice, other])
    await all_say([alice, other], room)
    await exchange(alice, other)
    await alice.rotate(room)
    lost = await all_say([alice], room, "lost")
    if isinstance(other, NioDevice):
        await other.ask("lose_sessions")
    if isinstance(other, RustDevice):
        await other.ask("advance_clock", milliseconds=TWO_HOURS)  # it lets a session be for an hour
    line.spoils = True
    await other.sync()
    line.spoils = False
    assert [{}] == what_they_read([other], lost)
    if isinstance(other, RustDevice):  # it sends nothing on a new session before it has a room key to send
        await other.rotate(room)
        await all_say([other], room)
    await exchange(alice, other)
    assert [lost] == what_they_read([other], lost)


async def _with_a_line(kind: Kind, people: People) -> tuple[Device, Line]:
    """matrix-nio makes its own requests."""
    session, line = on_a_line(await people.homeserver.register(kind))
    return await (people.rust(session) if kind == "rust" else people.nio(session)), line
