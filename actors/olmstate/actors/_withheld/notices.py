"""The notices: what is in them, and the requests that send them."""

from __future__ import annotations

from collections.abc import Collection, Mapping
from typing import Final

from olmstate.actors._account.operations import own_device
from olmstate.actors._engine.slices import SlicesOf
from olmstate.actors._engine.turn import Turn
from olmstate.actors._requests.actor import NewRequest, PutRequests, RequestsActor
from olmstate.actors._to_device.sending import DEVICES_A_REQUEST, to_device_request
from olmstate.actors._wire.algorithms import MEGOLM
from olmstate.messages import DeviceAddress, JsonObject, MegolmSessionId, RoomId

from .actor import TellNoOlm, WithheldNoticesActor

DEVICES_AT_ONCE: Final = 48
"""Looked up without giving other tasks a chance, where each time some of a thousand may have to go."""
BLACKLISTED: Final = "m.blacklisted"
UNVERIFIED: Final = "m.unverified"
NO_OLM: Final = "m.no_olm"
_REASONS: Final = {
    BLACKLISTED: "the sender has blocked this device",
    UNVERIFIED: "the sender sends to verified devices only",
    NO_OLM: "the sender has no Olm session with this device",
}


async def tell_withheld(
    turn: Turn, room_id: RoomId, session_id: MegolmSessionId, codes: Mapping[DeviceAddress, str]
) -> None:
    """Tell devices that they don't get a session's key; each code says why."""
    named: JsonObject = {"room_id": room_id, "session_id": session_id}
    # of two notices for a device, the one that was made first comes first
    await _tell(turn, codes, named, subjects=(f"withheld {session_id} {room_id}",))


async def tell_no_olm(turn: Turn, without: Collection[DeviceAddress], reached: Collection[DeviceAddress]) -> None:
    """Tell devices that there is no Olm session with them, unless they were told since the last that has worked.

    Args:
        turn: The present one.
        without: Those devices.
        reached: Devices with which there is a session that works.
    """
    if reached:
        await turn[WithheldNoticesActor].ask(TellNoOlm(without=(), reached=tuple(reached)))
    new: list[DeviceAddress] = []
    async for some in SlicesOf(without, DEVICES_AT_ONCE):
        new += await turn[WithheldNoticesActor].ask(TellNoOlm(without=some, reached=()))
    await _tell(turn, dict.fromkeys(new, NO_OLM), {})


async def _tell(
    turn: Turn, codes: Mapping[DeviceAddress, str], named: JsonObject, subjects: tuple[str, ...] = ()
) -> None:
    if not codes:
        return
    own = (await own_device(turn)).identity
    contents = {
        code: {
            "algorithm": MEGOLM,
            "sender_key": own.curve25519,
            "code": code,
            "reason": _REASONS[code],
            **named,
        }
        for code in dict.fromkeys(codes.values())
    }
    requests: list[NewRequest] = []
    async for some in SlicesOf(codes.items(), DEVICES_A_REQUEST):
        told = [(device, contents[code]) for device, code in some]
        requests.append(await to_device_request(told, event_type="m.room_key.withheld", subjects=subjects))
    await turn[RequestsActor].ask(PutRequests(requests=tuple(requests), now=turn.now))
