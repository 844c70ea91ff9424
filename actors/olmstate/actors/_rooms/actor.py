"""The outbound group sessions actor owns the sessions that we encrypt to rooms with, and who was given their keys.

Its invariants:

- A message index is used once. Indices are *reserved*: a turn stores, durably, that those below
  `OutboundSession.reserved` may have been used; only then does this process use them, one after another, without the
  lock and without a commit. A process that loads the session, after a crash or beside this one, goes on behind the
  reserved ones.
- What is reserved stays ours when others write: an invalidation drops the cached row, not the reservation. It ends
  with its session, or with its *epoch*: exporting the key begins a new one, so that no message with an index before
  the exported one is sent after it, which the new recipient could not read.
- Nothing is encrypted on a session that is due for rotation, or that was not marked as shared.
- Which device may have the key is recorded before the key leaves, and with which identity key: the key was *offered*
  to that device. That the device has it is recorded only once the server has taken it. The first decides whether the
  session must be replaced when the device has left, the second whether the device must be sent the key again.

One session a room. Its recipients are in a table of their own, so that a message doesn't rewrite a thousand of them;
there the partition is (room, session).
"""

from __future__ import annotations

from collections.abc import Collection, Iterable, Mapping, Sequence
from operator import attrgetter
from typing import ClassVar, TypeAlias, assert_never

import attrs
import msgspec
from vodozemac import GroupSession, InboundGroupSession, SessionKey

from olmstate.actors._engine.actor import Actor, Environment, Invalidate, Notice, RolledBack, Wanted
from olmstate.actors._engine.cache import Cache
from olmstate.actors._engine.records import dumps, loads, restore
from olmstate.actors._wire.quiet_struct import QuietStruct
from olmstate.actors._wire.room_event import MegolmCiphertext
from olmstate.actors._wire.steps import Steps
from olmstate.messages import (
    Curve25519Key,
    DeviceAddress,
    DeviceKeys,
    EncryptionSettings,
    MegolmSessionId,
    Message,
    OutboundRoomKey,
    Query,
    Reply,
    RoomId,
    RoomKeyNotShared,
    RoomKeyReplaced,
    RotationPeriod,
)
from olmstate.storage import Row, RowReader, Table

from .stored import OutboundSessionRecord, RecipientsRecord, RotationRecord

RECIPIENTS_AT_ONCE = 250
"""Compared without giving other tasks a chance: half a millisecond."""
FIRST_RESERVED = 1
LEAST_RESERVED = 8
MOST_RESERVED = 512
"""Indices reserved at a time: a process's first is for the one event that many a program sends; then twice as many each
time, but few while others send too, since what a crash or another process skips counts for rotation."""


# --- what is stored -----------------------------------------------------------------------------------------


class OutboundSession(QuietStruct, kw_only=True, frozen=True):
    """A room's outbound session."""

    pickle: str
    """At some index that is not above ``reserved``."""
    session_id: MegolmSessionId
    made: int
    """Milliseconds since 1970."""
    rotation: RotationPeriod
    shared: bool = False
    """Whether `MarkShared` was ever sent for it."""
    reserved: int = 0
    """Every index below may have been used."""
    epoch: int = 0
    """Reservations of earlier epochs are void."""
    shared_history: bool = False
    """Whether its key may be given to those who join later."""

    def expired(self, now: int) -> bool:
        """Whether its time is up (spec: m.room.encryption).

        So is that of one from the future: the clock was set back, and how old the session is isn't known.
        """
        return not 0 <= now - self.made < self.rotation.milliseconds


class _SessionCodec:
    def decode(self, partition: bytes, rows: Sequence[Row]) -> OutboundSession | None:  # noqa: ARG002 - one row at most
        if not rows:
            return None
        record = loads(rows[0], OutboundSessionRecord)
        period = record.rotation
        rotation = restore(record.table, RotationPeriod, messages=period.messages, milliseconds=period.milliseconds)
        return OutboundSession(
            pickle=record.pickle,
            session_id=record.session_id,
            made=record.made,
            rotation=rotation,
            shared=record.shared,
            reserved=record.reserved,
            epoch=record.epoch,
            shared_history=record.shared_history,
        )

    def encode(self, partition: bytes, entry: OutboundSession | None) -> Iterable[Row]:
        yield Row(partition, partition, None if entry is None else dumps(_record(entry)))


