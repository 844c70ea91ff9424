"""Messages about inbound group sessions: room keys, and decrypting room events with them."""

from __future__ import annotations

from typing import Literal, TypeAlias

import attrs

from ._errors import DecryptionError
from ._field_types import between, checked, not_empty
from ._ids import Curve25519Key, Ed25519Key, EventId, JsonObject, MegolmSessionId, RoomId, UserId
from ._message import Command, Procedure, Query
from ._senders import EncryptionInfo, RequiredTrust

RoomKeyChange: TypeAlias = Literal["new", "better", "known", "unconnected"]
"""``better``: starts at a lower index than our copy and connects to it. ``unconnected``: kept apart from our copy,
since nothing proves that it is the same ratchet; or it is the same, and another user says to have made it, or an export
says that others have."""


@attrs.frozen(kw_only=True, field_transformer=checked)
class AddRoomKey(Command[RoomKeyChange]):
    """Store one room key as if it had come in an ``m.room_key`` from the device with these keys.

    What is stored of the sender are claims: whose device that is shows when something is decrypted.

    Returns:
        RoomKeyChange

    Raises:
        RejectedRoomKey: Not a room key, or its id is not ``session_id``; the room or the sender is no text that UTF-8
            can hold; one of the sender's keys is none, or is this device's own, which sends itself none.
    """

    room_id: RoomId
    session_id: MegolmSessionId
    session_key: str = attrs.field(repr=False)
    """As in ``m.room_key``: signed by the session's own key."""
    sender_key: Curve25519Key
    sender_ed25519: Ed25519Key
    sender: UserId


@attrs.frozen(kw_only=True)
class RoomKeysImported:
    """What an import did."""

    total: int
    imported: int
    """New, or better than our copy."""
    rejected: int
    """Not a room key, or of the wrong shape."""


@attrs.frozen(kw_only=True, field_transformer=checked)
class ImportRoomKeys(Procedure[RoomKeysImported]):
    """Take in exported room keys (spec: Key export format), in steps that each are durable.

    Publishes `RoomKeyImportProgress`.

    Returns:
        RoomKeysImported: What an import did.
    """

    keys: tuple[JsonObject, ...] = attrs.field(repr=False)


@attrs.frozen(kw_only=True, field_transformer=checked)
class ImportKeyFile(Procedure[RoomKeysImported]):
    """Take in an encrypted key file (spec: Key exports).

    Returns:
        RoomKeysImported: What an import did.

    Raises:
        MalformedKeyFile: Not a key file, or one that asks for more than 10,000,000 rounds of PBKDF2.
        WrongPassphrase: The passphrase doesn't open it.
    """

    file: str = attrs.field(repr=False)
    passphrase: str = attrs.field(repr=False)


@attrs.frozen(kw_only=True, field_transformer=checked)
class ExportRoomKeys(Procedure[tuple[JsonObject, ...]]):
    """All room keys, each from its first known index (spec: Key export format).

    A key comes several times, the most trusted copy first, if several users are said to have made it, or if nobody can
    tell which of its copies is a forgery.

    Not a snapshot: others may add keys meanwhile.

    Returns:
        tuple[JsonObject, ...]
    """

    room_id: RoomId | None = None
    """Only this room's."""


@attrs.frozen(kw_only=True, field_transformer=checked)
class ExportKeyFile(Procedure[str]):
    """All room keys as an encrypted key file (spec: Key exports).

    Returns:
        str
    """

    passphrase: str = attrs.field(repr=False, validator=not_empty)
    """Must not be empty; else ValueError."""
    rounds: int = attrs.field(default=500_000, validator=between(1, 10_000_000))
    """Of PBKDF2: 1 to 10,000,000, as many as `ImportKeyFile` takes; else ValueError. Spec: 100,000 or more."""
    room_id: RoomId | None = None


@attrs.frozen(kw_only=True, slots=False)  # one for each event: with slots it takes longer to make
class DecryptedRoomEvent:
    """A room event in clear."""

    room_id: RoomId
    event_id: EventId
    type: str
    content: JsonObject = attrs.field(repr=False)
    """``m.relates_to`` may come from the event's clear part, if the encrypted one has none: then it is the homeserver's
    word."""
    session_id: MegolmSessionId
    message_index: int
    encryption_info: EncryptionInfo
    """Who sent it, as far as is known now."""


@attrs.frozen(kw_only=True, field_transformer=checked)
class DecryptRoomEvent(Query[DecryptedRoomEvent]):
    """Decrypt one room event.

    Returns:
        DecryptedRoomEvent: A room event in clear.

    Raises:
        MissingRoomKey: Its session's key hasn't come.
        RoomKeyWithheld: Nor will it, the sender said.
        UnknownMessageIndex: It was sent before our copy of the key begins.
        ReplayedMessage: Its message index was used by another event.
        MismatchedRoom: It was encrypted for another room.
        MismatchedSender: The event's sender never said that the room key is theirs; others did.
        UntrustedSender: Who sent it is less trusted than ``required_trust``.
        MalformedMessage: The wrong shape, no ``event_id``, or a MAC or signature that doesn't hold.
    """

    room_id: RoomId
    """The room that the event came from, by the sync response, not by the event."""
    event: JsonObject = attrs.field(repr=False)
    required_trust: RequiredTrust = RequiredTrust.ANY


@attrs.frozen(kw_only=True, field_transformer=checked)
class DecryptRoomEvents(Query[tuple[DecryptedRoomEvent | DecryptionError, ...]]):
    """Decrypt many room events, each apart; an error stands in the place of what can't be decrypted.

    Returns:
        tuple[DecryptedRoomEvent | DecryptionError, ...]
    """

    events: tuple[tuple[RoomId, JsonObject], ...] = attrs.field(repr=False)
    required_trust: RequiredTrust = RequiredTrust.ANY


@attrs.frozen(kw_only=True, field_transformer=checked)
class EncryptionInfoOf(Query[EncryptionInfo]):
    """Who encrypted the events of a session, as far as is known now; nothing is decrypted again.

    What `DecryptedRoomEvent.encryption_info` says changes when a device becomes known or goes, and when somebody's
    identity is verified, or replaced. Subscribe to `DevicesChanged`, `DeviceTrustChanged` and `IdentitiesChanged`, and
    ask again.

    Returns:
        EncryptionInfo

    Raises:
        MissingRoomKey: There is no such session.
        MismatchedSender: That user never said that the room key is theirs; others did.
    """

    room_id: RoomId
    session_id: MegolmSessionId
    """`DecryptedRoomEvent.session_id`."""
    sender: UserId
    """The events'."""
