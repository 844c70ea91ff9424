"""One step of a flow: an event in; the flow's next row, and what is to be done, out.

Owns: what each move leaves in the row.
Rule: pure. The time, the keys as they are now and fresh random bytes come in, and everything that must be kept goes
out in the row. `moves` says which move an event is, `flow` what it leads to, `acts` what is sent.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any, Final, NamedTuple, TypeAlias

from msgspec.structs import replace

from olmstate.messages import WrongStep

from . import acts, events, keying, methods, moves, qr
from .acts import Outside
from .effects import Effect, Ended
from .events import Event, Incoming
from .flow import Move, Outcome, is_expected, outcome
from .record import Flow, Keys

FRESH_BYTES: Final = 32
MOST_TAKEN: Final = 32
"""Messages of the peer's that are known again; an honest one sends six. Starts that lose can come without end."""


class Step(NamedTuple):
    """What a step has come to."""

    flow: Flow
    """To be stored, in one commit with what the effects need."""
    effects: tuple[Effect, ...] = ()
    """In order."""
    moves: tuple[Move, ...] = ()
    """For the journal: what the clock or the keys did first, and what the event was taken for."""


def device_of(flow: Flow, event: Event) -> str | None:
    """The peer's device whose keys the step needs; None: it needs none."""
    if flow.peer is not None:
        return flow.peer.device_id
    return event.from_device if isinstance(event, events.Ready) else None


def step(flow: Flow, event: Event, *, now: int, keys: Keys, fresh: bytes) -> Step:
    """Take one event.

    Before it, what is due is done: a flow whose time is over has timed out, and one whose keys aren't those that it
    began with is cancelled. What a user asked of it is then not done, and the flow says why.

    Args:
        flow: As stored.
        event: Parsed (`events.parse`), or what the user did.
        now: ms since 1970.
        keys: As they are known now, those of `device_of` for the peer's device.
        fresh: 32 random bytes, never used before. They may become the ephemeral key or the secret of a code.

    Raises:
        WrongStep: A user can't do that in this state. Nothing has happened.
        NoCommonMethod: The two devices can't do that together. Nothing has happened.
        QrUnavailable: There is nothing to show or to scan. Nothing has happened.
        MalformedQrCode: What was scanned is no verification's code. Nothing has happened.
    """
    if len(fresh) != FRESH_BYTES:
        raise ValueError(f"{FRESH_BYTES} fresh bytes are needed")
    outside = Outside(event, now, keys, fresh)
    stepped = Step(flow)
    due = moves.due(flow, now=now, keys=keys)
    if due is not None:
        stepped = _moved(stepped, due, outcome(flow.state, due), outside)
    if isinstance(event, events.Tick) or (due is not None and isinstance(event, events.Action)):
        return stepped
    move = _move_of(stepped.flow, event, keys)
    return _moved(stepped, move, outcome(stepped.flow.state, move), outside)


def _move_of(flow: Flow, event: Event, keys: Keys) -> Move:
    if isinstance(event, Incoming):
        return moves.of_the_peer(flow, event, keys)
    if isinstance(event, events.Action):
        return moves.of_the_user(flow, event, keys)
    return _OTHERS[type(event)]


_OTHERS: Final[Mapping[type[Event], Move]] = {
    events.Sent: Move.SENT,
    events.NotSent: Move.NOT_SENT,
    events.SecondAttempt: Move.SECOND_ATTEMPT,
}


def _moved(before: Step, move: Move, found: Outcome | None, outside: Outside) -> Step:
    """Do what the table says."""
    flow = before.flow
    if found is None:
        raise WrongStep(state=flow.state.value, action=move.value)
    ended = flow.ended
    if not ended:
        flow = replace(flow, touched_at=outside.now, **_left_by(move, flow, outside))
    if found.code is not None:
        flow = replace(flow, code=found.code.value, cancelled_by_us=True)
    flow = replace(flow, state=found.state or flow.state)
    effects = before.effects
    for act in found.acts:
        flow, more = acts.perform(act, flow, outside)
        effects += more
    if flow.ended and not ended:
        # nobody needs the secrets of what is over
        flow = replace(flow, ephemeral=b"", shown_secret=b"", scanned_secret=b"")
        effects += (Ended(),)
    return Step(flow, effects, (*before.moves, move))


# --- what a move leaves in the row --------------------------------------------------------------------------------

_Left: TypeAlias = dict[str, Any]


def _left_by(move: Move, flow: Flow, outside: Outside) -> _Left:
    event = outside.event
    used = is_expected(flow.state, move) or move in _ANYWHERE
    left = _LEFT[move](flow, event, outside) if used and move in _LEFT else {}
    if move in _KEPT and isinstance(event, Incoming):
        left["taken"] = (*flow.taken, event.digest)[-MOST_TAKEN:]
    return left


