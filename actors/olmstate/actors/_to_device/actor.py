"""The Olm sessions actor owns the sessions with other devices, and the memory of which Olm messages were decrypted.

Its invariants:

- A session's step and the message that it decrypted or encrypted are in one commit.
- A pre-key message goes to the session that it names, and to that one only; one that was decrypted before never
  starts a new session, though a fallback key would allow it.
- We encrypt on the session with the most recent successful decryption (spec: m.olm.v1.curve25519-aes-sha2), by a rank
  that counts up within a device, since clocks don't.
- A session that came from a backup is used to decrypt only: the original may have gone on with it.
- A replay is no alarm: it is known as one. A pre-key message could start its session again once that was dropped, and
  is known for good: by a row of its device's sessions, or by the set. A normal one can't, and is known while it is
  among the last `REMEMBERED` ones of its device's session.
- A session that we started is used for the user whose one-time key it was started with. Anybody can publish another's
  identity key as his own device's; a session with that key and his one-time key can be read by neither.

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
from olmstate.actors._engine.actor import Actor, Environment, Wanted
from olmstate.actors._engine.cache import Cache
from olmstate.actors._engine.records import dumps, loads, restore
from olmstate.actors._wire.base64 import encode as encode_base64
from olmstate.actors._wire.olm_message import DIGEST_BYTES, OlmMessage
from olmstate.messages import (
    Curve25519Key,
    DecryptionError,
    Message,
    OlmSessionId,
    ReplayedMessage,
    Reply,
    UnknownOlmSession,
    UserId,
)
from olmstate.storage import Row, RowReader, Table

from .stored import OlmSessionRecord

SESSIONS_A_DEVICE = 10
"""Of those that it has started, and of those that we have with one user's one-time keys; more are dropped, the least
recently used first. Never fewer than 4 (spec). They are counted apart, or whoever publishes another's identity key as
his own devices' could have all sessions with its owner dropped."""

REMEMBERED = 128
"""Normal messages that each session's row knows by their `DIGEST_BYTES`. A sync brings 100 at most (Synapse)."""

PRE_KEY_REMEMBERED = 16
"""Pre-key messages that each session's row knows; the set knows more. Most devices send one, and are answered."""
PRE_KEY_DIGEST_BYTES = 32


class OlmSession(msgspec.Struct, kw_only=True):
    """One session and what decides on its use."""

    session: Session
    rank: int
    """The session with the highest one is encrypted on."""
    decrypt_only: bool = False
    claimed_from: UserId | None = None
    """Whose one-time key we started it with; None: the other device started it, so the identity key is its own."""
    decrypted: bytes = b""
    """Digests of normal messages that were decrypted and believed while it was the one used last, the oldest first."""
    pre_key_messages: bytes = b""
    """The same of pre-key messages."""
    changed: bool = False
    """Differs from what is stored."""


class DeviceSessions(msgspec.Struct, kw_only=True):
    """All sessions with one device."""

    by_id: dict[OlmSessionId, OlmSession]
    dropped: list[OlmSessionId]
    in_set: bool = False
    """The set knows pre-key messages of the device. Each row says so that was written since, and one always is: the
    session that another had to go for, or that has too many."""

    def by_recency(self) -> list[OlmSession]:
        """Most recently used first."""
        return sorted(self.by_id.values(), key=_rank, reverse=True)

    def remember(self, messages: Iterable[OlmMessage]) -> list[bytes]:
        """Have these messages be known as decrypted; the digests of pre-key messages for which there is no room."""
        if not self.by_id:
            return []  # invalidated since they were: this turn is fenced
        last_used = max(self.by_id.values(), key=_rank)
        last_used.changed = True
        for olm in messages:
            if olm.pre_key is None:
                last_used.decrypted += olm.short_digest
            else:
                last_used.pre_key_messages += olm.digest
        last_used.decrypted = last_used.decrypted[-REMEMBERED * DIGEST_BYTES :]
        pre_key_messages = _digests(last_used.pre_key_messages, PRE_KEY_DIGEST_BYTES)
        last_used.pre_key_messages = b"".join(pre_key_messages[-PRE_KEY_REMEMBERED:])
        return pre_key_messages[:-PRE_KEY_REMEMBERED]

    def remembers(self, olm: OlmMessage) -> bool:
        """Whether a message is known as decrypted by a session's row."""
        for session in self.by_id.values():
            if olm.pre_key is None:
                if olm.short_digest in _digests(session.decrypted, DIGEST_BYTES):
                    return True
            elif olm.digest in _digests(session.pre_key_messages, PRE_KEY_DIGEST_BYTES):
                return True
        return False

    def next_rank(self) -> int:
        """A rank above all others'."""
        return 1 + max(map(_rank, self.by_id.values()), default=0)


_rank: Callable[[OlmSession], int] = attrgetter("rank")


