"""Taking in other devices' keys, and looking them up."""

from __future__ import annotations

from collections.abc import Collection, Container, Iterable, Iterator, Mapping
from typing import TypeVar

import attrs

from olmstate.actors._account.operations import own_identity
from olmstate.actors._devices.actor import (
    DevicesActor,
    LookUp,
    LookUpSenders,
    RemoveDevices,
    StoreDevices,
    Trust,
    WereKnown,
)
from olmstate.actors._devices.senders import KnownSender
from olmstate.actors._engine.capability import Asking
from olmstate.actors._engine.slices import SlicesOf, in_slices
from olmstate.actors._engine.turn import Turn
from olmstate.actors._identities.identity import has_signed_device
from olmstate.actors._identities.known import KnownIdentity
from olmstate.actors._identities.operations import known_identities, take_identities
from olmstate.actors._wire.json_parts import answer
from olmstate.actors._wire.signatures import check_device_keys, signing_bytes
from olmstate.actors._wire.untrusted_json import entries
from olmstate.actors._wire.weight import weight
from olmstate.messages import (
    AddDevices,
    DeviceAddress,
    DeviceId,
    DeviceIdentity,
    DeviceKeyChanged,
    DeviceKeys,
    Devices,
    DevicesAdded,
    DevicesChanged,
    DeviceTrustChanged,
    Ed25519Key,
    Json,
    OlmStateError,
    OwnDeviceReplaced,
    SetDeviceTrust,
    UserId,
)

V = TypeVar("V")

MANY_ADDRESSES = 250
"""Compared without giving other tasks a chance: half a millisecond."""
DEVICES_AT_ONCE = 16
"""Checked without giving other tasks a chance, or fewer that are large: a millisecond."""
STORED_AT_ONCE = 64
"""Devices, without giving other tasks a chance: half a millisecond."""
USERS_AT_ONCE = 24
"""Looked up without giving other tasks a chance."""
ADDRESSES_AT_ONCE = 64
"""Looked up without giving other tasks a chance: below a millisecond, or one if they must be loaded."""


async def add_devices(turn: Turn, command: AddDevices) -> DevicesAdded:
    """Check each device of a /keys/query response and store what holds."""
    response = await in_slices(answer(command.response, "the response"))
    own = await own_identity(turn)
    await take_identities(turn, response)
    users: dict[UserId, dict[DeviceId, DeviceKeys | OlmStateError]] = {}
    told = {UserId(user_id): devices for user_id, devices in entries(response.get("device_keys"), "device_keys")}
    identities = await known_identities(turn, told)
    async for some in SlicesOf(_told(told, users), DEVICES_AT_ONCE, lambda each: weight(each[-1])):
        for user_id, device_id, device in some:
            is_own = own is not None and user_id == own.user_id
            users[user_id][device_id] = _checked(user_id, device_id, device, identities[user_id], is_own=is_own)
    replaced = None if own is None else _refuse_other_own(users, own)
    added: list[DeviceAddress] = []
    rejected: dict[DeviceAddress, OlmStateError] = {}
    async for part in SlicesOf(_one_by_one(users), STORED_AT_ONCE):
        stored = await turn[DevicesActor].ask(StoreDevices(users=_by_user(part), own=own))
        added += stored.added
        rejected |= stored.rejected
    removed = await _remove_others(turn, users)
    if added or removed:
        turn.events.append(DevicesChanged(added=tuple(added), removed=tuple(removed)))
    if replaced is not None:
        turn.events.append(replaced)
    return DevicesAdded(added=tuple(added), removed=tuple(removed), rejected=rejected)


async def set_device_trust(turn: Turn, command: SetDeviceTrust) -> None:
    """Store what our user has decided about a device."""
    address = DeviceAddress(user_id=command.user_id, device_id=command.device_id)
    if await turn[DevicesActor].ask(Trust(device=address, trust=command.trust)):
        turn.events.append(
            DeviceTrustChanged(user_id=command.user_id, device_id=command.device_id, trust=command.trust)
        )


