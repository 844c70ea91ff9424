"""The Olm sessions actor owns the sessions with other devices, and the memory of which Olm messages were decrypted.

Its invariants:

- A session's step and the message that it decrypted or encrypted are in one commit.
- A pre-key message goes to the session that it names, and to that one only. A session begins once: when it is dropped,
  its name is kept for good, and no message starts it again, though a fallback key would allow that. So nothing is
  decrypted twice, however it is spelt.
- We encrypt on the session with the most recent successful decryption (spec: m.olm.v1.curve25519-aes-sha2), by a rank
  that counts up within a device, since clocks don't.
- A session that came from a backup is used to decrypt only: the original may have gone on with it.
- A replay is no alarm: it is known as one. Of a pre-key message that is for good: by a row of its device's sessions, or
  by the set. A normal one is known while it is among the last `REMEMBERED` ones of its device's session.
- We encrypt on a session for one user only. Of one that we started, that is whose one-time key it was started with; of
  one that the other side began, whose payload was believed on it. Anybody can publish another's identity key as their
  own devices'; they could use up the steps of a session with its owner, who couldn't read us any more.
- A session from before there were owners, or from another library, has none until a payload is believed on it. Until
  then it is good for `STEPS_FOR_ANYBODY` messages in all, whoever they are for: a gap that its owner doesn't notice.

The partition is the other device's identity key: all sessions with one device are loaded together.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from functools import partial
from operator import attrgetter
from typing import ClassVar, TypeAlias, assert_never

import attrs
import msgspec
from vodozemac import Session

from olmstate.actors._account.actor import NewSession
from olmstate.actors._engine.actor import Actor, Environment, Notice, Wanted
from olmstate.actors._engine.cache import Cache
from olmstate.actors._engine.records import dumps, loads, restore
from olmstate.actors._to_device import work as work_of
from olmstate.actors._wire.base64 import encode as encode_base64
from olmstate.actors._wire.olm_message import DIGEST_BYTES, OlmMessage
from olmstate.actors._wire.quiet_struct import QuietStruct
from olmstate.messages import (
    Curve25519Key,
    DecryptionError,
    MegolmSessionId,
    Message,
    OlmSessionId,
    Query,
    ReplayedMessage,
    Reply,
    RoomId,
    UnknownOlmSession,
    UserId,
)
from olmstate.storage import Row, RowReader, Table

from .stored import OlmSessionRecord

SESSIONS_A_DEVICE = 10
"""Of those that it has started, and of those that we have with one user's one-time keys; more are dropped, the least
recently used first. Never fewer than 4 (spec). They are counted apart: a user who publishes another's identity key
as a device's of their own could otherwise have all sessions with its owner dropped."""

REMEMBERED = 128
"""Normal messages that each session's row knows by their `DIGEST_BYTES`. A sync brings 100 at most (Synapse)."""

PRE_KEY_REMEMBERED = 16
"""Pre-key messages that each session's row knows; the set knows more. Most devices send one, and are answered."""
ROOM_KEYS_REMEMBERED = 32
"""Rooms whose last key each session's row knows to have been sent on it."""
STEPS_FOR_ANYBODY = 20
"""On a session that has no owner yet. Its other side can do without them: vodozemac skips 2,000 messages, and keeps the
keys of the last 40."""
DROPPED = "dropped session"
"""Goes before the id of a dropped session where the set has its name."""
PRE_KEY_DIGEST_BYTES = 32


