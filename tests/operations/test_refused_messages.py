"""Olm messages that are decrypted and refused: they leave no trace, and are read when they come as they should."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest
import trio
from trio.testing import wait_all_tasks_blocked

from olmstate.actors import Supervisor
from olmstate.messages import (
    AddDevices,
    DecryptedToDevice,
    DecryptToDevice,
    DeviceId,
    DeviceIdentity,
    EncryptToDevice,
    Json,
    JsonObject,
    MismatchedSender,
    PrepareOneTimeKeys,
    ReplayedToDevice,
    Statistics,
    ToDeviceOutcome,
    UndecryptableToDevice,
    UnknownSender,
    UserId,
)
from olmstate.storage import open_store
from tests.operations.conftest import Device
from tests.operations.device import KEY, KeyServer, decrypt, meet, send, unchanged
from tests.operations.peer import Peer, keys_query

MALLORY = UserId("@mallory:example.org")
CAROL = UserId("@carol:example.org")


def in_envelope_of(user_id: str, event: JsonObject) -> JsonObject:
    """The event as a server might deliver it."""
    return {**event, "sender": user_id}


def is_refused(outcome: ToDeviceOutcome) -> bool:
    """Whether it was decrypted and not believed."""
    return isinstance(outcome, UndecryptableToDevice) and isinstance(outcome.error, MismatchedSender)


async def outcomes_of(supervisor: Supervisor, *events: Json) -> tuple[ToDeviceOutcome, ...]:
    """What becomes of events that come at once."""
    return await supervisor.ask(DecryptToDevice(events=events))


@pytest.fixture(params=["one-time-key", "fallback-key", "known-session", "normal"])
async def event(
    request: pytest.FixtureRequest, alice: Supervisor, me: DeviceIdentity, bob: Peer, server: KeyServer
) -> JsonObject:
    """A message of bob's that alice hasn't read."""
    kind: str = request.param
    await server.upload(alice)
    key = server.fallback_key if kind == "fallback-key" else server.claim_key()
    assert key is not None
    bob.start_session(me, key)
    if kind in {"known-session", "normal"}:
        await decrypt(alice, bob.event(me))
    if kind == "normal":
        await send(alice, bob, "so that the next one is a normal message")
    return bob.event(me, content={"n": 1})


async def test_a_message_in_anothers_envelope_is_refused_as_often_as_it_comes_and_read_in_its_own(
    event: JsonObject, alice: Supervisor, other: Supervisor, me: DeviceIdentity, bob: Peer
) -> None:
    for supervisor in (alice, other, alice):
        async with unchanged(supervisor):
            (outcome,) = await outcomes_of(supervisor, in_envelope_of(MALLORY, event))
            assert is_refused(outcome)

    assert {"n": 1} == (await decrypt(other, event)).content
    assert {"n": 2} == (await decrypt(alice, bob.event(me, content={"n": 2}))).content


@pytest.mark.parametrize(
    ("envelopes", "read"), [("MB", 1), ("BM", 0), ("MMB", 2), ("MCB", 2), ("MBMB", 1), ("MMMMMMB", 6), ("CMBCM", 2)]
)
async def test_in_one_batch_the_right_envelope_counts_wherever_it_stands(
    envelopes: str, event: JsonObject, alice: Supervisor, me: DeviceIdentity, bob: Peer, *, read: int
) -> None:
    senders = {"M": MALLORY, "B": bob.user_id, "C": CAROL}
    events = [in_envelope_of(senders[each], event) for each in envelopes]
    more = [bob.event(me, content={"n": number}) for number in (2, 3)]

    before, *found, after = await outcomes_of(alice, more[0], *events, more[1])

    assert {DecryptedToDevice} == {type(before), type(found[read]), type(after)}
    assert DecryptedToDevice not in {type(outcome) for at, outcome in enumerate(found) if at != read}
    (replay,) = await outcomes_of(alice, event)
    assert isinstance(replay, ReplayedToDevice)


async def test_what_is_refused_again_and_again_ends_and_costs_no_believed_message(
    event: JsonObject, alice: Supervisor, me: DeviceIdentity, bob: Peer
) -> None:
    """More copies than there are tries: the last of them stands behind so many that it isn't reached."""
    wrong = [in_envelope_of(f"@mallory{number}:example.org", event) for number in range(20)]
    good = bob.event(me, content={"n": 2})

    *_, outcome = await outcomes_of(alice, *wrong, good)

    assert isinstance(outcome, DecryptedToDevice)
    assert {"n": 1} == (await decrypt(alice, event)).content


async def test_who_sends_what_is_refused_harms_nobody_else(
    alice: Supervisor, other: Supervisor, me: DeviceIdentity, bob: Peer, server: KeyServer
) -> None:
    await server.upload(alice)
    mallory, carol = Peer(MALLORY, DeviceId("M")), Peer(CAROL, DeviceId("C"))
    for peer in (bob, mallory, carol):
        peer.start_session(me, server.claim_key())
    events = [
        bob.event(me, content={"n": 0}),
        mallory.event(me, sender=CAROL),
        carol.event(me, content={"n": 2}),
        mallory.event(me, sender=bob.user_id),
        bob.event(me, content={"n": 4}),
    ]

    outcomes = await outcomes_of(alice, *events)

    assert [True, False, True, False, True] == [isinstance(outcome, DecryptedToDevice) for outcome in outcomes]
    assert {"n": 5} == (await decrypt(other, bob.event(me, content={"n": 5}))).content
    assert {"n": 6} == (await decrypt(other, carol.event(me, content={"n": 6}))).content
    assert {"n": 7} == (await decrypt(other, mallory.event(me, content={"n": 7}))).content


