"""Who really sent what: what only those know who made it.

Owns: `Truth`. Each message carries a number of its own, by which it is known wherever it turns up, in whose name, in
which spelling and under which id.
Rule: nothing in it comes from the device under test.
"""

from __future__ import annotations

import attrs

from olmstate.messages import DeviceIdentity, JsonObject, MegolmSessionId, UserId
from tests.operations.peer import Peer
from tests.peer.room_session import RoomSession

NUMBER = "number"
"""The field of a content that has the message's number."""


@attrs.define(eq=False)
class Letter:
    """An Olm message."""

    maker: Peer
    honest: bool
    event: JsonObject
    """As its maker sent it."""
    refused: bool = False
    """It lies about what the device knows: it must not be believed."""
    lies_with: str | None = None
    """The Ed25519 key that it names as its maker's. If another device was ever known to have it, or its maker is known,
    it must not be believed."""
    session_id: MegolmSessionId | None = None
    """Of the room key in it."""
    read: int = 0
    """Times that the device has told of it as decrypted."""


@attrs.define(eq=False)
class Room(RoomSession[Peer]):
    """A Megolm session of somebody's, and what the device may have heard of it."""

    said: list[Said] = attrs.field(init=False, factory=list["Said"])
    claimed: list[DeviceIdentity] = attrs.field(factory=list[DeviceIdentity])
    """Devices that have sent its key as their own, as the device under test has taken it in, in that order."""
    claimed_by: set[UserId] = attrs.field(factory=set[UserId])
    """Users in whose name it was sent, with whatever keys."""
    given: bool = False
    """Its maker has sent its key."""
    exported: bool = False
    """The device has it from an export of its maker's."""


@attrs.define(eq=False)
class Said:
    """A room message."""

    room: Room
    number: int
    event: JsonObject
    """As its maker sent it."""
    read: dict[UserId, str] = attrs.field(factory=dict[UserId, str])
    """The id of the event that the device has read it as, by the sender that was shown."""

    @property
    def maker(self) -> Peer:
        """Who sent it."""
        return self.room.maker


@attrs.define
class Truth:
    """Everything that was ever made."""

    letters: dict[int, Letter] = attrs.field(factory=dict[int, Letter])
    said: dict[int, Said] = attrs.field(factory=dict[int, Said])
    rooms: list[Room] = attrs.field(factory=list[Room])
    fingerprints: dict[str, Peer] = attrs.field(factory=dict[str, Peer])
    """Everybody's, by key."""
    _numbers: int = 0

    def number(self) -> int:
        """One that nothing has."""
        self._numbers += 1
        return self._numbers

    def met(self, peer: Peer) -> Peer:
        """Somebody has made keys."""
        self.fingerprints[peer.ed25519] = peer
        return peer