def _record(session: OutboundSession) -> OutboundSessionRecord:
    rotation = RotationRecord(messages=session.rotation.messages, milliseconds=session.rotation.milliseconds)
    return OutboundSessionRecord(
        pickle=session.pickle,
        session_id=session.session_id,
        made=session.made,
        rotation=rotation,
        shared=session.shared,
        reserved=session.reserved,
        epoch=session.epoch,
        shared_history=session.shared_history,
    )


@attrs.define(kw_only=True)
class Reservation:
    """Indices that only this process may use: from its session's present one up to ``limit``."""

    session: GroupSession
    session_id: MegolmSessionId
    epoch: int
    limit: int
    size: int
    """How many the last reservation was made for."""

    @property
    def left(self) -> int:
        """How many may still be used."""
        return self.limit - self.session.message_index


@attrs.define(kw_only=True)
class Recipients:
    """Everybody that was given a session's key."""

    offered: dict[DeviceAddress, Curve25519Key] = attrs.field(factory=dict[DeviceAddress, Curve25519Key])
    """Who may have it, by the identity key to which it was encrypted."""
    session_keys: dict[DeviceAddress, str] = attrs.field(factory=dict[DeviceAddress, str], repr=False)
    """From which index on each may have it: as it was encrypted. Early versions didn't keep it."""
    devices: set[DeviceAddress] = attrs.field(factory=set[DeviceAddress])
    """Who is marked to have it."""
    told: dict[DeviceAddress, str] = attrs.field(factory=dict[DeviceAddress, str])
    """Who was told that they don't get it, and the code that says why."""
    rows: dict[bytes, bytes | None] = attrs.field(factory=dict[bytes, bytes | None])
    """Stored rows by key; a value where it must be written, None where it is."""
    gone: bool = False
    """The session was replaced: nobody asks for its recipients any more."""


_name = attrgetter("user_id", "device_id")


class _RecipientsCodec:
    def __init__(self, store: RowReader) -> None:
        self._store = store

    def decode(self, partition: bytes, rows: Sequence[Row]) -> Recipients:  # noqa: ARG002 - rows know it
        recipients = Recipients()
        self.add(recipients, rows)
        return recipients

    def add(self, entry: Recipients, rows: Sequence[Row]) -> None:
        for row in rows:
            record = loads(row, RecipientsRecord)
            entry.rows[row.key] = None
            offered = {
                DeviceAddress(user_id=user_id, device_id=device_id): key for user_id, device_id, key in record.offered
            }
            entry.offered.update(offered)
            if record.session_key:
                entry.session_keys.update(dict.fromkeys(offered, record.session_key))
            entry.devices.update(
                DeviceAddress(user_id=user_id, device_id=device_id) for user_id, device_id in record.devices
            )
            entry.told.update(
                (DeviceAddress(user_id=user_id, device_id=device_id), code)
                for user_id, device_id, code in record.withheld
            )

    def encode(self, partition: bytes, entry: Recipients) -> Iterable[Row]:
        for key, value in entry.rows.items():
            if entry.gone:
                yield Row(key, partition, None)
            elif value is not None:
                yield Row(key, partition, value)
        entry.rows = {} if entry.gone else dict.fromkeys(entry.rows)

    def record(
        self,
        partition: bytes,
        entry: Recipients,
        *,
        offered: Mapping[DeviceAddress, Curve25519Key] | None = None,
        session_key: str = "",
        devices: Collection[DeviceAddress] = (),
        told: Mapping[DeviceAddress, str] | None = None,
    ) -> None:
        """Record more of them, as one more row."""
        offered, told = offered or {}, told or {}
        row = RecipientsRecord(
            offered=[(device.user_id, device.device_id, offered[device]) for device in sorted(offered, key=_name)],
            devices=[(device.user_id, device.device_id) for device in sorted(devices, key=_name)],
            session_key=session_key,
            withheld=[(device.user_id, device.device_id, told[device]) for device in sorted(told, key=_name)],
        )
        key = self._store.key(Table.ROOM_KEY_RECIPIENTS, partition.hex(), str(len(entry.rows)))
        entry.rows[key] = dumps(row)
        entry.offered.update(offered)
        if session_key:
            entry.session_keys.update(dict.fromkeys(offered, session_key))
        entry.devices.update(devices)
        entry.told.update(told)


# --- what it is asked ---------------------------------------------------------------------------------------


