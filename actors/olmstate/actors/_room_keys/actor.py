"""The inbound group sessions actor owns the room keys, the withheld notices, and which event used which message index.

Its invariants:

- A room key is replaced only by one that is proven to be the same ratchet (`copies`).
- Whose a room key is, is never stored, but who claims it (`claims`). Who sent an event is worked out each time that it
  is decrypted, from what is known of its sender's devices then: they are another actor's, and read through a view.
- A sender's message index belongs to the first event of theirs that was decrypted with it (`message_indices`).
  Decrypting is a query, so this guard is written behind: it holds in this process at once, in others and after a
  restart from the next turn on.
- Withheld notices are bounded. Each user's newest about a session counts, and others' don't touch it.
- Decrypting changes nothing else that is stored: what could be decrypted once can be decrypted again.

The partition is (room, session) for room keys, and (room, session, user) for the claims of more users, for withheld
notices and for used indices.
"""

from __future__ import annotations

import sys
from collections.abc import Callable, Iterable, Mapping, Sequence
from functools import lru_cache, partial
from itertools import chain
from operator import attrgetter
from typing import Any, ClassVar, TypeAlias, TypeVar, assert_never, cast

from msgspec.structs import replace
from vodozemac import ExportedSessionKey, InboundGroupSession, MegolmMessage

from olmstate.actors._devices.actor import KnownSenderCodec
from olmstate.actors._devices.senders import KnownSender
from olmstate.actors._engine.actor import Actor, Committed, Environment, Notice, PageQuery, Wanted
from olmstate.actors._engine.cache import Cache
from olmstate.actors._engine.named_records import NamedRecords, NamedRecordsCodec
from olmstate.actors._engine.records import OneRecordCodec, dumps, loads, restore
from olmstate.actors._identities.actor import IdentityCodec
from olmstate.actors._identities.known import KnownIdentity
from olmstate.actors._wire.algorithms import MEGOLM
from olmstate.actors._wire.quiet_struct import QuietStruct
from olmstate.actors._wire.room_event import copy_from_clear
from olmstate.actors._wire.shares import surplus
from olmstate.actors._wire.untrusted_json import as_object, is_object, json_object, string
from olmstate.actors._wire.untrusted_json import loads as parse_json
from olmstate.messages import (
    Curve25519Key,
    DecryptedRoomEvent,
    DecryptionError,
    DecryptRoomEvent,
    DeviceAddress,
    Ed25519Key,
    EncryptionInfo,
    EncryptionInfoOf,
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
    RequiredTrust,
    RoomId,
    RoomKeyChange,
    RoomKeyWithheld,
    SenderState,
    UnknownMessageIndex,
    UntrustedSender,
)
from olmstate.storage import Position, Row, RowReader, Table

from .claims import (
    EXPORTED_CLAIMS,
    FEW_CLAIMS,
    NOBODY,
    USERS_A_SESSION,
    Attribution,
    Claim,
    add_claim,
    attribute,
    best_founded,
    shared,
    shared_alone,
)
from .copies import RoomKeyCopy, add_copy, export
from .message_indices import BLOCK, BlockNames, EventHashes, UsedIndices, UsedIndicesCodec, block_of, index_of, merge
from .notices import outweighs
from .stored import (
    ClaimedKeysRecord,
    ClaimsRecord,
    CopyRecord,
    NoticeName,
    RoomKeyRecord,
    WithheldNameRecord,
    WithheldRecord,
)

S = TypeVar("S", bound=str)

NAMES_REMEMBERED = 1_024
"""Users under whose names identities are looked up: each event asks for the same one several times."""
MOST_NOTICES = 2_000
"""Withheld notices that are kept; those of the user go who has the most: anybody can send some, of any session."""
BLOCKS_AT_ONCE = 24
"""Of message indices, written without giving other tasks a chance."""


# --- what is stored -----------------------------------------------------------------------------------------


class RoomKeyEntry(QuietStruct, kw_only=True, frozen=True, gc=False):
    """A room key and its room."""

    room_id: RoomId
    held: RoomKeyCopy | tuple[RoomKeyCopy, ...]
    """The copies; one, as there nearly always is, without a tuple, which would take a tenth of the room."""
    claims: tuple[Claim, ...]
    """Of those who have sent a signed copy: the first few users' of them."""
    more_claims: bool = False
    """There are claims of other users."""
    only_claim: Claim | None
    """If it is the only one, as nearly always: each event asks. None: there are more, or an export's."""
    first_known_index: int
    """The first one that any copy can decrypt."""

    @classmethod
    def of(
        cls, room_id: RoomId, copies: tuple[RoomKeyCopy, ...], claims: tuple[Claim, ...], *, more_claims: bool
    ) -> RoomKeyEntry:
        """A room key with these claims."""
        alone = len(claims) == 1 and not more_claims and len(copies) == 1 and not copies[0].exported
        return cls(
            room_id=room_id,
            held=copies[0] if len(copies) == 1 else copies,
            claims=claims,
            more_claims=more_claims,
            only_claim=claims[0] if alone else None,
            first_known_index=min([copy.session.first_known_index for copy in copies]),
        )

    @property
    def copies(self) -> tuple[RoomKeyCopy, ...]:
        """One at the least, of one session."""
        held = self.held
        return held if isinstance(held, tuple) else (held,)

    @property
    def exported(self) -> bool:
        """Whether an export says whose it is, and so no user is named."""
        return self.only_claim is None and _is_exported(self.copies)


