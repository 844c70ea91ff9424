"""Whole verifications by SAS with a device that was written apart, and everything that may go wrong on the way."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest
from msgspec.structs import replace

from olmstate.actors._verification import events, sas
from olmstate.actors._verification.effects import AskForKeys, Prompt, Send, ShowSas, Verified
from olmstate.actors._verification.emoji import EMOJI
from olmstate.actors._verification.flow import ENDS, Move, State
from olmstate.actors._verification.methods import METHODS, SAS
from olmstate.actors._verification.show import qr_code_of, sas_of
from olmstate.actors._verification.step import device_of, step
from olmstate.messages import NoCommonMethod, WrongStep
from tests.actors.verification.flows import (
    AARON,
    ALICE,
    BOB,
    IN_ROOMS_ONLY,
    MINUTE,
    WAYS,
    Bench,
    bench_in,
)
from tests.peer import formulas
from tests.peer.encoding import b64
from tests.peer.verifier import Message, Verifier, fake_key

both_places = pytest.mark.parametrize("room", [False, True], ids=["to-device", "in a room"])
LIVE = [state for state in State if state not in ENDS and state not in IN_ROOMS_ONLY]


def shown(bench: Bench) -> ShowSas:
    return next(effect for effect in bench.effects if isinstance(effect, ShowSas))


def verified(bench: Bench) -> Verified:
    [found] = [effect for effect in bench.effects if isinstance(effect, Verified)]
    return found


def everything(bench: Bench) -> Verified:
    peer = bench.peer
    return Verified(user_id=peer.user_id, device_id=peer.device_id, ed25519=peer.ed25519, master_key=peer.master_key)


def own_keys(bench: Bench) -> dict[str, str]:
    return {"ed25519:ALICEDEVICE": bench.ed25519, f"ed25519:{bench.master_key}": bench.master_key}


# --- from the request to done


@both_places
@pytest.mark.parametrize("way", [Bench.comparing, Bench.comparing_as_accepter])
@pytest.mark.parametrize("mac_first", [False, True])
def test_both_see_the_same_string_and_verify_each_others_keys(
    way: Callable[[Bench], None], *, room: bool, mac_first: bool
) -> None:
    bench = Bench(room=room)
    way(bench)
    assert sas_of(bench.known) == shown(bench)
    assert formulas.decimals(bench.peer.sas) == shown(bench).decimals
    assert [EMOJI[number] for number in formulas.emoji_numbers(bench.peer.sas)] == list(shown(bench).emoji or ())
    if mac_first:
        bench.hear(bench.peer.mac())
        bench.take(events.Confirm())
    else:
        bench.take(events.Confirm())
        bench.hear(bench.peer.mac())
    assert bench.peer.is_right(bench.last("mac"), own_keys(bench))
    bench.hear(bench.peer.done())
    assert State.DONE is bench.state
    assert everything(bench) == verified(bench)
    assert None is sas_of(bench.known)


@both_places
def test_our_request_leads_there_too(*, room: bool) -> None:
    bench = Bench(room=room)
    bench.peer_ready()
    bench.take(events.StartSas())
    bench.hear(bench.peer.accept(bench.last("start")))
    bench.peer.peer_key = bench.last("key")["key"]
    bench.hear(bench.peer.key())
    bench.take(events.Confirm())
    bench.hear(bench.peer.mac())
    bench.hear(bench.peer.done())
    assert everything(bench) == verified(bench)


@both_places
def test_every_message_says_which_flow_it_is_of_and_where_it_goes(*, room: bool) -> None:
    bench = Bench(room=room)
    bench.done()
    names = ["ready", "start", "key", "mac", "done"]
    assert [f"m.key.verification.{name}" for name in names] == [message.type for message in bench.sent]
    assert list(range(5)) == [message.number for message in bench.sent]
    for message in bench.sent:
        if room:
            assert ("!room:example.org", ()) == (message.room_id, message.devices)
            assert {"rel_type": "m.reference", "event_id": "$request"} == message.content["m.relates_to"]
            assert "transaction_id" not in message.content
        else:
            assert (None, ("PEERDEVICE",)) == (message.room_id, message.devices)
            assert "transaction" == message.content["transaction_id"]
            assert "m.relates_to" not in message.content
        assert BOB == message.user_id


def test_a_start_of_ours_has_no_field_beyond_the_specs() -> None:
    bench = Bench()
    bench.started()
    assert {
        "from_device": "ALICEDEVICE",
        "transaction_id": "transaction",
        "method": "m.sas.v1",
        "key_agreement_protocols": ["curve25519-hkdf-sha256"],
        "hashes": ["sha256"],
        "message_authentication_codes": ["hkdf-hmac-sha256.v2", "hkdf-hmac-sha256"],
        "short_authentication_string": ["emoji", "decimal"],
    } == bench.last("start")


def test_the_commitment_is_over_all_of_the_start_that_came_also_what_we_dont_know() -> None:
    bench = Bench()
    bench.ready()
    bench.hear(bench.peer.start(new_in_matrix_2={"unknown": [None, "é", 1]}))
    bench.hear(bench.peer.key())
    key = bench.last("key")["key"]
    assert formulas.commitment(key, bench.peer.start_content) == bench.last("accept")["commitment"]


def test_the_master_key_is_vouched_for_only_if_we_trust_it() -> None:
    bench = Bench()
    bench.comparing()
    bench.keys = replace(bench.keys, own_master_trusted=False)
    bench.take(events.Confirm())
    assert ["ed25519:ALICEDEVICE"] == list(bench.last("mac")["mac"])


@pytest.mark.parametrize("which", ["device", "master"])
def test_only_what_the_peer_vouches_for_is_verified(which: str) -> None:
    bench = Bench()
    bench.comparing()
    peer = bench.peer
    keys = {
        "device": {"ed25519:PEERDEVICE": peer.ed25519},
        "master": {f"ed25519:{peer.master_key}": peer.master_key},
    }[which]
    bench.take(events.Confirm())
    bench.hear(peer.mac({**keys, "ed25519:UNKNOWN": "key"}))
    bench.hear(peer.done())
    device = which == "device"
    assert Verified(
        user_id=BOB,
        device_id="PEERDEVICE" if device else None,
        ed25519=peer.ed25519 if device else None,
        master_key=None if device else peer.master_key,
    ) == verified(bench)


def test_secrets_are_gone_from_a_flow_that_is_over_and_are_never_shown() -> None:
    for state in ENDS:
        known = bench_in(state).known
        assert (b"", b"", b"") == (known.ephemeral, known.shown_secret, known.scanned_secret)
    known = bench_in(State.COMPARING).known
    assert known.ephemeral
    assert "Flow(flow_id='transaction', room_id=None, ...)" == repr(known)


# --- what is agreed on


@pytest.mark.parametrize(
    ("offered", "chosen"),
    [
        (["hkdf-hmac-sha256", "hkdf-hmac-sha256.v2"], "hkdf-hmac-sha256.v2"),
        (["hkdf-hmac-sha256", "org.matrix.msc3783.hkdf-hmac-sha256"], "org.matrix.msc3783.hkdf-hmac-sha256"),
        (["hmac-sha256", "hkdf-hmac-sha256"], "hkdf-hmac-sha256"),
    ],
)
def test_the_best_mac_that_both_have_is_chosen(offered: list[str], chosen: str) -> None:
    bench = Bench()
    bench.ready()
    bench.hear(bench.peer.start(message_authentication_codes=offered))
    assert chosen == bench.last("accept")["message_authentication_code"]


@pytest.mark.parametrize(
    ("offered", "chosen"),
    [(["emoji", "decimal", "dance"], ["emoji", "decimal"]), (["decimal"], ["decimal"]), (["emoji"], ["emoji"])],
)
def test_the_strings_that_both_have_are_chosen_and_shown(offered: list[str], chosen: list[str]) -> None:
    bench = Bench()
    bench.ready()
    bench.hear(bench.peer.start(short_authentication_string=offered))
    assert chosen == bench.last("accept")["short_authentication_string"]
    bench.hear(bench.peer.key())
    assert ("emoji" in chosen, "decimal" in chosen) == (
        shown(bench).emoji is not None,
        shown(bench).decimals is not None,
    )


@pytest.mark.parametrize(
    "changed",
    [
        {"key_agreement_protocols": ["curve25519"]},
        {"hashes": ["md5"]},
        {"message_authentication_codes": ["hmac-sha256"]},
        {"short_authentication_string": ["dance"]},
        {"short_authentication_string": []},
        {"method": "org.example.dance"},
    ],
    ids=str,
)
def test_a_start_with_nothing_in_common_is_cancelled(changed: dict[str, Any]) -> None:
    bench = Bench()
    bench.ready()
    bench.hear(bench.peer.start(**changed))
    assert "m.unknown_method" == bench.known.code == bench.last("cancel")["code"]


@pytest.mark.parametrize(
    "changed",
    [
        {"key_agreement_protocol": "curve25519"},
        {"hash": "md5"},
        {"message_authentication_code": "hmac-sha256"},
        {"message_authentication_code": "org.matrix.msc3783.hkdf-hmac-sha256"},
        {"short_authentication_string": ["dance"]},
        {"short_authentication_string": ["decimal", "dance"]},
        {"short_authentication_string": []},
    ],
    ids=str,
)
def test_an_accept_of_what_was_not_offered_is_cancelled(changed: dict[str, Any]) -> None:
    bench = Bench()
    bench.started()
    bench.hear(bench.peer.accept(bench.last("start"), **changed))
    assert "m.unknown_method" == bench.known.code == bench.last("cancel")["code"]


def test_an_old_peer_is_answered_with_the_mac_of_libolm() -> None:
    bench = Bench()
    bench.ready()
    peer = bench.peer
    bench.hear(peer.start(message_authentication_codes=["hkdf-hmac-sha256"]))
    bench.hear(peer.key())
    peer.peer_key = bench.last("key")["key"]
    bench.take(events.Confirm())
    context = sas.MacContext(
        method="hkdf-hmac-sha256",
        secret=peer.secret,
        sender=(ALICE, "ALICEDEVICE"),
        receiver=(BOB, "PEERDEVICE"),
        flow_id="transaction",
    )
    assert sas.macs_of(context, own_keys(bench)).mac == bench.last("mac")["mac"]


def test_a_method_that_was_not_agreed_on_cannot_be_started() -> None:
    bench = Bench(methods=("m.qr_code.show.v1", "m.qr_code.scan.v1", "m.reciprocate.v1"))
    bench.ready()
    with pytest.raises(NoCommonMethod):
        bench.take(events.StartSas())
    assert State.READY is bench.state
    bench.hear(bench.peer.start())
    assert "m.unknown_method" == bench.known.code


# --- without a request


@pytest.mark.parametrize("mac_first", [False, True])
def test_a_start_without_a_request_ends_without_done(*, mac_first: bool) -> None:
    bench = Bench()
    bench.comparing_without_request()
    mac = bench.peer.mac()
    if mac_first:
        bench.hear(mac)
    bench.take(events.Confirm())
    if not mac_first:
        bench.hear(mac)
    assert State.DONE is bench.state
    assert ["accept", "key", "mac"] == [message.type.rsplit(".", 1)[1] for message in bench.sent]
    assert everything(bench) == verified(bench)
    assert () == bench.hear(bench.peer.done()).effects


def test_a_user_whose_program_has_no_sas_cannot_take_a_bare_start() -> None:
    bench = bench_in(State.START_RECEIVED)
    with pytest.raises(NoCommonMethod):
        bench.take(events.AcceptRequest(methods=("m.qr_code.show.v1",)))
    assert State.START_RECEIVED is bench.state


# --- two starts


@both_places
def test_of_two_starts_that_of_the_larger_user_is_ignored(*, room: bool) -> None:
    ours = bench_in(State.STARTED, room=room, peer=BOB)
    start = ours.last("start")
    ours.hear(ours.peer.start())
    assert State.STARTED is ours.state
    ours.hear(ours.peer.accept(start))
    ours.peer.peer_key = ours.last("key")["key"]
    ours.hear(ours.peer.key())
    assert formulas.decimals(ours.peer.sas) == shown(ours).decimals

    theirs = bench_in(State.STARTED, room=room, peer=AARON)
    theirs.hear(theirs.peer.start())
    assert State.ACCEPTED is theirs.state
    theirs.hear(theirs.peer.key())
    theirs.peer.peer_key = theirs.last("key")["key"]
    assert formulas.commitment(theirs.peer.peer_key, theirs.peer.start_content) == theirs.last("accept")["commitment"]
    assert formulas.decimals(theirs.peer.sas) == shown(theirs).decimals


def test_starts_that_lose_do_not_make_a_row_larger_and_larger() -> None:
    bench = bench_in(State.STARTED)
    sizes: list[int] = []
    for number in range(100):
        bench.hear(bench.peer.start(hashes=["sha256", str(number)]))
        sizes.append(len(bench.known.taken))
    assert (State.STARTED, 32) == (bench.state, max(sizes))
    assert (Move.REPLAYED,) == bench.hear(bench.peer.start(hashes=["sha256", "99"])).moves


@pytest.mark.parametrize(("device", "expected"), [("ZDEVICE", State.STARTED), ("AADEVICE", State.ACCEPTED)])
def test_of_two_starts_of_one_user_that_of_the_larger_device_is_ignored(device: str, expected: State) -> None:
    bench = Bench(peer=ALICE, device=device)
    bench.started()
    bench.hear(bench.peer.start())
    assert expected is bench.state


@pytest.mark.parametrize("peer", [AARON, BOB])
def test_two_starts_of_different_methods_are_cancelled(peer: str) -> None:
    bench = Bench(peer=peer)
    bench.qr_shown()
    secret = bench.known.shown_secret
    bench.take(events.StartSas())
    bench.hear(bench.peer.reciprocate(secret))
    assert "m.unexpected_message" == bench.known.code == bench.last("cancel")["code"]


def test_a_start_that_wins_and_has_nothing_in_common_is_cancelled_and_one_that_loses_is_not_looked_at() -> None:
    wins = bench_in(State.STARTED, peer=AARON)
    wins.hear(wins.peer.start(hashes=["md5"]))
    assert "m.unknown_method" == wins.known.code
    loses = bench_in(State.STARTED, peer=BOB)
    loses.hear(loses.peer.start(hashes=["md5"]))
    assert State.STARTED is loses.state


# --- several devices


def test_the_first_device_that_is_ready_gets_the_flow_and_the_others_are_told() -> None:
    bench = Bench()
    bench.peer_ready()
    [told] = bench.sent[1:]
    assert ("m.key.verification.cancel", "m.accepted", ("OTHERDEVICE",)) == (
        told.type,
        told.content["code"],
        told.devices,
    )
    other = Verifier(BOB, "OTHERDEVICE", flow_id="transaction")
    for message in (other.ready(*METHODS), other.start()):
        assert (Move.NOT_OURS,) == bench.hear(message).moves
    assert State.READY is bench.state
    bench.take(events.StartSas())
    assert ("PEERDEVICE",) == bench.sent[-1].devices


def test_a_device_that_was_not_asked_cannot_take_the_flow() -> None:
    bench = Bench()
    bench.we_requested()
    uninvited = Verifier(BOB, "UNINVITED", flow_id="transaction")
    assert (Move.NOT_OURS,) == bench.hear(uninvited.ready(*METHODS)).moves


@pytest.mark.parametrize(("known", "told"), [(None, ("PEERDEVICE", "OTHERDEVICE")), ("PEERDEVICE", ("OTHERDEVICE",))])
def test_when_one_device_rejects_all_the_others_are_told(known: str | None, told: tuple[str, ...]) -> None:
    bench = Bench()
    bench.we_requested()
    bench.hear(bench.peer.cancel("m.user"), sender_device=known)
    assert State.CANCELLED is bench.state
    assert ("m.user", False, "because") == (bench.known.code, bench.known.cancelled_by_us, bench.known.reason)
    [message] = bench.sent[1:]
    assert ("m.user", told) == (message.content["code"], message.devices)


def test_a_device_cannot_be_ready_in_the_name_of_another() -> None:
    bench = Bench()
    bench.we_requested()
    # both were asked; the Olm session is the other one's
    assert (Move.NOT_OURS,) == bench.hear(bench.peer.ready(*METHODS), sender_device="OTHERDEVICE").moves
    assert State.WE_REQUESTED is bench.state


def test_when_we_withdraw_a_request_all_devices_are_told() -> None:
    bench = Bench()
    bench.we_requested()
    bench.take(events.GiveUp())
    assert ("m.user", ("PEERDEVICE", "OTHERDEVICE")) == (bench.sent[-1].content["code"], bench.sent[-1].devices)


def test_a_ready_of_an_unknown_device_waits_for_its_keys() -> None:
    bench = Bench()
    bench.we_requested()
    known, bench.keys = bench.keys, replace(bench.keys, peer_ed25519=None)
    ready = bench.peer.ready(*METHODS)
    before = bench.known
    assert (AskForKeys(user_id=BOB, device_id="PEERDEVICE"),) == bench.hear(ready).effects
    assert before.taken == bench.known.taken
    bench.keys = known
    bench.hear(ready)
    assert State.READY is bench.state


def test_a_ready_of_a_device_that_does_not_exist_is_ignored() -> None:
    bench = Bench()
    bench.we_requested()
    bench.keys = replace(bench.keys, peer_ed25519=None, queried=True)
    assert (Move.NOT_OURS,) == bench.hear(bench.peer.ready(*METHODS)).moves
    assert State.WE_REQUESTED is bench.state


def test_a_ready_without_a_common_method_is_cancelled() -> None:
    bench = Bench(methods=(SAS,))
    bench.we_requested()
    bench.hear(bench.peer.ready("m.qr_code.show.v1", "m.reciprocate.v1"))
    assert "m.unknown_method" == bench.known.code


def test_a_request_with_no_method_of_ours_is_shown_and_can_only_be_rejected() -> None:
    bench = Bench()
    bench.requested("org.example.dance")
    [prompt] = bench.effects
    assert isinstance(prompt, Prompt)
    assert () == prompt.methods
    with pytest.raises(NoCommonMethod):
        bench.take(events.AcceptRequest(methods=METHODS))
    bench.take(events.GiveUp())
    assert "m.user" == bench.last("cancel")["code"]


# --- in rooms


def test_another_device_of_ours_that_is_ready_first_takes_the_flow() -> None:
    for state in (State.REQUESTED, State.READY, State.QR_SHOWN, State.STARTED, State.RECIPROCATED):
        bench = bench_in(state, room=True)
        own = Verifier(ALICE, "OTHERALICE", room_id=bench.room_id, flow_id="$request")
        bench.hear(own.ready(SAS), sender=ALICE)
        assert State.PASSIVE is bench.state
        # what the two others say to each other isn't for us
        bench.hear(bench.peer.start())
        assert State.PASSIVE is bench.state


def test_another_device_of_ours_that_is_ready_after_us_does_not() -> None:
    bench = bench_in(State.READY, room=True)
    ours = Verifier(ALICE, "ALICEDEVICE", room_id=bench.room_id, flow_id="$request")
    own = Verifier(ALICE, "OTHERALICE", room_id=bench.room_id, flow_id="$request")
    assert (Move.OWN_READY,) == bench.hear(ours.ready(SAS), sender=ALICE).moves
    assert (Move.ECHO,) == bench.hear(own.ready(SAS), sender=ALICE).moves
    assert State.READY is bench.state


def test_our_own_events_come_back_and_change_nothing() -> None:
    bench = bench_in(State.COMPARING, room=True)
    for message in list(bench.sent):
        before = bench.known.state
        assert bench.hear((message.type, message.content), sender=ALICE).moves[-1] in {Move.ECHO, Move.OWN_READY}
        assert before is bench.state


@pytest.mark.parametrize("state", [State.REQUESTED, State.READY, State.COMPARING])
def test_another_device_of_ours_can_cancel(state: State) -> None:
    bench = bench_in(state, room=True)
    own = Verifier(ALICE, "OTHERALICE", room_id=bench.room_id, flow_id="$request")
    bench.hear(own.cancel("m.user"), sender=ALICE)
    assert State.CANCELLED is bench.state
    assert bench.known.cancelled_by_us
    assert "cancel" not in [message.type.rsplit(".", 1)[1] for message in bench.sent]


def test_a_request_that_is_withdrawn_on_its_way_is_cancelled_when_it_is_there() -> None:
    bench = bench_in(State.WITHDRAWN, room=True)
    assert 1 == len(bench.sent)
    bench.take(events.Sent(event_id="$request"))
    assert "$request" == bench.last("cancel")["m.relates_to"]["event_id"]


def test_the_homeservers_answer_and_the_sync_may_both_say_that_the_request_is_there() -> None:
    bench = bench_in(State.WE_REQUESTED, room=True)
    bench.take(events.Sent(event_id="$other"))
    assert "$request" == bench.known.flow_id
    bench.hear(bench.peer.ready(*METHODS))
    bench.take(events.Sent(event_id="$request"))
    assert State.READY is bench.state


def test_another_room_or_another_flow_is_none_of_ours() -> None:
    bench = bench_in(State.READY, room=True)
    assert (Move.NOT_OURS,) == bench.hear(bench.peer.start(), room_id="!other:example.org").moves
    bench.peer.flow_id = "$other"
    assert (Move.NOT_OURS,) == bench.hear(bench.peer.start()).moves
    assert State.READY is bench.state


# --- who it comes from


@pytest.mark.parametrize("state", LIVE)
def test_another_user_is_told_so_and_changes_nothing(state: State) -> None:
    bench = bench_in(state)
    eve = Verifier("@eve:example.org", "EVE", flow_id="transaction")
    for message in (eve.key(), eve.ready(SAS), eve.done()):
        step = bench.hear(message, sender="@eve:example.org", sender_device="EVE")
        [answer] = step.effects
        assert isinstance(answer, Send)
        assert ("@eve:example.org", ("EVE",), "m.user_mismatch") == (
            answer.user_id,
            answer.devices,
            answer.content["code"],
        )
    assert state is bench.state
    # an error is never answered
    assert () == bench.hear(eve.cancel("m.user"), sender="@eve:example.org").effects
    assert state is bench.state


def test_another_user_in_a_room_is_not_answered() -> None:
    bench = bench_in(State.COMPARING, room=True)
    assert () == bench.hear(bench.peer.key(), sender="@eve:example.org").effects
    assert State.COMPARING is bench.state


@pytest.mark.parametrize("state", [state for state in LIVE if state is not State.WE_REQUESTED])
def test_another_device_of_the_peer_changes_nothing(state: State) -> None:
    bench = bench_in(state)
    other = Verifier(BOB, "OTHERDEVICE", flow_id="transaction")
    for message in (other.key(), other.done(), other.cancel("m.user")):
        assert (Move.NOT_OURS,) == bench.hear(message, sender_device="OTHERDEVICE").moves
    # a device that says it is the peer's, through its own Olm session
    assert (Move.NOT_OURS,) == bench.hear(bench.peer.start(), sender_device="OTHERDEVICE").moves
    assert state is bench.state


def test_what_we_sent_to_our_own_device_and_comes_back_changes_nothing() -> None:
    bench = Bench(peer=ALICE)
    bench.accepted()
    # without a device in it, and unencrypted: only its content shows that it is ours
    bench.hear(bench.peer.key())
    assert State.COMPARING is bench.state
    bench = Bench(peer=ALICE)
    bench.started()
    mirrored = bench.last("start")
    assert (Move.ECHO,) == bench.hear(("m.key.verification.start", mirrored)).moves
    bench.hear(bench.peer.accept(bench.last("start")))
    key = bench.last("key")
    assert (Move.ECHO,) == bench.hear(("m.key.verification.key", key), sender_device="ALICEDEVICE").moves
    bench.hear(("m.key.verification.key", key))
    assert "m.invalid_message" == bench.known.code


# --- in the wrong order, again, late


@both_places
def test_what_comes_again_changes_nothing(*, room: bool) -> None:
    bench = Bench(room=room)
    bench.ready()
    peer = bench.peer
    taken: list[Message] = []

    def hear_also_again(message: Message) -> None:
        bench.hear(message)
        taken.append(message)
        for again in taken:
            before = bench.known
            assert ((), before.state) == (bench.hear(again).effects, bench.state)

    hear_also_again(peer.start())
    hear_also_again(peer.key())
    peer.peer_key = bench.last("key")["key"]
    hear_also_again(peer.mac())
    bench.take(events.Confirm())
    hear_also_again(peer.done())
    assert State.DONE is bench.state


@pytest.mark.parametrize("state", LIVE)
def test_whatever_comes_after_a_cancellation_changes_nothing(state: State) -> None:
    bench = bench_in(state)
    bench.peer.peer_key = bench.peer.peer_key or fake_key("x")[:-1] + "A"
    if state is State.DONE_SENT:
        bench.hear(bench.peer.cancel("m.user"))
    else:
        bench.take(events.GiveUp())
    ended = bench.known
    for message in (
        bench.peer.ready(*METHODS),
        bench.peer.start(),
        bench.peer.key(),
        bench.peer.mac(),
        bench.peer.done(),
        bench.peer.cancel("m.user"),
    ):
        assert () == bench.hear(message).effects
    assert ended == bench.known


@pytest.mark.parametrize("state", LIVE)
def test_an_11_minute_pause_ends_a_flow_at_whatever_touches_it_next(state: State) -> None:
    waits = state is State.REQUESTED
    for touch in (events.Tick(), events.Confirm(), events.GiveUp(), None):
        bench = bench_in(state)
        bench.now += 11 * MINUTE
        assert bench.known.due_at <= bench.now
        if touch is None:
            bench.hear(bench.peer.done())
        else:
            bench.take(touch)
        assert (State.DISMISSED if waits else State.CANCELLED) is bench.state
        if not waits:
            assert "m.timeout" == bench.known.code == bench.last("cancel")["code"]


def test_a_flow_that_is_not_due_is_left_alone() -> None:
    for state in LIVE:
        bench = bench_in(state)
        bench.now = bench.known.due_at - 1
        assert ((), ()) == bench.take(events.Tick())[1:]
        assert state is bench.state


def test_both_may_cancel_at_once() -> None:
    bench = bench_in(State.COMPARING)
    bench.take(events.GiveUp())
    assert () == bench.hear(bench.peer.cancel("m.user")).effects
    assert ("m.user", True) == (bench.known.code, bench.known.cancelled_by_us)


CHANGED_KEYS: dict[str, dict[str, Any]] = {
    "own device": {"own_ed25519": fake_key("another")},
    "own identity": {"own_master_key": fake_key("another")},
    "peer's device": {"peer_ed25519": fake_key("another")},
    "peer's identity": {"peer_master_key": fake_key("another")},
    "peer's device is gone": {"peer_ed25519": None},
    "peer's identity is gone": {"peer_master_key": None},
    "clash": {"clashing": True},
}


@pytest.mark.parametrize("state", [state for state in LIVE if state is not State.WE_REQUESTED])
@pytest.mark.parametrize("changed", CHANGED_KEYS)
def test_keys_that_change_meanwhile_end_the_flow(state: State, changed: str) -> None:
    for touch in (events.Tick(), events.Confirm(), None):
        bench = bench_in(state)
        bench.keys = replace(bench.keys, **CHANGED_KEYS[changed])
        bench.take(touch or bench.parse(bench.peer.done()))
        assert "m.key_mismatch" == bench.known.code == bench.last("cancel")["code"]
        assert not any(isinstance(effect, Verified) for effect in bench.effects)


@pytest.mark.parametrize("changed", ["clashing", "the device's id is the master key"])
def test_nobody_is_verified_whose_device_has_the_id_of_a_cross_signing_key(changed: str) -> None:
    bench = Bench(device=fake_key(f"{BOB} master") if changed != "clashing" else "PEERDEVICE")
    if changed == "clashing":
        bench.keys = replace(bench.keys, clashing=True)
    bench.requested()
    assert (State.CANCELLED, "m.key_mismatch") == (bench.state, bench.last("cancel")["code"])
    bench.we_requested()
    bench.hear(bench.peer.ready(*METHODS))
    assert (State.CANCELLED, "m.key_mismatch") == (bench.state, bench.last("cancel")["code"])


# --- wrong keys, commitments and MACs


def test_a_key_that_was_not_committed_to_ends_the_flow() -> None:
    bench = bench_in(State.KEY_SENT)
    bench.peer.private = b"another".ljust(32)
    bench.peer.public = b64(formulas.x25519(bench.peer.private, formulas.BASE_POINT))
    bench.hear(bench.peer.key())
    assert "m.mismatched_commitment" == bench.known.code == bench.last("cancel")["code"]


@pytest.mark.parametrize("state", [State.ACCEPTED, State.KEY_SENT])
@pytest.mark.parametrize("key", [bytes(32), (1).to_bytes(32, "little"), bytes([255]) * 32, bytes(31), b""])
def test_a_key_that_is_none_or_gives_no_secret_ends_the_flow(state: State, key: bytes) -> None:
    bench = bench_in(state)
    bench.hear(bench.peer.message("m.key.verification.key", key=b64(key)))
    assert "m.invalid_message" == bench.known.code == bench.last("cancel")["code"]


@pytest.mark.parametrize("state", [State.COMPARING, State.CONFIRMED])
@pytest.mark.parametrize("wrong", ["a key's", "the list's", "of no known key", "of nothing", "of another key"])
def test_a_wrong_mac_ends_the_flow(state: State, wrong: str) -> None:
    bench = bench_in(state)
    peer = bench.peer
    kind, content = peer.mac()
    match wrong:
        case "a key's":
            content["mac"]["ed25519:PEERDEVICE"] = content["keys"]
        case "the list's":
            content["keys"] = content["mac"]["ed25519:PEERDEVICE"]
        case "of no known key":
            kind, content = peer.mac({"ed25519:UNKNOWN": "key"})
        case "of nothing":
            kind, content = peer.mac({})
        case _:
            kind, content = peer.mac({"ed25519:PEERDEVICE": fake_key("another")})
    bench.hear((kind, content))
    assert "m.key_mismatch" == bench.known.code == bench.last("cancel")["code"]
    assert not any(isinstance(effect, Verified) for effect in bench.effects)


def test_strings_that_differ_end_the_flow_with_their_own_code() -> None:
    bench = bench_in(State.COMPARING)
    bench.take(events.Mismatch())
    assert "m.mismatched_sas" == bench.known.code == bench.last("cancel")["code"]


def test_who_has_confirmed_on_both_sides_cannot_give_up_any_more() -> None:
    bench = bench_in(State.DONE_SENT)
    with pytest.raises(WrongStep):
        bench.take(events.GiveUp())
    bench.hear(bench.peer.done())
    assert State.DONE is bench.state


def test_what_is_needed_for_a_step_must_be_there() -> None:
    bench = bench_in(State.READY)
    with pytest.raises(ValueError, match="32 fresh bytes"):
        step(bench.known, events.StartSas(), now=0, keys=bench.keys, fresh=b"few")
    assert None is sas_of(bench.known)
    assert None is qr_code_of(bench.known)
    assert set(WAYS) == set(State)


def test_a_flow_says_whose_keys_a_step_needs_when_to_look_again_and_why_it_ended() -> None:
    bench = bench_in(State.WE_REQUESTED)
    ready = bench.parse(Verifier(BOB, "OTHERDEVICE", flow_id="transaction").ready(SAS))
    assert ("OTHERDEVICE", None) == (device_of(bench.known, ready), device_of(bench.known, events.Tick()))
    bench.hear(bench.peer.ready(SAS))
    assert "PEERDEVICE" == device_of(bench.known, ready)
    assert bench.now + 10 * MINUTE == bench.known.due_at
    bench.hear(bench.peer.cancel("org.example.bored"))
    assert ("org.example.bored", None, "because") == (bench.known.code, bench.known.cancelled_as, bench.known.reason)
    # kept for another ten minutes, for what may still come
    assert bench.now + 10 * MINUTE == bench.known.due_at