def _digests(joined: bytes, size: int) -> list[bytes]:
    return [joined[start : start + size] for start in range(0, len(joined), size)]


class _SessionsCodec:
    def __init__(self, store: RowReader) -> None:
        self._store = store

    def decode(self, partition: bytes, rows: Sequence[Row]) -> DeviceSessions:  # noqa: ARG002 - rows know it
        sessions = DeviceSessions(by_id={}, dropped=[])
        for row in rows:
            record = loads(row, OlmSessionRecord)
            session = restore(Table.OLM_SESSIONS, Session.from_pickle, record.pickle, self._store.pickle_key)
            restored = row.generation <= self._store.restored_generation
            sessions.by_id[OlmSessionId(session.session_id)] = OlmSession(
                session=session,
                rank=record.rank,
                decrypt_only=record.decrypt_only or restored,
                claimed_from=record.claimed_from,
                decrypted=record.decrypted,
                pre_key_messages=record.pre_key_messages,
            )
            sessions.in_set = sessions.in_set or record.in_set
        return sessions

    def encode(self, partition: bytes, entry: DeviceSessions) -> Iterable[Row]:
        for session_id in entry.dropped:
            yield Row(self._key(session_id), partition, None)
        entry.dropped.clear()
        for session_id, session in entry.by_id.items():
            if session.changed:
                record = OlmSessionRecord(
                    pickle=session.session.pickle(self._store.pickle_key),
                    rank=session.rank,
                    decrypt_only=session.decrypt_only,
                    claimed_from=session.claimed_from,
                    decrypted=session.decrypted,
                    pre_key_messages=session.pre_key_messages,
                    in_set=entry.in_set,
                )
                session.changed = False
                yield Row(self._key(session_id), partition, dumps(record))

    def _key(self, session_id: OlmSessionId) -> bytes:
        return self._store.key(Table.OLM_SESSIONS, session_id)


class _MessagesCodec:
    """Whether the set knows a pre-key message: a row, or none."""

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
    """Not tried: an earlier message of the same device `NeedsSession`."""


DecryptOutcome: TypeAlias = bytes | DecryptionError | NeedsSession | Deferred
"""The plaintext, or why there is none."""


@attrs.frozen(kw_only=True)
class AddSessions(Message[None]):
    """Keep sessions that were just made; they are the ones to encrypt on from now."""

    sessions: tuple[NewSession, ...]


@attrs.frozen(kw_only=True)
class Decrypt(Message[tuple[DecryptOutcome, ...]]):
    """Decrypt in order, as far as no new session is needed first.

    One that could not be decrypted may be one that `WereDecrypted`.
    """

    messages: tuple[OlmMessage, ...]


@attrs.frozen(kw_only=True)
class WereDecrypted(Message[tuple[bool, ...]]):
    """Which messages are known to have been decrypted before."""

    messages: tuple[OlmMessage, ...]


@attrs.frozen(kw_only=True)
class Remember(Message[None]):
    """These messages were decrypted and believed: seen again, they are replays."""

    messages: tuple[OlmMessage, ...]


@attrs.frozen(kw_only=True)
class HaveSessions(Message[tuple[bool, ...]]):
    """Whether there is a session on which each user's device with a key can be written to."""

    devices: tuple[tuple[UserId, Curve25519Key], ...]


@attrs.frozen(kw_only=True)
class Encrypt(Message[tuple[tuple[int, str] | None, ...]]):
    """Encrypt each plaintext to its user's device: Olm message type and base64 body, or None without a session."""

    plaintexts: tuple[tuple[UserId, Curve25519Key, bytes], ...] = attrs.field(repr=False)


Asked: TypeAlias = AddSessions | Decrypt | WereDecrypted | Remember | HaveSessions | Encrypt


