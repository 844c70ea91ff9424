"""The whole state machine: all rules, and those about the supervisors themselves."""

from __future__ import annotations

import attrs
from hypothesis import strategies as st
from hypothesis.stateful import invariant, rule
from vodozemac import GroupSession

from olmstate.messages import (
    AccountExists,
    AddDevices,
    CreateAccount,
    EncryptRoomEvent,
    EncryptToDevice,
    IdentityKeys,
    Json,
    MalformedContent,
    MalformedMessage,
    MegolmSessionId,
    Message,
    OlmStateError,
    ReceiveSync,
    RejectedRoomKey,
    RoomId,
    SignedDeviceKeys,
    Statistics,
    SyncToken,
)
from tests.stateful.model import DAY
from tests.stateful.rules_keys import KeyRules
from tests.stateful.rules_letters import LetterRules
from tests.stateful.rules_room_keys import RoomKeyRules
from tests.stateful.rules_rooms import RoomRules
from tests.stateful.world import choices, hosts, rooms

TROUBLE = ("earlier", "later", "a day", "eight days", "reopen", "reopen", "kill", "kill")


class DeviceMachine(KeyRules, LetterRules, RoomKeyRules, RoomRules):
    """See the module; a subclass says on which fleet."""

    def __init__(self) -> None:
        super().__init__()
        self.steps = 0

    @rule(at=hosts, what=st.sampled_from(TROUBLE))
    def trouble(self, *, at: int, what: str) -> None:
        """The wall clock moves, perhaps back; a supervisor is closed and opened; an idle process is killed."""
        at %= self.fleet.size
        if what == "reopen":
            self.fleet.reopen(at)
            self.lives[at] += 1
            self.room_keys.turn(at)
        elif what == "kill":
            if self.fleet.kill(at):
                self.lives[at] += 1
                self.room_keys.killed(at)
        else:
            hours = {"earlier": -1, "later": 1, "a day": 24, "eight days": 8 * 24}[what]
            self.fleet.set_clock(self.fleet.now + hours * DAY // 24)

    @rule(at=hosts, who=choices, room_id=rooms, which=st.integers(0, 7))
    def nonsense(self, *, at: int, who: int, room_id: RoomId, which: int) -> None:
        """What can't be done is refused, and changes nothing."""
        peer = self.person(who).peer
        key = peer.add_room_key(room_id, GroupSession())
        devices = (peer.address,)
        asked: list[tuple[Message[Json], type[OlmStateError]]] = [
            (ReceiveSync(sync={"to_device": {"events": []}}), MalformedMessage),
            (ReceiveSync(sync="{"), MalformedMessage),
            (ReceiveSync(sync={"next_batch": 5}), MalformedMessage),
            (AddDevices(response={"device_keys": {peer.user_id: None}}), MalformedMessage),
            (EncryptToDevice(devices=devices, type="m.x", content={"x": float("nan")}), MalformedContent),
            (EncryptRoomEvent(room_id=room_id, type="m.x", content={"x": "\ud800"}), MalformedContent),
            (attrs.evolve(key, session_id=MegolmSessionId("x")), RejectedRoomKey),
            (CreateAccount(), AccountExists),
        ]
        message, error = asked[which]
        self.flush(at)
        self.refused(at, message, error)

    @invariant()
    def all_agree(self) -> None:
        """Whoever is asked knows the token and who the device is; no turn was ever fenced."""
        self.steps += 1
        at = self.steps % self.fleet.size
        assert self.token == self.ask(at, SyncToken())
        if self.steps > 1:
            assert self.me == self.ask(at, IdentityKeys())
            assert self.me.user_id == self.ask(at, SignedDeviceKeys())["user_id"]
            statistics = self.ask(at, Statistics())
            assert 0 == statistics.fenced
