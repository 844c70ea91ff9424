"""A recording: what real peers sent to one device, and what is known to come out of it.

Owns: reading the file, and the judgement of every outcome. It knows no supervisor; names are the recording's.

Order of a replay: for each sync its to-device events, then room events still pending, then its own room events, then
the imports that follow it, and pending ones again.
"""

from __future__ import annotations

import base64
import gzip
import json
import zlib
from collections import deque
from importlib import resources
from pathlib import Path
from typing import Any, Final

import attrs
import click

from olmstate.messages import Json, JsonObject

from ._shape import ANY, Each, check_shape

FORMAT = 1
FIELDS = ("room_id", "sender", "sender_device", "session_id", "message_index", "type", "content")
"""What is recorded of a room event in clear."""

_SHAPE: Final = {
    "alice": {
        "user_id": str,
        "device_id": str,
        "pickle_key": str,
        "account_pickle": str,
        "olm_sessions": [{"sender_key": str, "pickle": str}],
    },
    "keys_query": dict,
    "syncs": [
        {
            "next_batch": str,
            "to_device?": {"events?": list},
            "rooms?": {"join?": Each({"timeline": {"events": [{"event_id": str}]}})},
        }
    ],
    "imports": [{"after_sync": int, "keys": list}],
    "expected": Each({**dict.fromkeys(FIELDS, ANY), "sync": int, "needs_sync?": int, "needs_import?": int}),
    "undecryptable": Each(str),
    "to_device_expected": [{"outcome": str, "type": (str, type(None)), "sender": ANY}],
}


@attrs.frozen
class RoomEvent:
    """A room event as it came."""

    room_id: str
    event: JsonObject = attrs.field(repr=False)

    @property
    def event_id(self) -> str:
        """Its id."""
        return str(self.event["event_id"])


@attrs.frozen
class ToDeviceEvent:
    """A to-device event as it came, and what it is known to be."""

    event: Json = attrs.field(repr=False)
    outcome: str
    type: str | None
    """Of the payload if ``outcome`` is ``decrypted``, else of the event."""
    sender: str | None


@attrs.frozen
class Progress:
    """How far a replay is: what has been received decides on what can be read."""

    syncs: int
    imports: int


class Recording:
    """One recording."""

    def __init__(self, raw: JsonObject) -> None:
        """Over the parsed file.

        Raises:
            ValueError: It has another shape, or the pickle key is not base64.
            IndexError: Not every to-device event is judged.
            KeyError: Not every room event is judged.
        """
        check_shape(raw, _SHAPE, "it")
        base64.b64decode(raw["alice"]["pickle_key"], validate=True)
        self._raw = raw
        self.account: JsonObject = raw["alice"]
        self.keys_query: JsonObject = raw["keys_query"]
        self.syncs: list[JsonObject] = raw["syncs"]
        self.readable: dict[str, dict[str, Any]] = raw["expected"]
        """What the readable room events are in clear, by event id."""
        self._unreadable: dict[str, str] = raw["undecryptable"]
        known = deque(raw["to_device_expected"])
        self._to_device = [
            [_known(event, known.popleft()) for event in sync.get("to_device", {}).get("events", ())]
            for sync in self.syncs
        ]
        for sync in range(len(self.syncs)):
            for event in self.room_events(sync):
                self.reason(event)

    def to_device(self, sync: int) -> list[ToDeviceEvent]:
        """The to-device events of a sync."""
        return self._to_device[sync]

    def room_events(self, sync: int) -> list[RoomEvent]:
        """The room events of a sync."""
        joined = self.syncs[sync].get("rooms", {}).get("join", {})
        return [RoomEvent(room_id, event) for room_id, room in joined.items() for event in room["timeline"]["events"]]

    def imports(self, sync: int) -> list[JsonObject]:
        """Key exports that come after a sync."""
        return [entry for entry in self._raw["imports"] if entry["after_sync"] == sync]

    # --- what must come out ---------------------------------------------------------------------------------

    def is_readable(self, event: RoomEvent, progress: Progress) -> bool:
        """Whether the event can be read by now."""
        entry = self.readable.get(event.event_id)
        if entry is None:
            return False
        if "needs_import" in entry:
            return progress.imports > int(entry["needs_import"])
        return progress.syncs > int(entry.get("needs_sync", entry["sync"]))

    def may_become_readable(self, event: RoomEvent) -> bool:
        """Whether it can be read in the end."""
        return event.event_id in self.readable

    def reason(self, event: RoomEvent) -> str:
        """Why the event can't be read, or not yet."""
        entry = self.readable.get(event.event_id)
        return self._unreadable[event.event_id] if entry is None else str(entry.get("before"))

    def differences(self, event: RoomEvent, clear: JsonObject) -> list[str]:
        """The fields in which a decrypted event differs from what is known of it."""
        entry = self.readable[event.event_id]
        return [field for field in FIELDS if clear[field] != entry[field]]


def _known(event: Json, entry: JsonObject) -> ToDeviceEvent:
    sender = entry["sender"]
    # one that isn't even text names nobody
    return ToDeviceEvent(event, entry["outcome"], entry["type"], sender if isinstance(sender, str) else None)


def load_recording(path: Path | None) -> Recording:
    """Read a recording; None: the one that comes with olmstate.

    Raises:
        click.ClickException: It is no recording.
    """
    file = resources.files("olmstate.cli.demo") / "recordings" / "small-1.json.gz" if path is None else path
    try:
        raw = json.loads(gzip.decompress(file.read_bytes()))
        if raw["format"] != FORMAT:
            raise ValueError(f"format {raw['format']}, not {FORMAT}")  # noqa: TRY301 - the same fate as all others
        return Recording(raw)
    except (OSError, EOFError, zlib.error, ValueError, RecursionError, LookupError, TypeError, AttributeError) as error:
        raise click.ClickException(f"{file} is no recording: {type(error).__name__}: {error}") from error
