"""The inbound group sessions actor owns the room keys, the withheld notices, and which event used which message index.

Its invariants:

- A room key is replaced only by one that is proven to be the same ratchet (`_room_key_copies`).
- A sender's message index belongs to the first event of his that was decrypted with it (`_message_indices`).
  Decrypting is a query, so this guard is written behind: it holds in this process at once, in others and after a
  restart from the next turn on.
- Decrypting changes nothing else that is stored: what could be decrypted once can be decrypted again.

The partition is (room, session) for room keys, and (room, session, sender) for withheld notices and used indices.
"""

from __future__ import annotations

import sys
from collections.abc import Callable, Iterable, Sequence
from functools import partial
from typing import ClassVar, TypeAlias, TypeVar, assert_never, cast

import attrs
from vodozemac import ExportedSessionKey, InboundGroupSession, MegolmMessage

from olmstate.actors._engine.actor import Actor, Committed, Environment, Notice, PageQuery, Wanted
from olmstate.actors._engine.cache import Cache
from olmstate.actors._engine.records import dumps, loads, restore
from olmstate.actors._wire.algorithms import MEGOLM
from olmstate.actors._wire.quiet_struct import QuietStruct
from olmstate.actors._wire.untrusted_json import as_object, is_object, json_object, string
from olmstate.actors._wire.untrusted_json import loads as parse_json
from olmstate.messages import (
    DecryptedRoomEvent,
    DecryptionError,
    DecryptRoomEvent,
    EventId,
    Json,
    JsonObject,
    MalformedMessage,
    MegolmSessionId,
    Message,
    MismatchedRoom,
    MismatchedSender,
    MissingRoomKey,
    Query,
    ReplayedMessage,
    Reply,
    RoomId,
    RoomKeyChange,
    RoomKeyWithheld,
    UnknownMessageIndex,
    UserId,
)
from olmstate.storage import Position, Row, RowReader, Table

from .copies import RoomKeyCopy, add_copy, export
from .message_indices import BlockNames, EventHashes, UsedIndices, UsedIndicesCodec, block_of, index_of, merge
from .stored import CopyRecord, RoomKeyRecord, WithheldRecord

S = TypeVar("S", bound=str)

BLOCKS_AT_ONCE = 24
"""Of message indices, written without giving other tasks a chance."""


# --- what is stored -----------------------------------------------------------------------------------------


class RoomKeyEntry(QuietStruct, kw_only=True, frozen=True, gc=False):
    """A room key and its room."""

    room_id: RoomId
    copies: tuple[RoomKeyCopy, ...]
    """One at the least, of one session."""


class _RoomKeyCodec:
    def __init__(self, store: RowReader) -> None:
        self._group: Callable[[RoomId], bytes] = partial(store.key, Table.INBOUND_GROUP_SESSIONS)

    def decode(self, partition: bytes, rows: Sequence[Row]) -> RoomKeyEntry | None:  # noqa: ARG002 - the row knows it
        return self.entry(rows[0]) if rows else None

    def entry(self, row: Row) -> RoomKeyEntry:
        record = loads(row, RoomKeyRecord)
        copies = tuple(
            RoomKeyCopy(
                session=restore(RoomKeyRecord.table, _imported, copy.session_key),
                sender_key=_shared(copy.sender_key),
                sender_ed25519=_shared(copy.sender_ed25519),
                sender=None if copy.sender is None else _shared(copy.sender),
                sender_device=None if copy.sender_device is None else _shared(copy.sender_device),
                imported=copy.imported,
                signed=copy.signed,
                forwarding_chain=tuple(copy.forwarding_chain),
            )
            for copy in record.copies
        )
        return RoomKeyEntry(room_id=_shared(record.room_id), copies=copies)

    def encode(self, partition: bytes, entry: RoomKeyEntry | None) -> Iterable[Row]:
        if entry is not None:
            copies = [
                CopyRecord(
                    session_key=export(copy.session),
                    sender_key=copy.sender_key,
                    sender_ed25519=copy.sender_ed25519,
                    sender=copy.sender,
                    sender_device=copy.sender_device,
                    imported=copy.imported,
                    signed=copy.signed,
                    forwarding_chain=list(copy.forwarding_chain),
                )
                for copy in entry.copies
            ]
            record = RoomKeyRecord(room_id=entry.room_id, copies=copies)
            yield Row(partition, partition, dumps(record), group=self._group(entry.room_id))


def _imported(session_key: str) -> InboundGroupSession:
    return InboundGroupSession.import_session(ExportedSessionKey(session_key))


