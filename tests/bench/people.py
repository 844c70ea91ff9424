"""Whom the measured device talks to: peers by the hundred, and what they send it."""

from __future__ import annotations

import itertools
from collections.abc import Iterator, Sequence

import attrs
from vodozemac import GroupSession, Session

from olmstate.messages import DeviceIdentity, JsonObject, RoomId
from tests.operations.peer import Peer, Room
from tests.peer.encoding import unb64


@attrs.define
class Senders:
    """People who send room keys to one device, on an Olm session each that they `start` or that the device has."""

    known: list[Peer]
    to: DeviceIdentity
    _sessions: list[Session] = attrs.field(factory=list[Session], init=False)

    def start(self, one_time_keys: Sequence[str]) -> None:
        """Start a new session each, with a key of the device's each."""
        self._sessions = [
            peer.start_session(self.to, {"key": key}) for peer, key in zip(self.known, one_time_keys, strict=True)
        ]

    def join(self, greetings: Sequence[tuple[int, bytes]]) -> None:
        """Use the sessions that the device has started, with a message to each of them: its type and body."""
        for peer, greeting in zip(self.known, greetings, strict=True):
            peer.decrypt(self.to.curve25519, *greeting)
        self._sessions = [peer.sessions[-1] for peer in self.known]

    def room_keys(self, room_id: RoomId, count: int) -> list[JsonObject]:
        """To-device events with so many new room keys, from all in turn."""
        senders = itertools.cycle(zip(self.known, self._sessions, strict=True))
        return [
            peer.event(self.to, "m.room_key", room_key(peer, room_id), session=session, sender_device_keys=None)
            for peer, session in itertools.islice(senders, count)
        ]


def room_key(peer: Peer, room_id: RoomId) -> JsonObject:
    """``content`` of an m.room_key for a new session."""
    return peer.room_key(room_id, GroupSession())


def conversation(room: Room, content: JsonObject, messages: int) -> list[JsonObject]:
    """So many events, as matrix-nio has them from /sync."""
    return [room.send(content) | {"room_id": room.room_id, "origin_server_ts": number} for number in range(messages)]


def olm_message(content: JsonObject, curve25519: str) -> tuple[int, bytes]:
    """Type and body of the Olm message to a device in the content of an m.room.encrypted event."""
    ciphertext = content["ciphertext"][curve25519]
    return ciphertext["type"], unb64(ciphertext["body"])


def people(count: int, first: int = 0) -> list[Peer]:
    """So many users with a device each, with numbers from ``first`` on."""
    return [Peer(f"@person{number}:example.org", "PHONE") for number in range(first, first + count)]


def newcomers(count: int, to: DeviceIdentity) -> Iterator[Senders]:
    """So many people whom nobody knows yet, and others each time, without end."""
    return (Senders(people(count, first), to) for first in itertools.count(count, count))