class CurrentSession(QuietStruct, kw_only=True, frozen=True):
    """A room's session that may still be used."""

    session_id: MegolmSessionId
    shared_with: frozenset[DeviceAddress]
    offered: Mapping[DeviceAddress, Curve25519Key]
    """See `Recipients`; not to be changed."""
    told: Mapping[DeviceAddress, str]
    """The same, of who was told that they don't get the key."""
    shared: bool
    """Whether it may be used."""

    def is_known_to_others(
        self, wanted: Collection[DeviceAddress], known: Mapping[DeviceAddress, DeviceKeys]
    ) -> Steps[bool]:
        """Whether somebody may have the key who is not ``wanted``: not any more, or with other keys than are known."""
        for number, (address, key) in enumerate(list(self.offered.items()), 1):
            if address not in wanted or (address in known and known[address].curve25519 != key):
                return True
            if number % RECIPIENTS_AT_ONCE == 0:
                yield
        for number, address in enumerate(self.shared_with, 1):
            if address not in wanted:
                return True
            if number % RECIPIENTS_AT_ONCE == 0:
                yield
        return False


class Current(QuietStruct, Message[CurrentSession | None], kw_only=True, frozen=True):
    """The room's session, if there is one that may still be used, and was made by these settings."""

    room_id: RoomId
    rotation: RotationPeriod | None
    """None: it may be any; so with the next."""
    shared_history: bool | None
    now: int
    """Milliseconds since 1970."""


class Export(QuietStruct, Message[OutboundRoomKey | None], kw_only=True, frozen=True):
    """The key of the room's session, from the first index that nobody uses any more; None if it has none."""

    room_id: RoomId


class Replace(QuietStruct, Message[OutboundRoomKey], kw_only=True, frozen=True):
    """Make a new session for the room."""

    room_id: RoomId
    now: int
    settings: EncryptionSettings


class Discard(QuietStruct, Message[None], kw_only=True, frozen=True):
    """Forget the room's session."""

    room_id: RoomId
    session_id: MegolmSessionId | None = None
    """Only this one; None: whichever it is."""


class Offer(QuietStruct, Message[None], kw_only=True, frozen=True):
    """The key is about to be sent to these devices, encrypted to these identity keys."""

    room_id: RoomId
    session_id: MegolmSessionId
    devices: Mapping[DeviceAddress, Curve25519Key]
    session_key: str
    """What they are sent."""


class Withhold(QuietStruct, Message[None], kw_only=True, frozen=True):
    """Devices are about to be told that they don't get the key, and why."""

    room_id: RoomId
    session_id: MegolmSessionId
    codes: Mapping[DeviceAddress, str]


class Offered(QuietStruct, Message[OutboundRoomKey | None], kw_only=True, frozen=True):
    """The key as it was first offered to a device with that identity key; None if the room has another session now."""

    room_id: RoomId
    session_id: MegolmSessionId
    device: DeviceAddress
    curve25519: Curve25519Key


class MarkShared(QuietStruct, Message[None], kw_only=True, frozen=True):
    """The server has taken the key for these devices."""

    room_id: RoomId
    session_id: MegolmSessionId
    devices: frozenset[DeviceAddress]
    keys: Mapping[DeviceAddress, Curve25519Key] = msgspec.field(default_factory=dict[DeviceAddress, Curve25519Key])
    """What is known of them now: counts for those of which no `Offer` says to which key it was."""
    all_delivered: bool = True
    """Whether nothing more of it is on its way: from then on, the session may be used."""


class Encrypt(QuietStruct, Message[MegolmCiphertext], kw_only=True, frozen=True):
    """Encrypt on the room's session; reserves indices if none are left."""

    room_id: RoomId
    plaintext: bytes
    now: int
    session_id: MegolmSessionId | None = None
    """Only on this one."""


class EncryptReserved(QuietStruct, Query[tuple[MegolmCiphertext | None, ...]], kw_only=True, frozen=True):
    """Encrypt each on its room's session with a reserved index; None for one that needs a turn."""

    events: tuple[tuple[RoomId, bytes, MegolmSessionId | None], ...]
    """Room, plaintext, and the session on which it must be, if any."""
    now: int
    seen: int
    """The generation that the asker's look has found; whatever was learnt of since needs a turn."""


class LoadSession(QuietStruct, Query[None], kw_only=True, frozen=True):
    """Have the room's session loaded, for `EncryptReserved`."""

    room_id: RoomId


class GiveBack(QuietStruct, Message[None], kw_only=True, frozen=True):
    """Give back what is reserved and was not used."""


Asked: TypeAlias = (
    Current
    | Export
    | Offered
    | Withhold
    | Replace
    | Discard
    | Offer
    | MarkShared
    | Encrypt
    | EncryptReserved
    | LoadSession
    | GiveBack
)


