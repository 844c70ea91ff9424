"""Messages about outbound group sessions: encrypting to rooms and sharing the key for it."""

from __future__ import annotations

import enum
from typing import TypeGuard, cast

import attrs

from ._devices import DeviceAddress
from ._errors import EncryptionError
from ._field_types import between, checked, not_negative
from ._ids import JsonObject, MegolmSessionId, RoomId, UserId
from ._message import Command, Procedure, Query
from ._requests import Request

_LARGEST = 2**53 - 1
"""Of numbers in events (spec: Canonical JSON)."""

_LEAST_MILLISECONDS = 60_000
"""That a room can ask for."""


def _is_usable(value: object) -> TypeGuard[int]:
    # JSON's true would be taken for 1
    return isinstance(value, int) and not isinstance(value, bool) and 1 <= value <= _LARGEST


def _object_or_empty(content: object) -> JsonObject:
    # a homeserver may send anything in a content's place, or nothing
    return cast("JsonObject", content) if isinstance(content, dict) else {}


@attrs.frozen(kw_only=True, field_transformer=checked)
class RotationPeriod:
    """When an outbound session is due for replacement (spec: m.room.encryption).

    A number that isn't from 1 to 2**53 - 1 is a ValueError. What a room says may be none: `from_content` looks.
    """

    messages: int = attrs.field(default=100, validator=between(1, _LARGEST))
    """``rotation_period_msgs``."""
    milliseconds: int = attrs.field(default=604_800_000, validator=between(1, _LARGEST))
    """``rotation_period_ms``."""

    @classmethod
    def from_content(cls, content: JsonObject) -> RotationPeriod:
        """What ``content`` of a room's ``m.room.encryption`` asks for.

        Whoever may set it can write anything there: what is no number that can be used counts as not said, and so does
        all that is in no object. Less than a minute is a minute, since a key must be delivered before it is used.
        """
        said = _object_or_empty(content)
        chosen = {"messages": said.get("rotation_period_msgs"), "milliseconds": said.get("rotation_period_ms")}
        usable = {field: value for field, value in chosen.items() if _is_usable(value)}
        if "milliseconds" in usable:
            usable["milliseconds"] = max(usable["milliseconds"], _LEAST_MILLISECONDS)
        return cls(**usable)


@attrs.define(kw_only=True, eq=False)
class SharingRefused(EncryptionError):
    """The strategy of sharing refuses to send: see `SharingStrategy`. The room's key was sent to nobody."""


@attrs.define(kw_only=True, eq=False)
class CrossSigningNotSetUp(SharingRefused):
    """Our user has no cross-signing identity that is known here: see `BootstrapCrossSigning`."""

    text = "the own user has no cross-signing identity"


@attrs.define(kw_only=True, eq=False)
class SendingFromUnsignedDevice(SharingRefused):
    """This device isn't cross-signed by its user, as far as the homeserver shows: others would refuse its keys."""

    text = "this device is not cross-signed by its user"


@attrs.define(kw_only=True, eq=False)
class VerifiedUserHasUnsignedDevice(SharingRefused):
    """Verified users have devices that they haven't signed. Block or ignore each: see `SetDeviceTrust`."""

    text = "verified users have devices that they have not signed: {devices}"
    devices: tuple[DeviceAddress, ...]


@attrs.define(kw_only=True, eq=False)
class VerifiedUserChangedIdentity(SharingRefused):
    """Users who were verified have another identity now. Verify it, or send `WithdrawVerification`."""

    text = "the identities of verified users have changed: {users}"
    users: tuple[UserId, ...]


class SharingStrategy(enum.StrEnum):
    """Which devices of a room's members get its key. One that is blocked never does: see `SetDeviceTrust`.

    "Signed" is a device that its owner has cross-signed; "verified" a user whose present identity is
    `IdentityState.VERIFIED`. Who is left out is told so once, by an ``m.room_key.withheld``. If a device has the key,
    and the strategy refuses it by now, the room gets a new key.
    """

    ALL_DEVICES = "all_devices"
    """All of them."""
    ERROR_ON_VERIFIED_USER_PROBLEM = "error_on_verified_user_problem"
    """All of them. But if a verified user has a device that isn't signed, and of which nothing was decided, that is
    `VerifiedUserHasUnsignedDevice`; a user who was verified and isn't any more, `VerifiedUserChangedIdentity`."""
    IDENTITY_BASED = "identity_based"
    """Those that are signed (MSC4153). `CrossSigningNotSetUp` or `SendingFromUnsignedDevice` if this one isn't; a user
    who was verified and isn't any more is `VerifiedUserChangedIdentity`."""
    ONLY_TRUSTED_DEVICES = "only_trusted_devices"
    """Signed ones of verified users, and those that were verified or are ignored by themselves."""


