"""Recorded /sync streams that real matrix-rust-sdk devices, and two raw vodozemac ones, sent to one device.

Owns: reading a recording and its parts. The device's key material is stored along, so anybody can replay it.

| key | content |
|---|---|
| `alice` | `user_id, device_id, pickle_key` (base64), `account_pickle` (with 50 one-time keys and a fallback key \
published), and `olm_sessions`, which she has before the first sync |
| `keys_query` | a /keys/query response with every device |
| `syncs` | /sync responses |
| `expected` | event id → `room_id, sender, sender_device, session_id, message_index, type, content`; `sync`: arrival; \
`needs_sync`, the later sync that brings the key, or `needs_import`; `before`: why it can't be read until then |
| `undecryptable` | event id → why it can't be read, first and last |
| `undecryptable_needs_olm_session` | those that miss their room key if `olm_sessions` aren't imported |
| `to_device_expected` | a to-device event each, in order: `outcome`, `type` (of the payload, if decrypted), `sender`, \
`needs_olm_session` |
| `imports` | `after_sync`, `keys` (Key export format), and the same as a key file: `file` and `passphrase` |
| `raw_sync_huge_nesting` | text of a sync response nested 100,000 deep |
"""

from __future__ import annotations

import base64
import functools
import gzip
import json
from pathlib import Path
from typing import Any

import attrs

import olmstate.actors
from olmstate.messages import Curve25519Key, ImportAccount, JsonObject, OlmSessionPickle, RoomId

SMALL = Path(olmstate.actors.__file__).parents[1] / "cli" / "demo" / "recordings" / "small-1.json.gz"
LARGE = Path(__file__).with_name("large-2.json.gz")


@attrs.frozen
class RoomEvent:
    """An event and the room that it came from."""

    room_id: RoomId
    event: JsonObject

    @property
    def event_id(self) -> str:
        """As the server gave it."""
        return str(self.event["event_id"])


@attrs.frozen
class Recording:
    """One recording."""

    raw: dict[str, Any] = attrs.field(repr=False)

    @property
    def syncs(self) -> list[JsonObject]:
        """The responses, in order."""
        return list(self.raw["syncs"])

    @property
    def user_id(self) -> str:
        """Whose device it is."""
        return str(self.raw["alice"]["user_id"])

    @property
    def device_id(self) -> str:
        """Which device it is."""
        return str(self.raw["alice"]["device_id"])

    def import_account(self, *, olm_sessions: bool = True) -> ImportAccount:
        """The device's account, and the Olm sessions that it had."""
        alice = self.raw["alice"]
        sessions = alice["olm_sessions"] if olm_sessions else ()
        return ImportAccount(
            pickle=alice["account_pickle"],
            pickle_key=base64.b64decode(alice["pickle_key"]),
            olm_sessions=tuple(
                OlmSessionPickle(sender_key=Curve25519Key(session["sender_key"]), pickle=session["pickle"])
                for session in sessions
            ),
        )


@functools.cache
def load(path: Path) -> Recording:
    """Read a recording; nobody may change what it holds."""
    with gzip.open(path) as file:
        return Recording(json.load(file))


def to_device(sync: JsonObject) -> list[Any]:
    """The to-device events of a response."""
    return list(sync.get("to_device", {}).get("events", ()))


def room_events(sync: JsonObject) -> list[RoomEvent]:
    """The timeline events of a response, room by room."""
    joined = sync.get("rooms", {}).get("join", {})
    return [RoomEvent(RoomId(room), event) for room, part in joined.items() for event in part["timeline"]["events"]]