class OutboundGroupSessionsActor(Actor[Asked]):
    """Owns the sessions that we encrypt to rooms with, and who was given their keys."""

    name: ClassVar[str] = "outbound_group_sessions"

    def __init__(self, environment: Environment) -> None:
        """It has loaded and reserved nothing."""
        store, capacity = environment.store, environment.capacity
        self._sessions = Cache[OutboundSession | None](
            Table.OUTBOUND_GROUP_SESSIONS, _SessionCodec(), capacity(Table.OUTBOUND_GROUP_SESSIONS)
        )
        self._recipients_codec = _RecipientsCodec(store)
        self._recipients = Cache[Recipients](
            Table.ROOM_KEY_RECIPIENTS, self._recipients_codec, capacity(Table.ROOM_KEY_RECIPIENTS)
        )
        self._reserved: dict[bytes, Reservation] = {}
        self._tentative: set[bytes] = set()
        """Reservations that this turn has made or renewed."""
        super().__init__(environment, [self._sessions, self._recipients])

    def _partition(self, room_id: RoomId) -> bytes:
        return self._store.key(Table.OUTBOUND_GROUP_SESSIONS, room_id)

    def _recipients_partition(self, room_id: RoomId, session_id: MegolmSessionId) -> bytes:
        return self._store.key(Table.ROOM_KEY_RECIPIENTS, room_id, session_id)

    def wanted(self, message: Asked) -> Wanted:
        """The room's session, and its recipients where they matter."""
        if isinstance(message, GiveBack):
            yield self._sessions, list(self._reserved)
            return
        if isinstance(message, EncryptReserved):
            yield (
                self._sessions,
                [self._partition(room_id) for room_id in {room_id for room_id, _, _ in message.events}],
            )
            return
        partition = self._partition(message.room_id)
        yield self._sessions, [partition]
        if not isinstance(message, Encrypt | LoadSession):
            session = self._sessions.peek(partition, committed=False)
            if session is not None:
                yield self._recipients, [self._recipients_partition(message.room_id, session.session_id)]

    def handle(self, message: Asked) -> Reply:  # noqa: C901, PLR0912 - one case a message
        """Answer one message."""
        match message:
            case Current():
                return message.reply(self._current(message))
            case Export():
                return message.reply(self._export(message))
            case Offered():
                return message.reply(self._offered(message))
            case Withhold():
                self._withhold(message)
                return message.reply(None)
            case Replace():
                return message.reply(self._replace(message))
            case Discard():
                self._discard(message)
                return message.reply(None)
            case Offer():
                self._offer(message)
                return message.reply(None)
            case MarkShared():
                self._mark_shared(message)
                return message.reply(None)
            case Encrypt():
                return message.reply(self._encrypt(message))
            case EncryptReserved():
                return message.reply(tuple(self._encrypt_reserved(message)))
            case LoadSession():
                return message.reply(None)
            case GiveBack():
                self._give_back()
                return message.reply(None)
            case _:
                assert_never(message)

    def noticed(self, notice: Notice) -> None:
        """Forget what was reserved by a turn that has failed."""
        if isinstance(notice, Invalidate):
            return  # what is reserved is no cached copy
        if isinstance(notice, RolledBack):
            # what they were reserved by is not on the disk; indices that the turn has used are skipped
            for partition in self._tentative:
                self._reserved.pop(partition, None)
        self._tentative.clear()

    # --- sharing --------------------------------------------------------------------------------------------

    def _current(self, asked: Current) -> CurrentSession | None:
        partition = self._partition(asked.room_id)
        session = self._sessions.current(partition)
        if session is None or session.expired(asked.now) or not self._unused(partition, session):
            return None
        if asked.rotation not in (None, session.rotation) or asked.shared_history not in (None, session.shared_history):
            return None
        recipients = self._recipients.current(self._recipients_partition(asked.room_id, session.session_id))
        return CurrentSession(
            session_id=session.session_id,
            shared_with=frozenset(recipients.devices),
            offered=recipients.offered,
            told=recipients.told,
            shared=session.shared,
        )

    def _unused(self, partition: bytes, session: OutboundSession) -> bool:
        """Whether an index is left before the session is due for rotation by count."""
        return self._usable(partition, session) is not None or session.reserved < session.rotation.messages

    def _export(self, asked: Export) -> OutboundRoomKey | None:
        partition = self._partition(asked.room_id)
        session = self._sessions.current(partition)
        if session is None:
            return None
        own = self._reserved.get(partition)
        if own is None or not _goes_on(own, session):
            own = self._unpickle(session)
        before = self._reserved.get(partition)
        own = attrs.evolve(own, epoch=session.epoch + 1, size=0 if before is None else before.size)
        self._reserve(partition, own)
        self._sessions.put(partition, msgspec.structs.replace(session, epoch=own.epoch))
        return self._room_key(asked.room_id, session, own.session)

    def _replace(self, asked: Replace) -> OutboundRoomKey:
        self._forget_recipients(asked.room_id)
        partition = self._partition(asked.room_id)
        new = GroupSession()
        session = OutboundSession(
            pickle=new.pickle(self._store.pickle_key),
            session_id=MegolmSessionId(new.session_id),
            made=asked.now,
            rotation=asked.settings.rotation,
            shared_history=asked.settings.shared_history,
        )
        self._sessions.put(partition, session)
        self._recipients.put(self._recipients_partition(asked.room_id, session.session_id), Recipients())
        return self._room_key(asked.room_id, session, new)

    def _discard(self, asked: Discard) -> None:
        partition = self._partition(asked.room_id)
        session = self._sessions.current(partition)
        if session is not None and asked.session_id in (None, session.session_id):
            self._forget_recipients(asked.room_id)
            self._sessions.put(partition, None)

    def _room_key(self, room_id: RoomId, stored: OutboundSession, session: GroupSession) -> OutboundRoomKey:
        recipients = self._recipients.current(self._recipients_partition(room_id, stored.session_id))
        return OutboundRoomKey(
            room_id=room_id,
            session_id=stored.session_id,
            session_key=session.session_key.to_base64(),
            message_index=session.message_index,
            shared_with=frozenset(recipients.devices),
            shared_history=stored.shared_history,
        )

    def _forget_recipients(self, room_id: RoomId) -> None:
        session = self._sessions.current(self._partition(room_id))
        if session is not None:
            self._recipients.change(self._recipients_partition(room_id, session.session_id)).gone = True

    def _offer(self, asked: Offer) -> None:
        session = self._sessions.current(self._partition(asked.room_id))
        if session is None or session.session_id != asked.session_id:
            return  # another's write was seen since this turn had it: it is fenced
        partition = self._recipients_partition(asked.room_id, asked.session_id)
        known = self._recipients.current(partition).offered
        new = {device: key for device, key in asked.devices.items() if known.get(device) != key}
        if new:
            self._recipients_codec.record(
                partition, self._recipients.change(partition), offered=new, session_key=asked.session_key
            )

    def _withhold(self, asked: Withhold) -> None:
        session = self._sessions.current(self._partition(asked.room_id))
        if session is None or session.session_id != asked.session_id:
            return  # as above
        partition = self._recipients_partition(asked.room_id, asked.session_id)
        self._recipients_codec.record(partition, self._recipients.change(partition), told=asked.codes)

    def _offered(self, asked: Offered) -> OutboundRoomKey | None:
        session = self._sessions.current(self._partition(asked.room_id))
        if session is None or session.session_id != asked.session_id:
            return None
        recipients = self._recipients.current(self._recipients_partition(asked.room_id, asked.session_id))
        session_key = recipients.session_keys.get(asked.device)
        if session_key is None or recipients.offered.get(asked.device) != asked.curve25519:
            return None
        known = restore(Table.ROOM_KEY_RECIPIENTS, SessionKey, session_key)
        return OutboundRoomKey(
            room_id=asked.room_id,
            session_id=asked.session_id,
            session_key=session_key,
            message_index=InboundGroupSession(known).first_known_index,
            shared_with=frozenset(recipients.devices),
            shared_history=session.shared_history,
        )

    def _mark_shared(self, asked: MarkShared) -> None:
        session = self._sessions.current(self._partition(asked.room_id))
        if session is None or session.session_id != asked.session_id:
            raise RoomKeyReplaced(room_id=asked.room_id, session_id=asked.session_id)
        partition = self._recipients_partition(asked.room_id, asked.session_id)
        recipients = self._recipients.current(partition)
        new = asked.devices - recipients.devices
        if new:
            offered = {device: key for device, key in asked.keys.items() if device not in recipients.offered}
            self._recipients_codec.record(partition, self._recipients.change(partition), offered=offered, devices=new)
        if not session.shared and asked.all_delivered:
            self._sessions.put(self._partition(asked.room_id), msgspec.structs.replace(session, shared=True))

    # --- encrypting -----------------------------------------------------------------------------------------

    def _encrypt(self, asked: Encrypt) -> MegolmCiphertext:
        partition = self._partition(asked.room_id)
        session = self._sessions.current(partition)
        if asked.session_id is not None and (session is None or session.session_id != asked.session_id):
            raise RoomKeyReplaced(room_id=asked.room_id, session_id=asked.session_id)
        if session is None or not session.shared or session.expired(asked.now):
            raise RoomKeyNotShared(room_id=asked.room_id)
        own = self._usable(partition, session)
        if own is None:
            if session.reserved >= session.rotation.messages:
                raise RoomKeyNotShared(room_id=asked.room_id)
            own = self._reserve_more(partition, session)
        return _encrypt_on(own, asked.plaintext)

    def _encrypt_reserved(self, asked: EncryptReserved) -> Iterable[MegolmCiphertext | None]:
        # once for all: nothing waits until the last ciphertext, so nobody can end an epoch in between unseen
        fresh = asked.seen == self._newest.generation
        usable = {
            room_id: self._usable_beside(self._partition(room_id), asked.now) if fresh else None
            for room_id in {room_id for room_id, _, _ in asked.events}
        }
        for room_id, plaintext, session_id in asked.events:
            own = usable[room_id]
            if own is not None and own.left > 0 and session_id in (None, own.session_id):
                yield _encrypt_on(own, plaintext)
            else:
                yield None

    def _usable_beside(self, partition: bytes, now: int) -> Reservation | None:
        """What may be used outside a turn."""
        session = self._sessions.committed(partition)
        if partition in self._tentative or session is None or not session.shared or session.expired(now):
            return None
        return self._usable(partition, session)

    def _usable(self, partition: bytes, session: OutboundSession) -> Reservation | None:
        own = self._reserved.get(partition)
        if own is None or (own.session_id, own.epoch) != (session.session_id, session.epoch) or own.left <= 0:
            return None
        return own

    def _reserve_more(self, partition: bytes, session: OutboundSession) -> Reservation:
        own = self._reserved.get(partition)
        size = FIRST_RESERVED if own is None else max(FIRST_RESERVED, own.size * 2)
        if own is not None and _goes_on(own, session):
            # nobody else has reserved since we did: more at a time costs nobody anything
            size = min(size, MOST_RESERVED)
        else:
            own = self._unpickle(session)
            size = min(size, LEAST_RESERVED)
        pickle = own.session.pickle(self._store.pickle_key)
        limit = min(own.session.message_index + size, session.rotation.messages)
        own = attrs.evolve(own, limit=limit, size=size)
        self._reserve(partition, own)
        self._sessions.put(partition, msgspec.structs.replace(session, pickle=pickle, reserved=limit))
        return own

    def _unpickle(self, session: OutboundSession) -> Reservation:
        """The session at its first index that nobody has reserved; nothing is reserved by it yet."""
        loaded = restore(self._sessions.table, GroupSession.from_pickle, session.pickle, self._store.pickle_key)
        while loaded.message_index < session.reserved:
            loaded.encrypt(b"")  # the only way to move on; nobody ever sees it
        return Reservation(
            session=loaded,
            session_id=session.session_id,
            epoch=session.epoch,
            limit=session.reserved,
            size=0,
        )

    def _reserve(self, partition: bytes, own: Reservation) -> None:
        self._reserved[partition] = own
        self._tentative.add(partition)

    def before_closing(self) -> GiveBack | None:
        """Nobody else can use what is reserved."""
        return GiveBack() if self._reserved else None

    def _give_back(self) -> None:
        for partition, own in list(self._reserved.items()):
            session = self._sessions.current(partition)
            if session is not None and _goes_on(own, session) and own.left > 0:
                pickle = own.session.pickle(self._store.pickle_key)
                self._sessions.put(
                    partition, msgspec.structs.replace(session, pickle=pickle, reserved=own.session.message_index)
                )
            del self._reserved[partition]


def _goes_on(own: Reservation, session: OutboundSession) -> bool:
    """Whether nobody has reserved, exported or rotated since ``own`` was reserved."""
    return (own.session_id, own.epoch, own.limit) == (session.session_id, session.epoch, session.reserved)


def _encrypt_on(own: Reservation, plaintext: bytes) -> MegolmCiphertext:
    index = own.session.message_index
    return MegolmCiphertext(
        ciphertext=own.session.encrypt(plaintext).to_base64(), session_id=own.session_id, message_index=index
    )
