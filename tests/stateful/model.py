"""What a correct device must answer: plain dicts and numbers, no cryptography and no storage.

One class a subject. Each method is told what was done, in the order in which it was done, and says what must come of
it, or checks what came. A model that would have to know how something is done says only what may come.
"""

from __future__ import annotations

from typing import TypeAlias

import attrs

from olmstate.messages import (
    DeviceAddress,
    EncryptedRoomEvent,
    JsonObject,
    KeyId,
    OutboundRoomKey,
    RequestId,
    UnpublishedKeys,
)

DAY = 24 * 3600 * 1000
"""Milliseconds."""
SessionKey: TypeAlias = tuple[str, str]
"""Room and session."""

# --- one-time keys ------------------------------------------------------------------------------------------


HOUR = DAY // 24
PATIENCE = 10 * 60_000
MOST, AT_ONCE, MOST_IN_DOUBT = 200, 10, 50
"""One-time keys that are kept, how many go at once, and how many in doubt stay before published ones go."""


@attrs.define
class Keys:
    """One-time keys and fallback keys: what was handed out to whom, and what the server was heard to have."""

    upload: dict[KeyId, str] | None = None
    """Public keys that were handed out, and nobody has said what became of them."""
    uploader: tuple[int, int] | None = None
    """To which supervisor, and which of its lives; None: nobody who lives."""
    begun: int = 0
    before: int = 0
    """How many the server had then."""
    in_doubt: dict[KeyId, str] = attrs.field(factory=dict[KeyId, str])
    published: list[str] = attrs.field(factory=list[str])
    forgotten: set[str] = attrs.field(factory=set[str])
    count: int = 0
    highest: int | None = None

    waiting_fallback: dict[KeyId, JsonObject] = attrs.field(factory=dict[KeyId, JsonObject])
    fallback_unused: bool | None = None
    fallback_was_unused: bool | None = None
    fallback_made: int | None = None
    fallback_published: int = 0
    fallback_number: int = 0
    fallback_in_doubt: bool = False
    fallbacks: list[str] = attrs.field(factory=list[str])
    """Public keys, newest last; the last two can be used."""
    seen: dict[KeyId, str] = attrs.field(factory=dict[KeyId, str])
    """Every public key that was ever handed out, by its id."""

    def imported(self, keys: dict[KeyId, str]) -> None:
        """Another library's account was taken over; it may have uploaded these, and they are never handed out."""
        self.in_doubt = dict(keys)
        self.seen = dict(keys)
        self.fallback_number = 1

    def handed_out(self, keys: UnpublishedKeys, now: int, to: tuple[int, int], alive: set[tuple[int, int]]) -> None:
        """`PrepareOneTimeKeys` was answered with ``keys``; ``alive``: the supervisors' present lives."""
        wanted = False
        if self.upload is not None:
            if self.highest is not None and self.highest > self.before:
                self._over(self.upload)
            elif self.uploader != to and self.uploader in alive and now - self.begun < PATIENCE:
                assert UnpublishedKeys(one_time_keys={}, fallback_keys={}) == keys
                return
            elif self.highest is None:
                wanted = True
            else:
                self._over({})
        assert wanted == keys.count_wanted
        kept = len(self.published) + len(self.in_doubt)
        new = max(0, min(50 - self.count, MOST - kept + AT_ONCE)) if self.upload is None else 0
        assert new == len(keys.one_time_keys)
        if new:
            self._forget(kept + new - MOST)
            self._new(keys.one_time_keys)
            self.upload = {key_id: key["key"] for key_id, key in keys.one_time_keys.items()}
            self.uploader, self.begun, self.before, self.highest = to, now, self.count, None
        self._fallback_handed_out(keys, now)

    def _forget(self, number: int) -> None:
        for _ in range(number):
            if len(self.in_doubt) > MOST_IN_DOUBT or not self.published:
                self.forgotten.add(self.in_doubt.pop(next(iter(self.in_doubt))))
            else:
                self.forgotten.add(self.published.pop(0))

    def _over(self, landed: dict[KeyId, str]) -> None:
        assert self.upload is not None
        self.in_doubt |= self.upload
        self.upload = None
        for key_id in landed:
            self.published.append(self.in_doubt.pop(key_id))

    def _fallback_handed_out(self, keys: UnpublishedKeys, now: int) -> None:
        if self.waiting_fallback:
            if self.fallback_unused is True and self.fallback_was_unused is False:
                self.waiting_fallback, self.fallback_published = {}, now
            else:
                self.fallback_in_doubt = True
            assert self.waiting_fallback == keys.fallback_keys
        elif self._fallback_is_due(now):
            assert 1 == len(keys.fallback_keys)
            self._new(keys.fallback_keys)
            self.waiting_fallback = dict(keys.fallback_keys)
            self.fallback_made = now
            self.fallback_number += 1
            self.fallback_in_doubt = False
            self.fallback_was_unused = self.fallback_unused
            self.fallbacks += [key["key"] for key in keys.fallback_keys.values()]
        else:
            assert {} == keys.fallback_keys

    def _fallback_is_due(self, now: int) -> bool:
        if self.fallback_made is None:
            return True
        if self.fallback_number > 1 and 0 <= now - self.fallback_published < HOUR:
            return False
        is_old = not 0 <= now - self.fallback_made < 7 * DAY  # it was made later than now: the clock was set back
        return self.fallback_unused is False or self.fallback_in_doubt or is_old

    def _new(self, keys: dict[KeyId, JsonObject]) -> None:
        for key_id, key in keys.items():
            assert key_id not in self.seen
            assert key["key"] not in self.seen.values()
            self.seen[key_id] = key["key"]

    def marked(self, key_ids: tuple[KeyId, ...], count: int | None, now: int) -> None:
        """`MarkKeysPublished` was answered."""
        named = {} if self.upload is None else {at: key for at, key in self.upload.items() if at in key_ids}
        if named:
            self._over(named)
        for key_id in key_ids:
            if key_id in self.in_doubt:
                self.published.append(self.in_doubt.pop(key_id))
        if count is not None:
            self._counted(count)
        else:
            self.count += len(named)
        if self.waiting_fallback.keys() & set(key_ids):
            self.waiting_fallback, self.fallback_published = {}, now
            self.fallback_unused = True

    def _counted(self, count: int) -> None:
        self.count = count
        self.highest = max(count, self.highest or 0)

    def told(self, count: int, *, fallback_unused: bool | None) -> None:
        """A sync said so."""
        self._counted(count)
        self.fallback_unused = fallback_unused

    def used(self, public_key: str) -> None:
        """A session was made with this one-time or fallback key."""
        if self.upload is not None and public_key in self.upload.values():
            self.count += len(self.upload)
            self._over(self.upload)
        if public_key in self.published:
            self.published.remove(public_key)
            self.count = max(0, self.count - 1)
        self.in_doubt = {key_id: key for key_id, key in self.in_doubt.items() if key != public_key}

    def usable(self, public_key: str, *, fallback: bool) -> bool:
        """Whether a session can still be made with this key."""
        return public_key in self.fallbacks[-2:] if fallback else public_key not in self.forgotten