class OlmSessionsActor(Actor[Asked]):
    """See the module."""

    name: ClassVar[str] = "olm_sessions"

    def __init__(self, environment: Environment) -> None:
        """It has loaded nothing."""
        store, capacity = environment.store, environment.capacity
        self._sessions = Cache[DeviceSessions](Table.OLM_SESSIONS, _SessionsCodec(store), capacity(Table.OLM_SESSIONS))
        # a message is looked up of a device that has had many sessions: too seldom to keep anything
        self._messages = Cache[bool](Table.OLM_MESSAGES, _MessagesCodec(), 0)
        # each message comes by here several times, and a method of our own would take longer than what is remembered
        self._partition: Callable[[Curve25519Key], bytes] = partial(store.key, Table.OLM_SESSIONS)
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
            case HaveSessions(devices=devices):
                return ((self._sessions, [self._partition(key) for _, key in devices]),)
            case Encrypt(plaintexts=plaintexts):
                return ((self._sessions, [self._partition(key) for _, key, _ in plaintexts]),)
            case _:
                assert_never(message)

    def _wanted_for(self, messages: Sequence[OlmMessage]) -> Wanted:
        partitions = [self._partition(olm.sender_key) for olm in messages]
        yield self._sessions, partitions
        hashes: list[bytes] = []
        for partition, olm in zip(partitions, messages, strict=True):
            device = self._sessions.peek(partition, committed=False)
            if device is not None and device.in_set and olm.pre_key is not None:
                hashes.append(self._hash(olm.digest))
        if hashes:
            yield self._messages, hashes

    def handle(self, message: Asked) -> Reply:
        """Answer one message."""
        match message:
            case AddSessions(sessions=sessions):
                self._add(sessions)
                return message.reply(None)
            case Decrypt(messages=messages):
                return message.reply(tuple(self._decrypt_all(messages)))
            case WereDecrypted(messages=messages):
                devices = [self._sessions.current(self._partition(olm.sender_key)) for olm in messages]
                return message.reply(tuple(map(self._knows, devices, messages)))
            case Remember(messages=messages):
                self._remember(messages)
                return message.reply(None)
            case HaveSessions(devices=devices):
                return message.reply(tuple(bool(self._usable(*device)) for device in devices))
            case Encrypt(plaintexts=plaintexts):
                return message.reply(tuple(self._encrypt(*plaintext) for plaintext in plaintexts))
            case _:
                assert_never(message)

    def _add(self, sessions: tuple[NewSession, ...]) -> None:
        for new in sessions:
            device = self._sessions.change(self._partition(new.sender_key))
            device.by_id[OlmSessionId(new.session.session_id)] = OlmSession(
                session=new.session, rank=device.next_rank(), claimed_from=new.claimed_from, changed=True
            )
            if len(device.by_id) > SESSIONS_A_DEVICE:
                self._drop_least_recent(device, new.claimed_from)

    def _drop_least_recent(self, device: DeviceSessions, claimed_from: UserId | None) -> None:
        alike = [known for known in device.by_recency() if known.claimed_from == claimed_from]
        for least in alike[SESSIONS_A_DEVICE:]:
            session_id = OlmSessionId(least.session.session_id)
            del device.by_id[session_id]
            device.dropped.append(session_id)
            self._know_for_good(device, _digests(least.pre_key_messages, PRE_KEY_DIGEST_BYTES))

    # --- decrypting -----------------------------------------------------------------------------------------

    def _decrypt_all(self, messages: tuple[OlmMessage, ...]) -> Iterable[DecryptOutcome]:
        waiting: set[Curve25519Key] = set()
        for olm in messages:
            if olm.sender_key in waiting:
                yield Deferred()
                continue
            outcome = self._decrypt(olm)
            if isinstance(outcome, NeedsSession):
                waiting.add(olm.sender_key)
            yield outcome

    def _decrypt(self, olm: OlmMessage) -> DecryptOutcome:
        partition = self._partition(olm.sender_key)
        device = self._sessions.current(partition)
        candidates = device.by_recency()
        if olm.pre_key is not None:
            candidates = [known for known in candidates if known.session.session_matches(olm.pre_key)]
            if not candidates:
                return ReplayedMessage() if self._knows(device, olm) else NeedsSession()
        reason = "there is none with the device"
        for known in candidates:
            try:
                plaintext = known.session.decrypt(olm.parsed)
            except ValueError as error:
                reason = str(error)
                continue
            self._sessions.change(partition)  # moves the very entry that `known` is part of
            known.rank = device.next_rank()
            known.changed = True
            return plaintext
        return UnknownOlmSession(reason=reason)

    # --- replays --------------------------------------------------------------------------------------------

    def _hash(self, digest: bytes) -> bytes:
        return self._store.key(Table.OLM_MESSAGES, digest.hex())

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
            self._know_for_good(device, device.remember(of_device))

    def _know_for_good(self, device: DeviceSessions, digests: list[bytes]) -> None:
        """Take pre-key messages into the set; a session of the device's is written in this turn, too."""
        for digest in digests:
            device.in_set = True
            self._messages.put(self._hash(digest), True)  # noqa: FBT003 - the entry

    # --- encrypting -----------------------------------------------------------------------------------------

    def _usable(self, user_id: UserId, sender_key: Curve25519Key) -> list[OlmSession]:
        return [
            known
            for known in self._sessions.current(self._partition(sender_key)).by_recency()
            if not known.decrypt_only and known.claimed_from in (None, user_id)
        ]

    def _encrypt(self, user_id: UserId, sender_key: Curve25519Key, plaintext: bytes) -> tuple[int, str] | None:
        partition = self._partition(sender_key)
        usable = self._usable(user_id, sender_key)
        if not usable:
            return None
        self._sessions.change(partition)
        message_type, body = usable[0].session.encrypt(plaintext).to_parts()
        usable[0].changed = True
        return message_type, encode_base64(body)