def _shared(string: S) -> S:
    """The same string for all room keys that hold an equal one: of a device's and of a room's there are many."""
    return cast("S", sys.intern(string))


class _WithheldCodec:
    def decode(self, partition: bytes, rows: Sequence[Row]) -> str | None:  # noqa: ARG002 - one row at most
        return loads(rows[0], WithheldRecord).code if rows else None

    def encode(self, partition: bytes, entry: str | None) -> Iterable[Row]:
        if entry is not None:
            yield Row(partition, partition, dumps(WithheldRecord(code=entry)))


# --- what it is asked ---------------------------------------------------------------------------------------


class NewRoomKey(QuietStruct, kw_only=True, frozen=True):
    """A room key that came."""

    room_id: RoomId
    session_id: MegolmSessionId
    copy: RoomKeyCopy


@attrs.frozen(kw_only=True)
class AddRoomKeys(Message[tuple[RoomKeyChange, ...]]):
    """Take in room keys, in order."""

    room_keys: tuple[NewRoomKey, ...]


@attrs.frozen(kw_only=True)
class AddWithheld(Message[None]):
    """Take in withheld notices; a user's first one for a session stays."""

    codes: dict[tuple[RoomId, MegolmSessionId, UserId], str]


@attrs.frozen(kw_only=True)
class RoomKeysPage(PageQuery[tuple[Position, tuple[RoomKeyEntry, ...]]]):
    """Some of all room keys, or of one room's, and where to go on; none at the end. A room is a group."""

    table: Table = Table.INBOUND_GROUP_SESSIONS


@attrs.frozen(kw_only=True)
class GroupRoomKeys(Message[None]):
    """Have these be found by their room: an early version has written them."""

    room_keys: tuple[tuple[RoomId, MegolmSessionId], ...]


@attrs.frozen(kw_only=True)
class DecryptSome(Query[tuple[DecryptedRoomEvent | DecryptionError, ...]]):
    """Decrypt some events, each apart; `DecryptRoomEvents` is of any number."""

    events: tuple[tuple[RoomId, JsonObject], ...] = attrs.field(repr=False)


@attrs.frozen(kw_only=True)
class WriteBehind(Message[None]):
    """Make what was decrypted since the last turn part of this one, as far as it is in these blocks of indices."""

    blocks: tuple[bytes, ...]


Asked: TypeAlias = (
    AddRoomKeys | GroupRoomKeys | AddWithheld | RoomKeysPage | WriteBehind | DecryptRoomEvent | DecryptSome
)


