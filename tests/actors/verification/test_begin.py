"""How flows begin, and what is answered where there is none."""

from __future__ import annotations

from itertools import pairwise
from typing import Any

import pytest
from msgspec.structs import replace

from olmstate.actors._verification import begin, events
from olmstate.actors._verification.effects import AskForKeys, Ended, Ignored, Prompt, Send
from olmstate.actors._verification.flow import State
from olmstate.actors._verification.methods import METHODS, SAS
from olmstate.messages import NoCommonMethod
from tests.actors.verification.flows import ALICE, BOB, MINUTE, NOW, ROOM, Bench, bench_in
from tests.peer.verifier import Verifier

both_places = pytest.mark.parametrize("room", [False, True], ids=["to-device", "in a room"])


def request(bench: Bench, *, to: str = ALICE, timestamp: int | None = None, **envelope: Any) -> begin.Beginning:  # noqa: ANN401
    at = bench.now if timestamp is None else timestamp
    if bench.room_id is not None:
        envelope = {"timestamp": at} | envelope
    event = bench.parse(bench.peer.request(*METHODS, now=at, to=to), **envelope)
    assert isinstance(event, events.Request)
    return begin.receive_request(bench.own, event, now=bench.now, keys=bench.keys)


# --- our request


def test_a_request_goes_to_all_the_devices_but_our_own() -> None:
    bench = Bench(peer=ALICE)
    began = begin.request_devices(
        bench.own, ALICE, ("A", "ALICEDEVICE", "B"), keys=bench.keys, flow_id="id", offered=(SAS, "unknown"), now=NOW
    )
    [message] = began.effects
    assert isinstance(message, Send)
    assert ("m.key.verification.request", ALICE, ("A", "B"), None) == (
        message.type,
        message.user_id,
        message.devices,
        message.room_id,
    )
    assert {"from_device": "ALICEDEVICE", "methods": [SAS], "timestamp": NOW, "transaction_id": "id"} == message.content


def test_a_request_in_a_room_is_a_message_that_others_can_show() -> None:
    bench = Bench(room=True)
    bench.request()
    [message] = bench.sent
    assert ("m.room.message", ROOM, ()) == (message.type, message.room_id, message.devices)
    body = message.content.pop("body")
    assert ALICE in body
    assert {
        "msgtype": "m.key.verification.request",
        "from_device": "ALICEDEVICE",
        "methods": list(METHODS),
        "to": BOB,
    } == message.content
    assert (None, "txn") == (bench.known.flow_id, bench.known.txn_id)


def test_there_must_be_something_to_do_and_somebody_to_do_it_with() -> None:
    bench = Bench()
    kwargs: dict[str, Any] = {"keys": bench.keys, "now": NOW}
    with pytest.raises(NoCommonMethod):
        begin.request_devices(bench.own, BOB, ("A",), flow_id="id", offered=("unknown",), **kwargs)
    with pytest.raises(NoCommonMethod):
        begin.request_devices(bench.own, ALICE, ("ALICEDEVICE",), flow_id="id", offered=METHODS, **kwargs)
    with pytest.raises(NoCommonMethod):
        begin.request_in_room(bench.own, ALICE, ROOM, txn_id="txn", offered=METHODS, **kwargs)


# --- the peer's


@both_places
@pytest.mark.parametrize(
    ("age", "taken"),
    [(0, True), (10 * MINUTE, True), (10 * MINUTE + 1, False), (-5 * MINUTE, True), (-5 * MINUTE - 1, False)],
)
def test_a_request_is_taken_unless_it_is_too_old_or_from_the_future(age: int, *, taken: bool, room: bool) -> None:
    bench = Bench(room=room)
    began = request(bench, timestamp=NOW - age)
    assert taken == (began.flow is not None)
    if not taken:
        assert (Ignored(reason="a request that is too old, or from the future"),) == began.effects


