"""Which move an event is: where signatures, keys, offers and dates are looked at.

Rule: of a flow and an event, one `Move` comes out; what it leads to is not decided here. For a user's event that can't
be, a typed error.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from hmac import compare_digest
from typing import Any, Final

from msgspec.structs import replace

from olmstate.messages import MalformedMessage, NoCommonMethod, QrUnavailable

from . import contents, events, keying, methods, qr, sas
from .events import Action, Incoming
from .flow import Code, Move, State, outcome
from .record import Flow, Keys


def due(flow: Flow, *, now: int, keys: Keys) -> Move | None:
    """What has happened without an event: time has passed, or keys have changed."""
    if flow.ended:
        return None
    if flow.state is State.REQUESTED and flow.prompt_until is not None and now >= flow.prompt_until:
        return Move.PROMPT_EXPIRED
    if now >= flow.deadline:
        return Move.TIMEOUT
    return Move.KEYS_CHANGED if keying.have_changed(flow, keys) else None


def of_the_peer(flow: Flow, event: Incoming, keys: Keys) -> Move:
    """What an event is that came from somebody."""
    other = _not_the_peer(flow, event)
    if other is not None:
        return other
    if event.digest in flow.taken:
        return Move.REPLAYED
    if flow.room_id is not None and flow.state is State.REQUESTED and not isinstance(event, _OF_A_REQUEST):
        return Move.READY_ELSEWHERE  # a gap in the room hid from us who took the request
    return _PEER[type(event)](flow, event, keys)


_OF_A_REQUEST: Final = (events.Request, events.Cancel, events.Malformed)


def of_the_user(flow: Flow, event: Action, keys: Keys) -> Move:
    """What a user's wish is.

    Raises:
        NoCommonMethod, QrUnavailable, MalformedQrCode: See `step.step`.
    """
    match event:
        case events.AcceptRequest():
            offered = (methods.SAS,) if flow.state is State.START_RECEIVED else flow.peer_methods
            return _if_common(flow, Move.ACCEPT, common=bool(methods.answer(event.methods, offered)))
        case events.StartSas():
            return _if_common(flow, Move.START_SAS, common=_both_have_sas(flow))
        case events.ShowQr():
            return _show(flow, keys)
        case events.ScanQr():
            return _scan(flow, event.data, keys)
        case events.Confirm():
            return Move.CONFIRM if flow.requested else Move.CONFIRM_WITHOUT_DONE
        case events.Mismatch():
            return Move.MISMATCH
        case events.GiveUp():
            return Move.GIVE_UP


def _if_common(flow: Flow, move: Move, *, common: bool) -> Move:
    # at the wrong time, that is what the user must hear
    if not common and outcome(flow.state, move) is not None:
        raise NoCommonMethod
    return move


def _both_have_sas(flow: Flow) -> bool:
    return methods.SAS in flow.own_methods and methods.SAS in flow.peer_methods


def _show(flow: Flow, keys: Keys) -> Move:
    if outcome(flow.state, Move.SHOW_QR) is None:
        return Move.SHOW_QR
    if not methods.can_show(flow.own_methods, flow.peer_methods):
        raise QrUnavailable(reason="the peer can't scan one, or this device can't show one")
    if len((flow.flow_id or "").encode()) > qr.LONGEST_FLOW_ID:
        raise QrUnavailable(reason="no code has room for this verification's id")
    if keying.mode_to_show(flow, keys) is None:
        raise QrUnavailable(reason="a cross-signing identity is missing, or our own isn't verified")
    return Move.SHOW_QR


def _scan(flow: Flow, data: bytes, keys: Keys) -> Move:
    if outcome(flow.state, Move.SCAN_QR) is None:
        return Move.SCAN_QR
    if not methods.can_show(flow.peer_methods, flow.own_methods):
        raise QrUnavailable(reason="the peer can't show one, or this device can't scan one")
    code = qr.parse(data)
    if code.flow_id != flow.flow_id:
        return Move.SCAN_OTHER_FLOW
    return Move.SCAN_QR if keying.is_right_code(flow, code, keys) else Move.SCAN_WRONG_KEYS


def _not_the_peer(flow: Flow, event: Incoming) -> Move | None:
    """What an event is that doesn't come from the device that the flow is with; None: it may."""
    envelope = event.envelope
    device = event.from_device if isinstance(event, events.Request | events.Ready | events.Start) else None
    if event.flow_id != flow.flow_id or envelope.room_id != flow.room_id:
        return Move.NOT_OURS
    if flow.room_id is not None and envelope.sender == flow.own.user_id:
        return _own_in_room(flow, event)
    if envelope.sender != flow.peer_user_id:
        return Move.NOT_OURS if isinstance(event, events.Cancel) else Move.STRANGER
    devices = {named for named in (device, envelope.sender_device) if named is not None}
    if envelope.sender == flow.own.user_id and flow.own.device_id in devices:
        return Move.ECHO
    if len(devices) > 1:
        return Move.NOT_OURS  # one that names another
    if flow.peer is not None:
        expected = {flow.peer.device_id}
    elif flow.room_id is None:
        expected = set(flow.recipients)
    else:
        expected = devices
    return Move.NOT_OURS if devices - expected else None