class InboundGroupSessionsActor(Actor[Asked]):
    """See the module."""

    name: ClassVar[str] = "inbound_group_sessions"

    def __init__(self, environment: Environment) -> None:
        """It has loaded nothing."""
        store, capacity = environment.store, environment.capacity
        self._codec = _RoomKeyCodec(store)
        self._room_keys = Cache[RoomKeyEntry | None](
            Table.INBOUND_GROUP_SESSIONS, self._codec, capacity(Table.INBOUND_GROUP_SESSIONS)
        )
        self._withheld = Cache[str | None](
            Table.WITHHELD_ROOM_KEYS, _WithheldCodec(), capacity(Table.WITHHELD_ROOM_KEYS)
        )
        self._used = Cache[UsedIndices](Table.MESSAGE_INDICES, UsedIndicesCodec(), capacity(Table.MESSAGE_INDICES))
        self._event_hashes = EventHashes(store)
        self._pending: dict[bytes, dict[int, str]] = {}
        self._writing: dict[bytes, dict[int, str]] = {}
        self._write_later = environment.write_later
        # each event comes by here several times, and a method of our own would take longer than what is remembered
        self._partition: Callable[[RoomId, str], bytes] = partial(store.key, Table.INBOUND_GROUP_SESSIONS)
        self._block_name: Callable[..., bytes] = BlockNames(store).of
        super().__init__(environment, [self._room_keys, self._withheld, self._used])

    def _notice(self, room_id: RoomId, session_id: str, sender: str) -> bytes:
        """Whose withheld notice it is; anybody can send one, so that another's says nothing of a sender's events."""
        return self._store.key(Table.WITHHELD_ROOM_KEYS, room_id, session_id, sender)

    def _guards(
        self, room_id: RoomId, session_id: str, sender: str | None, block: int, *, nobodys: bool
    ) -> list[bytes]:
        """Under which names an event's block of message indices is, on a session that is ``nobodys``: see `_guard`."""
        guards = [] if sender is None else [self._block_name(block, room_id, session_id, sender)]
        if nobodys:
            guards.append(self._block_name(block, room_id, session_id))
        return guards

    def wanted(self, message: Asked) -> Wanted:
        """The sessions named; a withheld notice only where there is no room key."""
        match message:
            case DecryptRoomEvent(room_id=room_id, event=event):
                return self._wanted_for([(room_id, event)])
            case DecryptSome(events=events):
                return self._wanted_for(events)
            case AddRoomKeys(room_keys=room_keys):
                keys = [self._partition(new.room_id, new.session_id) for new in room_keys]
                return ((self._room_keys, keys),)
            case GroupRoomKeys(room_keys=room_keys):
                return ((self._room_keys, [self._partition(*names) for names in room_keys]),)
            case AddWithheld(codes=codes):
                return ((self._withheld, [self._notice(*ids) for ids in codes]),)
            case WriteBehind(blocks=blocks):
                return ((self._used, list(blocks)),)
            case RoomKeysPage():
                return ()
            case _:
                assert_never(message)

    def _wanted_for(self, events: Iterable[tuple[RoomId, JsonObject]]) -> Wanted:
        named = [
            (room_id, session_id, _sender_of(event), _block_of(event))
            for room_id, event in events
            if (session_id := _session_id_of(event)) is not None
        ]
        yield self._room_keys, [self._partition(room_id, session_id) for room_id, session_id, *_ in named]
        guards: list[bytes] = []
        notices: list[bytes] = []
        for room_id, session_id, sender, block in dict.fromkeys(named):  # most of a batch are on few sessions
            entry = self._room_keys.peek(self._partition(room_id, session_id), committed=True)
            if entry is not None:
                if block is not None:
                    nobodys = any(copy.sender is None for copy in entry.copies)
                    guards += self._guards(room_id, session_id, sender, block, nobodys=nobodys)
            elif sender is not None:
                notices.append(self._notice(room_id, session_id, sender))
        yield self._used, guards
        if notices:
            yield self._withheld, notices

    def handle(self, message: Asked) -> Reply:  # noqa: C901 - one case a message
        """Answer one message."""
        match message:
            case DecryptRoomEvent(room_id=room_id, event=event):
                return message.reply(self._decrypt(room_id, event))
            case DecryptSome(events=events):
                return message.reply(tuple(self._decrypt_or_error(*event) for event in events))
            case AddRoomKeys(room_keys=room_keys):
                return message.reply(tuple(self._add(new) for new in room_keys))
            case GroupRoomKeys(room_keys=room_keys):
                for partition in (self._partition(*names) for names in room_keys):
                    self._room_keys.put(partition, self._room_keys.current(partition))
                return message.reply(None)
            case AddWithheld(codes=codes):
                for ids, code in codes.items():
                    notice = self._notice(*ids)
                    if self._withheld.current(notice) is None:
                        self._withheld.put(notice, code)
                return message.reply(None)
            case RoomKeysPage():
                return message.reply(self.decoded_page(message.table, self._codec.entry))
            case WriteBehind(blocks=blocks):
                self._merge_pending(blocks)
                return message.reply(None)
            case _:
                assert_never(message)

    def _add(self, new: NewRoomKey) -> RoomKeyChange:
        partition = self._partition(new.room_id, new.session_id)
        entry = self._room_keys.current(partition)
        before = () if entry is None else entry.copies
        copies, change = add_copy(before, new.copy)
        if copies is not before:
            self._room_keys.put(partition, RoomKeyEntry(room_id=new.room_id, copies=copies))
        return change

    # --- decrypting -----------------------------------------------------------------------------------------

    def _decrypt_or_error(self, room_id: RoomId, event: JsonObject) -> DecryptedRoomEvent | DecryptionError:
        try:
            return self._decrypt(room_id, event)
        except DecryptionError as error:
            return error

    def _decrypt(self, room_id: RoomId, event: JsonObject) -> DecryptedRoomEvent:
        content = json_object(as_object(event, "the event"), "content")
        if content.get("algorithm") != MEGOLM:
            raise MalformedMessage(reason="not a Megolm message")
        session_id = MegolmSessionId(string(content, "session_id"))
        ciphertext = string(content, "ciphertext")
        sender = _sender_of(event)
        entry = self._room_keys.committed(self._partition(room_id, session_id))
        if entry is None:
            if sender is not None:
                code = self._withheld.committed(self._notice(room_id, session_id, sender))
                if code is not None:
                    raise RoomKeyWithheld(code=code)
            raise MissingRoomKey(room_id=room_id, session_id=session_id)
        copy, index, plaintext = _decrypt_with(entry.copies, ciphertext, sender)
        payload = as_object(parse_json(plaintext), "the payload")
        event_type, event_content = string(payload, "type"), json_object(payload, "content")
        if payload.get("room_id") != room_id:
            raise MismatchedRoom(room_id=room_id)
        if copy.sender is not None and sender != copy.sender:
            raise MismatchedSender(reason="the room key is not from the event's sender")
        event_id = event.get("event_id")
        event_id = EventId(event_id) if isinstance(event_id, str) else None
        guards = self._guards(room_id, session_id, sender, block_of(index), nobodys=copy.sender is None)
        self._guard(guards, index, event_id)
        return DecryptedRoomEvent(
            room_id=room_id,
            event_id=event_id,
            type=event_type,
            content=event_content,
            session_id=session_id,
            message_index=index,
            sender=copy.sender,
            sender_device=copy.sender_device,
            sender_key=copy.sender_key,
            sender_ed25519=copy.sender_ed25519,
            imported=copy.imported,
        )

    # --- the replay guard -----------------------------------------------------------------------------------

    def _guard(self, guards: Sequence[bytes], index: int, event_id: EventId | None) -> None:
        """Let an event have a message index, or refuse it because another has it; one without an id gets none.

        Each sender has his own indices of a session. Who was given its key can send a message on as his own, and say
        that the session is his; but he can't have its owner's message be taken for the repetition. Where nobody knows
        whose the session is, a message counts as anybody's, too.
        """
        if not self._used.holds(guards, committed=True):
            raise MalformedMessage(reason="its message index is not where everybody writes it")  # or is there twice
        new: list[bytes] = []
        for guard in guards:
            first = self._used.committed(guard).events.get(index) or self._pending.get(guard, {}).get(index)
            if first is None:
                new.append(guard)
            elif event_id is None or not self._event_hashes.same(first, event_id):
                raise ReplayedMessage
        if event_id is not None and new:
            event = self._event_hashes.of(event_id)
            for guard in new:
                self._pending.setdefault(guard, {})[index] = event
            self._write_later()

    def before_commit(self) -> Sequence[WriteBehind]:
        """Which event used which message index goes along with any turn."""
        waiting = list(self._pending)
        return [
            WriteBehind(blocks=tuple(waiting[start : start + BLOCKS_AT_ONCE]))
            for start in range(0, len(waiting), BLOCKS_AT_ONCE)
        ]

    def _merge_pending(self, blocks: Iterable[bytes]) -> None:
        for block in blocks:
            pending = self._pending[block]
            merge(self._used.change(block), pending)
            self._writing[block] = dict(pending)

    def notify(self, notice: Notice) -> None:
        """Tell the actor something, which holds from now on."""
        super().notify(notice)
        if isinstance(notice, Committed):
            for partition, written in self._writing.items():
                pending = self._pending[partition]
                for index in written:
                    del pending[index]
                if not pending:
                    del self._pending[partition]
        # unless it was committed, it is still pending
        self._writing.clear()