class OlmSession(msgspec.Struct, kw_only=True, gc=False):
    """One session and what decides on its use."""

    session: Session
    rank: int
    """The session with the highest one is encrypted on."""
    decrypt_only: bool = False
    claimed_from: UserId | None = None
    """Whose one-time key we started it with; None: the other device started it, so the identity key is its own."""
    owner: UserId | None = None
    """Whose payload was the first to be believed on it, if the other device started it."""
    steps_for_anybody: int = 0
    """How often it may still be encrypted on though it has no owner."""
    decrypted: bytes = b""
    """Digests of normal messages that were decrypted and believed while it was the one used last, the oldest first."""
    pre_key_messages: bytes = b""
    """The same of pre-key messages."""
    changed: bool = False
    """Differs from what is stored."""
    room_keys: dict[RoomId, MegolmSessionId] = {}
    """The last room key of each room that was sent on it, oldest first: the other side may lose them with it."""
    unjudged: tuple[bytes, ...] = ()
    """Digests of what was decrypted on it in this turn, if it has no owner."""

    def may_encrypt_for(self, user_id: UserId) -> bool:
        """Whether we may encrypt on it for that user."""
        if self.decrypt_only:
            return False
        whose = self.claimed_from or self.owner
        return whose == user_id or (whose is None and self.steps_for_anybody > 0)

    def copy(self, pickle_key: bytes) -> OlmSession:
        """Another object of the same."""
        session = Session.from_pickle(self.session.pickle(pickle_key), pickle_key)
        return msgspec.structs.replace(self, session=session, room_keys=dict(self.room_keys))


class DeviceSessions(msgspec.Struct, kw_only=True, gc=False):
    """All sessions with one device."""

    by_id: dict[OlmSessionId, OlmSession]
    dropped: tuple[OlmSessionId, ...] = ()
    in_set: bool = False
    """The set knows pre-key messages of the device. Each row says so that was written since, and one always is: the
    session that another had to go for, or that has too many."""
    believed: list[OlmMessage] | None = []
    """All that was done in this turn, in order: these were decrypted. None: something else was done, too."""

    def by_recency(self) -> list[OlmSession]:
        """Most recently used first."""
        return sorted(self.by_id.values(), key=_rank, reverse=True)

    def to_encrypt_on(self, user_id: UserId) -> OlmSession | None:
        """Of the sessions on which we may encrypt for that user, the most recently used one."""
        best: OlmSession | None = None
        for each in self.by_id.values():
            if each.may_encrypt_for(user_id) and (best is None or each.rank > best.rank):
                best = each
        return best

    @property
    def room_keys(self) -> dict[RoomId, MegolmSessionId]:
        """The last room key of each room that was sent on any of them."""
        sent: dict[RoomId, MegolmSessionId] = {}
        for session in reversed(self.by_recency()):
            sent |= session.room_keys
        return sent

    def remember(self, messages: Iterable[OlmMessage]) -> list[bytes]:
        """Have these messages be known as decrypted; the digests of pre-key messages for which there is no room."""
        if not self.by_id:
            return []  # invalidated since they were: this turn is fenced
        last_used = max(self.by_id.values(), key=_rank)
        last_used.changed = True
        ownerless = [session for session in self.by_id.values() if session.unjudged]
        for olm in messages:
            for session in ownerless:
                if session.owner is None and olm.digest in session.unjudged:
                    session.owner = olm.sender
                    session.changed = True
            if self.believed is not None:
                self.believed.append(olm)
            if olm.pre_key is None:
                last_used.decrypted += olm.short_digest
            else:
                last_used.pre_key_messages += olm.digest
        last_used.decrypted = last_used.decrypted[-REMEMBERED * DIGEST_BYTES :]
        pre_key_messages = _digests(last_used.pre_key_messages, PRE_KEY_DIGEST_BYTES)
        last_used.pre_key_messages = b"".join(pre_key_messages[-PRE_KEY_REMEMBERED:])
        for session in ownerless:
            session.unjudged = ()
        return pre_key_messages[:-PRE_KEY_REMEMBERED]

    def remembers(self, olm: OlmMessage) -> bool:
        """Whether a message is known as decrypted by a session's row, with the keys of a pre-key message or without."""
        for session in self.by_id.values():
            if session.decrypted and _has(session.decrypted, olm.short_digest):
                return True
            if session.pre_key_messages and _has(session.pre_key_messages, olm.digest):
                return True
        return False

    def copy(self, pickle_key: bytes) -> DeviceSessions:
        """Another object of the same."""
        return msgspec.structs.replace(
            self,
            by_id={session_id: session.copy(pickle_key) for session_id, session in self.by_id.items()},
        )

    def next_rank(self) -> int:
        """A rank above all others'."""
        return 1 + max(map(_rank, self.by_id.values()), default=0)