class MoreClaims(QuietStruct, kw_only=True, frozen=True):
    """The claims of a user that are kept apart from the session; or one of an export."""

    room_id: RoomId
    session_id: MegolmSessionId
    claims: tuple[Claim, ...]


class _RoomKeyCodec:
    def __init__(self, store: RowReader) -> None:
        self._group: Callable[[RoomId], bytes] = partial(store.key, Table.INBOUND_GROUP_SESSIONS)

    def decode(self, partition: bytes, rows: Sequence[Row]) -> RoomKeyEntry | None:  # noqa: ARG002 - the row knows it
        return self.entry(rows[0]) if rows else None

    def entry(self, row: Row) -> RoomKeyEntry:
        record = loads(row, RoomKeyRecord)
        if len(record.copies) == 1:  # nearly always
            (copy,) = record.copies
            claims = shared_alone(_claim(copy))
            session = restore(RoomKeyRecord.table, _imported, copy.session_key)
            return RoomKeyEntry.of(
                _shared(record.room_id),
                (RoomKeyCopy(session=session, signed=copy.signed, exported=claims if copy.imported else ()),),
                () if copy.imported else claims,
                more_claims=record.more_claims,
            )
        by_key: dict[str, list[CopyRecord]] = {}
        for copy in record.copies:
            by_key.setdefault(copy.session_key, []).append(copy)
        return RoomKeyEntry.of(
            _shared(record.room_id),
            tuple(
                RoomKeyCopy(
                    session=restore(RoomKeyRecord.table, _imported, session_key),
                    signed=any(copy.signed for copy in of_one),
                    exported=tuple(dict.fromkeys(_claim(copy) for copy in of_one if copy.imported)),
                )
                for session_key, of_one in by_key.items()
            ),
            tuple(dict.fromkeys(_claim(copy) for copy in record.copies if not copy.imported)),
            more_claims=record.more_claims,
        )

    def encode(self, partition: bytes, entry: RoomKeyEntry | None) -> Iterable[Row]:
        if entry is None:
            return
        copies: list[CopyRecord] = []
        claims = entry.claims
        for copy in entry.copies:
            session_key = export(copy.session)
            of_copy = (*claims, *copy.exported) if copy.signed else copy.exported
            copies += [_record(claim, session_key, signed=copy.signed) for claim in of_copy]
            if copy.signed:
                claims = claims[:1]  # with the first signed copy are all, and the others need one
        record = RoomKeyRecord(room_id=entry.room_id, copies=copies, more_claims=entry.more_claims)
        yield Row(partition, partition, dumps(record), group=self._group(entry.room_id))


def _claim(copy: CopyRecord) -> Claim:
    return shared(
        Claim(
            sender_key=copy.sender_key,
            ed25519=copy.sender_ed25519,
            sender=None if copy.imported else copy.sender,
            own=copy.own,
            forwarding_chain=copy.forwarding_chain,
        )
    )


def _record(claim: Claim, session_key: str, *, signed: bool) -> CopyRecord:
    return CopyRecord(
        session_key=session_key,
        sender_key=claim.sender_key,
        sender_ed25519=claim.ed25519,
        sender=claim.sender,
        imported=claim.sender is None,
        signed=signed,
        forwarding_chain=claim.forwarding_chain,
        own=claim.own,
    )


class _MoreClaimsCodec:
    def __init__(self, store: RowReader) -> None:
        self._group: Callable[[RoomId, str], bytes] = partial(store.key, Table.ROOM_KEY_CLAIMS)

    def decode(self, partition: bytes, rows: Sequence[Row]) -> MoreClaims | None:  # noqa: ARG002 - one row at most
        return self.claims(rows[0]) if rows else None

    def claims(self, row: Row) -> MoreClaims:
        record = loads(row, ClaimsRecord)
        claims = tuple(
            Claim(
                sender_key=claim.sender_key,
                ed25519=claim.sender_ed25519,
                sender=record.sender,
                forwarding_chain=claim.forwarding_chain,
            )
            for claim in record.claims
        )
        return MoreClaims(room_id=record.room_id, session_id=record.session_id, claims=claims)

    def encode(self, partition: bytes, entry: MoreClaims | None) -> Iterable[Row]:
        if entry is not None:
            record = ClaimsRecord(
                room_id=entry.room_id,
                session_id=entry.session_id,
                sender=entry.claims[0].sender,
                claims=[
                    ClaimedKeysRecord(
                        sender_key=claim.sender_key,
                        sender_ed25519=claim.ed25519,
                        forwarding_chain=claim.forwarding_chain,
                    )
                    for claim in entry.claims
                ],
            )
            yield Row(partition, partition, dumps(record), group=self._group(entry.room_id, entry.session_id))