@pytest.mark.parametrize(
    ("age", "prompt", "deadline"),
    [
        (0, 2 * MINUTE, 10 * MINUTE),
        (7 * MINUTE, 2 * MINUTE, 3 * MINUTE),
        (9 * MINUTE, MINUTE, MINUTE),
        (-4 * MINUTE, 2 * MINUTE, 10 * MINUTE),
    ],
)
def test_a_prompt_goes_away_10_minutes_after_the_request_or_2_after_it_came(
    age: int, prompt: int, deadline: int
) -> None:
    bench = Bench()
    bench.begin(request(bench, timestamp=NOW - age))
    [asked] = bench.effects
    assert isinstance(asked, Prompt)
    assert (METHODS, NOW + prompt, NOW + deadline) == (asked.methods, asked.until, bench.known.deadline)
    bench.now += prompt - 1
    assert () == bench.take(events.Tick()).effects
    bench.now += 1
    assert (Ended(),) == bench.take(events.Tick()).effects
    assert State.DISMISSED is bench.state


def test_an_answered_prompt_does_not_go_away() -> None:
    bench = bench_in(State.READY)
    bench.now += 9 * MINUTE
    bench.take(events.Tick())
    assert State.READY is bench.state


@both_places
def test_our_own_request_that_comes_back_is_ignored(*, room: bool) -> None:
    bench = Bench(peer=ALICE, device="ALICEDEVICE", room=room)
    assert None is request(bench).flow


def test_a_request_in_a_room_to_somebody_else_or_of_another_device_of_ours_is_ignored() -> None:
    assert None is request(Bench(room=True), to="@carol:example.org").flow
    assert None is request(Bench(room=True, peer=ALICE, device="OTHERALICE"), to=BOB).flow


@pytest.mark.parametrize("start", [False, True])
def test_a_device_that_names_another_is_ignored(*, start: bool) -> None:
    bench = Bench()
    if start:
        event = bench.parse(bench.peer.start(), sender_device="ANOTHER")
        assert isinstance(event, events.Start)
        began = begin.receive_start(bench.own, event, now=NOW, keys=bench.keys)
    else:
        began = request(bench, sender_device="ANOTHER")
    assert None is began.flow
    assert "names another device" in began.effects[0].reason  # type: ignore[union-attr]


@pytest.mark.parametrize("start", [False, True])
def test_an_unknown_device_is_queried_before_it_is_refused(*, start: bool) -> None:
    bench = Bench()
    bench.keys = replace(bench.keys, peer_ed25519=None)
    event = bench.parse(bench.peer.start() if start else bench.peer.request(*METHODS, now=NOW))
    receive: Any = begin.receive_start if start else begin.receive_request
    began = receive(bench.own, event, now=NOW, keys=bench.keys)
    assert (None, (AskForKeys(user_id=BOB, device_id="PEERDEVICE"),)) == began
    assert (None, (Ignored(reason="a device that its user doesn't have"),)) == receive(
        bench.own, event, now=NOW, keys=replace(bench.keys, peer_ed25519=None, queried=True)
    )


# --- a start without a request


def test_a_bare_start_asks_the_user() -> None:
    bench = bench_in(State.START_RECEIVED)
    assert [Prompt(methods=(SAS,), until=NOW + 10 * MINUTE)] == bench.effects
    assert not bench.known.requested


def test_our_own_bare_start_and_one_in_a_room_are_ignored() -> None:
    for bench in (Bench(room=True), Bench(peer=ALICE, device="ALICEDEVICE")):
        event = bench.parse(bench.peer.start())
        assert isinstance(event, events.Start)
        assert None is begin.receive_start(bench.own, event, now=NOW, keys=bench.keys).flow


