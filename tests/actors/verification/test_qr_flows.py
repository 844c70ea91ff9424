"""Whole verifications by QR code, shown and scanned, between users and between own devices."""

from __future__ import annotations

from typing import Any

import pytest
from msgspec.structs import replace

from olmstate.actors._verification import events, qr
from olmstate.actors._verification.effects import AskScanned, ShowQr, Verified
from olmstate.actors._verification.flow import Move, State
from olmstate.actors._verification.qr import Mode
from olmstate.actors._verification.show import qr_code_of
from olmstate.messages import MalformedQrCode, QrUnavailable
from tests.actors.verification.flows import AARON, ALICE, BOB, Bench, bench_in
from tests.peer.encoding import unb64
from tests.peer.verifier import fake_key

both_places = pytest.mark.parametrize("room", [False, True], ids=["to-device", "in a room"])


def bench_for(mode: Mode) -> Bench:
    """Ready, and Alice shows a code of this mode."""
    bench = Bench(peer=BOB if mode is Mode.OTHER_USER else ALICE)
    bench.keys = replace(bench.keys, own_master_trusted=mode is not Mode.SELF_UNTRUSTING)
    bench.ready()
    return bench


def verified(bench: Bench) -> Verified:
    [found] = [effect for effect in bench.effects if isinstance(effect, Verified)]
    return found


def device_of_the_peer(bench: Bench) -> Verified:
    peer = bench.peer
    return Verified(user_id=peer.user_id, device_id=peer.device_id, ed25519=peer.ed25519, master_key=None)


def master_key_of_the_peer(bench: Bench) -> Verified:
    peer = bench.peer
    return Verified(user_id=peer.user_id, device_id=None, ed25519=None, master_key=peer.master_key)


# --- shown


@pytest.mark.parametrize("mode", Mode)
def test_a_code_that_is_shown_and_scanned_verifies_what_its_mode_says(mode: Mode) -> None:
    bench = bench_for(mode)
    bench.take(events.ShowQr())
    [code] = [effect.data for effect in bench.effects if isinstance(effect, ShowQr)]
    assert code == qr_code_of(bench.known)
    first, second = {
        Mode.OTHER_USER: (bench.master_key, bench.peer.master_key),
        Mode.SELF_TRUSTING: (bench.master_key, bench.peer.ed25519),
        Mode.SELF_UNTRUSTING: (bench.ed25519, bench.master_key),
    }[mode]
    secret = bench.known.shown_secret
    assert b"MATRIX\x02" + bytes([mode]) + b"\0\x0btransaction" + unb64(first) + unb64(second) + secret == code
    assert 16 == len(secret)

    bench.hear(bench.peer.reciprocate(secret))
    assert AskScanned() in bench.effects
    bench.take(events.Confirm())
    assert State.DONE_SENT is bench.state
    assert not any(isinstance(effect, Verified) for effect in bench.effects)
    bench.hear(bench.peer.done())
    expected = device_of_the_peer if mode is Mode.SELF_TRUSTING else master_key_of_the_peer
    assert expected(bench) == verified(bench)


def test_a_scanner_may_be_through_before_our_user_says_yes() -> None:
    bench = bench_in(State.SCANNER_DONE)
    bench.take(events.Confirm())
    assert State.DONE is bench.state
    assert master_key_of_the_peer(bench) == verified(bench)


def test_asking_again_shows_the_same_code() -> None:
    bench = bench_in(State.QR_SHOWN)
    code = qr_code_of(bench.known)
    assert (ShowQr(data=code or b""),) == bench.take(events.ShowQr()).effects


@pytest.mark.parametrize("secret", [b"", b"the wrong secret", b"\0" * 16])
def test_a_wrong_secret_ends_the_flow(secret: bytes) -> None:
    bench = bench_in(State.QR_SHOWN)
    bench.hear(bench.peer.reciprocate(secret))
    assert "m.key_mismatch" == bench.known.code == bench.last("cancel")["code"]


def test_a_scan_of_a_code_that_we_dont_show_is_out_of_order() -> None:
    bench = bench_in(State.READY)
    bench.hear(bench.peer.reciprocate(b""))
    assert "m.unexpected_message" == bench.known.code


def test_while_a_code_is_only_shown_sas_may_take_over() -> None:
    ours = bench_in(State.QR_SHOWN)
    ours.take(events.StartSas())
    assert State.STARTED is ours.state
    theirs = bench_in(State.QR_SHOWN)
    theirs.hear(theirs.peer.start())
    assert State.ACCEPTED is theirs.state


