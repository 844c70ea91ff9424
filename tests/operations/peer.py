"""A peer in the library's words: as the device under test names it, and what it is handed of it."""

from __future__ import annotations

import attrs
from vodozemac import GroupSession

from olmstate.messages import (
    AddDevices,
    AddRoomKey,
    DeviceAddress,
    DeviceIdentity,
    DeviceKeys,
    MegolmSessionId,
    RoomId,
)
from tests.peer.device import (
    MEGOLM,
    OLM,
    PeerDevice,
    claimed,
    exported,
    keys_query,
    read_room_event,
)
from tests.peer.names import JsonObject
from tests.peer.room_session import RoomSession

__all__ = [
    "MEGOLM",
    "OLM",
    "Peer",
    "Room",
    "add_devices",
    "claimed",
    "exported",
    "keys_query",
    "peers",
    "read_room_event",
]


@attrs.define(eq=False)
class Peer(PeerDevice):
    """A device of vodozemac's, with the names that the library has for it."""

    @property
    def address(self) -> DeviceAddress:
        """Where it is reached."""
        return DeviceAddress(user_id=self.user_id, device_id=self.device_id)

    @property
    def identity(self) -> DeviceIdentity:
        """Which device it is."""
        return DeviceIdentity(
            user_id=self.user_id, device_id=self.device_id, curve25519=self.curve25519, ed25519=self.ed25519
        )

    @property
    def keys(self) -> DeviceKeys:
        """As it is known once its keys were taken in."""
        return DeviceKeys(
            user_id=self.user_id,
            device_id=self.device_id,
            curve25519=self.curve25519,
            ed25519=self.ed25519,
            algorithms=(OLM, MEGOLM),
        )

    def add_room_key(self, room_id: RoomId, group: GroupSession) -> AddRoomKey:
        """A room key of its, from the present index on."""
        return AddRoomKey(
            room_id=room_id,
            session_id=MegolmSessionId(group.session_id),
            session_key=group.session_key.to_base64(),
            sender_key=self.curve25519,
            sender_ed25519=self.ed25519,
            sender=self.user_id,
        )


@attrs.define(eq=False)
class Room(RoomSession[Peer]):
    """A Megolm session of a peer's, and the message that hands over its key."""

    def add_room_key(self) -> AddRoomKey:
        """From the present index on."""
        return self.maker.add_room_key(self.room_id, self.group)


def add_devices(*devices: Peer | JsonObject) -> AddDevices:
    """What the device under test is told of these devices, and of no others of their users."""
    return AddDevices(response=keys_query(*devices))


def peers(number: int, user_id: str = "@bob:example.org") -> list[Peer]:
    """Several devices of a user."""
    return [Peer(user_id, f"DEVICE{index}") for index in range(number)]