@pytest.mark.parametrize("changed", [{"method": "m.reciprocate.v1", "secret": "AAAA"}, {"hashes": []}], ids=str)
def test_a_bare_start_with_nothing_in_common_is_cancelled(changed: dict[str, Any]) -> None:
    bench = Bench()
    event = bench.parse(bench.peer.start(**changed))
    assert isinstance(event, events.Start)
    bench.begin(begin.receive_start(bench.own, event, now=NOW, keys=bench.keys))
    assert (State.CANCELLED, "m.unknown_method") == (bench.state, bench.last("cancel")["code"])


# --- no flow at all


def test_an_unknown_flow_is_answered_but_for_a_cancellation_and_in_rooms() -> None:
    bench = Bench()
    peer = bench.peer
    for message in (peer.ready(SAS), peer.accept({}), peer.key(), peer.done()):
        for device in (None, "PEERDEVICE"):
            [answer] = begin.receive_unknown(bench.parse(message, sender_device=device))
            assert isinstance(answer, Send)
            assert ("m.key.verification.cancel", BOB, (device or "*",), None) == (
                answer.type,
                answer.user_id,
                answer.devices,
                answer.room_id,
            )
            assert ("m.unknown_transaction", "transaction") == (
                answer.content["code"],
                answer.content["transaction_id"],
            )
    malformed_cancel = peer.message("m.key.verification.cancel")
    for message in (peer.cancel("m.user"), malformed_cancel):
        assert (Ignored(reason="a cancellation of no flow"),) == begin.receive_unknown(bench.parse(message))
    in_room = Bench(room=True)
    assert (Ignored(reason="a flow of others, in a room"),) == begin.receive_unknown(
        in_room.parse(in_room.peer.ready(SAS))
    )


@pytest.mark.parametrize("kind", ["request", "start"])
def test_a_malformed_beginning_is_answered_as_such(kind: str) -> None:
    bench = Bench()
    [answer] = begin.receive_unknown(bench.parse(bench.peer.message(f"m.key.verification.{kind}")))
    assert isinstance(answer, Send)
    assert "m.invalid_message" == answer.content["code"]


# --- several at once


def test_a_device_that_begins_twice_has_all_its_flows_cancelled() -> None:
    first = bench_in(State.READY)
    second = Bench()
    second.peer.flow_id = "second"
    request = second.peer.request(*METHODS, now=NOW)
    event = second.parse(request, sender_device=second.peer.device_id)
    in_clear = second.parse(request)
    assert isinstance(event, events.Request)
    assert isinstance(in_clear, events.Request)
    second.begin(begin.receive_request(second.own, event, now=NOW, keys=second.keys))
    ours = Bench()
    ours.peer_ready()
    over = bench_in(State.CANCELLED).known
    other = Bench(device="ANOTHER")
    other.ready()
    flows = [first.known, second.known, ours.known, over, other.known]
    assert [first.known] == begin.other_attempts(flows, event, now=NOW)
    assert [first.known] == begin.other_attempts(flows, event, now=first.known.deadline - 1)
    assert [] == begin.other_attempts(flows, event, now=first.known.deadline)
    assert [] == begin.other_attempts(flows, in_clear, now=NOW)
    for bench in (first, second):
        bench.take(events.SecondAttempt())
        assert "m.unexpected_message" == bench.last("cancel")["code"]


def test_ten_flows_at_once_do_not_disturb_each_other() -> None:
    benches = [Bench(device=f"DEVICE{number}") for number in range(10)]
    for number, bench in enumerate(benches):
        bench.peer.flow_id = f"flow {number}"
        bench.ready()
    for bench in benches:
        bench.hear(bench.peer.start())
    for bench in reversed(benches):
        bench.hear(bench.peer.key())
        bench.peer.peer_key = bench.last("key")["key"]
    for bench in benches:
        bench.take(events.Confirm())
        bench.hear(bench.peer.mac())
        bench.hear(bench.peer.done())
        assert State.DONE is bench.state
    for one, another in pairwise(benches):
        another.peer.flow_id = one.peer.flow_id
        assert () == another.hear(Verifier.done(one.peer)).effects
