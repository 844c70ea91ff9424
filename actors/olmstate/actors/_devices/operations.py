"""Taking in other devices' keys, and looking them up."""

from __future__ import annotations

from collections.abc import Collection, Iterable

import attrs

from olmstate.actors._devices.actor import DevicesActor, LookUp, StoreDevices
from olmstate.actors._engine.slices import SlicesOf
from olmstate.actors._engine.turn import Turn
from olmstate.actors._wire.signatures import check_device_keys
from olmstate.actors._wire.untrusted_json import answer, check_depth, entries
from olmstate.messages import (
    AddDevices,
    Curve25519Key,
    DeviceAddress,
    DeviceId,
    DeviceKeys,
    DevicesAdded,
    DevicesChanged,
    OlmStateError,
    UserId,
)

MANY_ADDRESSES = 250
"""Compared without giving other tasks a chance: half a millisecond."""
ADDRESSES_AT_ONCE = 64
"""Looked up without giving other tasks a chance: below a millisecond, or one if they must be loaded."""


async def add_devices(turn: Turn, command: AddDevices) -> DevicesAdded:
    """Check each device of a /keys/query response and store what holds."""
    response = answer(command.response, "the response")
    check_depth(response)
    users: dict[UserId, dict[DeviceId, DeviceKeys | OlmStateError]] = {}
    for user_id, devices in entries(response.get("device_keys"), "device_keys"):
        users[UserId(user_id)] = {
            DeviceId(device_id): _checked(UserId(user_id), DeviceId(device_id), device)
            for device_id, device in entries(devices, "a user's devices")
        }
    added = await turn[DevicesActor].ask(StoreDevices(users=users))
    if added.added or added.removed:
        turn.events.append(DevicesChanged(added=added.added, removed=added.removed))
    return added


def _checked(user_id: UserId, device_id: DeviceId, device: object) -> DeviceKeys | OlmStateError:
    try:
        return check_device_keys(user_id, device_id, device)
    except OlmStateError as error:
        return error


async def distinct(addresses: Iterable[DeviceAddress]) -> dict[DeviceAddress, None]:
    """Each of ``addresses`` once, in their order."""
    found: dict[DeviceAddress, None] = {}
    async for some in SlicesOf(addresses, MANY_ADDRESSES):
        found.update(dict.fromkeys(some))
    return found


async def look_up(turn: Turn, addresses: Collection[DeviceAddress]) -> dict[DeviceAddress, DeviceKeys]:
    """The keys of those of ``addresses`` that are known."""
    known: dict[DeviceAddress, DeviceKeys] = {}
    async for some in SlicesOf(addresses, ADDRESSES_AT_ONCE):
        users = tuple({address.user_id: None for address in some})
        found = await turn[DevicesActor].ask(LookUp(users=users))
        by_user = dict(zip(users, found, strict=True))
        for address in some:
            device = by_user[address.user_id].get(address.device_id)
            if device is not None:
                known[address] = device
    return known


@attrs.frozen(kw_only=True)
class KnownDevices:
    """All known devices of some users."""

    by_user: dict[UserId, dict[DeviceId, DeviceKeys]]
    by_key: dict[tuple[UserId, Curve25519Key], DeviceKeys]
    """By their identity keys. Anybody can publish another's as his own device's, so a key alone names nobody."""


async def devices_of(turn: Turn, users: Collection[UserId]) -> KnownDevices:
    """All known devices of ``users``."""
    wanted = tuple(dict.fromkeys(users))
    found = await turn[DevicesActor].ask(LookUp(users=wanted))
    by_user = dict(zip(wanted, found, strict=True))
    return KnownDevices(
        by_user=by_user,
        by_key={(device.user_id, device.curve25519): device for by_id in by_user.values() for device in by_id.values()},
    )
