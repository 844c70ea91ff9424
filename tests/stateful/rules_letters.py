"""Rules about to-device events, in both directions."""

from __future__ import annotations

import json

from hypothesis import strategies as st
from hypothesis.stateful import rule

from olmstate.messages import (
    DecryptedToDevice,
    DecryptToDevice,
    Json,
    JsonObject,
    MegolmSessionId,
    ReceiveSync,
    RoomId,
    SyncReceived,
    ToDeviceOutcome,
)
from tests.stateful.people import Kind, Letter, check_outcome, deliver
from tests.stateful.world import World, choices, hosts, rooms

KINDS: tuple[Kind, ...] = (
    "message",
    "message",
    "room key",
    "room key",
    "room key",
    "lie",
    "broken",
    "plain",
    "withheld",
)
WAYS = ("since stored", "since another", "everywhere", "events", "text", "bytes", "silent")
OLDEST = 4
"""So many letters may overtake one another: a chain of Olm's ends some turns after it was left."""


class LetterRules(World):
    """See the module."""

    # --- what others send -----------------------------------------------------------------------------------

    @rule(
        who=choices,
        kinds=st.lists(st.sampled_from(KINDS), min_size=1, max_size=4),
        session=choices,
        new=st.tuples(st.integers(0, 3), st.integers(0, 3)),
        room_id=rooms,
        events=st.integers(0, 2),
        arrives=st.none() | hosts,
    )
    def write(
        self,
        *,
        who: int,
        kinds: list[Kind],
        session: int,
        new: tuple[int, int],
        room_id: RoomId,
        events: int,
        arrives: int | None,
    ) -> None:
        """Somebody writes letters, and sends to a room in between; they may arrive at once."""
        person = self.person(who)
        olm = person.session(session, self.me, self.server, new=new[0] == 0)
        group = person.group(room_id, new=new[1] == 0)
        for kind in kinds:
            person.write(self.me, kind, olm, group)
            for _ in range(events):
                person.send(group)
        if arrives is not None:
            self._receive(arrives, self._pick(8, who, 0))

    @rule(all_keys=st.booleans())
    def strangers_claim(self, *, all_keys: bool) -> None:
        """Others claim keys of the device, and never write."""
        if all_keys:
            self.server.one_time_keys.clear()
        else:
            self.server.claim()

    # --- what the device takes in ---------------------------------------------------------------------------

    def _pick(self, number: int, order: int, replays: int) -> list[Letter]:
        """The next letters, some of them overtaking others, and old ones that come again."""
        letters: list[Letter] = []
        for person in self.folks:
            waiting, person.letters = person.letters[:number], person.letters[number:]
            for start in range(0, len(waiting), OLDEST):
                window = waiting[start : start + OLDEST]
                turned = order % len(window)
                letters += window[turned:] + window[:turned]
            letters += [
                person.delivered[(order + replay) % len(person.delivered)]
                for replay in range(replays)
                if person.delivered
            ]
        return letters

    def _expect(self, letters: list[Letter]) -> tuple[list[str], dict[tuple[str, str], None]]:
        """What must become of each, in order; and which room keys are new or better."""
        outcomes: list[str] = []
        room_keys: dict[tuple[str, str], None] = {}
        for letter in letters:
            outcome, change = deliver(letter, self.keys, self.room_keys)
            outcomes.append(outcome)
            if change in ("new", "better"):
                assert letter.group is not None
                room_keys[letter.group.key] = None
        return outcomes, room_keys

    def _response(self, letters: list[Letter], *, tells_fallback: bool) -> JsonObject:
        self.syncs += 1
        response: JsonObject = {
            "next_batch": f"s{self.syncs}",
            "to_device": {"events": [letter.event for letter in letters]},
            "device_one_time_keys_count": self.server.counts,
        }
        if tells_fallback:
            response["device_unused_fallback_key_types"] = self.server.unused_fallback_key_types
        return response

    def _told(self, response: JsonObject, *, older: bool = False) -> None:
        count = response["device_one_time_keys_count"]["signed_curve25519"]
        unused = response.get("device_unused_fallback_key_types")
        told = None if unused is None else bool(unused)
        # an older response may speak of another fallback key
        self.keys.told(count, fallback_unused=self.keys.fallback_unused if older else told)

    @rule(at=hosts, number=st.integers(0, 8), order=choices, replays=st.integers(0, 2), how=st.sampled_from(WAYS))
    def sync(self, *, at: int, number: int, order: int, replays: int, how: str) -> None:
        """What waits arrives at one supervisor, in one of several ways, or at all of them at once."""
        letters = self._pick(number, order, replays)
        if how == "everywhere":
            self._receive_everywhere(letters)
        elif how == "events":
            outcomes = self.ask(at, DecryptToDevice(events=tuple(letter.event for letter in letters)))
            self._check(letters, outcomes)
        else:
            self._receive(at, letters, how)

    def _receive(self, at: int, letters: list[Letter], how: str = "since stored") -> None:
        response = self._response(letters, tells_fallback=how != "silent")
        since = {"since stored": self.token, "since another": "another"}.get(how)
        handed: Json = response
        if how in ("text", "bytes"):
            handed = json.dumps(response) if how == "text" else json.dumps(response).encode()

        received = self.ask(at, ReceiveSync(sync=handed, since=since))

        stored = since is None or since == self.token
        older = not stored and self.token is not None
        assert stored == received.token_stored
        if stored:
            self.token = response["next_batch"]
        self._check(letters, received.to_device, received.room_keys)
        self._told(response, older=older)

    def _check(
        self,
        letters: list[Letter],
        outcomes: tuple[ToDeviceOutcome, ...],
        room_keys: tuple[tuple[RoomId, MegolmSessionId], ...] | None = None,
    ) -> None:
        expected, came = self._expect(letters)
        assert len(letters) == len(outcomes)
        for letter, outcome, want in zip(letters, outcomes, expected, strict=True):
            check_outcome(letter, outcome, want)
        assert room_keys in (None, tuple(came))

    def _receive_everywhere(self, letters: list[Letter]) -> None:
        """Each letter is decrypted by just one, and the token moves once."""
        response = self._response(letters, tells_fallback=True)
        message = ReceiveSync(sync=response, since=self.token)
        replies = self.ask_all([(at, message) for at in range(self.fleet.size)])
        received = [reply for reply in replies if isinstance(reply, SyncReceived)]
        assert self.fleet.size == len(received)
        received.sort(key=_decrypted, reverse=True)  # whoever was first decrypted all that can be
        for reply in received:
            self._check(letters, reply.to_device, reply.room_keys)
            self._told(response)
        assert (self.fleet.size if self.token is None else 1) == sum(reply.token_stored for reply in received)
        self.token = response["next_batch"]

    # --- what the device sends ------------------------------------------------------------------------------

    @rule(at=st.none() | hosts, who=st.lists(choices, max_size=4))
    def send(self, *, at: int | None, who: list[int]) -> None:
        """An event to some people, by one supervisor or by all at once."""
        people = [self.person(each) for each in who]
        self.send_to([(each, people) for each in (range(self.fleet.size) if at is None else (at,))])


def _decrypted(received: SyncReceived) -> int:
    return sum(isinstance(outcome, DecryptedToDevice) for outcome in received.to_device)