def _note(room_keys: dict[RoomId, MegolmSessionId], room_id: RoomId, session_id: MegolmSessionId) -> None:
    room_keys.pop(room_id, None)
    room_keys[room_id] = session_id
    if len(room_keys) > ROOM_KEYS_REMEMBERED:
        del room_keys[next(iter(room_keys))]


def _can_encrypt(sessions: Iterable[DeviceSessions], devices: Iterable[tuple[UserId, Curve25519Key]]) -> Iterable[bool]:
    """Whether each user's device can be written to on its sessions."""
    return (each.to_encrypt_on(user_id) is not None for each, (user_id, _) in zip(sessions, devices, strict=True))


_rank: Callable[[OlmSession], int] = attrgetter("rank")


def _has(joined: bytes, digest: bytes) -> bool:
    """Whether a digest is among some of its length."""
    at = joined.find(digest)
    while at >= 0 and at % len(digest):
        at = joined.find(digest, at + 1)
    return at >= 0


def _digests(joined: bytes, size: int) -> list[bytes]:
    return [joined[start : start + size] for start in range(0, len(joined), size)]


class _SessionsCodec:
    def __init__(self, store: RowReader) -> None:
        self._store = store

    def decode(self, partition: bytes, rows: Sequence[Row]) -> DeviceSessions:  # noqa: ARG002 - rows know it
        sessions = DeviceSessions(by_id={})
        for row in rows:
            record = loads(row, OlmSessionRecord)
            session = restore(Table.OLM_SESSIONS, Session.from_pickle, record.pickle, self._store.pickle_key)
            restored = row.generation <= self._store.restored_generation
            sessions.by_id[OlmSessionId(session.session_id)] = OlmSession(
                session=session,
                rank=record.rank,
                decrypt_only=record.decrypt_only or restored,
                claimed_from=record.claimed_from,
                owner=record.owner,
                steps_for_anybody=record.steps_for_anybody,
                decrypted=record.decrypted,
                pre_key_messages=record.pre_key_messages,
                room_keys=record.room_keys,
            )
            sessions.in_set = sessions.in_set or record.in_set
        return sessions

    def encode(self, partition: bytes, entry: DeviceSessions) -> Iterable[Row]:
        for session_id in entry.dropped:
            yield Row(self._key(session_id), partition, None)
        entry.dropped = ()
        entry.believed = []
        for session_id, session in entry.by_id.items():
            if session.changed:
                record = OlmSessionRecord(
                    pickle=session.session.pickle(self._store.pickle_key),
                    rank=session.rank,
                    decrypt_only=session.decrypt_only,
                    claimed_from=session.claimed_from,
                    owner=session.owner,
                    steps_for_anybody=session.steps_for_anybody,
                    decrypted=session.decrypted,
                    pre_key_messages=session.pre_key_messages,
                    in_set=entry.in_set,
                    room_keys=session.room_keys,
                )
                session.changed = False
                session.unjudged = ()
                yield Row(self._key(session_id), partition, dumps(record))

    def _key(self, session_id: OlmSessionId) -> bytes:
        return self._store.key(Table.OLM_SESSIONS, session_id)


class _MessagesCodec:
    """Whether the set knows a pre-key message, or a dropped session: a row, or none."""

    def decode(self, partition: bytes, rows: Sequence[Row]) -> bool:  # noqa: ARG002 - one row at most
        return bool(rows)

    def encode(self, partition: bytes, entry: bool) -> Iterable[Row]:  # noqa: FBT001 - the protocol's
        if entry:
            yield Row(partition, partition, b"")


