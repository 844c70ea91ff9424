"""What a correct device must answer: plain dicts and numbers, no cryptography and no storage.

One class a subject. Each method is told what was done, in the order in which it was done, and says what must come of
it, or checks what came. A model that would have to know how something is done says only what may come.
"""

from __future__ import annotations

from typing import TypeAlias

import attrs

from olmstate.messages import DeviceAddress, EncryptedRoomEvent, JsonObject, KeyId, OutboundRoomKey, UnpublishedKeys

DAY = 24 * 3600 * 1000
"""Milliseconds."""
SessionKey: TypeAlias = tuple[str, str]
"""Room and session."""

# --- one-time keys ------------------------------------------------------------------------------------------


@attrs.define
class Keys:
    """One-time keys and fallback keys: what waits for upload, and what the server was heard to have."""

    waiting: dict[KeyId, JsonObject] = attrs.field(factory=dict[KeyId, JsonObject])
    waiting_fallback: dict[KeyId, JsonObject] = attrs.field(factory=dict[KeyId, JsonObject])
    count: int = 0
    fallback_unused: bool | None = None
    fallback_made: int | None = None
    fallbacks: list[str] = attrs.field(factory=list[str])
    """Public keys, newest last; the last two can be used."""
    seen: dict[KeyId, str] = attrs.field(factory=dict[KeyId, str])
    """Every public key that was ever handed out, by its id."""

    imported: set[str] = attrs.field(factory=set[str])
    """Public keys that wait since another library's account was taken over."""

    def handed_out(self, keys: UnpublishedKeys, now: int) -> None:
        """`PrepareOneTimeKeys` was answered with ``keys``."""
        if self.imported:
            assert self.imported == {key["key"] for key in keys.one_time_keys.values()}
            self.imported = set()
            self.waiting = dict(keys.one_time_keys)
            self._new(keys.one_time_keys)
        if self.waiting or self.count >= 50:
            assert self.waiting == keys.one_time_keys
        else:
            assert 50 - self.count == len(keys.one_time_keys)
            self._new(keys.one_time_keys)
            self.waiting = dict(keys.one_time_keys)
        due = self.fallback_made is None or self.fallback_unused is False or now - self.fallback_made >= 7 * DAY
        if self.waiting_fallback or not due:
            assert self.waiting_fallback == keys.fallback_keys
        else:
            assert 1 == len(keys.fallback_keys)
            self._new(keys.fallback_keys)
            self.waiting_fallback = dict(keys.fallback_keys)
            self.fallback_made = now
            self.fallbacks += [key["key"] for key in keys.fallback_keys.values()]

    def _new(self, keys: dict[KeyId, JsonObject]) -> None:
        for key_id, key in keys.items():
            assert key_id not in self.seen
            assert key["key"] not in self.seen.values()
            self.seen[key_id] = key["key"]

    def published(self, key_ids: tuple[KeyId, ...], count: int | None) -> None:
        """`MarkKeysPublished` was answered."""
        taken = [key_id for key_id in key_ids if self.waiting.pop(key_id, None) is not None]
        fallback = [key_id for key_id in key_ids if self.waiting_fallback.pop(key_id, None) is not None]
        self.count = self.count + len(taken) if count is None else count
        if fallback:
            self.fallback_unused = True

    def told(self, count: int, *, fallback_unused: bool | None) -> None:
        """A sync said so."""
        self.count = count
        self.fallback_unused = fallback_unused

    def used(self, public_key: str) -> None:
        """A session was made with this one-time or fallback key."""
        self.waiting = {key_id: key for key_id, key in self.waiting.items() if key["key"] != public_key}

    def usable_fallback(self, public_key: str) -> bool:
        """Whether a session can still be made with this fallback key."""
        return public_key in self.fallbacks[-2:]


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
        self.withheld.setdefault(key, code)

    def outcome(self, supervisor: int, key: SessionKey, index: int, event_id: str) -> str:
        """What `DecryptRoomEvent` must say: ``decrypted``, or the error's name."""
        state = self.known.get(key)
        if state is None:
            return "RoomKeyWithheld" if key in self.withheld else "MissingRoomKey"
        if index < state.first:
            return "UnknownMessageIndex"
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