def _imported(session_key: str) -> InboundGroupSession:
    return InboundGroupSession.import_session(ExportedSessionKey(session_key))


def _shared(string: S) -> S:
    """The same string for all room keys that hold an equal one: of a device's and of a room's there are many."""
    return cast("S", sys.intern(string))


# --- what it is asked ---------------------------------------------------------------------------------------


class NewRoomKey(QuietStruct, kw_only=True, frozen=True, gc=False):
    """A room key that came."""

    room_id: RoomId
    session_id: MegolmSessionId
    copy: RoomKeyCopy
    claim: Claim | None
    """In the name of whom it came; None if it came from an export."""


class AddRoomKeys(QuietStruct, Message[tuple[RoomKeyChange, ...]], kw_only=True, frozen=True):
    """Take in room keys, in order."""

    room_keys: tuple[NewRoomKey, ...]


class AddWithheld(QuietStruct, Message[tuple[NoticeName, ...]], kw_only=True, frozen=True):
    """Take in withheld notices. The reply are those that count from now on."""

    notices: dict[NoticeName, WithheldRecord]


class KnownOfSession(QuietStruct, kw_only=True, frozen=True):
    """How far a session can be read, and why not."""

    first_known_index: int | None
    """None: its key is not there; or nobody says that it is the sender's, if one was named."""
    senders_first_index: int | None
    """The same of the key that its sender, who was named, has sent themselves."""
    withheld: WithheldRecord | None
    """Its sender's notice."""


class LookUpSessions(QuietStruct, Message[tuple[KnownOfSession, ...]], kw_only=True, frozen=True):
    """What is known of sessions, as this turn sees it, and of whether their senders have withheld their keys."""

    sessions: tuple[tuple[RoomId, MegolmSessionId, str | None], ...]


class LookUpRoomKeys(QuietStruct, Message[tuple[RoomKeyEntry | None, ...]], kw_only=True, frozen=True):
    """The room keys of sessions, as this turn sees them."""

    sessions: tuple[tuple[RoomId, MegolmSessionId], ...]


class RoomKeysPage(PageQuery[tuple[Position, tuple[RoomKeyEntry, ...]]], kw_only=True, frozen=True):
    """Some of all room keys, or of one room's, and where to go on; none at the end. A room is a group."""

    table: Table = Table.INBOUND_GROUP_SESSIONS


class GroupRoomKeys(QuietStruct, Message[None], kw_only=True, frozen=True):
    """Have these be found by their room: an early version has written them."""

    room_keys: tuple[tuple[RoomId, MegolmSessionId], ...]


class MoreClaimsPage(PageQuery[tuple[Position, tuple[MoreClaims, ...]]], kw_only=True, frozen=True):
    """Some of the claims that are kept apart from their sessions, and where to go on; none at the end.

    A session is a group; in earlier versions a room was one, and before that there were none.
    """

    table: Table = Table.ROOM_KEY_CLAIMS


class ChangedClaims(QuietStruct, Message[tuple[MoreClaims, ...]], kw_only=True, frozen=True):
    """Those of them that this turn has changed, which no page has."""


class DecryptSome(QuietStruct, Query[tuple[DecryptedRoomEvent | DecryptionError, ...]], kw_only=True, frozen=True):
    """Decrypt some events, each apart; `DecryptRoomEvents` is of any number."""

    events: tuple[tuple[RoomId, JsonObject], ...]
    required_trust: RequiredTrust = RequiredTrust.ANY


class WriteBehind(QuietStruct, Message[None], kw_only=True, frozen=True):
    """Make what was decrypted since the last turn part of this one, as far as it is in these blocks of indices."""

    blocks: tuple[bytes, ...]


Asked: TypeAlias = (
    AddRoomKeys
    | GroupRoomKeys
    | AddWithheld
    | LookUpSessions
    | LookUpRoomKeys
    | RoomKeysPage
    | MoreClaimsPage
    | ChangedClaims
    | WriteBehind
    | EncryptionInfoOf
    | DecryptRoomEvent
    | DecryptSome
)


