"""What this device asks its user's others for, as it goes out: ``m.room_key_request`` and ``m.secret.request``."""

from __future__ import annotations

from collections.abc import Collection, Iterable
from typing import Final

from olmstate.actors._account.operations import own_device
from olmstate.actors._engine.slices import SlicesOf
from olmstate.actors._engine.turn import Turn
from olmstate.actors._requests.actor import NewRequest, PutRequests, RequestsActor
from olmstate.actors._to_device.sending import to_device_request
from olmstate.actors._wire.quiet_struct import QuietStruct
from olmstate.messages import DeviceAddress, DeviceId, JsonObject

ASKS_AT_ONCE: Final = 12
"""Stored without giving other tasks a chance."""


class Ask(QuietStruct, kw_only=True, frozen=True):
    """A request, or its end."""

    request_id: str
    devices: Collection[DeviceId]
    """Our user's that hear of it."""
    wanted: JsonObject | None
    """The fields that say what is asked for; None: it is asked for no longer."""


async def ask_own_devices(turn: Turn, event_type: str, asks: Iterable[Ask], *, after: tuple[str, ...] = ()) -> None:
    """Store the requests that carry these events; they go out after those about the subjects ``after``."""
    own = (await own_device(turn)).identity
    async for some in SlicesOf(asks, ASKS_AT_ONCE):
        requests: list[NewRequest] = []
        for each in some:
            content: JsonObject = {
                "action": "request_cancellation" if each.wanted is None else "request",
                "requesting_device_id": own.device_id,
                "request_id": each.request_id,
                **(each.wanted or {}),
            }
            contents = [(DeviceAddress(user_id=own.user_id, device_id=device), content) for device in each.devices]
            # a cancellation goes out after its request
            subjects = (f"key request {each.request_id}", *after)
            requests.append(await to_device_request(contents, event_type=event_type, subjects=subjects))
        await turn[RequestsActor].ask(PutRequests(requests=tuple(requests), now=turn.now))
