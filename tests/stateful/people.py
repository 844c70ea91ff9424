"""The people around the device: what they send it, and what must become of each thing when it arrives.

Owns: `Person`, a `Peer` with all that it has sent; `Letter`, one to-device event;
`Server`, the keys that were uploaded.
"""

from __future__ import annotations

import json
from typing import Literal, TypeAlias

import attrs
from vodozemac import Session

from olmstate.messages import (
    DecryptedToDevice,
    DeviceIdentity,
    JsonObject,
    PlainToDevice,
    ReplayedToDevice,
    RoomId,
    ToDeviceOutcome,
    UndecryptableToDevice,
)
from tests.operations.peer import Peer, Room
from tests.peer.key_server import PublishedKeys
from tests.stateful.model import Keys, RoomKeys, RoomKeyState

Kind: TypeAlias = Literal["message", "room key", "lie", "broken", "plain", "withheld"]

MOST_SESSIONS = 9
"""With one person: more are dropped by and by, which a test of its own covers."""


@attrs.define
class Server(PublishedKeys):
    """The device's homeserver, as far as its keys are concerned, and all keys that it ever had."""

    uploaded: dict[str, JsonObject] = attrs.field(factory=dict[str, JsonObject])

    def take(self, body: JsonObject) -> JsonObject:
        """Keys are uploaded. No one-time key was before: a server that forgets claimed keys would give it twice."""
        assert body["one_time_keys"].keys().isdisjoint(self.uploaded)
        for key_id, key in (body["one_time_keys"] | body["fallback_keys"]).items():
            assert self.uploaded.setdefault(key_id, key) == key
        return super().take(body)


@attrs.define
class Olm:
    """An Olm session with the device."""

    session: Session
    key: str | None
    """The device's key that it was started with; None: the device started it."""
    fallback: bool = False
    established: bool = False
    """The device has it."""


@attrs.define(eq=False)
class Letter:
    """A to-device event, and what is in it."""

    person: Person
    kind: Kind
    event: JsonObject
    content: JsonObject
    olm: Olm | None = None
    group: Room | None = None
    index: int = 0
    """Of the room key."""
    read: bool = False
    """The device has decrypted it."""


@attrs.define(eq=False)
class Person:
    """Somebody's device."""

    peer: Peer
    known: bool = False
    """Whether the device knows its keys."""
    sessions: list[Olm] = attrs.field(factory=list[Olm])
    preferred: list[str] = attrs.field(factory=list[str])
    """Ids of the sessions that the device has, the one that it must encrypt on last."""
    letters: list[Letter] = attrs.field(factory=list[Letter])
    """Not delivered yet."""
    delivered: list[Letter] = attrs.field(factory=list[Letter])
    groups: list[Room] = attrs.field(factory=list[Room])
    written: int = 0
    starting: bool = False
    """The device has started a session, on which its next message comes."""

    @property
    def identity(self) -> DeviceIdentity:
        """Which device it is."""
        return DeviceIdentity(
            user_id=self.peer.user_id,
            device_id=self.peer.device_id,
            curve25519=self.peer.curve25519,
            ed25519=self.peer.ed25519,
        )

    # --- sending --------------------------------------------------------------------------------------------

    def open_session(self, device: DeviceIdentity, server: Server) -> Olm | None:
        """A new session with the device, if there is a key for it."""
        claimed = None if len(self.sessions) >= MOST_SESSIONS else server.claim()
        if claimed is None:
            return None
        _, key = claimed
        session = self.peer.start_session(device, key)
        self.sessions.append(Olm(session, key["key"], fallback="fallback" in key))
        return self.sessions[-1]

    def session(self, which: int, device: DeviceIdentity, server: Server, *, new: bool) -> Olm | None:
        """One of its sessions, or a new one; None if there is none."""
        opened = self.open_session(device, server) if new or not self.sessions else None
        if opened is not None or not self.sessions:
            return opened
        return self.sessions[which % len(self.sessions)]

    def group(self, room_id: RoomId, *, new: bool) -> Room:
        """Its session for a room."""
        if not new:
            for group in reversed(self.groups):
                if group.room_id == room_id:
                    return group
        self.groups.append(Room(self.peer, room_id))
        return self.groups[-1]

    def write(self, device: DeviceIdentity, kind: Kind, olm: Olm | None, group: Room) -> None:
        """Put something in the post; what needs an Olm session is left if there is none."""
        self.written += 1
        content: JsonObject = {"n": self.written}
        index = group.group.message_index
        if kind == "plain" or (olm is None and kind != "withheld"):
            event: JsonObject = {"type": "m.plain", "sender": self.peer.user_id, "content": content}
            self.letters.append(Letter(self, "plain", event, content))
        elif kind == "withheld":
            content = {"room_id": group.room_id, "session_id": group.session_id, "code": f"m.code{self.written}"}
            event = {"type": "m.room_key.withheld", "sender": self.peer.user_id, "content": content}
            self.letters.append(Letter(self, kind, event, content, group=group))
        else:
            assert olm is not None
            if kind == "room key":
                content = self.peer.room_key(group.room_id, group.group)
            changes: JsonObject = {"recipient": "@somebody:example.org"} if kind == "lie" else {}
            if kind != "room key":  # which may come from a device that isn't known
                changes["sender_device_keys"] = self.peer.device_keys()
            event_type = "m.room_key" if kind == "room key" else "m.message"
            event = self.peer.event(device, event_type, content, session=olm.session, **changes)
            if kind == "broken":
                self.letters.append(Letter(self, kind, _broken(event, device), content, olm))
                kind = "message"
            self.letters.append(Letter(self, kind, event, content, olm, group, index))

    def send(self, group: Room) -> None:
        """Send an event to a room."""
        assert len(group.events) == group.group.message_index
        group.send({"n": len(group.events)})

    # --- receiving ------------------------------------------------------------------------------------------

    @property
    def reachable(self) -> bool:
        """Whether the device can encrypt to it."""
        return self.known and (self.starting or bool(self.preferred))

    def read(self, content: JsonObject) -> JsonObject:
        """The payload of what it was sent, which must be on the session that the device prefers."""
        payload = self.peer.read(content)
        session = self.peer.sessions[-1]
        if self.starting:
            self.starting = False
            assert not any(olm.session is session for olm in self.sessions)
            self.sessions.append(Olm(session, None, established=True))
            self.preferred.append(session.session_id)
        assert self.preferred[-1] == session.session_id
        return payload


