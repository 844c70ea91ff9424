"""The outbound group sessions actor owns the sessions that we encrypt to rooms with, and who was given their keys.

Its invariants:

- A message index is used once: the session's step is in the commit that goes before its ciphertext's reply.
- Nothing is encrypted on a session that is due for rotation, or that was not marked as shared.
- A recipient is recorded only once the server has taken the room key for it.

One session a room. Its recipients are in a table of their own, so that a message doesn't rewrite a thousand of them;
there the partition is (room, session).
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from typing import Any, ClassVar, Generic, TypeAlias, TypeVar, assert_never, cast

import attrs
from vodozemac import GroupSession

from olmstate.messages import (
    DeviceAddress,
    DeviceId,
    MegolmSessionId,
    Message,
    OutboundRoomKey,
    Reply,
    RoomId,
    RoomKeyNotShared,
    RoomKeyReplaced,
    RotationPeriod,
    UserId,
)
from olmstate.storage import Row, RowReader, Table

from ._actor import Actor, Newest, Wanted
from ._cache import Cache
from ._records import dumps, loads

R = TypeVar("R")


# --- what is stored -----------------------------------------------------------------------------------------


@attrs.define(kw_only=True)
class _Record:
    """The stored form of a room's outbound session."""

    pickle: str = attrs.field(repr=False)
    made: int
    """Milliseconds since 1970."""
    rotation_messages: int
    rotation_milliseconds: int
    shared: bool
    """Whether `MarkShared` was ever sent for it."""


@attrs.define(kw_only=True)
class OutboundSession:
    """A room's outbound session."""

    session: GroupSession
    made: int
    """Milliseconds since 1970."""
    rotation: RotationPeriod
    shared: bool = False

    @property
    def session_id(self) -> MegolmSessionId:
        """Its id."""
        return MegolmSessionId(self.session.session_id)

    def due(self, now: int) -> bool:
        """Whether it must be replaced before anything more is encrypted on it (spec: m.room.encryption).

        So is one from the future: the clock was set back, and how old the session is isn't known.
        """
        return (
            self.session.message_index >= self.rotation.messages
            or not 0 <= now - self.made < self.rotation.milliseconds
        )


class _SessionCodec:
    def __init__(self, store: RowReader) -> None:
        self._store = store

    def decode(self, partition: bytes, rows: Sequence[Row]) -> OutboundSession | None:  # noqa: ARG002 - one row at most
        if not rows:
            return None
        record = loads(rows[0], _Record)
        return OutboundSession(
            session=GroupSession.from_pickle(record.pickle, self._store.pickle_key),
            made=record.made,
            rotation=RotationPeriod(messages=record.rotation_messages, milliseconds=record.rotation_milliseconds),
            shared=record.shared,
        )

    def encode(self, partition: bytes, entry: OutboundSession | None) -> Iterable[Row]:
        if entry is None:
            yield Row(partition, partition, None)
            return
        record = _Record(
            pickle=entry.session.pickle(self._store.pickle_key),
            made=entry.made,
            rotation_messages=entry.rotation.messages,
            rotation_milliseconds=entry.rotation.milliseconds,
            shared=entry.shared,
        )
        yield Row(partition, partition, dumps(record))


@attrs.define(kw_only=True)
class _RecipientsRecord:
    """The stored form of some recipients: those of one `MarkShared`."""

    devices: list[tuple[UserId, DeviceId]]


@attrs.define(kw_only=True)
class Recipients:
    """Everybody that was given a session's key."""

    devices: set[DeviceAddress] = attrs.field(factory=set)
    rows: dict[bytes, bytes | None] = attrs.field(factory=dict)
    """Stored rows by key; a value where it must be written, None where it is."""
    gone: bool = False
    """The session was replaced: nobody asks for its recipients any more."""


class _RecipientsCodec:
    def __init__(self, store: RowReader) -> None:
        self._store = store

    def decode(self, partition: bytes, rows: Sequence[Row]) -> Recipients:  # noqa: ARG002 - rows know it
        recipients = Recipients()
        for row in rows:
            recipients.rows[row.key] = None
            recipients.devices.update(
                DeviceAddress(user_id=user_id, device_id=device_id)
                for user_id, device_id in loads(row, _RecipientsRecord).devices
            )
        return recipients

    def encode(self, partition: bytes, entry: Recipients) -> Iterable[Row]:
        for key, value in entry.rows.items():
            if entry.gone:
                yield Row(key, partition, None)
            elif value is not None:
                yield Row(key, partition, value)
        entry.rows = {} if entry.gone else dict.fromkeys(entry.rows)

    def add(self, partition: bytes, entry: Recipients, devices: set[DeviceAddress]) -> None:
        """Record more devices, as one more row."""
        key = self._store.key(Table.ROOM_KEY_RECIPIENTS, partition.hex(), str(len(entry.rows)))
        addresses = [(device.user_id, device.device_id) for device in sorted(devices)]
        entry.rows[key] = dumps(_RecipientsRecord(devices=addresses))
        entry.devices |= devices


# --- what it is asked ---------------------------------------------------------------------------------------


@attrs.frozen(kw_only=True)
class OutboundGroupSessionsStep(Message[R], Generic[R]):
    """A part of an operation that this actor does."""


@attrs.frozen(kw_only=True)
class Current(OutboundGroupSessionsStep[OutboundRoomKey | None]):
    """The room's session, if there is one that may still be used."""

    room_id: RoomId
    now: int
    """Milliseconds since 1970."""