class InboundGroupSessionsActor(Actor[Asked]):
    """Owns the room keys, the withheld notices, and which event used which message index."""

    name: ClassVar[str] = "inbound_group_sessions"

    def __init__(self, environment: Environment) -> None:
        """It has loaded nothing."""
        store, capacity = environment.store, environment.capacity
        self._own = DeviceAddress(user_id=environment.user_id, device_id=environment.device_id)
        self._codec = _RoomKeyCodec(store)
        self._claims_codec = _MoreClaimsCodec(store)
        self._room_keys = Cache[RoomKeyEntry | None](
            Table.INBOUND_GROUP_SESSIONS, self._codec, capacity(Table.INBOUND_GROUP_SESSIONS)
        )
        self._more_claims = Cache[MoreClaims | None](
            Table.ROOM_KEY_CLAIMS, self._claims_codec, capacity(Table.ROOM_KEY_CLAIMS)
        )
        self._senders = Cache[KnownSender](Table.DEVICES, KnownSenderCodec(), capacity(Table.DEVICES), view=True)
        self._identities = Cache[KnownIdentity | None](
            Table.IDENTITIES, IdentityCodec(), capacity(Table.IDENTITIES), view=True
        )
        self._withheld = Cache[WithheldRecord | None](
            Table.WITHHELD_ROOM_KEYS, OneRecordCodec(WithheldRecord), capacity(Table.WITHHELD_ROOM_KEYS)
        )
        of_notice = attrgetter("room_id", "session_id", "sender")
        named = NamedRecordsCodec(store, WithheldNameRecord, of_notice, attrgetter("number"))
        self._withheld_names = Cache[NamedRecords[NoticeName, WithheldNameRecord]](
            Table.WITHHELD_NAMES, named, capacity(Table.WITHHELD_NAMES)
        )
        self._all_withheld = store.key(Table.WITHHELD_NAMES, "withheld notices")
        self._used = Cache[UsedIndices](Table.MESSAGE_INDICES, UsedIndicesCodec(), capacity(Table.MESSAGE_INDICES))
        self._event_hashes = EventHashes(store)
        self._pending: dict[bytes, dict[int, str]] = {}
        self._writing: dict[bytes, dict[int, str]] = {}
        self._write_later = environment.write_later
        # each event comes by here several times, and a method of our own would take longer than what is remembered
        self._partition: Callable[[RoomId, str], bytes] = partial(store.key, Table.INBOUND_GROUP_SESSIONS)
        self._block_name: Callable[..., bytes] = BlockNames(store).of
        self._sender_name: Callable[[str], bytes] = partial(store.key, Table.DEVICES)
        self._identity_name: Callable[[str], bytes] = lru_cache(NAMES_REMEMBERED)(partial(store.key, Table.IDENTITIES))
        self._own_identity = self._identity_name(environment.user_id)
        views: list[Cache[Any]] = [self._senders, self._identities]
        caches: list[Cache[Any]] = [
            self._room_keys,
            self._more_claims,
            self._withheld,
            self._withheld_names,
            self._used,
        ]
        super().__init__(environment, [*caches, *views])

    def _notice(self, room_id: RoomId, session_id: str, sender: str) -> bytes:
        """Whose withheld notice it is; anybody can send one, so that another's says nothing of a sender's events."""
        return self._store.key(Table.WITHHELD_ROOM_KEYS, room_id, session_id, sender)

    def _claims_name(self, room_id: RoomId, session_id: str, sender: str) -> bytes:
        """Under which name a user's claims on a session are kept that have others' before them."""
        return self._store.key(Table.ROOM_KEY_CLAIMS, room_id, session_id, sender)

    def _exported_name(self, room_id: RoomId, session_id: str, keys: tuple[Curve25519Key, Ed25519Key]) -> bytes:
        """The same of what an export claims, which names no user but a device's keys."""
        return self._store.key(Table.ROOM_KEY_CLAIMS, room_id, session_id, *keys)

    def _guards(
        self, room_id: RoomId, session_id: str, sender: str | None, block: int, *, exported: bool
    ) -> list[bytes]:
        """Under which names an event's block of message indices is; ``exported``: by an export no user is named.

        The first is its sender's own. See `_guard`.
        """
        guards = [] if sender is None else [self._block_name(block, room_id, session_id, sender)]
        if exported:
            guards.append(self._block_name(block, room_id, session_id))
        return guards

    def wanted(self, message: Asked) -> Wanted:
        """The sessions named; a withheld notice only where there is no room key, or one that may begin too late."""
        match message:
            case DecryptRoomEvent(room_id=room_id, event=event):
                return self._wanted_for([(room_id, event)])
            case DecryptSome(events=events):
                return self._wanted_for(events)
            case EncryptionInfoOf(room_id=room_id, session_id=session_id, sender=sender):
                event = {"sender": sender, "content": {"session_id": session_id}}
                return self._wanted_for([(room_id, event)])
            case AddRoomKeys(room_keys=room_keys):
                return self._wanted_to_add(room_keys)
            case GroupRoomKeys(room_keys=room_keys) | LookUpRoomKeys(sessions=room_keys):
                return ((self._room_keys, [self._partition(*names) for names in room_keys]),)
            case AddWithheld(notices=notices):
                names = (self._withheld_names, [self._all_withheld])
                return names, (self._withheld, [self._notice(*name) for name in notices])
            case LookUpSessions(sessions=sessions):
                return self._wanted_to_look_up(sessions)
            case WriteBehind(blocks=blocks):
                return ((self._used, list(blocks)),)
            case RoomKeysPage() | MoreClaimsPage() | ChangedClaims():
                return ()
            case _:
                assert_never(message)

    def _wanted_for(self, events: Iterable[tuple[RoomId, JsonObject]]) -> Wanted:
        named = self._named(events)
        yield self._room_keys, list(named.values())
        guards: list[bytes] = []
        notices: list[bytes] = []
        others: list[tuple[RoomId, str, str, RoomKeyEntry]] = []
        for (room_id, session_id, sender, block), partition in named.items():
            entry = self._room_keys.peek(partition, committed=True)
            if entry is not None and block is not None:
                guards += self._guards(room_id, session_id, sender, block, exported=entry.exported)
            if sender is None:
                continue
            if entry is None or (block is not None and block * BLOCK < entry.first_known_index):
                notices.append(self._notice(room_id, session_id, sender))
            if entry is not None and (entry.only_claim is None or not entry.only_claim.own):
                others.append((room_id, session_id, sender, entry))
        yield self._used, guards
        if notices:
            yield self._withheld, notices
        if others:
            yield from self._wanted_of_others(others)

    def _named(
        self, events: Iterable[tuple[RoomId, JsonObject]]
    ) -> dict[tuple[RoomId, str, str | None, int | None], bytes]:
        """The partition of each session, by what events name: room, session, sender, and block of the message index."""
        named: dict[tuple[RoomId, str, str | None, int | None], bytes] = {}
        for room_id, event in events:
            session_id = _session_id_of(event)
            if session_id is not None:
                name = room_id, session_id, _sender_of(event), _block_of(event)
                if name not in named:  # most of a batch are on few sessions
                    named[name] = self._partition(room_id, session_id)
        return named

    def _wanted_of_others(self, sessions: Sequence[tuple[RoomId, str, str, RoomKeyEntry]]) -> Wanted:
        """What says whose sessions are that this device hasn't made."""
        yield self._senders, [self._sender_name(sender) for _, _, sender, _ in sessions]
        users = {sender for _, _, sender, _ in sessions}
        yield self._identities, [*map(self._identity_name, users), self._own_identity]
        for room_id, session_id, sender, entry in sessions:
            if not entry.more_claims:
                continue
            yield self._more_claims, [self._claims_name(room_id, session_id, sender)]
            known = self._senders.peek(self._sender_name(sender), committed=True)
            if known is not None:
                yield self._more_claims, [self._exported_name(room_id, session_id, keys) for keys in known.both_keys]

    def _wanted_to_look_up(self, sessions: Sequence[tuple[RoomId, MegolmSessionId, str | None]]) -> Wanted:
        yield self._room_keys, [self._partition(room_id, session_id) for room_id, session_id, _ in sessions]
        notices: list[bytes] = []
        more_claims: list[bytes] = []
        for room_id, session_id, sender in sessions:
            if sender is None:
                continue
            notices.append(self._notice(room_id, session_id, sender))
            entry = self._room_keys.peek(self._partition(room_id, session_id), committed=False)
            if entry is not None and entry.more_claims:
                more_claims.append(self._claims_name(room_id, session_id, sender))
        yield self._withheld, notices
        if more_claims:
            yield self._more_claims, more_claims

    def _wanted_to_add(self, room_keys: Sequence[NewRoomKey]) -> Wanted:
        partitions = [self._partition(new.room_id, new.session_id) for new in room_keys]
        yield self._room_keys, partitions
        more_claims: list[bytes] = []
        senders: list[bytes] = []
        claimed: dict[bytes, int] = {}
        for new, partition in zip(room_keys, partitions, strict=True):
            if new.claim is None or new.claim.sender is None:
                continue
            if partition not in claimed:
                entry = self._room_keys.peek(partition, committed=False)
                claimed[partition] = 0 if entry is None else len(entry.claims)
            if claimed[partition] >= FEW_CLAIMS:  # seldom
                more_claims.append(self._claims_name(new.room_id, new.session_id, new.claim.sender))
                senders.append(self._sender_name(new.claim.sender))
            claimed[partition] += 1
        if senders:
            yield self._more_claims, more_claims
            yield self._senders, senders

    def handle(self, message: Asked) -> Reply:  # noqa: C901, PLR0912 - one case a message
        """Answer one message."""
        match message:
            case DecryptRoomEvent(room_id=room_id, event=event, required_trust=required):
                return message.reply(self._decrypt(room_id, event, required))
            case DecryptSome(events=events, required_trust=required):
                return message.reply(tuple(self._decrypt_or_error(*event, required) for event in events))
            case EncryptionInfoOf():
                return message.reply(self._info_of(message))
            case AddRoomKeys(room_keys=room_keys):
                return message.reply(tuple(self._add(new) for new in room_keys))
            case GroupRoomKeys(room_keys=room_keys):
                for partition in (self._partition(*names) for names in room_keys):
                    self._room_keys.put(partition, self._room_keys.current(partition))
                return message.reply(None)
            case AddWithheld(notices=notices):
                return message.reply(tuple(self._withhold(notices)))
            case LookUpRoomKeys(sessions=sessions):
                return message.reply(tuple(self._room_keys.current(self._partition(*each)) for each in sessions))
            case LookUpSessions(sessions=sessions):
                return message.reply(tuple(self._known_of(*each) for each in sessions))
            case RoomKeysPage():
                return message.reply(self.decoded_page(message.table, self._codec.entry))
            case MoreClaimsPage():
                return message.reply(self.decoded_page(message.table, self._claims_codec.claims))
            case ChangedClaims():
                return message.reply(tuple(claims for claims in self._more_claims.all_changed() if claims is not None))
            case WriteBehind(blocks=blocks):
                self._merge_pending(blocks)
                return message.reply(None)
            case _:
                assert_never(message)

    def _known_of(self, room_id: RoomId, session_id: MegolmSessionId, sender: str | None) -> KnownOfSession:
        entry = self._room_keys.current(self._partition(room_id, session_id))
        is_theirs = entry is not None and sender is not None and self._is_theirs(entry, room_id, session_id, sender)
        # an export names nobody
        may_be_theirs = entry is not None and (sender is None or is_theirs or entry.exported)
        return KnownOfSession(
            first_known_index=entry.first_known_index if entry is not None and may_be_theirs else None,
            senders_first_index=entry.copies[0].session.first_known_index if entry is not None and is_theirs else None,
            withheld=None if sender is None else self._withheld.current(self._notice(room_id, session_id, sender)),
        )

    def _is_theirs(self, entry: RoomKeyEntry, room_id: RoomId, session_id: str, sender: str) -> bool:
        """Whether a user has sent a session's key: the first copy is signed then."""
        if any(claim.sender == sender for claim in entry.claims):
            return True
        more = entry.more_claims and self._more_claims.current(self._claims_name(room_id, session_id, sender))
        return bool(more)

    def _withhold(self, notices: Mapping[NoticeName, WithheldRecord]) -> list[NoticeName]:
        """Those of them that count from now on."""
        new = [name for name in notices if outweighs(notices[name], self._withheld.current(self._notice(*name)))]
        if not new:
            return []
        names = self._withheld_names.change(self._all_withheld)
        first = 1 + max([record.number for record in names.by_name.values()], default=0)
        names.drop(new)
        for number, name in enumerate(new, first):
            room_id, session_id, sender = name
            record = WithheldNameRecord(room_id=room_id, session_id=session_id, sender=sender, number=number)
            names.put({name: record})
            self._withheld.put(self._notice(*name), notices[name])
        for name in names.drop(surplus([(name, name[2], 0) for name in names.by_name], number=MOST_NOTICES)):
            self._withheld.put(self._notice(*name), None)
        return [name for name in new if name in names.by_name]

    def _add(self, new: NewRoomKey) -> RoomKeyChange:
        partition = self._partition(new.room_id, new.session_id)
        entry = self._room_keys.current(partition)
        if entry is None:
            claims = () if new.claim is None else shared_alone(new.claim)
            self._room_keys.put(partition, RoomKeyEntry.of(new.room_id, (new.copy,), claims, more_claims=False))
            return "new"
        before, claims, more_claims = entry.copies, entry.claims, entry.more_claims
        copies, change = add_copy(before, new.copy, claims if new.claim is None else (*claims, new.claim))
        if new.claim is not None:
            claims, more_claims, another = self._add_claim(entry, new.room_id, new.session_id, new.claim)
            if change == "known" and another and not _said_before(entry, new.claim):
                change = "unconnected"
        elif change == "known" and not _is_exported(before) and _is_exported(copies):
            change = "unconnected"
        if any(len(copy.exported) > EXPORTED_CLAIMS for copy in copies):
            copies, more_claims = self._set_apart(new.room_id, new.session_id, copies), True
        if copies is not before or claims is not entry.claims or more_claims != entry.more_claims:
            self._room_keys.put(partition, RoomKeyEntry.of(entry.room_id, copies, claims, more_claims=more_claims))
        return change

    def _add_claim(
        self, entry: RoomKeyEntry, room_id: RoomId, session_id: MegolmSessionId, new: Claim
    ) -> tuple[tuple[Claim, ...], bool, bool]:
        """The claims to keep with the session, whether there are more, and whether this user's is the first of many."""
        assert new.sender is not None  # noqa: S101 - whoever sends a room key has a name
        theirs = tuple(claim for claim in entry.claims if claim.sender == new.sender)
        if theirs:
            kept = add_claim(theirs, new, self._sender(new.sender))
            if kept is theirs:
                return entry.claims, entry.more_claims, False
            others = tuple(claim for claim in entry.claims if claim.sender != new.sender)
            return (*others, *kept), entry.more_claims, False
        if len({claim.sender for claim in entry.claims}) < USERS_A_SESSION:
            return (*entry.claims, new), entry.more_claims, True
        name = self._claims_name(room_id, session_id, new.sender)
        before = self._more_claims.current(name) if entry.more_claims else None
        known = () if before is None else before.claims
        kept = add_claim(known, new, self._sender(new.sender))
        if kept is not known:
            self._more_claims.put(name, MoreClaims(room_id=room_id, session_id=session_id, claims=kept))
        return entry.claims, True, not known

    def _set_apart(
        self, room_id: RoomId, session_id: MegolmSessionId, copies: tuple[RoomKeyCopy, ...]
    ) -> tuple[RoomKeyCopy, ...]:
        """The copies with a few claims of exports; the others are kept apart."""
        for claim in chain.from_iterable(copy.exported[EXPORTED_CLAIMS:] for copy in copies):
            name = self._exported_name(room_id, session_id, (claim.sender_key, claim.ed25519))
            self._more_claims.put(name, MoreClaims(room_id=room_id, session_id=session_id, claims=(claim,)))
        return tuple(replace(copy, exported=copy.exported[:EXPORTED_CLAIMS]) for copy in copies)

    def _sender(self, user_id: str) -> KnownSender | None:
        """What is known of a user's devices, if it was loaded."""
        return self._senders.peek(self._sender_name(user_id), committed=True)

    # --- decrypting -----------------------------------------------------------------------------------------

    def _info_of(self, asked: EncryptionInfoOf) -> EncryptionInfo:
        entry = self._room_keys.committed(self._partition(asked.room_id, asked.session_id))
        if entry is None:
            raise MissingRoomKey(room_id=asked.room_id, session_id=asked.session_id)
        # the most trusted copy: an event may be of another, which whoever has it forged
        return self._attribute(entry, entry.copies[0], asked.room_id, asked.session_id, asked.sender).info

    def _decrypt_or_error(
        self, room_id: RoomId, event: JsonObject, required: RequiredTrust
    ) -> DecryptedRoomEvent | DecryptionError:
        try:
            return self._decrypt(room_id, event, required)
        except DecryptionError as error:
            return error

    def _decrypt(self, room_id: RoomId, event: JsonObject, required: RequiredTrust) -> DecryptedRoomEvent:
        content = json_object(as_object(event, "the event"), "content")
        if content.get("algorithm") != MEGOLM:
            raise MalformedMessage(reason="not a Megolm message")
        session_id = MegolmSessionId(string(content, "session_id"))
        ciphertext = string(content, "ciphertext")
        event_id, sender = _id_of(event), _sender_of(event)
        entry = self._room_keys.committed(self._partition(room_id, session_id))
        if entry is None:
            missing = MissingRoomKey(room_id=room_id, session_id=session_id)
            raise self._withheld_or(missing, room_id, session_id, sender)
        try:
            copy, index, plaintext = _decrypt_with(entry, ciphertext)
        except UnknownMessageIndex as too_early:
            raise self._withheld_or(too_early, room_id, session_id, sender) from None
        payload = as_object(parse_json(plaintext), "the payload")
        event_type, event_content = string(payload, "type"), json_object(payload, "content")
        if payload.get("room_id") != room_id:
            raise MismatchedRoom(room_id=room_id)
        copy_from_clear(content, event_content)
        attribution = self._attribute(entry, copy, room_id, session_id, sender)
        if required is not RequiredTrust.ANY and attribution.info.sender_state < SenderState.CROSS_SIGNED:
            raise UntrustedSender(state=attribution.info.sender_state.name)
        guards = self._guards(room_id, session_id, sender, block_of(index), exported=entry.exported)
        self._guard(guards, index, event_id, sender, own_only=attribution.founded)
        return DecryptedRoomEvent(
            room_id=room_id,
            event_id=event_id,
            type=event_type,
            content=event_content,
            session_id=session_id,
            message_index=index,
            encryption_info=attribution.info,
        )

    def _withheld_or(
        self, error: MissingRoomKey | UnknownMessageIndex, room_id: RoomId, session_id: str, sender: str | None
    ) -> DecryptionError:
        """What an event's sender has said about a key that isn't there, or begins later; or else ``error``."""
        # not loaded for a ciphertext whose index isn't where everybody writes it
        notice = sender and self._withheld.peek(self._notice(room_id, session_id, sender), committed=True)
        if not notice:
            return error
        first_known_index = error.first_known_index if isinstance(error, UnknownMessageIndex) else None
        return RoomKeyWithheld(code=notice.code, reason=notice.reason, first_known_index=first_known_index)

    def _attribute(
        self, entry: RoomKeyEntry, copy: RoomKeyCopy, room_id: RoomId, session_id: str, sender: str | None
    ) -> Attribution:
        """Who sent an event that a copy has decrypted.

        Raises:
            MismatchedSender: Others say that the session is theirs, and the event's sender doesn't.
        """
        only = entry.only_claim
        if only is not None:
            if sender is None or only.sender != sender:
                raise MismatchedSender(reason=_NOT_THEIRS)
            if only.own:
                return attribute(only, sender, NOBODY, self._own)
            claims: tuple[Claim, ...] = (only,)
        else:
            claims = copy.exported
        known, identity, own_identity = NOBODY, None, None
        if sender is not None:
            known = self._senders.committed(self._sender_name(sender))
            identity = self._identities.committed(self._identity_name(sender)) if known.any_signed else None
            own_identity = identity and self._identities.committed(self._own_identity)
            if only is None:
                of_sender = self._claims_of(entry, room_id, session_id, sender) if copy.signed else ()
                claims = (*of_sender, *claims, *self._exported_of(entry, room_id, session_id, known))
        if not claims:
            raise MismatchedSender(reason=_NOT_THEIRS)
        return best_founded(
            [
                attribute(claim, sender, known, self._own, identity=identity, own_identity=own_identity)
                for claim in claims
            ]
        )

    def _claims_of(self, entry: RoomKeyEntry, room_id: RoomId, session_id: str, sender: str) -> tuple[Claim, ...]:
        """What one user says of a session."""
        more = None
        if entry.more_claims:
            more = self._more_claims.committed(self._claims_name(room_id, session_id, sender))
        return (*(claim for claim in entry.claims if claim.sender == sender), *(more.claims if more else ()))

    def _exported_of(
        self, entry: RoomKeyEntry, room_id: RoomId, session_id: str, known: KnownSender
    ) -> tuple[Claim, ...]:
        """What exports say of a session that is kept apart from it, of the devices that a user has, or had."""
        if not entry.more_claims:
            return ()
        names = [self._exported_name(room_id, session_id, keys) for keys in known.both_keys]
        more = [self._more_claims.committed(name) for name in names]
        return tuple(chain.from_iterable(each.claims for each in more if each is not None))

    # --- the replay guard -----------------------------------------------------------------------------------

    def _guard(
        self, guards: Sequence[bytes], index: int, event_id: EventId, sender: str | None, *, own_only: bool
    ) -> None:
        """Let an event have a message index, or refuse it because another has it.

        Each sender has their own indices of a session. Who was given its key can send a message on as their own, and
        say that the session is theirs; but they can't have its owner's message be taken for the repetition. Where an
        export names nobody, a message counts as anybody's, too: an event of somebody who has no better right to the
        session is refused if another's was read. ``own_only``: this one's sender has.
        """
        if not self._used.holds(guards, committed=True):
            raise MalformedMessage(reason="its message index is not where everybody writes it")  # or is there twice
        own = None if sender is None else guards[0]
        new: list[bytes] = []
        for guard in guards:
            first = self._used.committed(guard).events.get(index) or self._pending.get(guard, {}).get(index)
            if first is None:
                new.append(guard)
            elif guard is own:
                if not self._event_hashes.same(first, event_id):
                    raise ReplayedMessage
            elif not own_only and not self._event_hashes.same(first, event_id, sender or ""):
                raise ReplayedMessage
        if new:
            for guard in new:
                event = self._event_hashes.of(event_id, None if guard is own else sender or "")
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

    def noticed(self, notice: Notice) -> None:
        """What was committed waits no longer."""
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


