"""What the inbound group sessions actor stores."""

from __future__ import annotations

from typing import ClassVar, TypeAlias

from olmstate.actors._engine.records import Record
from olmstate.actors._wire.quiet_struct import QuietStruct
from olmstate.messages import Curve25519Key, DeviceId, Ed25519Key, MegolmSessionId, RoomId, UserId
from olmstate.storage import Table


class CopyRecord(QuietStruct, kw_only=True, frozen=True, omit_defaults=True, gc=False):
    """One claim on one copy of a room key; see `Claim`. The claims on one copy have the same ``session_key``."""

    session_key: str
    """As it is exported at its first known index: a quarter of a pickle, and all of it that `RoomKeyCopy` lacks."""
    sender_key: Curve25519Key
    sender_ed25519: Ed25519Key
    sender: UserId | None = None
    """Of what was imported, earlier versions wrote whose it was at that time; that isn't believed any more."""
    sender_device: DeviceId | None = None
    """Written by earlier versions, and not believed."""
    imported: bool = False
    signed: bool = True
    forwarding_chain: tuple[str, ...] = ()
    own: bool = False


class RoomKeyRecord(Record, kw_only=True, frozen=True, omit_defaults=True, gc=False):
    """A room key: its room, for exports, and its copies."""

    table: ClassVar[Table] = Table.INBOUND_GROUP_SESSIONS

    room_id: RoomId
    copies: list[CopyRecord]
    more_claims: bool = False
    """There are rows of other users' claims."""


class ClaimedKeysRecord(QuietStruct, kw_only=True, frozen=True, omit_defaults=True):
    """Whose a room key is, as one user says, or an export."""

    sender_key: Curve25519Key
    sender_ed25519: Ed25519Key
    forwarding_chain: tuple[str, ...] = ()


class ClaimsRecord(Record, kw_only=True, frozen=True):
    """The claims of one more user on a room key, or one more of an export's."""

    table: ClassVar[Table] = Table.ROOM_KEY_CLAIMS

    room_id: RoomId
    session_id: MegolmSessionId
    sender: UserId | None
    """None: an export says it."""
    claims: list[ClaimedKeysRecord]


class WithheldRecord(Record, kw_only=True, frozen=True, omit_defaults=True):
    """A withheld notice."""

    table: ClassVar[Table] = Table.WITHHELD_ROOM_KEYS

    code: str
    reason: str | None = None
    """A text for people, as its sender has written it."""


NoticeName: TypeAlias = tuple[RoomId, MegolmSessionId, UserId]
"""The session, and the user who withholds its key."""


class WithheldNameRecord(Record, kw_only=True, frozen=True):
    """That there is a withheld notice, and whose."""

    table: ClassVar[Table] = Table.WITHHELD_NAMES

    room_id: RoomId
    session_id: MegolmSessionId
    sender: UserId
    number: int
    """Of the notice in its store: they go in this order."""


class MessageIndicesRecord(Record, kw_only=True, frozen=True):
    """A block of message indices that were used."""

    table: ClassVar[Table] = Table.MESSAGE_INDICES

    number: int
    """Which block it is."""
    events: dict[int, str]
    """Hashes of event ids by index; see `EventHashes`."""