def _told(
    told: Mapping[UserId, Json], users: dict[UserId, dict[DeviceId, V]]
) -> Iterator[tuple[UserId, DeviceId, Json]]:
    """Each device that a response tells of. Its user is put into ``users`` before, and so is who has no devices."""
    for user_id, devices in told.items():
        users[user_id] = {}
        for device_id, device in entries(devices, "a user's devices"):
            yield user_id, DeviceId(device_id), device


def _one_by_one(users: Mapping[UserId, Mapping[DeviceId, V]]) -> Iterator[tuple[UserId, DeviceId | None, V | None]]:
    """Each device, and each user who has none."""
    for user_id, devices in users.items():
        if not devices:
            yield user_id, None, None
        for device_id, device in devices.items():
            yield user_id, device_id, device


def _by_user(part: Iterable[tuple[UserId, DeviceId | None, V | None]]) -> dict[UserId, dict[DeviceId, V]]:
    users: dict[UserId, dict[DeviceId, V]] = {}
    for user_id, device_id, device in part:
        devices = users.setdefault(user_id, {})
        if device_id is not None and device is not None:
            devices[device_id] = device
    return users


async def _remove_others(turn: Turn, users: Mapping[UserId, Container[DeviceId]]) -> list[DeviceAddress]:
    """Have the devices go that are known of ``users`` and not among theirs."""
    left_out: list[DeviceAddress] = []
    async for some in SlicesOf(users, USERS_AT_ONCE):
        for user_id, known in zip(some, await turn[DevicesActor].ask(LookUp(users=some)), strict=True):
            told = users[user_id]
            left_out += [DeviceAddress(user_id=user_id, device_id=each) for each in known if each not in told]
    async for addresses in SlicesOf(left_out, STORED_AT_ONCE):
        await turn[DevicesActor].ask(RemoveDevices(devices=addresses))
    return left_out


def _checked(
    user_id: UserId, device_id: DeviceId, told: Json, known: KnownIdentity | None, *, is_own: bool
) -> DeviceKeys | OlmStateError:
    try:
        device = check_device_keys(user_id, device_id, told)
    except OlmStateError as error:
        return error
    identity = None if known is None else known.identity
    signer = identity.self_signing.public_key if identity and has_signed_device(identity, told) else None
    if signer is None and not is_own:
        return device
    return attrs.evolve(device, cross_signed_by=signer, signed_json=signing_bytes(told) if is_own else None)


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


async def distinct(names: Iterable[V]) -> dict[V, None]:
    """Each of some addresses, or users, once, in their order."""
    found: dict[V, None] = {}
    async for some in SlicesOf(names, MANY_ADDRESSES):
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
    found: dict[UserId, dict[DeviceId, DeviceKeys]] = {}
    async for some in SlicesOf(dict.fromkeys(users), USERS_AT_ONCE):
        found.update(zip(some, await turn[DevicesActor].ask(LookUp(users=some)), strict=True))
    return found


async def committed_devices_of(supervisor: Asking, users: Collection[UserId]) -> list[DeviceKeys]:
    """The devices of each of ``users``, outside of a turn: not of one state, as `Devices` answers."""
    found: list[DeviceKeys] = []
    async for some in SlicesOf(users, USERS_AT_ONCE):
        devices = await supervisor.ask(Devices(users=some))
        found += devices
    return found


async def known_senders(turn: Turn, users: Collection[UserId]) -> dict[UserId, KnownSender]:
    """What is known of the devices of ``users``, by keys."""
    found: dict[UserId, KnownSender] = {}
    async for some in SlicesOf(dict.fromkeys(users), USERS_AT_ONCE):
        found.update(zip(some, await turn[DevicesActor].ask(LookUpSenders(users=some)), strict=True))
    return found


async def fingerprints_of_others(turn: Turn, claimed: Collection[Ed25519Key]) -> frozenset[Ed25519Key]:
    """Those of ``claimed`` that a known device has, or one that was known, whoever's."""
    found: set[Ed25519Key] = set()
    async for some in SlicesOf(dict.fromkeys(claimed), USERS_AT_ONCE):
        known = await turn[DevicesActor].ask(WereKnown(fingerprints=some))
        found.update(key for key, was_known in zip(some, known, strict=True) if was_known)
    return frozenset(found)