def _id_of(event: JsonObject) -> EventId:
    """The event's id.

    Raises:
        MalformedMessage: It has none: nothing would tell it from a repetition.
    """
    event_id = event.get("event_id")
    if not isinstance(event_id, str):
        raise MalformedMessage(reason="the event has no id")
    return EventId(event_id)


def _sender_of(event: JsonObject) -> str | None:
    """The user that an event names as its sender, if it does."""
    sender = event.get("sender")
    return sender if isinstance(sender, str) else None


_NOT_THEIRS = "the room key is not from the event's sender"


def _is_exported(copies: Iterable[RoomKeyCopy]) -> bool:
    """Whether an export says whose one of them is."""
    return any(copy.exported for copy in copies)


def _said_before(entry: RoomKeyEntry, claim: Claim) -> bool:
    """Whether an export has named the same keys."""
    keys = claim.sender_key, claim.ed25519
    return any((said.sender_key, said.ed25519) == keys for copy in entry.copies for said in copy.exported)


def _decrypt_with(entry: RoomKeyEntry, ciphertext: str) -> tuple[RoomKeyCopy, int, bytes]:
    """The copy that decrypts it, the message index, and the plaintext."""
    try:
        message = MegolmMessage.from_base64(ciphertext)
    except ValueError as error:
        raise MalformedMessage(reason=str(error)) from None
    reason = ""
    for copy in entry.copies:
        try:
            decrypted = copy.session.decrypt(message)
        except ValueError as error:
            reason = str(error)
        else:
            return copy, decrypted.message_index, decrypted.plaintext
    index, first_known_index = message.message_index(), entry.first_known_index
    if index < first_known_index:
        raise UnknownMessageIndex(message_index=index, first_known_index=first_known_index)
    raise MalformedMessage(reason=reason)
