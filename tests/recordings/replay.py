"""Replaying a recording: what the device is asked, and whether each answer is the recorded one, at the recorded time.

Rule: after each sync, whoever is asked must know what it brought. Events that can't be read yet are tried again after
each sync and each import, and must become readable just when the recording says, not earlier and not later.
"""

from __future__ import annotations

import random
from collections import defaultdict
from collections.abc import Awaitable, Callable, Sequence
from typing import Any, TypeAlias

import attrs
import trio

from olmstate.messages import (
    AddDevices,
    DecryptedRoomEvent,
    DecryptedToDevice,
    DecryptionError,
    DecryptRoomEvent,
    DecryptRoomEvents,
    ImportKeyFile,
    ImportRoomKeys,
    Json,
    JsonObject,
    MalformedMessage,
    MismatchedRoom,
    MissingRoomKey,
    PlainToDevice,
    ReceiveSync,
    ReplayedToDevice,
    RoomKeyWithheld,
    SyncToken,
    ToDeviceOutcome,
    UndecryptableToDevice,
    UnknownMessageIndex,
)
from tests.recordings.recording import Recording, RoomEvent, room_events, to_device
from tests.stateful.hosts import Host

Seen: TypeAlias = tuple[str, str | None, str | None]
"""Outcome, type and sender of a to-device event."""


@attrs.frozen
class Unread:
    """A room event that can't be read, for now or for ever."""

    reason: str