# --- what it is asked ---------------------------------------------------------------------------------------


@attrs.frozen
class NeedsSession:
    """No session matches this pre-key message, nor was it decrypted before: the account may be able to make one."""


@attrs.frozen
class Deferred:
    """Not tried: an earlier message of the same device `NeedsSession`. A pre-key message's outcome it never is."""


@attrs.frozen
class _OnHold:
    """Tried on some sessions in vain, and not on all."""

    sessions: int


DecryptOutcome: TypeAlias = bytes | DecryptionError | NeedsSession | Deferred
"""The plaintext, or why there is none."""


class AddSessions(QuietStruct, Message[None], kw_only=True, frozen=True):
    """Keep sessions that were just made; they are the ones to encrypt on from now."""

    sessions: tuple[NewSession, ...]


class Tried(QuietStruct, kw_only=True, frozen=True):
    """How far `Decrypt` came."""

    outcomes: tuple[DecryptOutcome, ...]
    """Of as many messages as were done with, from the first."""
    work: tuple[int, ...]
    """Units for each of them, and for the next one, if it was begun."""
    sessions: int = 0
    """On how many sessions the next one was tried in vain: `Decrypt` goes on from there."""


class Decrypt(QuietStruct, Message[Tried], kw_only=True, frozen=True):
    """Decrypt in order, as far as a slice of time allows, and no pre-key message comes that must wait for another's.

    One that could not be decrypted may be one that `WereDecrypted`.
    """

    messages: tuple[OlmMessage, ...]
    sessions: int = 0
    """On how many sessions the first one was tried before, in vain."""


class WereDecrypted(QuietStruct, Message[tuple[bool, ...]], kw_only=True, frozen=True):
    """Which messages are known to have been decrypted before."""

    messages: tuple[OlmMessage, ...]


class Remember(QuietStruct, Message[None], kw_only=True, frozen=True):
    """These messages were decrypted and believed: seen again, they are replays."""

    messages: tuple[OlmMessage, ...]


class HaveSessions(QuietStruct, Message[tuple[bool, ...]], kw_only=True, frozen=True):
    """Whether there is a session on which each user's device with a key can be written to."""

    devices: tuple[tuple[UserId, Curve25519Key], ...]


class CommittedSessions(QuietStruct, Query[tuple[bool, ...]], kw_only=True, frozen=True):
    """The same as `HaveSessions`; no turn is needed."""

    devices: tuple[tuple[UserId, Curve25519Key], ...]


class Save(QuietStruct, Message[None], kw_only=True, frozen=True):
    """Make sure that all that is done for these devices from now on can be undone."""

    sender_keys: frozenset[Curve25519Key]
    first: bool = True
    """Whether what was saved before is forgotten."""


class Undo(QuietStruct, Message[tuple[OlmMessage, ...]], kw_only=True, frozen=True):
    """Have these devices' sessions be as they were before: as they were saved, or else as they are stored.

    The reply are messages that were decrypted and believed before that, in this turn: they must be, once more.
    """

    sender_keys: frozenset[Curve25519Key]


class Encrypt(QuietStruct, Message[tuple[tuple[int, str] | None, ...]], kw_only=True, frozen=True):
    """Encrypt each plaintext to its user's device: Olm message type and base64 body, or None without a session."""

    plaintexts: tuple[tuple[UserId, Curve25519Key, bytes], ...]
    room_key: tuple[RoomId, MegolmSessionId] | None = None
    """Which one is in them, if one is: that is remembered, see `SentRoomKeys`."""


class SentRoomKeys(QuietStruct, Message[tuple[dict[RoomId, MegolmSessionId], ...]], kw_only=True, frozen=True):
    """Which room keys were sent on the sessions with each device: of each room the last, and of so many rooms."""

    sender_keys: tuple[Curve25519Key, ...]