# --- room keys that came ------------------------------------------------------------------------------------


@attrs.define
class RoomKeyState:
    """What is known of one session."""

    first: int
    """First known index."""
    imported: bool
    """From an export alone."""


@attrs.define
class RoomKeys:
    """Room keys, withheld notices, and which event has which index."""

    known: dict[SessionKey, RoomKeyState] = attrs.field(factory=dict[SessionKey, RoomKeyState])
    withheld: dict[SessionKey, str] = attrs.field(factory=dict[SessionKey, str])
    used: dict[tuple[SessionKey, int], str] = attrs.field(factory=dict[tuple[SessionKey, int], str])
    """Event ids by index, as committed."""
    pending: dict[int, dict[tuple[SessionKey, int], str]] = attrs.field(
        factory=dict[int, dict[tuple[SessionKey, int], str]]
    )
    """What each supervisor has decrypted since its last turn."""

    def came(self, key: SessionKey, new: RoomKeyState) -> str:
        """A copy came that connects to all others: what `RoomKeyChange` it is."""
        old = self.known.get(key)
        if old is None:
            self.known[key] = new
            return "new"
        self.known[key] = RoomKeyState(min(old.first, new.first), imported=old.imported and new.imported)
        return "better" if new.first < old.first else "known"

    def notice(self, key: SessionKey, code: str) -> None:
        """A session was withheld."""
        self.withheld[key] = code

    def outcome(self, supervisor: int, key: SessionKey, index: int, event_id: str) -> str:
        """What `DecryptRoomEvent` must say: ``decrypted``, or the error's name."""
        state = self.known.get(key)
        if state is None or index < state.first:
            without = "MissingRoomKey" if state is None else "UnknownMessageIndex"
            return "RoomKeyWithheld" if key in self.withheld else without
        pending = self.pending.setdefault(supervisor, {})
        first = self.used.get((key, index)) or pending.get((key, index))
        if first is None:
            pending[key, index] = event_id
        return "decrypted" if first in (None, event_id) else "ReplayedMessage"

    def turn(self, supervisor: int) -> None:
        """The supervisor had a turn: what it decrypted is written."""
        for use, event_id in self.pending.pop(supervisor, {}).items():
            self.used.setdefault(use, event_id)

    def killed(self, supervisor: int) -> None:
        """What it had not written is forgotten."""
        self.pending.pop(supervisor, None)