def test_the_user_may_say_that_nobody_has_scanned() -> None:
    bench = bench_in(State.SCANNED)
    bench.take(events.GiveUp())
    assert "m.user" == bench.last("cancel")["code"]
    assert not any(isinstance(effect, Verified) for effect in bench.effects)


# --- scanned


def code_of_the_peer(bench: Bench, mode: Mode) -> bytes:
    """What a peer shows that sees the keys as we do."""
    first, second = {
        Mode.OTHER_USER: (bench.peer.master_key, bench.master_key),
        Mode.SELF_TRUSTING: (bench.master_key, bench.ed25519),
        Mode.SELF_UNTRUSTING: (bench.peer.ed25519, bench.master_key),
    }[mode]
    return bench.code(mode=mode, first=first, second=second)


@pytest.mark.parametrize("mode", Mode)
def test_a_scanned_code_verifies_what_its_mode_says(mode: Mode) -> None:
    # whoever scans a code of a device that doesn't trust the master key must trust it
    bench = bench_for(mode)
    bench.keys = replace(bench.keys, own_master_trusted=mode is not Mode.SELF_TRUSTING)
    bench.take(events.ScanQr(data=code_of_the_peer(bench, mode)))
    assert State.RECIPROCATED is bench.state
    assert {
        "from_device": "ALICEDEVICE",
        "method": "m.reciprocate.v1",
        "secret": "dGhlIHBlZXIncyBzZWNyZXQ",
        "transaction_id": "transaction",
    } == bench.last("start")
    bench.hear(bench.peer.done())
    assert "transaction" == bench.last("done")["transaction_id"]
    expected = device_of_the_peer if mode is Mode.SELF_UNTRUSTING else master_key_of_the_peer
    assert expected(bench) == verified(bench)


@pytest.mark.parametrize("mode", [Mode.OTHER_USER, Mode.SELF_UNTRUSTING])
def test_nobody_vouches_for_a_master_key_that_it_does_not_trust(mode: Mode) -> None:
    bench = bench_for(mode)
    bench.keys = replace(bench.keys, own_master_trusted=False)
    bench.take(events.ScanQr(data=code_of_the_peer(bench, mode)))
    assert "m.key_mismatch" == bench.known.code


@both_places
@pytest.mark.parametrize("which", ["first", "second"])
def test_a_code_with_another_key_ends_the_flow(which: str, *, room: bool) -> None:
    bench = bench_in(State.READY, room=room)
    other = fake_key("another")
    code = bench.code(first=other) if which == "first" else bench.code(second=other)
    bench.take(events.ScanQr(data=code))
    assert "m.key_mismatch" == bench.known.code == bench.last("cancel")["code"]


@pytest.mark.parametrize("mode", Mode)
@pytest.mark.parametrize("other", Mode)
def test_a_code_of_another_mode_ends_the_flow(mode: Mode, other: Mode) -> None:
    if (mode is Mode.OTHER_USER) == (other is Mode.OTHER_USER):
        return
    bench = bench_for(mode)
    bench.take(events.ScanQr(data=code_of_the_peer(bench, other)))
    assert "m.key_mismatch" == bench.known.code


def test_a_code_of_another_flow_ends_the_flow() -> None:
    bench = bench_in(State.READY)
    bench.take(events.ScanQr(data=bench.code(flow_id="another")))
    assert "m.unknown_transaction" == bench.known.code == bench.last("cancel")["code"]


@pytest.mark.parametrize("state", [State.READY, State.QR_SHOWN])
def test_anything_else_that_was_scanned_is_an_error_and_changes_nothing(state: State) -> None:
    bench = bench_in(state)
    before = bench.known
    with pytest.raises(MalformedQrCode):
        bench.take(events.ScanQr(data=b"https://example.org"))
    assert before == bench.known


def test_of_two_that_scan_each_others_codes_the_smaller_ones_scan_counts() -> None:
    bob = bench_in(State.QR_SHOWN, peer=BOB)
    bob.take(events.ScanQr(data=bob.code()))
    assert (Move.PEER_START_LOSES,) == bob.hear(bob.peer.reciprocate(bob.known.shown_secret)).moves
    bob.hear(bob.peer.done())
    assert State.DONE is bob.state

    aaron = bench_in(State.QR_SHOWN, peer=AARON)
    aaron.take(events.ScanQr(data=aaron.code()))
    aaron.hear(aaron.peer.reciprocate(aaron.known.shown_secret))
    assert State.SCANNED is aaron.state
    aaron.take(events.Confirm())
    aaron.hear(aaron.peer.done())
    assert master_key_of_the_peer(aaron) == verified(aaron)