async def test_a_refused_message_does_not_use_up_a_one_time_key_that_another_one_behind_it_names(
    alice: Supervisor, me: DeviceIdentity, bob: Peer, server: KeyServer
) -> None:
    await server.upload(alice)
    mallory, key = Peer(MALLORY, DeviceId("M")), server.claim_key()
    for peer in (mallory, bob):
        peer.start_session(me, key)

    refused, believed = await outcomes_of(alice, mallory.event(me, sender=CAROL), bob.event(me))

    assert is_refused(refused)
    assert isinstance(believed, DecryptedToDevice)


async def test_no_session_goes_for_one_whose_first_message_is_refused(
    alice: Supervisor, me: DeviceIdentity, bob: Peer, server: KeyServer
) -> None:
    await server.upload(alice)
    sessions = [bob.start_session(me, server.claim_key()) for _ in range(10)]
    for session in sessions:
        await decrypt(alice, bob.event(me, session=session))
    late = bob.event(me, session=bob.start_session(me, server.claim_key()))

    (outcome,) = await outcomes_of(alice, in_envelope_of(MALLORY, late))

    assert is_refused(outcome)
    await decrypt(alice, bob.event(me, session=sessions[0]))
    await decrypt(alice, late)


async def test_a_message_that_came_before_its_senders_device_was_known_is_read_when_it_is_handed_in_again(
    alice: Supervisor, other: Supervisor, me: DeviceIdentity, server: KeyServer
) -> None:
    await server.upload(alice)
    bob = Peer()
    bob.start_session(me, server.claim_key())
    events = [bob.event(me, content={"n": number}, sender_device_keys=None) for number in range(2)]
    for _ in range(2):
        async with unchanged(alice):
            for outcome in await outcomes_of(alice, *events):
                assert isinstance(outcome, UndecryptableToDevice)
                assert isinstance(outcome.error, UnknownSender)

    await alice.ask(AddDevices(response=keys_query(bob)))

    assert [{"n": 0}, {"n": 1}] == [(await decrypt(other, event)).content for event in events]


# --- what the same turn did before


async def in_one_turn(device: Device, supervisor: Supervisor, *messages: Any) -> list[Any]:  # noqa: ANN401 - each test knows which
    """The replies to messages that are handled in one turn, in their order."""
    replies: dict[int, Any] = {}

    async def ask(number: int, message: Any) -> None:  # noqa: ANN401 - as above
        replies[number] = await supervisor.ask(message)

    before = await supervisor.ask(Statistics())
    store = await open_store(device.folder, key=KEY)
    assert store.lock.acquire_nowait()
    async with trio.open_nursery() as nursery:
        # one waits for the lock, and the others for its turn to end
        for number, message in enumerate((DecryptToDevice(events=()), *messages)):
            nursery.start_soon(ask, number, message)
            await wait_all_tasks_blocked()
        store.lock.release()
    await store.aclose()
    after = await supervisor.ask(Statistics())
    assert before.turns + 2 == after.turns
    return [replies[1 + number] for number in range(len(messages))]


EARLIER: dict[str, Callable[[Peer, DeviceIdentity, KeyServer], Any]] = {
    "decrypted": lambda bob, me, _: DecryptToDevice(events=(bob.event(me, content={"n": 0}),)),
    "encrypted": lambda bob, _, __: EncryptToDevice(devices=(bob.address,), type="m.test", content={}),
    "new-session": lambda bob, me, server: DecryptToDevice(
        events=(bob.event(me, session=bob.start_session(me, server.claim_key())),)
    ),
    "new-keys": lambda _, __, ___: PrepareOneTimeKeys(),
}


@pytest.mark.parametrize("earlier", EARLIER)
@pytest.mark.parametrize("begun", [False, True], ids=["known-session", "new-session"])
async def test_what_the_same_turn_did_before_stays(
    alice: Supervisor,
    other: Supervisor,
    device: Device,
    me: DeviceIdentity,
    bob: Peer,
    *,
    server: KeyServer,
    earlier: str,
    begun: bool,
) -> None:
    await meet(alice, bob, server)
    old = bob.sessions[-1]
    first = EARLIER[earlier](bob, me, server)
    session = bob.start_session(me, server.claim_key()) if begun else old
    event = bob.event(me, content={"n": 1}, session=session)
    last = bob.event(me, content={"n": 2}, session=session)

    replies = await in_one_turn(
        device,
        alice,
        first,
        DecryptToDevice(events=(in_envelope_of(MALLORY, event),)),
        DecryptToDevice(events=(last,)),
    )

    if isinstance(first, DecryptToDevice):
        assert isinstance(replies[0][0], DecryptedToDevice)
        (again,) = await other.ask(first)
        assert isinstance(again, ReplayedToDevice)
    if isinstance(first, EncryptToDevice):
        assert "m.test" == bob.read(replies[0].messages[bob.user_id][bob.device_id])["type"]
        sent = await other.ask(first)
        assert "m.test" == bob.read(sent.messages[bob.user_id][bob.device_id])["type"]
    if isinstance(first, PrepareOneTimeKeys):
        keys: list[JsonObject] = [*replies[0].one_time_keys.values(), server.claim_key()]
        peer = Peer(CAROL)
        peer.start_session(me, keys[0])
        await decrypt(other, peer.event(me))
    assert is_refused(replies[1][0])
    assert isinstance(replies[2][0], DecryptedToDevice)
    assert {"n": 1} == (await decrypt(other, event)).content
    assert {"n": 3} == (await decrypt(other, bob.event(me, content={"n": 3}, session=old))).content
