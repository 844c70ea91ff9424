"""Who may have a room's key: the devices of its members, as far as the strategy of sharing lets them."""

from __future__ import annotations

from collections.abc import Collection, Mapping
from typing import Final

from olmstate.actors._account.operations import own_device
from olmstate.actors._devices.operations import devices_of, look_up
from olmstate.actors._engine.slices import SlicesOf, in_slices
from olmstate.actors._engine.turn import Turn
from olmstate.actors._identities.operations import known_identities
from olmstate.actors._withheld.notices import tell_withheld
from olmstate.messages import DeviceAddress, DeviceKeys, MegolmSessionId, RoomId, SharingStrategy, UserId

from .actor import OutboundGroupSessionsActor, Withhold
from .strategies import Chosen, Owners, choose, needs_identities

DEVICES_A_ROW: Final = 250
"""Recorded without giving other tasks a chance: a millisecond."""


async def recipients(turn: Turn, users: Collection[UserId], strategy: SharingStrategy) -> Chosen:
    """Of all devices of the users, and of our own user's, who gets the key; this device isn't among them.

    Raises:
        EncryptionError: The strategy refuses to send: see `SharingStrategy`.
    """
    return await chosen_of(turn, await devices_of_users(turn, users), strategy)


async def devices_of_users(turn: Turn, users: Collection[UserId]) -> dict[DeviceAddress, DeviceKeys]:
    """All known devices of the users, and of our own user."""
    own = (await own_device(turn)).identity
    known = await devices_of(turn, [*users, own.user_id])
    return {device.address: device for by_id in known.values() for device in by_id.values()}


async def chosen_of(turn: Turn, devices: Mapping[DeviceAddress, DeviceKeys], strategy: SharingStrategy) -> Chosen:
    """Who of ``devices``, all of whose keys are known, gets the key; this one doesn't.

    Raises:
        EncryptionError: The strategy refuses to send: see `SharingStrategy`.
    """
    own = (await own_device(turn)).identity
    itself = DeviceAddress(user_id=own.user_id, device_id=own.device_id)
    others = dict(devices)
    others.pop(itself, None)
    if not needs_identities(strategy):
        return await in_slices(choose(strategy, others, Owners(own.user_id, {}), None))
    users = dict.fromkeys((own.user_id, *(address.user_id for address in others)))
    owners = Owners(own.user_id, await known_identities(turn, users))
    listed = (await look_up(turn, (itself,))).get(itself)
    return await in_slices(choose(strategy, others, owners, listed))


async def withhold(
    turn: Turn, room_id: RoomId, session_id: MegolmSessionId, chosen: Chosen, told: Mapping[DeviceAddress, str]
) -> None:
    """Tell those who don't get a session's key, unless they were told so before."""
    codes = {device: code for device, code in chosen.withheld.items() if told.get(device) != code}
    async for some in SlicesOf(codes.items(), DEVICES_A_ROW):
        withheld = Withhold(room_id=room_id, session_id=session_id, codes=dict(some))
        await turn[OutboundGroupSessionsActor].ask(withheld)
    await tell_withheld(turn, room_id, session_id, codes)
