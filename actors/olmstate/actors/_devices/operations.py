"""Taking in other devices' keys, and looking them up."""

from __future__ import annotations

from collections.abc import Collection, Iterable

import attrs

from olmstate.actors._account.operations import own_identity
from olmstate.actors._devices.actor import DevicesActor, LookUp, LookUpSenders, StoreDevices, WereKnown
from olmstate.actors._devices.senders import KnownSender
from olmstate.actors._engine.slices import SlicesOf
from olmstate.actors._engine.turn import Turn
from olmstate.actors._identities.identity import has_signed_device
from olmstate.actors._identities.known import KnownIdentity
from olmstate.actors._identities.operations import known_identities, take_identities
from olmstate.actors._wire.signatures import check_device_keys, signing_bytes
from olmstate.actors._wire.untrusted_json import answer, check_depth, entries
from olmstate.messages import (
    AddDevices,
    DeviceAddress,
    DeviceId,
    DeviceIdentity,
    DeviceKeyChanged,
    DeviceKeys,
    DevicesAdded,
    DevicesChanged,
    Ed25519Key,
    Json,
    OlmStateError,
    OwnDeviceReplaced,
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
    own = await own_identity(turn)
    await take_identities(turn, response)
    users: dict[UserId, dict[DeviceId, DeviceKeys | OlmStateError]] = {}
    told = {UserId(user_id): devices for user_id, devices in entries(response.get("device_keys"), "device_keys")}
    identities = await known_identities(turn, told)
    for user_id, devices in told.items():
        known, is_own = identities[user_id], own is not None and user_id == own.user_id
        users[user_id] = {
            DeviceId(device_id): _checked(user_id, DeviceId(device_id), device, known, is_own=is_own)
            for device_id, device in entries(devices, "a user's devices")
        }
    replaced = None if own is None else _refuse_other_own(users, own)
    added = await turn[DevicesActor].ask(StoreDevices(users=users, own=own))
    if added.added or added.removed:
        turn.events.append(DevicesChanged(added=added.added, removed=added.removed))
    if replaced is not None:
        turn.events.append(replaced)
    return added


def _checked(
    user_id: UserId, device_id: DeviceId, told: Json, known: KnownIdentity | None, *, is_own: bool
) -> DeviceKeys | OlmStateError:
    try:
        device = check_device_keys(user_id, device_id, told)
    except OlmStateError as error:
        return error
    identity = None if known is None else known.identity
    return attrs.evolve(
        device,
        cross_signed_by=identity.self_signing.public_key if identity and has_signed_device(identity, told) else None,
        signed_json=signing_bytes(told) if is_own else None,
    )


def _refuse_other_own(
    users: dict[UserId, dict[DeviceId, DeviceKeys | OlmStateError]], own: DeviceIdentity
) -> OwnDeviceReplaced | None:
    """Put an error in the place of keys under this device's id that are not the account's."""
    devices = users.get(own.user_id, {})
    told = devices.get(own.device_id)
    if told is None or (
        isinstance(told, DeviceKeys) and (told.curve25519, told.ed25519) == (own.curve25519, own.ed25519)
    ):
        return None
    if isinstance(told, DeviceKeys):
        devices[own.device_id] = DeviceKeyChanged(user_id=own.user_id, device_id=own.device_id, ed25519=own.ed25519)
    return OwnDeviceReplaced(
        user_id=own.user_id,
        device_id=own.device_id,
        claimed_ed25519=told.ed25519 if isinstance(told, DeviceKeys) else None,
    )


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


async def devices_of(turn: Turn, users: Collection[UserId]) -> dict[UserId, dict[DeviceId, DeviceKeys]]:
    """All known devices of each of ``users``."""
    wanted = tuple(dict.fromkeys(users))
    found = await turn[DevicesActor].ask(LookUp(users=wanted))
    return dict(zip(wanted, found, strict=True))


async def known_senders(turn: Turn, users: Collection[UserId]) -> dict[UserId, KnownSender]:
    """What is known of the devices of ``users``, by keys."""
    wanted = tuple(dict.fromkeys(users))
    found = await turn[DevicesActor].ask(LookUpSenders(users=wanted))
    return dict(zip(wanted, found, strict=True))


async def fingerprints_of_others(turn: Turn, claimed: Collection[Ed25519Key]) -> frozenset[Ed25519Key]:
    """Those of ``claimed`` that a known device has, or one that was known, whoever's."""
    wanted = tuple(dict.fromkeys(claimed))
    if not wanted:
        return frozenset()
    known = await turn[DevicesActor].ask(WereKnown(fingerprints=wanted))
    return frozenset(key for key, was_known in zip(wanted, known, strict=True) if was_known)