Asked: TypeAlias = (
    AddSessions
    | Decrypt
    | WereDecrypted
    | Remember
    | Save
    | Undo
    | HaveSessions
    | CommittedSessions
    | Encrypt
    | SentRoomKeys
)


class OlmSessionsActor(Actor[Asked]):
    """Owns the Olm sessions, and which Olm messages were decrypted."""

    name: ClassVar[str] = "olm_sessions"

    def __init__(self, environment: Environment) -> None:
        """It has loaded nothing."""
        store, capacity = environment.store, environment.capacity
        self._sessions = Cache[DeviceSessions](Table.OLM_SESSIONS, _SessionsCodec(store), capacity(Table.OLM_SESSIONS))
        # a message is looked up of a device that has had many sessions: too seldom to keep anything
        self._messages = Cache[bool](Table.OLM_MESSAGES, _MessagesCodec(), 0)
        # each message comes by here several times, and a method of our own would take longer than what is remembered
        self._partition: Callable[[Curve25519Key], bytes] = partial(store.key, Table.OLM_SESSIONS)
        self._saved: dict[bytes, DeviceSessions | tuple[OlmMessage, ...]] = {}
        """What this turn had made of devices when they were saved: all of it, or how to do it again."""
        super().__init__(environment, [self._sessions, self._messages])

    def wanted(self, message: Asked) -> Wanted:
        """The sessions of the devices named, or whether messages are known."""
        match message:
            case AddSessions(sessions=sessions):
                return ((self._sessions, [self._partition(new.sender_key) for new in sessions]),)
            case Decrypt(messages=messages) | WereDecrypted(messages=messages):
                return self._wanted_for(messages)
            case Remember(messages=messages):
                return ((self._sessions, [self._partition(olm.sender_key) for olm in messages]),)
            case HaveSessions(devices=devices) | CommittedSessions(devices=devices):
                return ((self._sessions, [self._partition(key) for _, key in devices]),)
            case Save() | Undo():
                return ()
            case Encrypt(plaintexts=plaintexts):
                return ((self._sessions, [self._partition(key) for _, key, _ in plaintexts]),)
            case SentRoomKeys(sender_keys=sender_keys):
                return ((self._sessions, list(map(self._partition, sender_keys))),)
            case _:
                assert_never(message)

    def _wanted_for(self, messages: Sequence[OlmMessage]) -> Wanted:
        partitions = [self._partition(olm.sender_key) for olm in messages]
        yield self._sessions, partitions
        hashes: list[bytes] = []
        for partition, olm in zip(partitions, messages, strict=True):
            if olm.pre_key is None:
                continue
            device = self._sessions.peek(partition, committed=False)
            if device is not None and device.in_set:
                hashes += self._hash(olm.digest), self._name(OlmSessionId(olm.pre_key.session_id()))
        if hashes:
            yield self._messages, hashes

    def handle(self, message: Asked) -> Reply:  # noqa: C901 - one case a message
        """Answer one message."""
        match message:
            case AddSessions(sessions=sessions):
                self._add(sessions)
                return message.reply(None)
            case Decrypt(messages=messages, sessions=sessions):
                return message.reply(self._decrypt_all(messages, sessions))
            case WereDecrypted(messages=messages):
                devices = [self._sessions.current(self._partition(olm.sender_key)) for olm in messages]
                return message.reply(tuple(map(self._knows, devices, messages)))
            case Remember(messages=messages):
                self._remember(messages)
                return message.reply(None)
            case HaveSessions(devices=devices):
                of_each = [self._sessions.current(self._partition(key)) for _, key in devices]
                return message.reply(tuple(_can_encrypt(of_each, devices)))
            case CommittedSessions(devices=devices):
                of_each = [self._sessions.committed(self._partition(key)) for _, key in devices]
                return message.reply(tuple(_can_encrypt(of_each, devices)))
            case Save(sender_keys=sender_keys, first=first):
                if first:
                    self._saved.clear()
                self._save(sender_keys)
                return message.reply(None)
            case Undo(sender_keys=sender_keys):
                return message.reply(tuple(self._undo(sender_keys)))
            case Encrypt(plaintexts=plaintexts, room_key=room_key):
                return message.reply(tuple(self._encrypt(*plaintext, room_key) for plaintext in plaintexts))
            case SentRoomKeys(sender_keys=sender_keys):
                return message.reply(
                    tuple(self._sessions.current(self._partition(key)).room_keys for key in sender_keys)
                )
            case _:
                assert_never(message)

    def _add(self, sessions: tuple[NewSession, ...]) -> None:
        for new in sessions:
            device = self._sessions.change(self._partition(new.sender_key))
            device.by_id[OlmSessionId(new.session.session_id)] = OlmSession(
                session=new.session,
                rank=device.next_rank(),
                claimed_from=new.claimed_from,
                owner=new.owner,
                steps_for_anybody=new.steps_for_anybody,
                changed=True,
                unjudged=() if new.digest is None else (new.digest,),
            )
            device.believed = None
            if new.digest is None:  # or it will go if its first message isn't believed, and none may have gone for it
                self._drop_least_recent(device, new.claimed_from)

    def _drop_least_recent(self, device: DeviceSessions, claimed_from: UserId | None) -> None:
        if len(device.by_id) <= SESSIONS_A_DEVICE:
            return
        alike = [known for known in device.by_recency() if known.claimed_from == claimed_from]
        for least in alike[SESSIONS_A_DEVICE:]:
            session_id = OlmSessionId(least.session.session_id)
            del device.by_id[session_id]
            device.dropped += (session_id,)
            digests = _digests(least.pre_key_messages, PRE_KEY_DIGEST_BYTES)
            self._know_for_good(device, [self._name(session_id), *map(self._hash, digests)])

    # --- decrypting -----------------------------------------------------------------------------------------

    def _decrypt_all(self, messages: tuple[OlmMessage, ...], tried: int) -> Tried:
        waiting: set[Curve25519Key] = set()
        outcomes: list[DecryptOutcome] = []
        work: list[int] = []
        left = work_of.SLICE
        for olm in messages:
            outcome: DecryptOutcome | _OnHold
            done = 0
            if olm.sender_key not in waiting:
                outcome, failed = self._decrypt(olm, tried, left)
                if failed:
                    done = failed * work_of.attempt(olm)
            elif olm.pre_key is not None:
                break  # it may name the same one-time key as one that `NeedsSession`, and was sent after it
            else:
                outcome = Deferred()
            work.append(done)
            if isinstance(outcome, _OnHold):
                return Tried(outcomes=tuple(outcomes), work=tuple(work), sessions=outcome.sessions)
            if isinstance(outcome, NeedsSession):
                waiting.add(olm.sender_key)
            outcomes.append(outcome)
            tried = 0
            left -= done
            if left <= 0:
                break
        return Tried(outcomes=tuple(outcomes), work=tuple(work))

    def _decrypt(self, olm: OlmMessage, tried: int, most: int) -> tuple[DecryptOutcome | _OnHold, int]:
        """The outcome, and on how many sessions it was tried in vain; on hold if that is more work than ``most``."""
        partition = self._partition(olm.sender_key)
        device = self._sessions.current(partition)
        if olm.pre_key is None:
            # on a session that we began for somebody else, nobody writes who has this identity key
            candidates = [known for known in device.by_recency() if known.claimed_from in (None, olm.sender)]
        else:
            session_id = OlmSessionId(olm.pre_key.session_id())
            if session_id not in device.by_id:
                return self._without_session(device, olm, session_id), 0
            candidates = [device.by_id[session_id]]
        reason = "there is none with the device"
        failed = 0
        for known in candidates[tried:]:
            if failed and failed * work_of.attempt(olm) >= most:
                return _OnHold(tried + failed), failed
            try:
                plaintext = known.session.decrypt(olm.parsed)
            except ValueError as error:
                reason = str(error)
                failed += 1
                continue
            self._sessions.change(partition)  # moves the very entry that `known` is part of
            known.rank = device.next_rank()
            known.changed = True
            if known.owner is None and known.claimed_from is None:
                known.unjudged += (olm.digest,)
            return plaintext, failed
        return UnknownOlmSession(reason=reason), failed

    def _without_session(self, device: DeviceSessions, olm: OlmMessage, named: OlmSessionId) -> DecryptOutcome:
        """What becomes of a pre-key message that names a session which isn't there."""
        if self._knows(device, olm):
            return ReplayedMessage()
        if device.in_set and self._messages.current(self._name(named)):
            return UnknownOlmSession(reason="the session that it names was dropped, and begins once only")
        return NeedsSession()

    # --- replays --------------------------------------------------------------------------------------------

    def _hash(self, digest: bytes) -> bytes:
        return self._store.key(Table.OLM_MESSAGES, digest.hex())

    def _name(self, session_id: OlmSessionId) -> bytes:
        return self._store.key(Table.OLM_MESSAGES, DROPPED, session_id)

    def _knows(self, device: DeviceSessions, olm: OlmMessage) -> bool:
        if device.remembers(olm):
            return True
        return device.in_set and olm.pre_key is not None and self._messages.current(self._hash(olm.digest))

    def _remember(self, messages: tuple[OlmMessage, ...]) -> None:
        by_device: dict[bytes, list[OlmMessage]] = {}
        for olm in messages:
            by_device.setdefault(self._partition(olm.sender_key), []).append(olm)
        for partition, of_device in by_device.items():
            device = self._sessions.change(partition)
            self._know_for_good(device, list(map(self._hash, device.remember(of_device))))
            self._drop_least_recent(device, None)

    def _know_for_good(self, device: DeviceSessions, hashes: list[bytes]) -> None:
        """Take pre-key messages and dropped sessions into the set; a session of the device's is written, too."""
        for known in hashes:
            device.in_set = True
            self._messages.put(known, True)  # noqa: FBT003 - the entry

    # --- undoing --------------------------------------------------------------------------------------------

    def _save(self, sender_keys: Iterable[Curve25519Key]) -> None:
        for partition in map(self._partition, sender_keys):
            changed = self._sessions.changed(partition)
            if changed is not None:
                again = None if changed.believed is None else tuple(changed.believed)
                self._saved[partition] = changed.copy(self._store.pickle_key) if again is None else again

    def _undo(self, sender_keys: Iterable[Curve25519Key]) -> Iterable[OlmMessage]:
        for partition in map(self._partition, sender_keys):
            saved = self._saved.get(partition, ())
            if isinstance(saved, tuple):
                self._sessions.undo(partition)
                yield from saved
            else:
                self._sessions.put(partition, saved.copy(self._store.pickle_key))

    def noticed(self, notice: Notice) -> None:  # noqa: ARG002 - whatever it is
        """Nothing can be undone any more."""
        self._saved.clear()

    # --- encrypting -----------------------------------------------------------------------------------------

    def _encrypt(
        self,
        user_id: UserId,
        sender_key: Curve25519Key,
        plaintext: bytes,
        room_key: tuple[RoomId, MegolmSessionId] | None,
    ) -> tuple[int, str] | None:
        partition = self._partition(sender_key)
        used = self._sessions.current(partition).to_encrypt_on(user_id)
        if used is None:
            return None
        device = self._sessions.change(partition)
        message_type, body = used.session.encrypt(plaintext).to_parts()
        if used.claimed_from is None and used.owner is None:
            used.steps_for_anybody -= 1
        if room_key is not None:
            _note(used.room_keys, *room_key)
        used.changed = True
        device.believed = None
        return message_type, encode_base64(body)