def _ready(flow: Flow, event: events.Ready, outside: Outside) -> _Left:
    fixed = keying.fix(flow, outside.keys, event.from_device)
    return {**fixed, "peer_methods": methods.known(event.methods)}


def _peer_started(flow: Flow, event: events.Start, outside: Outside) -> _Left:
    del flow, outside
    return started_by_peer(event)


def started_by_peer(event: events.Start) -> _Left:
    """What a start of the peer's leaves in the row, if it counts."""
    chosen = moves.choose(event)
    if chosen is None:
        raise AssertionError("a start without anything in common is no move of SAS")
    mac, strings = chosen
    return {"we_started": False, "start_content": event.content, "mac_method": mac, "sas_methods": strings}


def _peer_accepted(flow: Flow, event: events.Accept, outside: Outside) -> _Left:
    del flow, outside
    return {
        "mac_method": event.message_authentication_code,
        "sas_methods": event.short_authentication_string,
        "commitment": event.commitment,
    }


def _peer_key(flow: Flow, event: events.Key, outside: Outside) -> _Left:
    del flow, outside
    return {"peer_key": event.key}


def _peer_mac(flow: Flow, event: events.Mac, outside: Outside) -> _Left:
    del outside
    return {"vouched": keying.vouched(flow, event.macs)}


def _cancelled(*, by_us: bool) -> Callable[[Flow, events.Cancel, Outside], _Left]:
    return lambda _flow, event, _outside: {"code": event.code, "reason": event.reason, "cancelled_by_us": by_us}


def _taken_on(flow: Flow, event: events.AcceptRequest, outside: Outside) -> _Left:
    del outside
    return {"own_methods": methods.answer(event.methods, flow.peer_methods)}


def _scanned(flow: Flow, event: events.ScanQr, outside: Outside) -> _Left:
    del flow, outside
    code = qr.parse(event.data)
    return {"we_started": True, "scanned_mode": code.mode, "scanned_secret": code.secret}


def _shown(flow: Flow, event: events.ShowQr, outside: Outside) -> _Left:
    del event
    if flow.shown_mode is not None:
        return {}
    return {"shown_mode": keying.mode_to_show(flow, outside.keys), "shown_secret": outside.fresh[: qr.SECRET_BYTES]}


def _sent(flow: Flow, event: events.Sent, outside: Outside) -> _Left:
    del flow, outside
    return {"flow_id": event.event_id}


def _always(**left: bool) -> Callable[[Flow, Event, Outside], _Left]:
    return lambda _flow, _event, _outside: dict(left)


_LEFT: Final[Mapping[Move, Callable[[Flow, Any, Outside], _Left]]] = {
    Move.PEER_READY: _ready,
    Move.PEER_STARTS_SAS: _peer_started,
    Move.PEER_SAS_WINS: _peer_started,
    Move.PEER_SCANNED: _always(we_started=False),
    Move.PEER_SCAN_WINS: _always(we_started=False),
    Move.PEER_ACCEPTS: _peer_accepted,
    Move.PEER_KEY: _peer_key,
    Move.PEER_MAC: _peer_mac,
    Move.PEER_MAC_WITHOUT_DONE: _peer_mac,
    Move.PEER_CANCELS: _cancelled(by_us=False),
    Move.ACCEPTED_ELSEWHERE: _cancelled(by_us=False),
    Move.OWN_CANCEL: _cancelled(by_us=True),
    Move.ACCEPT: _taken_on,
    Move.START_SAS: _always(we_started=True),
    Move.SCAN_QR: _scanned,
    Move.SHOW_QR: _shown,
    Move.SENT: _sent,
    Move.OWN_READY: _always(echoed=True),
}

_ANYWHERE: Final = frozenset({Move.PEER_CANCELS, Move.ACCEPTED_ELSEWHERE, Move.OWN_CANCEL, Move.OWN_READY})
"""What every state takes in."""

_KEPT: Final = frozenset(
    {
        Move.PEER_READY,
        Move.PEER_STARTS_SAS,
        Move.PEER_SCANNED,
        Move.PEER_START_LOSES,
        Move.PEER_SAS_WINS,
        Move.PEER_SCAN_WINS,
        Move.PEER_ACCEPTS,
        Move.PEER_KEY,
        Move.PEER_MAC,
        Move.PEER_MAC_WITHOUT_DONE,
        Move.PEER_DONE,
    }
)
"""What would be out of order if it came again, and is a replay if it is the very same."""
