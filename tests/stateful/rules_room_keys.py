"""Rules about room keys that others have made, and what they decrypt."""

from __future__ import annotations

from typing import cast

from hypothesis import strategies as st
from hypothesis.stateful import rule
from vodozemac import ExportedSessionKey, InboundGroupSession

from olmstate.messages import (
    DecryptedRoomEvent,
    DecryptionError,
    DecryptRoomEvent,
    DecryptRoomEvents,
    ExportKeyFile,
    ExportRoomKeys,
    ImportKeyFile,
    ImportRoomKeys,
    Json,
    JsonObject,
    RoomId,
    RoomKeyWithheld,
)
from tests.operations.peer import Room
from tests.stateful.model import RoomKeyState
from tests.stateful.world import World, choices, hosts, rooms

several = st.lists(st.tuples(choices, choices), min_size=1, max_size=6)


class RoomKeyRules(World):
    """See the module."""

    @property
    def groups(self) -> list[Room]:
        """All sessions of all people."""
        return [group for person in self.folks for group in person.groups]

    # --- reading --------------------------------------------------------------------------------------------

    @rule(
        at=hosts, other=hosts, which=st.lists(st.tuples(choices, choices), min_size=1, max_size=6), again=st.booleans()
    )
    def read(self, *, at: int, other: int, which: list[tuple[int, int]], again: bool) -> None:
        """Room events; and once more, by another supervisor, as other events."""
        sent = [group for group in self.groups if group.events]
        events: list[tuple[Room, int, JsonObject]] = []
        for group_number, index in which if sent else ():
            group = sent[group_number % len(sent)]
            position = index % len(group.events)
            events.append((group, position, group.events[position]))
        self._read(at, events)
        if again:
            self.flush(at)
            replays = [(group, index, {**event, "event_id": f"{event['event_id']}!"}) for group, index, event in events]
            self._read(other, replays)
            self._read(other, events)

    def _read(self, at: int, events: list[tuple[Room, int, JsonObject]]) -> None:
        at %= self.fleet.size
        if len(events) == 1:
            self._read_alone(at, *events[0])
            return
        outcomes = self.ask(at, DecryptRoomEvents(events=tuple((group.room_id, event) for group, _, event in events)))
        for (group, index, event), outcome in zip(events, outcomes, strict=True):
            self._check_read(at, group, index, event, outcome)

    def _read_alone(self, at: int, group: Room, index: int, event: JsonObject) -> None:
        outcome: DecryptedRoomEvent | DecryptionError
        try:
            outcome = self.ask(at, DecryptRoomEvent(room_id=group.room_id, event=event))
        except DecryptionError as error:
            outcome = error
        self._check_read(at, group, index, event, outcome)

    def _check_read(
        self, at: int, group: Room, index: int, event: JsonObject, outcome: DecryptedRoomEvent | DecryptionError
    ) -> None:
        expected = self.room_keys.outcome(at, group.key, index, event["event_id"])
        if isinstance(outcome, DecryptionError):
            assert expected == type(outcome).__name__
            if isinstance(outcome, RoomKeyWithheld):
                assert self.room_keys.withheld[group.key] == outcome.code
            return
        assert "decrypted" == expected
        state = self.room_keys.known[group.key]
        assert ({"n": index}, index, event["event_id"]) == (outcome.content, outcome.message_index, outcome.event_id)
        (person,) = [each for each in self.folks if group in each.groups]
        device = person.identity if person.known else None  # now, whatever was known when the key came
        info = outcome.encryption_info
        assert (state.imported, device) == (info.imported, info.claimed_device)
        assert (None if state.imported else device) == info.sender_device
        assert (None if state.imported else person.peer.user_id) == info.claimed_sender

    # --- adding ---------------------------------------------------------------------------------------------

    @rule(at=hosts, who=choices, room_id=rooms, new=st.booleans(), events=st.integers(0, 3))
    def add(self, *, at: int, who: int, room_id: RoomId, new: bool, events: int) -> None:
        """A room key as if it had come from its device."""
        person = self.person(who)
        group = person.group(room_id, new=new)
        for _ in range(events):
            person.send(group)
        state = RoomKeyState(group.group.message_index, imported=False)

        change = self.ask(at, group.add_room_key())

        assert self.room_keys.came(group.key, state) == change

    # --- taking along ---------------------------------------------------------------------------------------

    @rule(at=hosts, which=st.lists(st.tuples(choices, choices), min_size=1, max_size=4), bad=st.booleans())
    def import_keys(self, *, at: int, which: list[tuple[int, int]], bad: bool) -> None:
        """An export that somebody else has made."""
        if not self.groups:
            return
        keys: list[Json] = ["no key"] if bad else []
        imported = 0
        for number, index in which:
            group = self.groups[number % len(self.groups)]
            first = index % (group.group.message_index + 1)
            keys.append(group.export(first))
            imported += self.room_keys.came(group.key, RoomKeyState(first, imported=True)) != "known"

        reply = self.ask(at, ImportRoomKeys(keys=tuple(keys)))

        self.room_keys.turn(at % self.fleet.size)
        assert (len(keys), imported, int(bad)) == (reply.total, reply.imported, reply.rejected)

    @rule(at=hosts, other=hosts, one_room=st.none() | rooms, file=st.booleans())
    def export_keys(self, *, at: int, other: int, one_room: RoomId | None, file: bool) -> None:
        """All room keys from their first indices, and back again, which brings nothing new."""
        keys = self.ask(at, ExportRoomKeys(room_id=one_room))
        expected = {
            (room_id, session_id): state.first
            for (room_id, session_id), state in self.room_keys.known.items()
            if one_room in (None, room_id)
        }
        assert expected == {(key["room_id"], key["session_id"]): _first_index(key) for key in keys}
        assert len(expected) == len(keys)
        if not keys:
            return
        if file:
            exported = self.ask(at, ExportKeyFile(passphrase="secret", rounds=1, room_id=one_room))
            reply = self.ask(other, ImportKeyFile(file=exported, passphrase="secret"))
        else:
            reply = self.ask(other, ImportRoomKeys(keys=keys))
        self.room_keys.turn(other % self.fleet.size)
        assert (len(keys), 0, 0) == (reply.total, reply.imported, reply.rejected)


def _first_index(key: JsonObject) -> int:
    session = InboundGroupSession.import_session(ExportedSessionKey(cast("str", key["session_key"])))
    return session.first_known_index
