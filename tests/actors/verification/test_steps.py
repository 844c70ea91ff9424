"""Every event in every state, with real events: what the tables say, and that the code does it.

The grids are written from the spec, apart from the library's tables.
"""

from __future__ import annotations

from collections.abc import Callable
from itertools import product

import pytest

from olmstate.actors._verification import events
from olmstate.actors._verification.effects import Ended, Send
from olmstate.actors._verification.flow import (
    ENDS,
    OTHERWISE,
    TRANSITIONS,
    Act,
    Move,
    Outcome,
    Phase,
    State,
    outcome,
    phase,
)
from olmstate.messages import VerificationError, WrongStep
from tests.actors.verification.flows import MINUTE, WAYS, Bench, bench_in
from tests.peer.verifier import fake_key

PEER = [
    "request",
    "ready",
    "start",
    "scanned",
    "accept",
    "key",
    "mac",
    "done",
    "cancel",
    "taken",
    "malformed",
    "method",
]
USER = ["ACCEPT", "START", "SHOW", "SCAN", "CONFIRM", "MISMATCH", "GIVE_UP"]
OTHERS = ["sent", "unsent", "second", "late"]

# What comes, in the order of PEER, USER and OTHERS; and what comes of it, in `CELLS`.
TO_DEVICE = """
WE_REQUESTED      x RP x  x  x  x  x  x  ER ER i x   !  !  !  !  !  !  u   = = x t
REQUESTED         x x  x  x  x  x  x  x  e  p  i x   RE !  !  !  !  !  u   = = x g
READY             x x  AC x  x  x  x  x  e  p  i m   !  ST QS RC !  !  u   = = x t
STARTED           x x  =  x  KS x  x  x  e  p  i x   !  !  !  !  !  !  u   = = x t
START_RECEIVED    x x  x  x  x  x  x  x  e  p  i x   AC !  !  !  !  !  u   = = x t
ACCEPTED          x x  x  x  x  CK x  x  e  p  i x   !  !  !  !  !  !  u   = = x t
KEY_SENT          x x  x  x  x  CO x  x  e  p  i x   !  !  !  !  !  !  u   = = x t
COMPARING         x x  x  x  x  x  MR x  e  p  i x   !  !  !  !  CF s  u   = = x t
MAC_RECEIVED      x x  x  x  x  x  x  x  e  p  i x   !  !  !  !  WM s  u   = = x t
CONFIRMED         x x  x  x  x  x  WD x  e  p  i x   !  !  !  !  !  !  u   = = x t
DONE_SENT  x x  x  x  x  x  x  DN e  p  i x   !  !  !  !  !  !  !   = = x t
QR_SHOWN          x x  AC SC x  x  x  x  e  p  i m   !  ST =  RC !  !  u   = = x t
SCANNED           x x  x  x  x  x  x  SD e  p  i x   !  !  !  !  WD !  u   = = x t
SCANNER_DONE      x x  x  x  x  x  x  x  e  p  i x   !  !  !  !  DD !  u   = = x t
RECIPROCATED      x x  x  x  x  x  x  DD e  p  i x   !  !  !  !  !  !  u   = = x t
DONE              = =  =  =  =  =  =  =  =  =  = =   !  !  !  !  !  !  !   = = = =
CANCELLED         = =  =  =  =  =  =  =  =  =  = =   !  !  !  !  !  !  !   = = = =
PASSIVE           = =  =  =  =  =  =  =  =  =  = =   !  !  !  !  !  !  !   = = = =
DISMISSED         = =  =  =  =  =  =  =  =  =  = =   !  !  !  !  !  !  !   = = = =
"""
IN_ROOM = """
CREATED           = =  =  =  =  =  =  =  =  =  = =   !  !  !  !  !  !  WI  WE e = o
WITHDRAWN         = =  =  =  =  =  =  =  =  =  = =   !  !  !  !  !  !  !   u  e = o
WE_REQUESTED      x RY x  x  x  x  x  x  e  e  i x   !  !  !  !  !  !  u   = = x t
REQUESTED         x p  p  p  p  p  p  p  e  p  i p   RE !  !  !  !  !  u   = = x g
READY             x x  AC x  x  x  x  x  e  p  i m   !  ST QS RC !  !  u   = = x t
STARTED           x x  =  x  KS x  x  x  e  p  i x   !  !  !  !  !  !  u   = = x t
ACCEPTED          x x  x  x  x  CK x  x  e  p  i x   !  !  !  !  !  !  u   = = x t
KEY_SENT          x x  x  x  x  CO x  x  e  p  i x   !  !  !  !  !  !  u   = = x t
COMPARING         x x  x  x  x  x  MR x  e  p  i x   !  !  !  !  CF s  u   = = x t
MAC_RECEIVED      x x  x  x  x  x  x  x  e  p  i x   !  !  !  !  WM s  u   = = x t
CONFIRMED         x x  x  x  x  x  WD x  e  p  i x   !  !  !  !  !  !  u   = = x t
DONE_SENT  x x  x  x  x  x  x  DN e  p  i x   !  !  !  !  !  !  !   = = x t
QR_SHOWN          x x  AC SC x  x  x  x  e  p  i m   !  ST =  RC !  !  u   = = x t
SCANNED           x x  x  x  x  x  x  SD e  p  i x   !  !  !  !  WD !  u   = = x t
SCANNER_DONE      x x  x  x  x  x  x  x  e  p  i x   !  !  !  !  DD !  u   = = x t
RECIPROCATED      x x  x  x  x  x  x  DD e  p  i x   !  !  !  !  !  !  u   = = x t
DONE              = =  =  =  =  =  =  =  =  =  = =   !  !  !  !  !  !  !   = = = =
CANCELLED         = =  =  =  =  =  =  =  =  =  = =   !  !  !  !  !  !  !   = = = =
PASSIVE           = =  =  =  =  =  =  =  =  =  = =   !  !  !  !  !  !  !   = = = =
DISMISSED         = =  =  =  =  =  =  =  =  =  = =   !  !  !  !  !  !  !   = = = =
"""
CELLS: dict[str, tuple[State | None, tuple[str, ...], str | None]] = {
    "=": (None, (), None),
    "x": (State.CANCELLED, ("cancel",), "m.unexpected_message"),
    "i": (State.CANCELLED, ("cancel",), "m.invalid_message"),
    "m": (State.CANCELLED, ("cancel",), "m.unknown_method"),
    "s": (State.CANCELLED, ("cancel",), "m.mismatched_sas"),
    "t": (State.CANCELLED, ("cancel",), "m.timeout"),
    "u": (State.CANCELLED, ("cancel",), "m.user"),
    "o": (State.CANCELLED, (), "m.timeout"),
    "e": (State.CANCELLED, (), None),
    "ER": (State.CANCELLED, ("cancel",), None),
    "p": (State.PASSIVE, (), None),
    "g": (State.DISMISSED, (), None),
    "WI": (State.WITHDRAWN, (), None),
    "WE": (State.WE_REQUESTED, (), None),
    "RP": (State.READY, ("cancel",), None),
    "RY": (State.READY, (), None),
    "RE": (State.READY, ("ready",), None),
    "ST": (State.STARTED, ("start",), None),
    "AC": (State.ACCEPTED, ("accept",), None),
    "KS": (State.KEY_SENT, ("key",), None),
    "CK": (State.COMPARING, ("key",), None),
    "CO": (State.COMPARING, (), None),
    "MR": (State.MAC_RECEIVED, (), None),
    "CF": (State.CONFIRMED, ("mac",), None),
    "WD": (State.DONE_SENT, ("done",), None),
    "WM": (State.DONE_SENT, ("mac", "done"), None),
    "DN": (State.DONE, (), None),
    "DD": (State.DONE, ("done",), None),
    "QS": (State.QR_SHOWN, (), None),
    "SC": (State.SCANNED, (), None),
    "SD": (State.SCANNER_DONE, (), None),
    "RC": (State.RECIPROCATED, ("start",), None),
}


