"""Taking over another library's account, the Olm sessions that it has with other devices, and what it knew of them."""

from __future__ import annotations

from vodozemac import Session

from olmstate.actors._account.actor import AccountActor, Create, NewSession, unpickle_account
from olmstate.actors._devices.actor import DevicesActor, StoreDevices
from olmstate.actors._devices.operations import STORED_AT_ONCE
from olmstate.actors._engine.slices import SlicesOf
from olmstate.actors._engine.turn import Turn
from olmstate.actors._to_device.actor import STEPS_FOR_ANYBODY, AddSessions, OlmSessionsActor
from olmstate.actors._wire.algorithms import MEGOLM, OLM
from olmstate.actors._wire.curve25519 import curve25519_key
from olmstate.actors._wire.signatures import ed25519_key
from olmstate.messages import (
    Curve25519Key,
    DeviceAddress,
    DeviceId,
    DeviceIdentity,
    DeviceKeys,
    DevicesChanged,
    ImportAccount,
    ImportedDevice,
    MalformedMessage,
    MalformedPickle,
    OlmSessionPickle,
    OlmStateError,
    UserId,
)

SESSIONS_AT_ONCE = 12
"""Unpickled, or kept, without giving other tasks a chance: below a millisecond."""


async def import_account(turn: Turn, command: ImportAccount) -> DeviceIdentity:
    """Take over another library's account, its Olm sessions and the devices that it knew; all or nothing."""
    account = unpickle_account(command.pickle, command.pickle_key, command.format)
    sessions: list[NewSession] = []
    async for pickles in SlicesOf(command.olm_sessions, SESSIONS_AT_ONCE):
        sessions += [_session(pickled, command) for pickled in pickles]
    devices: list[DeviceKeys] = []
    async for known in SlicesOf(command.devices, STORED_AT_ONCE):
        devices += [_device(imported) for imported in known]
    identity = await turn[AccountActor].ask(Create(account=account))
    async for made in SlicesOf(sessions, SESSIONS_AT_ONCE):
        await turn[OlmSessionsActor].ask(AddSessions(sessions=made))
    added: list[DeviceAddress] = []
    async for some in SlicesOf(devices, STORED_AT_ONCE):
        users: dict[UserId, dict[DeviceId, DeviceKeys | OlmStateError]] = {}
        for device in some:
            if (device.user_id, device.device_id) != (identity.user_id, identity.device_id):
                users.setdefault(device.user_id, {})[device.device_id] = device
        added += (await turn[DevicesActor].ask(StoreDevices(users=users, own=identity))).added
    if added:
        turn.events.append(DevicesChanged(added=tuple(added), removed=()))
    return identity


def _session(pickled: OlmSessionPickle, command: ImportAccount) -> NewSession:
    return NewSession(
        sender_key=_sender_key(pickled),
        session=_unpickle(pickled, command),
        owner=pickled.user_id,
        steps_for_anybody=STEPS_FOR_ANYBODY,
    )


def _device(imported: ImportedDevice) -> DeviceKeys:
    return DeviceKeys(
        user_id=imported.user_id,
        device_id=imported.device_id,
        curve25519=curve25519_key(imported.curve25519, "curve25519"),
        ed25519=ed25519_key(imported.ed25519, "ed25519"),
        algorithms=(OLM, MEGOLM),
        trust=imported.trust,
    )


def _sender_key(pickled: OlmSessionPickle) -> Curve25519Key:
    try:
        return curve25519_key(pickled.sender_key, "sender_key")
    except MalformedMessage as error:
        raise MalformedPickle(what="Olm session", reason=error.reason) from None


def _unpickle(pickled: OlmSessionPickle, command: ImportAccount) -> Session:
    try:
        if command.format == "libolm":
            return Session.from_libolm_pickle(pickled.pickle, command.pickle_key)
        return Session.from_pickle(pickled.pickle, command.pickle_key)
    except ValueError as error:
        raise MalformedPickle(what="Olm session", reason=str(error)) from None
