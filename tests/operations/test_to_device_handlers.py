"""Who is offered what of a batch of to-device events: everything that is believed, once, in order, and nothing else."""

from __future__ import annotations

import json
from collections.abc import Awaitable, Callable, Sequence
from typing import TypeVar

import pytest
from vodozemac import GroupSession

from olmstate.actors import Supervisor
from olmstate.actors._capabilities import CAPABILITIES
from olmstate.actors._engine.capability import Capability
from olmstate.actors._engine.turn import Turn
from olmstate.actors._to_device.handlers import (
    ON_DECRYPTED,
    ON_PLAIN,
    SECRETS,
    DecryptedEvent,
    Handler,
    PlainEvent,
    SecretField,
)
from olmstate.messages import (
    DecryptedToDevice,
    DecryptToDevice,
    DeviceIdentity,
    ExportRoomKeys,
    Json,
    PlainToDevice,
    ReceiveSync,
    ReplayedToDevice,
    UndecryptableToDevice,
)
from tests.operations.device import ROOM
from tests.operations.peer import Peer

E = TypeVar("E")

OFFERED: list[tuple[str, list[Json]]] = []


def note(who: str, said: Callable[[E], Json]) -> Callable[[Turn, Sequence[E]], Awaitable[None]]:
    async def run(turn: Turn, events: Sequence[E]) -> None:
        OFFERED.append((who, [said(event) for event in events]))

    return run


def of_decrypted(event: DecryptedEvent) -> Json:
    return event.payload.type, event.payload.content.get("n"), event.payload.sender


def of_plain(event: PlainEvent) -> Json:
    return event.type, event.event["content"]["n"]


HANDLERS = Capability(
    additions=(
        ON_DECRYPTED.add(Handler(("a", "b"), note("a and b", of_decrypted))),
        ON_DECRYPTED.add(Handler(("b",), note("b alone", of_decrypted))),
        ON_PLAIN.add(Handler(("a",), note("plain a", of_plain))),
        ON_PLAIN.add(Handler(("b", "m.room.encrypted"), note("plain b", of_plain))),
        SECRETS.add(SecretField("b", "secret")),
    )
)


@pytest.fixture(autouse=True)
def handlers(monkeypatch: pytest.MonkeyPatch) -> None:
    OFFERED.clear()
    monkeypatch.setattr("olmstate.actors._open.CAPABILITIES", (*CAPABILITIES, HANDLERS))


def plain(event_type: str, n: int) -> Json:
    return {"type": event_type, "content": {"n": n}, "sender": "@carol:example.org"}


async def test_events_are_offered_by_type_to_all_who_handle_it_in_their_order(
    alice: Supervisor, me: DeviceIdentity, friend: Peer
) -> None:
    events = [friend.event(me, event_type, {"n": n}) for n, event_type in enumerate("bacab")]
    mixed = (plain("a", 10), events[0], events[1], plain("b", 11), *events[2:], plain("a", 12), plain("c", 13))

    await alice.ask(DecryptToDevice(events=mixed))

    bob = friend.user_id
    assert OFFERED == [
        ("a and b", [("b", 0, bob), ("a", 1, bob), ("a", 3, bob), ("b", 4, bob)]),
        ("b alone", [("b", 0, bob), ("b", 4, bob)]),
        ("plain a", [("a", 10), ("a", 12)]),
        ("plain b", [("b", 11)]),
    ]


async def test_a_sync_offers_its_events_too(alice: Supervisor, me: DeviceIdentity, friend: Peer) -> None:
    events = [friend.event(me, "a", {"n": 1}), plain("b", 2)]
    await alice.ask(ReceiveSync(sync={"next_batch": "1", "to_device": {"events": events}}))
    assert OFFERED == [("a and b", [("a", 1, friend.user_id)]), ("plain b", [("b", 2)])]


async def test_what_is_not_believed_or_was_seen_before_is_offered_to_nobody(
    alice: Supervisor, me: DeviceIdentity, friend: Peer
) -> None:
    seen = friend.event(me, "a", {"n": 0})
    await alice.ask(DecryptToDevice(events=(seen,)))
    OFFERED.clear()
    lie = friend.olm_event(me, json.dumps(friend.payload(me, "a", {"n": 1}, sender="@mallory:example.org")).encode())
    foreign = friend.event(me, "a", {"n": 2})
    foreign["content"]["ciphertext"] = {"another key": {}}
    deep: Json = 0
    for _ in range(200):
        deep = [deep]
    broken: tuple[Json, ...] = (
        plain("m.room.encrypted", 3),
        {**plain("a", 4), "deep": deep},
        {"type": 5},
        None,
        {"type": "A"},
    )

    outcomes = await alice.ask(DecryptToDevice(events=(seen, lie, foreign, *broken)))

    assert OFFERED == []
    assert [ReplayedToDevice, *[UndecryptableToDevice] * 6] == [type(outcome) for outcome in outcomes[:7]]


async def test_an_event_that_comes_twice_at_once_is_offered_once(
    alice: Supervisor, me: DeviceIdentity, friend: Peer
) -> None:
    event = friend.event(me, "b", {"n": 1})
    outcomes = await alice.ask(DecryptToDevice(events=(event, event)))
    assert OFFERED == [(who, [("b", 1, friend.user_id)]) for who in ("a and b", "b alone")]
    assert [DecryptedToDevice, ReplayedToDevice] == [type(outcome) for outcome in outcomes]


async def test_a_secret_is_kept_from_whoever_receives_the_event(
    alice: Supervisor, me: DeviceIdentity, friend: Peer
) -> None:
    events = [friend.event(me, event_type, {"n": 1, "secret": "1234"}) for event_type in "ab"]
    a, b = await alice.ask(DecryptToDevice(events=tuple(events)))
    assert isinstance(a, DecryptedToDevice)
    assert isinstance(b, DecryptedToDevice)
    assert ({"n": 1, "secret": "1234"}, {"n": 1}) == (a.content, b.content)


@pytest.mark.parametrize("type_", ["m.room_key", "m.forwarded_room_key"])
async def test_the_key_in_a_room_key_is_kept_from_whoever_receives_the_event(
    alice: Supervisor, me: DeviceIdentity, friend: Peer, type_: str
) -> None:
    (outcome,) = await alice.ask(DecryptToDevice(events=(friend.event(me, type_, {"session_key": "1", "other": 2}),)))
    assert isinstance(outcome, DecryptedToDevice)
    assert {"other": 2} == outcome.content


async def test_a_room_key_that_comes_in_clear_is_not_taken_in(alice: Supervisor, friend: Peer) -> None:
    content = friend.room_key(ROOM, GroupSession())
    event = {"type": "m.room_key", "content": content, "sender": friend.user_id}
    (outcome,) = await alice.ask(DecryptToDevice(events=(event,)))
    assert isinstance(outcome, PlainToDevice)
    assert () == await alice.ask(ExportRoomKeys())