def _broken(event: JsonObject, device: DeviceIdentity) -> JsonObject:
    """The same with another MAC."""
    copy: JsonObject = json.loads(json.dumps(event))
    ciphertext = copy["content"]["ciphertext"][device.curve25519]
    ciphertext["body"] = ciphertext["body"][:-6] + ("AAAAAA" if not ciphertext["body"].endswith("AAAAAA") else "BBBBBB")
    return copy


# --- what must become of it ---------------------------------------------------------------------------------


def deliver(letter: Letter, keys: Keys, room_keys: RoomKeys) -> tuple[str, str | None]:
    """A letter arrives: what it must be, and which `RoomKeyChange` comes of it, if any."""
    if letter not in letter.person.delivered:
        letter.person.delivered.append(letter)
    match letter.kind:
        case "plain":
            return "plain", None
        case "withheld":
            assert letter.group is not None
            room_keys.notice(letter.group.key, letter.content["code"])
            return "plain", None
        case "broken":
            return "undecryptable", None
        case "message" | "room key" | "lie":
            return _decrypt(letter, keys, room_keys)


def _decrypt(letter: Letter, keys: Keys, room_keys: RoomKeys) -> tuple[str, str | None]:
    olm, person = letter.olm, letter.person
    assert olm is not None
    if letter.read:
        return "replay", None
    if not olm.established:
        assert olm.key is not None
        if letter.kind == "lie" or not keys.usable(olm.key, fallback=olm.fallback):
            return "undecryptable", None
        keys.used(olm.key)
        olm.established = True
    if letter.kind == "lie":
        return "undecryptable", None  # and it leaves no trace
    session_id = olm.session.session_id
    person.preferred = [*(known for known in person.preferred if known != session_id), session_id]
    letter.read = True
    if letter.kind == "message":
        return "decrypted", None
    assert letter.group is not None
    state = RoomKeyState(letter.index, imported=False)
    return "decrypted", room_keys.came(letter.group.key, state)


def check_outcome(letter: Letter, outcome: ToDeviceOutcome, expected: str) -> None:
    """The device's answer must be the expected one, and right in all its fields."""
    peer = letter.person.peer
    sender = (peer.user_id, peer.curve25519)
    match outcome:
        case DecryptedToDevice():
            assert "decrypted" == expected, letter
            content = {field: value for field, value in letter.content.items() if field != "session_key"}
            assert content == outcome.content
            assert sender == (outcome.claimed_sender, outcome.sender_key)
            assert (letter.person.identity if letter.person.known else None) == outcome.sender_device
        case PlainToDevice(event=event):
            assert "plain" == expected, letter
            assert letter.event == event
        case ReplayedToDevice():
            assert "replay" == expected, letter
            assert sender == (outcome.claimed_sender, outcome.claimed_sender_key)
        case UndecryptableToDevice():
            assert "undecryptable" == expected, (letter, outcome)
            assert sender == (outcome.claimed_sender, outcome.claimed_sender_key)