@attrs.define
class Replay:
    """One replay on some hosts, each of which has a supervisor open on the same store."""

    recording: Recording
    hosts: Sequence[Host]
    rng: random.Random = attrs.field(factory=lambda: random.Random(0))
    prepare: Callable[[JsonObject], JsonObject | str | bytes] = attrs.field(default=lambda sync: sync)
    """What a response is handed over as."""
    between: Callable[[], Awaitable[None]] | None = None
    """What else is done after each sync."""
    olm_sessions: bool = True
    deliveries: int = 1
    """How often each response is received."""
    copies: int = 1
    """How often each response has all its to-device events."""
    wrong: list[object] = attrs.field(factory=list[object], init=False)
    read: dict[str, DecryptedRoomEvent] = attrs.field(factory=dict[str, DecryptedRoomEvent], init=False)
    _pending: list[RoomEvent] = attrs.field(factory=list[RoomEvent], init=False)

    def host(self) -> Host:
        """Any of them."""
        return self.rng.choice(self.hosts)

    async def run(self) -> None:
        """Replay everything; `wrong` is empty if every answer was right."""
        await self.host().ask(self.recording.import_account(olm_sessions=self.olm_sessions))
        await self.host().ask(AddDevices(response=self.recording.raw["keys_query"]))
        imports: dict[int, list[tuple[int, dict[str, Any]]]] = defaultdict(list)
        for number, entry in enumerate(self.recording.raw["imports"]):
            imports[entry["after_sync"]].append((number, entry))
        position = 0
        for at, sync in enumerate(self.recording.syncs):
            expected = self.recording.raw["to_device_expected"][position : position + len(to_device(sync))]
            position += len(expected)
            await self._receive(at, sync, expected)
            await self._try(self._pending, at, arrived=False)
            await self._try(room_events(sync), at, arrived=True)
            for number, entry in imports[at]:
                await self._import(entry)
                await self._try(self._pending, at, arrived=False, imported=number)
            if self.between is not None:
                await self.between()
        self._check(position == len(self.recording.raw["to_device_expected"]), "to-device entries", position)
        await self._check_the_end()

    def _check(self, right: bool, *what: object) -> None:  # noqa: FBT001 - what is checked
        if not right:
            self.wrong.append(what)

    # --- to-device events -----------------------------------------------------------------------------------

    async def _receive(self, at: int, sync: JsonObject, expected: Sequence[dict[str, Any]]) -> None:
        events = to_device(sync)
        handed = self.prepare({**sync, "to_device": {"events": events * self.copies}} if self.copies > 1 else sync)
        outcomes = [
            outcome
            for _ in range(self.deliveries)
            for outcome in (await self.host().ask(ReceiveSync(sync=handed))).to_device
        ]
        times = self.deliveries * self.copies
        for position, (event, entry, outcome) in enumerate(
            zip(events * times, [*expected] * times, outcomes, strict=True)
        ):
            want = self._expected_outcome(entry)
            if position >= len(events) and want[0] == "decrypted":
                want = "replay", event["type"], want[2]
            seen = describe(event, outcome)
            self._check(seen == want, "to-device", at, position, entry, seen, outcome)
        token = await self.host().ask(SyncToken())
        self._check(token == sync["next_batch"], "token", at, token)

    def _expected_outcome(self, entry: dict[str, Any]) -> Seen:
        sender = entry["sender"] if isinstance(entry["sender"], str) else None  # that one is no sender
        if entry.get("needs_olm_session") and not self.olm_sessions:
            return "undecryptable", "m.room.encrypted", sender
        return entry["outcome"], entry["type"], sender

    async def _import(self, entry: dict[str, Any]) -> None:
        if self.rng.random() < 0.5:
            imported = await self.host().ask(ImportRoomKeys(keys=tuple(entry["keys"])))
        else:
            imported = await self.host().ask(ImportKeyFile(file=entry["file"], passphrase=entry["passphrase"]))
        self._check((imported.total, imported.rejected) == (len(entry["keys"]), 0), "import", imported)

    # --- room events ----------------------------------------------------------------------------------------

    async def _decrypt(self, events: Sequence[RoomEvent]) -> list[DecryptedRoomEvent | Unread]:
        """Each event by any host: alone, or with all others that this host happens to get, all hosts at once."""
        done: dict[int, DecryptedRoomEvent | DecryptionError] = {}
        shares: dict[int, list[int]] = defaultdict(list)
        for position, room_event in enumerate(events):
            chosen = self.rng.randrange(len(self.hosts))
            if self.rng.random() < 0.2:
                message = DecryptRoomEvent(room_id=room_event.room_id, event=room_event.event)
                try:
                    decrypted = await self.hosts[chosen].ask(message)
                except DecryptionError as error:
                    done[position] = error
                else:
                    done[position] = decrypted
            else:
                shares[chosen].append(position)

        async def decrypt_share(chosen: int, positions: list[int]) -> None:
            asked = tuple((events[position].room_id, events[position].event) for position in positions)
            answers = await self.hosts[chosen].ask(DecryptRoomEvents(events=asked))
            done.update(zip(positions, answers, strict=True))

        async with trio.open_nursery() as nursery:
            for chosen, positions in shares.items():
                nursery.start_soon(decrypt_share, chosen, positions)
        replies = [done[position] for position in range(len(events))]
        return [Unread(reason_of(reply)) if isinstance(reply, DecryptionError) else reply for reply in replies]

    async def _try(self, events: list[RoomEvent], at: int, *, arrived: bool, imported: int | None = None) -> None:
        """Decrypt ``events``, and put off those that the recording says will be readable later."""
        later: list[RoomEvent] = []
        for room_event, outcome in zip(events, await self._decrypt(events), strict=True):
            event_id = room_event.event_id
            expected = self._expected(room_event)
            if isinstance(outcome, DecryptedRoomEvent):
                self._check_read(room_event, outcome, at=at, arrived=arrived, imported=imported)
            elif isinstance(expected, str):
                # without its Olm sessions, the device may be told of a withheld key later
                self._check(outcome.reason == expected or not self.olm_sessions, event_id, at, expected, outcome)
            else:
                right = outcome.reason == expected.get("before") or not self.olm_sessions
                self._check(right, event_id, at, "before", expected, outcome)
                later.append(room_event)
        self._pending = [*self._pending, *later] if arrived else later

    def _expected(self, room_event: RoomEvent) -> dict[str, Any] | str:
        """What is expected of an event; text: the reason why it can't be read."""
        raw, event_id = self.recording.raw, room_event.event_id
        if event_id in raw["undecryptable"]:
            flagged = not self.olm_sessions and event_id in raw["undecryptable_needs_olm_session"]
            return "missing_room_key" if flagged else str(raw["undecryptable"][event_id])
        entry: dict[str, Any] = raw["expected"][event_id]
        if entry.get("needs_olm_session") and not self.olm_sessions and not self._is_imported(entry):
            code = self._withheld.get((entry["room_id"], entry["session_id"]))
            return "missing_room_key" if code is None else f"withheld:{code}"
        return entry

    @property
    def _withheld(self) -> dict[tuple[str, str], str]:
        """Why sessions were withheld, by room and session."""
        notices = [
            event["content"]
            for sync in self.recording.syncs
            for event in to_device(sync)
            if event.get("type") == "m.room_key.withheld"
        ]
        return {(notice["room_id"], notice["session_id"]): notice["code"] for notice in notices}

    def _is_imported(self, entry: dict[str, Any]) -> bool:
        return any(
            (key["room_id"], key["session_id"]) == (entry["room_id"], entry["session_id"])
            for each in self.recording.raw["imports"]
            for key in each["keys"]
        )

    def _check_read(
        self, room_event: RoomEvent, outcome: DecryptedRoomEvent, *, at: int, arrived: bool, imported: int | None
    ) -> None:
        event_id, expected = room_event.event_id, self._expected(room_event)
        if isinstance(expected, str):
            self._check(False, event_id, at, "was read, expected", expected)  # noqa: FBT003 - wrong in any case
            return
        for field in ("room_id", "session_id", "message_index", "type", "content"):
            self._check(getattr(outcome, field) == expected[field], event_id, at, field, getattr(outcome, field))
        device = outcome.encryption_info.claimed_device  # for certain, unless the key was imported
        named = None if device is None else (device.user_id, device.device_id)
        self._check(named == (expected["sender"], expected["sender_device"]), event_id, at, "sender", named)
        self._check(outcome.event_id == event_id, event_id, at, outcome.event_id)
        self.read[event_id] = outcome
        if self.olm_sessions:
            now = None if arrived else (at, imported)
            self._check(now == self._due(expected), event_id, "was read at", now, "expected", expected)

    def _due(self, expected: dict[str, Any]) -> tuple[int, int | None] | None:
        """The sync, and the import after it, that make a recorded event readable; None: those before its arrival."""
        if "needs_sync" in expected:
            return expected["needs_sync"], None
        if "before" in expected:
            number = expected["needs_import"]
            return self.recording.raw["imports"][number]["after_sync"], number
        return None

    async def _check_the_end(self) -> None:
        """What could be read can still be read, what couldn't still can't, whoever is asked."""
        everything = [event for sync in self.recording.syncs for event in room_events(sync)]
        for room_event, outcome in zip(everything, await self._decrypt(everything), strict=True):
            event_id, expected = room_event.event_id, self._expected(room_event)
            if isinstance(expected, str):
                self._check(outcome == Unread(expected), event_id, "at the end", expected, outcome)
            else:
                self._check(outcome == self.read.get(event_id), event_id, "at the end", outcome)
        readable = {event.event_id for event in everything if not isinstance(self._expected(event), str)}
        self._check(readable == set(self.read), "read in all", len(readable), len(self.read))


def describe(event: Json, outcome: ToDeviceOutcome) -> Seen:
    """An outcome as recordings name it."""
    match outcome:
        case DecryptedToDevice(type=payload_type, claimed_sender=sender):
            return "decrypted", payload_type, sender
        case PlainToDevice(event=plain):
            return "plain", plain["type"], plain.get("sender")
        case ReplayedToDevice(claimed_sender=sender):
            return "replay", event["type"], sender
        case UndecryptableToDevice(claimed_sender=sender):
            return "undecryptable", event.get("type"), sender


def reason_of(error: DecryptionError) -> str:
    """An error as recordings name it."""
    match error:
        case RoomKeyWithheld(code=code):
            return f"withheld:{code}"
        case MissingRoomKey():
            return "missing_room_key"
        case UnknownMessageIndex():
            return "unknown_message_index"
        case MismatchedRoom():
            return "room_id_mismatch"
        case MalformedMessage():
            return "malformed"
        case _:
            return repr(error)
