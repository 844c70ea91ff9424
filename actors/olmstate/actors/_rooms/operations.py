"""Outbound sessions of rooms: making, sharing, and encrypting on them."""

from __future__ import annotations

import attrs

from olmstate.actors._account.operations import own_device
from olmstate.actors._devices.operations import look_up
from olmstate.actors._engine.slices import SlicesOf
from olmstate.actors._engine.turn import Turn
from olmstate.actors._room_keys.actor import AddRoomKeys, InboundGroupSessionsActor, NewRoomKey
from olmstate.actors._room_keys.claims import Claim
from olmstate.actors._room_keys.copies import RoomKeyCopy, session_from_room_key
from olmstate.actors._room_settings.actor import RoomSettingsActor, SettingsOf
from olmstate.actors._rooms.actor import (
    Current,
    Discard,
    Encrypt,
    Export,
    MarkShared,
    OutboundGroupSessionsActor,
    Replace,
)
from olmstate.actors._wire.quiet_struct import QuietStruct
from olmstate.actors._wire.room_event import encrypted_room_event, event_payload
from olmstate.actors._wire.untrusted_json import string
from olmstate.messages import (
    DeviceAddress,
    DiscardRoomKey,
    EncryptedRoomEvent,
    EncryptionSettings,
    EncryptRoomEvent,
    MalformedContent,
    MalformedMessage,
    MarkRoomKeyShared,
    OutboundRoomKey,
    PrepareRoomKey,
    RoomId,
    RotateRoomKey,
    RotationPeriod,
)

RECIPIENTS_A_ROW = 250
"""Recorded without giving other tasks a chance: a millisecond."""


async def prepare_room_key(turn: Turn, command: PrepareRoomKey) -> OutboundRoomKey:
    """The key of the room's outbound session, which is made if there is none that may still be used."""
    outbound = turn[OutboundGroupSessionsActor]
    wanted = await wanted_settings(turn, command.room_id, command.rotation)
    exported: OutboundRoomKey | None = None
    if await outbound.ask(wanted.current(command.room_id, turn.now)) is not None:
        # None all the same if somebody's write was seen in between: then the fence turns this turn back in the end
        exported = await outbound.ask(Export(room_id=command.room_id))
    return exported or await new_room_key(turn, command.room_id, wanted.new)


async def rotate_room_key(turn: Turn, command: RotateRoomKey) -> OutboundRoomKey:
    """Replace the room's outbound session, whatever state it is in."""
    return await new_room_key(
        turn, command.room_id, (await wanted_settings(turn, command.room_id, command.rotation)).new
    )


async def discard_room_key(turn: Turn, command: DiscardRoomKey) -> None:
    """Forget the room's outbound session."""
    await turn[OutboundGroupSessionsActor].ask(Discard(room_id=command.room_id))


class WantedSettings(QuietStruct, kw_only=True, frozen=True):
    """By what a room's session is to be made."""

    new: EncryptionSettings
    """If it is made now."""
    rotation: RotationPeriod | None
    """What a session must have that is there; None: it may have any."""
    shared_history: bool | None

    def current(self, room_id: RoomId, now: int) -> Current:
        """Ask for a session that is as it must be."""
        return Current(room_id=room_id, now=now, rotation=self.rotation, shared_history=self.shared_history)


async def wanted_settings(
    turn: Turn, room_id: RoomId, rotation: RotationPeriod | None, *, strict: bool = False
) -> WantedSettings:
    """As the room says, but for a rotation period that the asker gives.

    That one is for new sessions; ``strict``, for the one that is there, too.
    """
    told = await turn[RoomSettingsActor].ask(SettingsOf(room_id=room_id))
    new = told or EncryptionSettings()
    if rotation is not None:
        new = attrs.evolve(new, rotation=rotation)
    fixed = told is not None if rotation is None else strict
    return WantedSettings(
        new=new,
        rotation=new.rotation if fixed else None,
        shared_history=None if told is None else told.shared_history,
    )


async def new_room_key(turn: Turn, room_id: RoomId, settings: EncryptionSettings) -> OutboundRoomKey:
    """Replace the room's outbound session, and store its inbound counterpart: we read our own messages too.

    Raises:
        MalformedContent: UTF-8 can't hold the room's id: nothing could be sent there, and no import would take the key.
    """
    try:
        string({"room_id": room_id}, "room_id")
    except MalformedMessage as error:
        raise MalformedContent(reason=error.reason) from None
    own = (await own_device(turn)).identity
    made = await turn[OutboundGroupSessionsActor].ask(Replace(room_id=room_id, now=turn.now, settings=settings))
    copy = RoomKeyCopy(session=session_from_room_key(made.session_key, made.session_id), signed=True)
    claim = Claim(sender_key=own.curve25519, ed25519=own.ed25519, sender=own.user_id, own=True)
    new = NewRoomKey(room_id=room_id, session_id=made.session_id, copy=copy, claim=claim)
    await turn[InboundGroupSessionsActor].ask(AddRoomKeys(room_keys=(new,)))
    return made


async def mark_room_key_shared(turn: Turn, command: MarkRoomKeyShared) -> None:
    """Record who has the room's key."""
    # for those to whom it was not `ShareRoomKey` that has encrypted it, but the user
    slices: list[tuple[DeviceAddress, ...]] = [some async for some in SlicesOf(command.devices, RECIPIENTS_A_ROW)]
    for devices in slices or [()]:
        known = await look_up(turn, devices)
        await turn[OutboundGroupSessionsActor].ask(
            MarkShared(
                room_id=command.room_id,
                session_id=command.session_id,
                devices=frozenset(devices),
                keys={address: device.curve25519 for address, device in known.items()},
            )
        )


async def encrypt_room_event(turn: Turn, command: EncryptRoomEvent) -> EncryptedRoomEvent:
    """Encrypt an event on the room's session."""
    own = (await own_device(turn)).identity
    encrypted = await turn[OutboundGroupSessionsActor].ask(
        Encrypt(room_id=command.room_id, plaintext=event_payload(command), now=turn.now, session_id=command.session_id)
    )
    return encrypted_room_event(own, encrypted, command.content)