def test_of_two_that_scan_each_others_codes_the_secret_is_checked_too() -> None:
    bench = bench_in(State.QR_SHOWN, peer=AARON)
    bench.take(events.ScanQr(data=bench.code()))
    bench.hear(bench.peer.reciprocate(b"wrong"))
    assert "m.key_mismatch" == bench.known.code


# --- where there is nothing to show or to scan


@pytest.mark.parametrize(
    ("ours", "theirs", "show", "scan"),
    [
        ("sas show scan reciprocate", "sas show scan reciprocate", True, True),
        ("sas show reciprocate", "sas show scan reciprocate", True, False),
        ("sas show scan reciprocate", "sas show reciprocate", False, True),
        ("sas scan reciprocate", "sas show reciprocate", False, True),
        ("sas show scan", "sas show scan reciprocate", False, False),
        ("sas", "sas show scan reciprocate", False, False),
        ("sas show reciprocate", "sas show reciprocate", False, False),
    ],
)
def test_a_code_needs_one_that_shows_and_one_that_scans(ours: str, theirs: str, *, show: bool, scan: bool) -> None:
    names = {
        "sas": "m.sas.v1",
        "show": "m.qr_code.show.v1",
        "scan": "m.qr_code.scan.v1",
        "reciprocate": "m.reciprocate.v1",
    }
    bench = Bench(methods=tuple(names[name] for name in ours.split()))
    bench.requested(*(names[name] for name in theirs.split()))
    bench.take(events.AcceptRequest(methods=bench.methods))
    # the answer names what goes with the peer's, and nothing else
    answered = set(bench.last("ready")["methods"])
    assert (show, scan) == (names["show"] in answered, names["scan"] in answered)
    assert (show or scan) == (names["reciprocate"] in answered)
    assert names["sas"] in answered
    for event, possible in ((events.ShowQr(), show), (events.ScanQr(data=bench.code()), scan)):
        if possible:
            bench.take(event)
        else:
            with pytest.raises(QrUnavailable):
                bench.take(event)
        if bench.state is State.RECIPROCATED:
            return


def test_a_scan_of_a_code_that_we_never_said_we_could_show_is_an_unknown_method() -> None:
    bench = Bench(methods=("m.sas.v1", "m.qr_code.scan.v1", "m.reciprocate.v1"))
    bench.ready()
    bench.hear(bench.peer.reciprocate(b"secret"))
    assert "m.unknown_method" == bench.known.code


@pytest.mark.parametrize(
    ("peer", "missing"),
    [
        (BOB, {"own_master_key": None, "own_master_trusted": False}),
        (BOB, {"own_master_trusted": False}),
        (BOB, {"peer_master_key": None}),
        (ALICE, {"own_master_key": None, "peer_master_key": None, "own_master_trusted": False}),
    ],
    ids=str,
)
def test_without_the_identities_no_code_can_be_shown_and_sas_still_works(peer: str, missing: dict[str, Any]) -> None:
    bench = Bench(peer=peer)
    bench.keys = replace(bench.keys, **missing)
    bench.ready()
    with pytest.raises(QrUnavailable, match="identity is missing"):
        bench.take(events.ShowQr())
    bench.take(events.StartSas())
    assert State.STARTED is bench.state


def test_an_id_that_no_code_has_room_for_is_an_error_of_who_wants_one() -> None:
    """The code was shown, and could not be drawn; with a longer id, the error was none of the message's."""
    for number, is_shown in ((qr.LONGEST_FLOW_ID, True), (qr.LONGEST_FLOW_ID + 1, False), (2**16, False)):
        bench = Bench()
        bench.peer.flow_id = "i" * number
        bench.ready()
        if is_shown:
            bench.take(events.ShowQr())
            continue
        with pytest.raises(QrUnavailable, match="no code has room"):
            bench.take(events.ShowQr())
        bench.take(events.StartSas())


def test_without_an_identity_of_ours_no_code_is_right() -> None:
    bench = Bench()
    bench.keys = replace(bench.keys, own_master_key=None)
    bench.ready()
    bench.take(events.ScanQr(data=bench.code()))
    assert "m.key_mismatch" == bench.known.code


def test_the_secret_of_a_code_is_compared_in_constant_time(monkeypatch: pytest.MonkeyPatch) -> None:
    from olmstate.actors._verification import moves  # noqa: PLC0415 - to be patched

    compared: list[bytes] = []

    def spy(ours: bytes, theirs: bytes) -> bool:
        compared.append(ours)
        return ours == theirs

    monkeypatch.setattr(moves, "compare_digest", spy)
    bench_in(State.SCANNED)
    assert 1 == len(compared)
    assert qr.SECRET_BYTES == len(compared[0])