def _own_in_room(flow: Flow, event: Incoming) -> Move:
    match event:
        case events.Ready() if event.from_device == flow.own.device_id:
            return Move.OWN_READY
        case events.Ready():
            # what comes after our own ready is too late
            return Move.ECHO if flow.echoed else Move.READY_ELSEWHERE
        case events.Cancel():
            return Move.OWN_CANCEL
        case _:
            return Move.ECHO


def _ready(flow: Flow, event: events.Ready, keys: Keys) -> Move:
    if flow.state is not State.WE_REQUESTED:
        return Move.PEER_READY
    if keys.peer_ed25519 is None:
        return Move.NOT_OURS if keys.queried else Move.PEER_READY_UNKNOWN
    if keying.clash(keys, event.from_device):
        return Move.KEYS_CHANGED
    return Move.PEER_READY if methods.answer(flow.own_methods, event.methods) else Move.NO_COMMON_METHOD


def _start(flow: Flow, event: events.Start, keys: Keys) -> Move:
    del keys
    match flow.state:
        case State.READY | State.QR_SHOWN:
            return _first_start(flow, event)
        case State.STARTED if event.method == methods.SAS:
            if _peer_loses(flow):
                return Move.PEER_START_LOSES
            return Move.PEER_SAS_WINS if choose(event) else Move.NO_COMMON_METHOD
        case State.RECIPROCATED if event.method == methods.RECIPROCATE and flow.shown_mode is not None:
            if _peer_loses(flow):
                return Move.PEER_START_LOSES
            return Move.PEER_SCAN_WINS if _has_our_secret(flow, event) else Move.WRONG_SECRET
        case _:
            return Move.PEER_STARTS


def _first_start(flow: Flow, event: events.Start) -> Move:
    if event.method == methods.SAS and _both_have_sas(flow) and choose(event):
        return Move.PEER_STARTS_SAS
    if event.method == methods.RECIPROCATE and methods.can_show(flow.own_methods, flow.peer_methods):
        if flow.shown_mode is None:
            return Move.PEER_STARTS
        return Move.PEER_SCANNED if _has_our_secret(flow, event) else Move.WRONG_SECRET
    return Move.NO_COMMON_METHOD


def _peer_loses(flow: Flow) -> bool:
    peer = keying.known_peer(flow)
    return (peer.user_id, peer.device_id) > (flow.own.user_id, flow.own.device_id)


def _has_our_secret(flow: Flow, event: events.Start) -> bool:
    return compare_digest(event.secret, flow.shown_secret)


def choose(event: events.Start) -> tuple[str, tuple[str, ...]] | None:
    """The MAC and the strings to use, of those that a start offers; None: we have nothing in common."""
    macs = [method for method in sas.MAC_METHODS if method in event.message_authentication_codes]
    strings = tuple(method for method in sas.SAS_METHODS if method in event.short_authentication_string)
    agreed = sas.KEY_AGREEMENT in event.key_agreement_protocols and sas.HASH in event.hashes
    return (macs[0], strings) if agreed and macs and strings else None


def _accept(flow: Flow, event: events.Accept, keys: Keys) -> Move:
    del keys
    return Move.PEER_ACCEPTS if _is_offered(event) or flow.state is not State.STARTED else Move.NO_COMMON_METHOD


def _is_offered(event: events.Accept) -> bool:
    strings = event.short_authentication_string
    return (
        event.key_agreement_protocol == sas.KEY_AGREEMENT
        and event.hash == sas.HASH
        and event.message_authentication_code in contents.OFFERED_MACS
        and bool(strings)
        and set(strings).issubset(sas.SAS_METHODS)
    )


def _key(flow: Flow, event: events.Key, keys: Keys) -> Move:
    del keys
    if flow.state not in {State.ACCEPTED, State.KEY_SENT}:
        return Move.PEER_KEY
    # a key that comes back to us would have us agree with ourselves
    if event.key == sas.public_key(flow.ephemeral) or not _gives_secret(flow, event):
        return Move.MALFORMED
    if flow.state is State.KEY_SENT and not sas.is_committed(flow.commitment, event.key, flow.start_content):
        return Move.WRONG_COMMITMENT
    return Move.PEER_KEY


def _gives_secret(flow: Flow, event: events.Key) -> bool:
    try:
        keying.sas_bytes(replace(flow, peer_key=event.key))
    except MalformedMessage:
        return False
    return True


def _mac(flow: Flow, event: events.Mac, keys: Keys) -> Move:
    del keys
    right = Move.PEER_MAC if flow.requested else Move.PEER_MAC_WITHOUT_DONE
    if flow.state not in {State.COMPARING, State.CONFIRMED}:
        return right
    return right if keying.vouched(flow, event.macs) else Move.WRONG_MAC


def _cancel(flow: Flow, event: events.Cancel, keys: Keys) -> Move:
    del keys
    elsewhere = event.code == Code.ACCEPTED.value and not flow.we_requested
    return Move.ACCEPTED_ELSEWHERE if elsewhere else Move.PEER_CANCELS


def _always(move: Move) -> Callable[[Flow, Any, Keys], Move]:
    return lambda _flow, _event, _keys: move


_PEER: Final[Mapping[type[Incoming], Callable[[Flow, Any, Keys], Move]]] = {
    events.Malformed: _always(Move.MALFORMED),
    events.Request: _always(Move.PEER_REQUESTS),
    events.Ready: _ready,
    events.Start: _start,
    events.Accept: _accept,
    events.Key: _key,
    events.Mac: _mac,
    events.Done: _always(Move.PEER_DONE),
    events.Cancel: _cancel,
}