@attrs.frozen(kw_only=True, field_transformer=checked)
class EncryptionSettings:
    """What a room says of its encryption."""

    algorithm: str = "m.megolm.v1.aes-sha2"
    rotation: RotationPeriod = RotationPeriod()
    shared_history: bool = False
    """Whether who joins later may read what was sent before: its history is visible to them (spec: Shareable encryption
    sessions)."""

    @classmethod
    def from_content(cls, encryption: JsonObject, history_visibility: JsonObject | None = None) -> EncryptionSettings:
        """What the contents of ``m.room.encryption`` and of ``m.room.history_visibility`` say; see `RotationPeriod`."""
        algorithm = _object_or_empty(encryption).get("algorithm")
        visible = _object_or_empty(history_visibility).get("history_visibility")
        return cls(
            algorithm=algorithm if isinstance(algorithm, str) else "",
            rotation=RotationPeriod.from_content(encryption),
            shared_history=visible in ("shared", "world_readable"),
        )


@attrs.define(kw_only=True, eq=False)
class UnsupportedAlgorithm(EncryptionError):
    """A room asks for an algorithm that olmstate doesn't know. Nothing must be sent there but by it."""

    text = "{room_id} asks for an algorithm that is not supported"
    room_id: RoomId
    algorithm: str


@attrs.frozen(kw_only=True, field_transformer=checked)
class RoomSettings(Query[EncryptionSettings | None]):
    """A room's settings; None if nobody has said that it is encrypted. Once it is, it stays so.

    Returns:
        EncryptionSettings | None
    """

    room_id: RoomId


@attrs.frozen(kw_only=True, field_transformer=checked)
class SetRoomSettings(Command[None]):
    """Remember what a room says of its encryption: `EncryptionSettings.from_content`. `ReceiveSync` does so by itself.

    They count where no ``rotation`` is given. If they change, the room gets a new key before anything more is sent.

    Returns:
        None: It was done, and is on the disk.

    Raises:
        UnsupportedAlgorithm: The settings that are known stay.
    """

    room_id: RoomId
    settings: EncryptionSettings


@attrs.frozen(kw_only=True)
class OutboundRoomKey:
    """The key of a room's present outbound session, as one would share it now."""

    room_id: RoomId
    session_id: MegolmSessionId
    session_key: str = attrs.field(repr=False)
    message_index: int
    """The first index that ``session_key`` decrypts."""
    shared_with: frozenset[DeviceAddress]
    """Devices that have it, whatever keys they had then: only `ShareRoomKey` compares those."""
    shared_history: bool = False
    """See `EncryptionSettings`."""

    @property
    def content(self) -> JsonObject:
        """``content`` of the ``m.room_key`` event (spec: m.room_key)."""
        content: JsonObject = {
            "algorithm": "m.megolm.v1.aes-sha2",
            "room_id": self.room_id,
            "session_id": self.session_id,
            "session_key": self.session_key,
        }
        if self.shared_history:
            # the spec's name, and the one that the Rust SDK reads
            content |= {"shared_history": True, "m.shared_history": True}
        return content


@attrs.frozen(kw_only=True, field_transformer=checked)
class PrepareRoomKey(Command[OutboundRoomKey]):
    """The room's outbound session, made or rotated first if there is none that may still be used.

    A new session's inbound counterpart is stored with it, so that every process can read what was sent.

    Returns:
        OutboundRoomKey: The key of a room's present outbound session, as one would share it now.

    Raises:
        NoAccount: The store is empty.
        MalformedContent: ``room_id`` has a lone surrogate.
    """

    room_id: RoomId
    rotation: RotationPeriod | None = None
    """None: as the room says; see `RoomSettings`."""


@attrs.frozen(kw_only=True, field_transformer=checked)
class RotateRoomKey(Command[OutboundRoomKey]):
    """Replace the room's outbound session by a new one now, as when a member or a device has left.

    Returns:
        OutboundRoomKey: The key of a room's present outbound session, as one would share it now.

    Raises:
        NoAccount: The store is empty.
        MalformedContent: ``room_id`` has a lone surrogate.
    """

    room_id: RoomId
    rotation: RotationPeriod | None = None
    """None: as the room says; see `RoomSettings`."""


@attrs.frozen(kw_only=True, field_transformer=checked)
class DiscardRoomKey(Command[None]):
    """Forget the room's outbound session; the next `PrepareRoomKey` or `ShareRoomKey` makes a new one.

    Returns:
        None: It was done, and is on the disk.
    """

    room_id: RoomId


@attrs.frozen(kw_only=True)
class RoomKeyShare:
    """What to send so that the devices can read the room's next messages."""

    session_id: MegolmSessionId
    requests: tuple[Request, ...]
    """This process's that carry the key and wait for an answer, of at most 250 devices each; also those of earlier
    shares, and of processes that have died. They are among `OutgoingRequests`, too."""
    elsewhere: bool
    """Another process is sending some, which the key has to wait for."""
    withheld: dict[DeviceAddress, str]
    """Whom the strategy leaves out, and the code of ``m.room_key.withheld`` that says why."""
    missing: tuple[DeviceAddress, ...]
    """Devices that are unknown or have no Olm session: claim a key of each (`MissingSessions`), and share again."""