@attrs.frozen(kw_only=True)
class Replace(OutboundGroupSessionsStep[OutboundRoomKey]):
    """Make a new session for the room."""

    room_id: RoomId
    now: int
    rotation: RotationPeriod


@attrs.frozen(kw_only=True)
class Discard(OutboundGroupSessionsStep[None]):
    """Forget the room's session."""

    room_id: RoomId


@attrs.frozen(kw_only=True)
class MarkShared(OutboundGroupSessionsStep[None]):
    """The server has taken the key for these devices."""

    room_id: RoomId
    session_id: MegolmSessionId
    devices: frozenset[DeviceAddress]


@attrs.frozen(kw_only=True)
class MegolmCiphertext:
    """A Megolm message."""

    ciphertext: str = attrs.field(repr=False)
    session_id: MegolmSessionId
    message_index: int


@attrs.frozen(kw_only=True)
class Encrypt(OutboundGroupSessionsStep[MegolmCiphertext]):
    """Encrypt on the room's session."""

    room_id: RoomId
    plaintext: bytes = attrs.field(repr=False)
    now: int


Step: TypeAlias = Current | Replace | Discard | MarkShared | Encrypt


class OutboundGroupSessionsActor(Actor):
    """See the module."""

    name: ClassVar[str] = "outbound_group_sessions"

    def __init__(self, store: RowReader, newest: Newest, capacity: Callable[[Table], int]) -> None:
        self._sessions = Cache[OutboundSession | None](
            Table.OUTBOUND_GROUP_SESSIONS, _SessionCodec(store), capacity(Table.OUTBOUND_GROUP_SESSIONS)
        )
        self._recipients_codec = _RecipientsCodec(store)
        self._recipients = Cache[Recipients](
            Table.ROOM_KEY_RECIPIENTS, self._recipients_codec, capacity(Table.ROOM_KEY_RECIPIENTS)
        )
        super().__init__(store, newest, [self._sessions, self._recipients])

    async def ask(self, message: OutboundGroupSessionsStep[R]) -> R:
        """Send a step and wait for the reply."""
        return await self.post(message)

    def _partition(self, room_id: RoomId) -> bytes:
        return self._store.key(Table.OUTBOUND_GROUP_SESSIONS, room_id)

    def _recipients_partition(self, room_id: RoomId, session_id: MegolmSessionId) -> bytes:
        return self._store.key(Table.ROOM_KEY_RECIPIENTS, room_id, session_id)

    def wanted(self, message: Message[Any]) -> Wanted:
        """The room's session, and its recipients where they matter."""
        asked = cast("Step", message)
        partition = self._partition(asked.room_id)
        yield self._sessions, [partition]
        if not isinstance(asked, Encrypt):
            session = self._sessions.peek(partition, committed=False)
            if session is not None:
                yield self._recipients, [self._recipients_partition(asked.room_id, session.session_id)]

    def handle(self, message: Message[Any]) -> Reply:
        """Answer one message."""
        asked = cast("Step", message)
        partition = self._partition(asked.room_id)
        session = self._sessions.current(partition)
        match asked:
            case Current(room_id=room_id, now=now):
                usable = session is not None and not session.due(now)
                return asked.reply(self._room_key(room_id, session) if usable and session is not None else None)
            case Replace(room_id=room_id, now=now, rotation=rotation):
                self._forget_recipients(room_id, session)
                new = OutboundSession(session=GroupSession(), made=now, rotation=rotation)
                self._sessions.put(partition, new)
                self._recipients.put(self._recipients_partition(room_id, new.session_id), Recipients())
                return asked.reply(self._room_key(room_id, new))
            case Discard(room_id=room_id):
                if session is not None:
                    self._forget_recipients(room_id, session)
                    self._sessions.put(partition, None)
                return asked.reply(None)
            case MarkShared():
                self._mark_shared(asked, session)
                return asked.reply(None)
            case Encrypt():
                return asked.reply(self._encrypt(asked, session))
            case _:
                assert_never(asked)

    def _room_key(self, room_id: RoomId, session: OutboundSession) -> OutboundRoomKey:
        recipients = self._recipients.current(self._recipients_partition(room_id, session.session_id))
        return OutboundRoomKey(
            room_id=room_id,
            session_id=session.session_id,
            session_key=session.session.session_key.to_base64(),
            message_index=session.session.message_index,
            shared_with=frozenset(recipients.devices),
        )

    def _forget_recipients(self, room_id: RoomId, session: OutboundSession | None) -> None:
        if session is not None:
            self._recipients.change(self._recipients_partition(room_id, session.session_id)).gone = True

    def _mark_shared(self, asked: MarkShared, session: OutboundSession | None) -> None:
        if session is None or session.session_id != asked.session_id:
            raise RoomKeyReplaced(room_id=asked.room_id, session_id=asked.session_id)
        partition = self._recipients_partition(asked.room_id, asked.session_id)
        new = set(asked.devices - self._recipients.current(partition).devices)
        if new:
            self._recipients_codec.add(partition, self._recipients.change(partition), new)
        if not session.shared:
            self._sessions.change(self._partition(asked.room_id))
            session.shared = True

    def _encrypt(self, asked: Encrypt, session: OutboundSession | None) -> MegolmCiphertext:
        if session is None or not session.shared or session.due(asked.now):
            raise RoomKeyNotShared(room_id=asked.room_id)
        self._sessions.change(self._partition(asked.room_id))
        index = session.session.message_index
        return MegolmCiphertext(
            ciphertext=session.session.encrypt(asked.plaintext).to_base64(),
            session_id=session.session_id,
            message_index=index,
        )