def cells(grid: str) -> dict[tuple[State, str], str]:
    rows = [line.split() for line in grid.strip().splitlines()]
    return {
        (State[row[0]], event): cell for row in rows for event, cell in zip(PEER + USER + OTHERS, row[1:], strict=True)
    }


def peer_key(bench: Bench) -> events.Event:
    if bench.state is not State.KEY_SENT:
        bench.peer.public = fake_key("another key")[:-1] + "A"  # a new one: the same is a replay
    return bench.parse(bench.peer.key())


def peer_mac(bench: Bench) -> events.Event:
    if bench.state in {State.COMPARING, State.CONFIRMED}:
        return bench.parse(bench.peer.mac())
    return bench.parse(bench.peer.message("m.key.verification.mac", mac={}, keys=bench.state.value))


def late(bench: Bench) -> events.Event:
    if not bench.known.ended:
        bench.now += 10 * MINUTE
    return events.Tick()


EVENTS: dict[str, Callable[[Bench], events.Event]] = {
    "request": lambda bench: bench.parse(bench.peer.request("m.sas.v1", now=bench.now, to="@alice:example.org")),
    "ready": lambda bench: bench.parse(bench.peer.ready("m.sas.v1", "m.reciprocate.v1")),
    "start": lambda bench: bench.parse(bench.peer.start(hashes=["sha256", "other"])),
    "scanned": lambda bench: bench.parse(
        bench.peer.reciprocate(bench.known.shown_secret if bench.state is State.QR_SHOWN else b"secret")
    ),
    "accept": lambda bench: bench.parse(
        bench.peer.accept(bench.last("start") if bench.state is State.STARTED else {}, hash="sha256")
    ),
    "key": peer_key,
    "mac": peer_mac,
    "done": lambda bench: bench.parse(bench.peer.message("m.key.verification.done", extra=bench.state.value)),
    "cancel": lambda bench: bench.parse(bench.peer.cancel("m.user")),
    "taken": lambda bench: bench.parse(bench.peer.cancel("m.accepted")),
    "malformed": lambda bench: bench.parse(bench.peer.message("m.key.verification.key")),
    "method": lambda bench: bench.parse(bench.peer.start(method="org.example.dance")),
    "ACCEPT": lambda bench: events.AcceptRequest(methods=bench.methods),
    "START": lambda _: events.StartSas(),
    "SHOW": lambda _: events.ShowQr(),
    "SCAN": lambda bench: (
        events.ScanQr(data=bench.code()) if bench.flow and bench.flow.flow_id else events.ScanQr(data=b"")
    ),
    "CONFIRM": lambda _: events.Confirm(),
    "MISMATCH": lambda _: events.Mismatch(),
    "GIVE_UP": lambda _: events.GiveUp(),
    "sent": lambda _: events.Sent(event_id="$request"),
    "unsent": lambda _: events.NotSent(),
    "second": lambda _: events.SecondAttempt(),
    "late": late,
}