@attrs.frozen(kw_only=True, field_transformer=checked)
class ShareRoomKey(Command[RoomKeyShare]):
    """Have the room's present key sent to each device that lacks it, step by step; `EncryptForRoom` takes all steps.

    ``users`` and ``devices`` are all that may read the room. If an earlier share was for a device that is not among
    them any more, or that has another identity key by now, the session is rotated first. The key is encrypted once to
    each device, in requests that are stored with the commit: whoever sends them, after a crash too, sends the same
    bytes under the same transaction id. Send each and answer it by `MarkRequestSent`; with a transport, that happens by
    itself. Once all are answered, `EncryptRoomEvent` may use the session; at once, if there is nobody to send it to.

    Devices that the strategy leaves out, or that have no Olm session (ask `MissingSessions` before), are told so once,
    by requests that are among `OutgoingRequests`.

    Returns:
        RoomKeyShare: What to send so that the devices can read the room's next messages.

    Raises:
        NoAccount: The store is empty.
        MalformedContent: ``room_id`` has a lone surrogate.
        SharingRefused: The strategy refuses to send.
    """

    room_id: RoomId
    users: tuple[UserId, ...] = ()
    """All their devices, as far as they are known, and if there are any users, our own user's other ones."""
    devices: tuple[DeviceAddress, ...] = ()
    """These, too."""
    rotation: RotationPeriod | None = None
    """Of a new session. None: as the room says; see `RoomSettings`."""
    strategy: SharingStrategy = SharingStrategy.ALL_DEVICES


@attrs.frozen(kw_only=True, field_transformer=checked)
class MarkRoomKeyShared(Command[None]):
    """These devices have the room key, which you have sent in a way of your own (`PrepareRoomKey`).

    From now on `EncryptRoomEvent` may use the session. ``devices`` may be empty: a room with nobody else in it, or
    nobody who can be reached. What `ShareRoomKey` has stored is marked by the answers to its requests.

    Returns:
        None: It was done, and is on the disk.

    Raises:
        RoomKeyReplaced: The room has another outbound session by now.
    """

    room_id: RoomId
    session_id: MegolmSessionId
    devices: tuple[DeviceAddress, ...]


@attrs.frozen(kw_only=True)
class EncryptedRoomEvent:
    """``content`` of an ``m.room.encrypted`` event, durable before you see it."""

    content: JsonObject = attrs.field(repr=False)
    session_id: MegolmSessionId
    message_index: int


@attrs.frozen(kw_only=True, field_transformer=checked)
class EncryptRoomEvent(Command[EncryptedRoomEvent]):
    """Encrypt an event to a room.

    Returns:
        EncryptedRoomEvent: ``content`` of an ``m.room.encrypted`` event, durable before you see it.

    Raises:
        NoAccount: The store is empty.
        RoomKeyNotShared: No session, or one that is due for rotation or not marked as shared.
        RoomKeyReplaced: The room has another session than ``session_id`` by now.
        MalformedContent: ``content`` is no JSON object that Matrix allows.
    """

    room_id: RoomId
    type: str
    content: JsonObject = attrs.field(repr=False)
    session_id: MegolmSessionId | None = None
    """Encrypt on this session only: the one whose key those have who are to read the event. None: whichever it is."""


@attrs.frozen(kw_only=True, field_transformer=checked)
class EncryptForRoom(Procedure[EncryptedRoomEvent]):
    """Encrypt an event so that all devices of a room's members can read it, and do all that this takes.

    Members whose devices are unknown or have changed are queried; one-time keys of devices without an Olm session are
    claimed; the room's key is made or replaced if it is due, or if somebody has it who is no member any more, and
    delivered to devices that lack it. What another process is doing of that is waited for, not repeated. If nothing
    has changed since the last time, nothing is asked, and it takes no longer than `EncryptRoomEvent`.

    A device that can't be reached, since its server is down or no key of it can be claimed, doesn't hold up the others.

    Returns:
        EncryptedRoomEvent: ``content`` of an ``m.room.encrypted`` event, durable before you see it.

    Raises:
        NoAccount: The store is empty.
        MalformedContent: ``content`` is no JSON object that Matrix allows.
        NoTransport: There is something to ask, and no transport: send `OutgoingRequests`, then ask again.
        RequestRefused: The homeserver refused a request.
        RequestDelayed: The room's key could not be delivered in time. It goes out once that is possible; ask again.
        RoomKeyNotShared: Others have replaced the room's key again and again.
        SharingRefused: The strategy refuses to send.
    """

    room_id: RoomId
    members: tuple[UserId, ...]
    """Who may read the event: joined members, and invited ones if the room's history is visible to them. The device's
    own user needn't be among them."""
    type: str
    content: JsonObject = attrs.field(repr=False)
    rotation: RotationPeriod | None = None
    """None: as the room says; see `RoomSettings`."""
    strategy: SharingStrategy = SharingStrategy.ALL_DEVICES
    patience: float = attrs.field(default=30.0, validator=not_negative)
    """Seconds to wait for each of the homeserver's answers."""
