"""The ground that the state machine's rules stand on: the device, the model of it, and the people around it.

Rule: whatever one supervisor was acknowledged, every other one must see at once. So each rule asks any of them, and
the model is one for all.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import ClassVar, TypeVar

import attrs
import pytest
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize
from vodozemac import Account

from olmstate.messages import (
    AccountExists,
    AddDevices,
    Command,
    CreateAccount,
    DeviceId,
    DeviceIdentity,
    EncryptedToDevice,
    EncryptToDevice,
    IdentityKeys,
    ImportAccount,
    Json,
    KeyId,
    MarkKeysPublished,
    Message,
    NoAccount,
    OlmStateError,
    PrepareOneTimeKeys,
    RoomId,
    SyncToken,
    UnpublishedKeys,
    UserId,
)
from tests.operations.peer import Peer, keys_query
from tests.stateful.fleet import ALICE, ALICE_DEVICE, Fleet
from tests.stateful.model import Keys, RoomKeys, Rooms
from tests.stateful.people import Person, Server

R = TypeVar("R")

ROOMS = (RoomId("!one:example.org"), RoomId("!two:example.org"))
PICKLE_KEY = bytes(range(100, 132))

hosts = st.integers(0, 11)
"""Which supervisor is asked, modulo their number."""
choices = st.integers(0, 1000)
"""Which of some things, modulo their number."""
rooms = st.sampled_from(ROOMS)


class World(RuleBasedStateMachine):
    """Everything that rules share."""

    fleet: ClassVar[Fleet]

    def __init__(self) -> None:
        super().__init__()
        self.fleet.start()
        self.me: DeviceIdentity
        self.server = Server()
        self.keys = Keys()
        self.lives = [0] * self.fleet.size
        """Which life of each supervisor this is."""
        self.room_keys = RoomKeys()
        self.rooms = Rooms()
        self.token: str | None = None
        self.syncs = 0
        self.sent = 0
        self.folks = [
            Person(Peer(UserId("@bob:example.org"), DeviceId("BOBPHONE"))),
            Person(Peer(UserId("@bob:example.org"), DeviceId("BOBDESK"))),
            Person(Peer(UserId("@carol:example.org"), DeviceId("CAROLDEV"))),
        ]

    def teardown(self) -> None:
        """Close all supervisors."""
        self.fleet.stop()

    # --- asking ---------------------------------------------------------------------------------------------

    def ask(self, at: int, message: Message[R]) -> R:
        """Ask one supervisor."""
        at %= self.fleet.size
        if isinstance(message, Command):
            self.room_keys.turn(at)
        return self.fleet.ask(at, message)

    def ask_all(self, asked: Sequence[tuple[int, Message[R]]]) -> list[R | OlmStateError]:
        """Ask several at once."""
        for at in range(self.fleet.size):
            self.flush(at)
        return self.fleet.ask_all([(at % self.fleet.size, message) for at, message in asked])

    def flush(self, at: int) -> None:
        """Have a supervisor write what it has written behind, if anything."""
        if self.room_keys.pending.get(at % self.fleet.size):
            self.ask(at, MarkKeysPublished(key_ids=()))

    def refused(self, at: int, message: Message[Json], error: type[OlmStateError]) -> None:
        """Ask for what must be refused."""
        with pytest.raises(error):
            self.ask(at, message)

    def person(self, which: int) -> Person:
        """One of the people."""
        return self.folks[which % len(self.folks)]

    # --- beginning ------------------------------------------------------------------------------------------

    @initialize(at=hosts, other=hosts, imported=st.booleans(), acquainted=st.booleans())
    def begin(self, *, at: int, other: int, imported: bool, acquainted: bool) -> None:
        """Make the account, or take one over."""
        for empty in (at, other):
            self.refused(empty, PrepareOneTimeKeys(), NoAccount)
            assert self.ask(empty, SyncToken()) is None
        if imported:
            self.me = self.ask(at, ImportAccount(pickle=self._pickled(), pickle_key=PICKLE_KEY))
        else:
            self.me = self.ask(at, CreateAccount())
        self.refused(other, CreateAccount(), AccountExists)
        for each in range(self.fleet.size):
            assert self.me == self.ask(each, IdentityKeys())
        if acquainted:
            self.add_devices(at, self.folks)
            self.upload(other)

    def _pickled(self) -> str:
        """Another library's account, with keys that it has published and keys that it has not."""
        account = Account()
        owner = Peer(UserId(ALICE), DeviceId(ALICE_DEVICE), account)
        for _ in range(2):
            ((key_id, key),) = owner.one_time_key().items()
            self.server.one_time_keys[key_id] = key
        account.generate_one_time_keys(3)
        self.keys.imported(
            {KeyId(f"signed_curve25519:{key_id}"): key.to_base64() for key_id, key in account.one_time_keys.items()}
        )
        return account.pickle(PICKLE_KEY)

    def send_to(self, asked: list[tuple[int, list[Person]]]) -> None:
        """Send an event to some people, by several supervisors at once if more than one is named."""
        self.sent += 1
        messages = [
            (
                at,
                EncryptToDevice(
                    devices=tuple(person.peer.address for person in people), type="m.sent", content={"n": self.sent}
                ),
            )
            for at, people in asked
        ]
        replies = self.ask_all(messages) if len(messages) > 1 else [self.ask(*messages[0])]
        for (_, people), reply in zip(asked, replies, strict=True):
            assert isinstance(reply, EncryptedToDevice)
            reached = dict.fromkeys(person for person in people if person.reachable)
            missing = dict.fromkeys(person.peer.address for person in people if not person.reachable)
            assert tuple(missing) == reply.missing
            assert len(reached) == sum(len(contents) for contents in reply.messages.values())
            for person in reached:
                payload = person.read(reply.messages[person.peer.user_id][person.peer.device_id])
                assert ("m.sent", {"n": self.sent}) == (payload["type"], payload["content"])
                assert (ALICE, person.peer.user_id) == (payload["sender"], payload["recipient"])

    def add_devices(self, at: int, folks: list[Person]) -> None:
        """Tell the device of these, which must be all of their users'."""
        self.ask(at, AddDevices(response=keys_query(*(person.peer for person in folks))))
        for person in folks:
            person.known = True

    def upload(self, at: int) -> None:
        """Have the device upload all that it should."""
        keys = self.ask(at, PrepareOneTimeKeys())
        self.handed_out(at, keys)
        answer = self.server.take(attrs.asdict(keys))
        self.ask(at, MarkKeysPublished(key_ids=keys.key_ids, one_time_key_counts=answer))
        self.keys.marked(keys.key_ids, len(self.server.one_time_keys), self.fleet.now)

    def handed_out(self, at: int, keys: UnpublishedKeys) -> None:
        """A supervisor was handed these keys for upload."""
        at %= self.fleet.size
        self.keys.handed_out(keys, self.fleet.now, (at, self.lives[at]), set(enumerate(self.lives)))
