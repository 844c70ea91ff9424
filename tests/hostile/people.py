"""What liars do more than once, and how a test sees whom the device believes."""

from __future__ import annotations

import attrs

from olmstate.actors import Supervisor
from olmstate.messages import (
    DecryptedRoomEvent,
    DecryptedToDevice,
    DecryptionError,
    DecryptRoomEvent,
    DecryptToDevice,
    DeviceIdentity,
    DevicesAdded,
    Json,
    JsonObject,
    ToDeviceOutcome,
    UndecryptableToDevice,
    UserId,
)
from tests.operations.device import ROOM, KeyServer
from tests.operations.peer import Peer, Room, add_devices

MALLORY = UserId("@mallory:elsewhere.example")


def conversation(owner: Peer) -> Room:
    """A Megolm session of somebody's, of which everybody in the room has the key, and some events."""
    room = Room(owner, ROOM)
    for number in range(8):
        room.send({"n": number}, event_id=f"${number}")
    return room


@attrs.frozen
class Us:
    """The device under test: one supervisor of it, and what the homeserver has of its keys."""

    supervisor: Supervisor
    me: DeviceIdentity
    server: KeyServer

    async def know(self, *devices: Peer | JsonObject) -> DevicesAdded:
        """Take in a /keys/query response with these devices, and no others of their users."""
        return await self.supervisor.ask(add_devices(*devices))

    async def ensure_session(self, peer: Peer) -> None:
        """Have somebody claim one of the device's keys and start an Olm session, as anybody can."""
        if not peer.sessions:
            if not self.server.one_time_keys:
                await self.server.upload(self.supervisor)
            peer.start_session(self.me, self.server.claim_key())

    async def hand(self, event: JsonObject) -> ToDeviceOutcome:
        """Hand over one to-device event."""
        (outcome,) = await self.supervisor.ask(DecryptToDevice(events=(event,)))
        return outcome

    async def send(self, peer: Peer, event_type: str, content: Json, **changes: Json) -> ToDeviceOutcome:
        """Have somebody send something; ``changes`` are of the payload."""
        await self.ensure_session(peer)
        return await self.hand(peer.event(self.me, event_type, content, **changes))

    async def give(self, peer: Peer, room: Room, **changes: Json) -> ToDeviceOutcome:
        """Have somebody send a room key as if they had made it."""
        return await self.send(peer, "m.room_key", room.room_key, **changes)

    async def read(self, event: JsonObject, *, sender: str | None = None) -> DecryptedRoomEvent | DecryptionError:
        """What becomes of a room event, shown as of ``sender``."""
        return await read(self.supervisor, event, sender=sender)


async def read(
    supervisor: Supervisor, event: JsonObject, *, sender: str | None = None
) -> DecryptedRoomEvent | DecryptionError:
    """What becomes of a room event, shown as of ``sender``."""
    shown = event if sender is None else {**event, "sender": sender}
    try:
        return await supervisor.ask(DecryptRoomEvent(room_id=ROOM, event=shown))
    except DecryptionError as error:
        return error


def told(outcome: DecryptedRoomEvent | ToDeviceOutcome | DecryptionError) -> DeviceIdentity | None:
    """The user, device and fingerprint that are told to have sent something, for certain; None: nobody."""
    match outcome:
        case DecryptedRoomEvent():
            return outcome.encryption_info.sender_device
        case DecryptedToDevice():
            return outcome.sender_device
        case _:
            return None


def error_of(outcome: ToDeviceOutcome) -> type[DecryptionError] | None:
    """Why a to-device event was not believed."""
    return type(outcome.error) if isinstance(outcome, UndecryptableToDevice) else None