# --- sessions that we encrypt rooms with --------------------------------------------------------------------


@attrs.define
class OutboundSession:
    """A room's outbound session."""

    session_id: str
    made: int
    messages: int
    milliseconds: int
    shared: bool = False
    shared_with: set[DeviceAddress] = attrs.field(factory=set[DeviceAddress])
    offered: set[DeviceAddress] = attrs.field(factory=set[DeviceAddress])
    """Who may have its key, marked or not."""
    under_way: dict[RequestId, set[DeviceAddress]] = attrs.field(factory=dict[RequestId, set[DeviceAddress]])
    """Requests that carry its key and have no answer yet."""
    indices: set[int] = attrs.field(factory=set[int])
    """Used ones."""
    exported: int = 0
    """No lower index may be used any more."""
    events: int = 0
    """What may have reserved or skipped indices."""

    def expired(self, now: int) -> bool:
        """Whether its time is up."""
        return not 0 <= now - self.made < self.milliseconds

    @property
    def may_be_used_up(self) -> bool:
        """Whether no index may be left: indices are reserved in blocks, and those that nobody used count."""
        return self.events * 64 >= self.messages

    @property
    def next(self) -> int:
        """The lowest index that an exported key may start at."""
        return max(self.indices, default=-1) + 1


@attrs.define
class Rooms:
    """The outbound session of each room, and all that ever were."""

    current: dict[str, OutboundSession] = attrs.field(factory=dict[str, OutboundSession])
    seen: set[str] = attrs.field(factory=set[str])

    def usable(self, room_id: str, now: int) -> OutboundSession | None:
        """The session that must still be handed out, unless it `may_be_used_up`."""
        session = self.current.get(room_id)
        return None if session is None or session.expired(now) else session

    def handed_out(self, room_key: OutboundRoomKey, now: int, messages: int, milliseconds: int) -> OutboundSession:
        """`PrepareRoomKey` was answered so."""
        session = self.named(room_key.room_id, room_key.session_id, now, messages, milliseconds)
        assert session.shared_with == room_key.shared_with
        self.exported(session, room_key.message_index)
        return session

    def named(self, room_id: str, session_id: str, now: int, messages: int, milliseconds: int) -> OutboundSession:
        """An answer says that the room has this session: the one that it has, or a new one if that is due."""
        usable = self.usable(room_id, now)
        if usable is not None and session_id == usable.session_id:
            return usable
        assert usable is None or usable.may_be_used_up
        return self.replaced(room_id, session_id, now, messages, milliseconds)

    def replaced(self, room_id: str, session_id: str, now: int, messages: int, milliseconds: int) -> OutboundSession:
        """The room has a new session."""
        assert session_id not in self.seen
        self.seen.add(session_id)
        session = OutboundSession(session_id, now, messages, milliseconds)
        self.current[room_id] = session
        return session

    def exported(self, session: OutboundSession, index: int) -> None:
        """Somebody was given the key from ``index`` on."""
        assert session.next <= index
        session.exported = max(session.exported, index)
        session.events += 1

    def encrypted(self, room_id: str, now: int, encrypted: EncryptedRoomEvent | None) -> None:
        """`EncryptRoomEvent` was answered, or refused with `RoomKeyNotShared`."""
        session = self.usable(room_id, now)
        usable = session is not None and session.shared
        if encrypted is None:
            assert session is None or not usable or session.may_be_used_up
            return
        assert session is not None
        assert usable
        assert session.session_id == encrypted.session_id
        assert encrypted.message_index not in session.indices
        assert session.exported <= encrypted.message_index < session.messages
        session.indices.add(encrypted.message_index)
        session.events += 1