def _session_id_of(event: Json) -> str | None:
    """The session that an event names, if it is of the right shape at all."""
    content = event.get("content") if is_object(event) else None
    session_id = content.get("session_id") if is_object(content) else None
    return session_id if isinstance(session_id, str) else None


def _block_of(event: JsonObject) -> int | None:
    """The block of the message index that an event's ciphertext names, if it names one."""
    ciphertext = event["content"].get("ciphertext")
    index = index_of(ciphertext) if isinstance(ciphertext, str) else None
    return None if index is None else block_of(index)


def _sender_of(event: JsonObject) -> str | None:
    """The user that an event names as its sender, if it does."""
    sender = event.get("sender")
    return sender if isinstance(sender, str) else None


def _decrypt_with(
    copies: tuple[RoomKeyCopy, ...], ciphertext: str, sender: str | None
) -> tuple[RoomKeyCopy, int, bytes]:
    """The copy that decrypts it, the sender's if there is one; the message index, and the plaintext."""
    try:
        message = MegolmMessage.from_base64(ciphertext)
    except ValueError as error:
        raise MalformedMessage(reason=str(error)) from None
    if len(copies) > 1:
        copies = tuple(sorted(copies, key=lambda copy: copy.sender != sender))
    reason = ""
    for copy in copies:
        try:
            decrypted = copy.session.decrypt(message)
        except ValueError as error:
            reason = str(error)
        else:
            return copy, decrypted.message_index, decrypted.plaintext
    index, first_known_index = message.message_index(), min(copy.session.first_known_index for copy in copies)
    if index < first_known_index:
        raise UnknownMessageIndex(message_index=index, first_known_index=first_known_index)
    raise MalformedMessage(reason=reason)