def check(state: State, event: str, cell: str, *, room: bool) -> None:
    bench = bench_in(state, room=room)
    before, effects = bench.flow, len(bench.effects)
    taken = EVENTS[event](bench)
    if cell == "!":
        with pytest.raises(WrongStep):
            bench.take(taken)
        assert before == bench.flow
        assert effects == len(bench.effects)
        return
    bench.take(taken)
    new_state, sent, code = CELLS[cell]
    assert (new_state or state) is bench.state
    new = bench.effects[effects:]
    assert list(sent) == [effect.type.rsplit(".", 1)[1] for effect in new if isinstance(effect, Send)]
    if code is not None:
        assert (code, True) == (bench.known.code, bench.known.cancelled_by_us)
        if sent:
            assert code == bench.last("cancel")["code"]
    assert (bench.state in ENDS and state not in ENDS) == any(isinstance(effect, Ended) for effect in new)
    if state in ENDS:
        assert before == bench.flow


@pytest.mark.parametrize(("state", "event"), cells(TO_DEVICE), ids=str)
def test_to_device_every_event_in_every_state_does_what_the_spec_says(state: State, event: str) -> None:
    check(state, event, cells(TO_DEVICE)[state, event], room=False)


@pytest.mark.parametrize(("state", "event"), cells(IN_ROOM), ids=str)
def test_in_rooms_every_event_in_every_state_does_what_the_spec_says(state: State, event: str) -> None:
    check(state, event, cells(IN_ROOM)[state, event], room=True)


def test_the_grids_have_every_state_and_every_event() -> None:
    named = {state for grid in (TO_DEVICE, IN_ROOM) for state, _ in cells(grid)}
    assert set(State) == set(WAYS) == named
    assert set(EVENTS) == set(PEER + USER + OTHERS)


# --- the tables themselves


REFUSABLE = {
    Move.ACCEPT,
    Move.START_SAS,
    Move.SHOW_QR,
    Move.SCAN_QR,
    Move.SCAN_OTHER_FLOW,
    Move.SCAN_WRONG_KEYS,
    Move.CONFIRM,
    Move.CONFIRM_WITHOUT_DONE,
    Move.MISMATCH,
    Move.GIVE_UP,
}


def test_every_move_has_an_outcome_in_every_state() -> None:
    for state, move in product(State, Move):
        found = outcome(state, move)
        if found is None:
            assert move in REFUSABLE
            continue
        assert (Act.SEND_CANCEL in found.acts) <= (found.state is State.CANCELLED and found.code is not None)
        assert (Act.MARK_VERIFIED in found.acts) == (found.state is State.DONE)
        if phase(state) is Phase.ENDED:
            assert found in {Outcome(None), Outcome(None, (Act.ANSWER_STRANGER,))}


def test_the_tables_say_nothing_twice_and_leave_nothing_out() -> None:
    assert set(State) - ENDS == set(TRANSITIONS)
    assert set(Phase) == set(OTHERWISE)
    for row in OTHERWISE.values():
        assert set(Move) == set(row)
    for state, moves in TRANSITIONS.items():
        for move, found in moves.items():
            assert found != OTHERWISE[phase(state)][move], (state, move)


def test_every_state_but_the_first_ones_is_reached_and_every_live_one_is_left() -> None:
    reached = {found.state for row in TRANSITIONS.values() for found in row.values() if found and found.state}
    begun = {State.CREATED, State.WE_REQUESTED, State.REQUESTED, State.START_RECEIVED}
    assert set(State) == reached | begun
    for state, row in TRANSITIONS.items():
        assert any(found and found.state not in {None, state} for found in row.values())


def test_an_error_of_a_user_is_an_error_of_verification() -> None:
    assert issubclass(WrongStep, VerificationError)
    assert "a verification that is done can't take: give up" == str(WrongStep(state="done", action="give up"))
