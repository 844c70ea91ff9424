"""The protocol of a verification, as literal tables: what each move leads to, and what is to be done.

Owns: states, moves, cancel codes, and `outcome`, which looks a move up. The code moves along these tables only, and
the diagrams in the docs are drawn from them.
Rule: every pair of a state and a move has an outcome. What isn't in `REQUEST`, `SAS` or `QR` is in `OTHERWISE`, by
the phase that the state is in: a peer's message out of order is cancelled with ``m.unexpected_message``, a user's
move at the wrong time is refused and nothing happens, and what ends stays ended.
Why: each of a flow's steps may be done by another process. So what counts is what is written in a row and in here,
nothing else. Which move an event is, is decided in `step`, where its signatures, keys and dates are looked at.

Another client deviates: the Rust SDK cancels a wrong commitment with ``m.key_mismatch`` and a wrong MAC with
``m.mismatched_sas``, and passes over what comes out of order. This is the spec's way.
"""

from __future__ import annotations

import enum
from collections.abc import Mapping
from typing import Final, NamedTuple


class State(enum.Enum):
    """Where a flow is, as this device sees it."""

    CREATED = "created"
    """Our request for a room is on its way; its event id, the flow's id, isn't known yet."""
    WITHDRAWN = "withdrawn"
    """The same, and the user has cancelled: that is said as soon as there is an id to say it of."""
    WE_REQUESTED = "we_requested"
    """Our request is out."""
    REQUESTED = "requested"
    """The peer's request waits for our user."""
    READY = "ready"
    """Both are there. Either may start a method."""

    START_RECEIVED = "start_received"
    """SAS: a start came without a request, and waits for our user."""
    STARTED = "started"
    """SAS: our start is out."""
    ACCEPTED = "accepted"
    """SAS: we have accepted the peer's start, and are bound to our key."""
    KEY_SENT = "key_sent"
    """SAS: the peer has accepted our start, and has our key."""
    COMPARING = "comparing"
    """SAS: the string is shown."""
    MAC_RECEIVED = "mac_received"
    """SAS: the peer's user has confirmed, ours hasn't."""
    CONFIRMED = "confirmed"
    """SAS: our user has confirmed, the peer's hasn't."""

    QR_SHOWN = "qr_shown"
    """QR: ready, and we show a code."""
    RECIPROCATED = "reciprocated"
    """QR: we have scanned the peer's code, and said so."""
    SCANNED = "scanned"
    """QR: the peer says that it has scanned our code. Our user is asked whether that is so."""
    SCANNER_DONE = "scanner_done"
    """QR: the same, and the scanner is through already."""

    DONE_SENT = "done_sent"
    """We are through, and have said so. The peer hasn't."""

    DONE = "done"
    """The keys are verified, on both sides."""
    CANCELLED = "cancelled"
    """Either side gave up; the code says why."""
    PASSIVE = "passive"
    """Another device of ours has taken the request."""
    DISMISSED = "dismissed"
    """Our user didn't answer the request in time. Nothing was sent: another device may still take it."""


class Phase(enum.Enum):
    """Groups of states, for what isn't said for a single one."""

    UNKNOWN = "unknown"
    """Nobody can name the flow yet."""
    LIVE = "live"
    ENDED = "ended"


class Move(enum.Enum):
    """What an event turns out to be."""

    # --- the peer
    PEER_REQUESTS = "peer requests"
    """A request under the id of a flow that is there, and another one."""
    PEER_READY = "peer ready"
    PEER_READY_UNKNOWN = "peer ready, unknown device"
    """A ready of a device that we have no keys of."""
    PEER_STARTS = "peer starts"
    """When no start is expected, or not this one: of two that cross, both must be of the same method."""
    PEER_STARTS_SAS = "peer starts SAS"
    PEER_SCANNED = "peer scanned"
    """A start after our code was scanned, with the right secret."""
    PEER_START_LOSES = "peer start loses"
    """Both have started the same method, and ours counts: the start of the larger user id is ignored, or of the larger
    device id of one user."""
    PEER_SAS_WINS = "peer SAS wins"
    """Both have started SAS, and the peer's counts."""
    PEER_SCAN_WINS = "peer scan wins"
    """Both have scanned the other's code, and the peer's counts."""
    PEER_ACCEPTS = "peer accepts"
    PEER_KEY = "peer key"
    PEER_MAC = "peer MAC"
    """It is right."""
    PEER_MAC_WITHOUT_DONE = "peer MAC, no done"
    """The same, of a flow that began without a request: old clients don't send done."""
    PEER_DONE = "peer done"
    PEER_CANCELS = "peer cancels"
    ACCEPTED_ELSEWHERE = "accepted elsewhere"
    """The requester has taken another device of ours."""

    # --- the peer, at fault
    MALFORMED = "malformed"
    """Not what its type should be, or a key that makes the secret known to everybody."""
    NO_COMMON_METHOD = "no common method"
    """A method, or a way of SAS, that isn't ours or wasn't offered."""
    WRONG_COMMITMENT = "wrong commitment"
    """The key isn't the one that the accepter was bound to."""
    WRONG_MAC = "wrong MAC"
    """A MAC that isn't right, or none of a key that we know."""
    WRONG_SECRET = "wrong secret"  # noqa: S105 - a move's name
    """Not that of the code that we show."""
    KEYS_CHANGED = "keys changed"
    """Somebody's keys aren't those that the flow began with."""
    SECOND_ATTEMPT = "second attempt"
    """The same device has begun another flow."""

    # --- others
    STRANGER = "stranger"
    """Another user's event."""
    NOT_OURS = "not ours"
    """Of another device of the peer's than the one that the flow is with, or of another flow."""
    REPLAYED = "replayed"
    """The same event has been taken before."""
    ECHO = "echo"
    """Our own event comes back."""
    OWN_READY = "own ready echoed"
    """Our own ready comes back, so it is before any that comes later."""
    READY_ELSEWHERE = "ready elsewhere"
    """Another device of ours was ready before us; or the peer goes on, in a room, with none that we have seen."""
    OWN_CANCEL = "cancelled elsewhere"
    """Another device of ours has cancelled."""

    # --- the user
    ACCEPT = "accept"
    START_SAS = "start SAS"
    SHOW_QR = "show QR"
    SCAN_QR = "scan QR"
    """The code is the peer's, and its keys are those that we know."""
    SCAN_OTHER_FLOW = "scan, other flow"
    SCAN_WRONG_KEYS = "scan, wrong keys"
    CONFIRM = "confirm"
    CONFIRM_WITHOUT_DONE = "confirm, no done"
    """In a flow that began without a request."""
    MISMATCH = "mismatch"
    GIVE_UP = "give up"

    # --- the homeserver and the clock
    SENT = "sent"
    """Our request is in the room."""
    NOT_SENT = "not sent"
    PROMPT_EXPIRED = "prompt expired"
    """10 minutes after the request was made, or 2 after it came."""
    TIMEOUT = "timeout"
    """10 minutes after the flow began."""


class Act(enum.Enum):
    """What is to be done, in order."""

    SEND_READY = "ready"
    SEND_START = "start"
    SEND_RECIPROCATE = "start, reciprocating"
    SEND_ACCEPT = "accept"
    SEND_KEY = "key"
    SEND_MAC = "mac"
    SEND_DONE = "done"
    SEND_CANCEL = "cancel"
    """To the peer's device; to all that the request went to, while none has taken it."""
    TELL_OTHERS_ACCEPTED = "m.accepted to the others"
    """To-device only."""
    TELL_OTHERS_REJECTED = "m.user to all"
    """To-device only."""
    ANSWER_STRANGER = "m.user_mismatch to who sent it"
    """To-device only."""
    ASK_FOR_KEYS = "ask for the device's keys"
    SHOW_SAS = "show the string"
    SHOW_QR = "show the code"
    ASK_SCANNED = "ask the user whether the peer has scanned"
    MARK_VERIFIED = "mark the keys as verified"


class Code(enum.Enum):
    """Cancel codes (spec: m.key.verification.cancel)."""

    USER = "m.user"
    TIMEOUT = "m.timeout"
    UNKNOWN_TRANSACTION = "m.unknown_transaction"
    UNKNOWN_METHOD = "m.unknown_method"
    UNEXPECTED_MESSAGE = "m.unexpected_message"
    KEY_MISMATCH = "m.key_mismatch"
    USER_MISMATCH = "m.user_mismatch"
    INVALID_MESSAGE = "m.invalid_message"
    ACCEPTED = "m.accepted"
    MISMATCHED_COMMITMENT = "m.mismatched_commitment"
    MISMATCHED_SAS = "m.mismatched_sas"


class Outcome(NamedTuple):
    """What a move leads to."""

    state: State | None
    """The next one; None: the flow stays where it is."""
    acts: tuple[Act, ...] = ()
    code: Code | None = None
    """Of a cancellation of ours."""


REFUSED: Final = None
"""The outcome of what a user can't do now: an error to that user, and nothing else."""


def _to(state: State, *acts: Act) -> Outcome:
    return Outcome(state, acts)


def _stay(*acts: Act) -> Outcome:
    return Outcome(None, acts)


def _cancel(code: Code) -> Outcome:
    return Outcome(State.CANCELLED, (Act.SEND_CANCEL,), code)


Table = Mapping[State, Mapping[Move, Outcome | None]]

REQUEST: Final[Table] = {
    State.CREATED: {
        Move.SENT: _to(State.WE_REQUESTED),
        Move.NOT_SENT: _to(State.CANCELLED),
        Move.GIVE_UP: _to(State.WITHDRAWN),
    },
    State.WITHDRAWN: {
        Move.SENT: _cancel(Code.USER),
        Move.NOT_SENT: _to(State.CANCELLED),
    },
    State.WE_REQUESTED: {
        Move.PEER_READY: _to(State.READY, Act.TELL_OTHERS_ACCEPTED),
        Move.PEER_READY_UNKNOWN: _stay(Act.ASK_FOR_KEYS),
        Move.PEER_CANCELS: _to(State.CANCELLED, Act.TELL_OTHERS_REJECTED),
    },
    State.REQUESTED: {
        Move.ACCEPT: _to(State.READY, Act.SEND_READY),
        Move.READY_ELSEWHERE: _to(State.PASSIVE),
        Move.PROMPT_EXPIRED: _to(State.DISMISSED),
        Move.TIMEOUT: _to(State.DISMISSED),
    },
    State.READY: {
        Move.START_SAS: _to(State.STARTED, Act.SEND_START),
        Move.PEER_STARTS_SAS: _to(State.ACCEPTED, Act.SEND_ACCEPT),
        Move.SHOW_QR: _to(State.QR_SHOWN, Act.SHOW_QR),
        Move.SCAN_QR: _to(State.RECIPROCATED, Act.SEND_RECIPROCATE),
        Move.SCAN_OTHER_FLOW: _cancel(Code.UNKNOWN_TRANSACTION),
        Move.SCAN_WRONG_KEYS: _cancel(Code.KEY_MISMATCH),
        Move.READY_ELSEWHERE: _to(State.PASSIVE),
    },
}
"""From a request to two devices that are ready."""

SAS: Final[Table] = {
    State.START_RECEIVED: {
        Move.ACCEPT: _to(State.ACCEPTED, Act.SEND_ACCEPT),
    },
    State.STARTED: {
        Move.PEER_ACCEPTS: _to(State.KEY_SENT, Act.SEND_KEY),
        Move.PEER_START_LOSES: _stay(),
        Move.PEER_SAS_WINS: _to(State.ACCEPTED, Act.SEND_ACCEPT),
        Move.READY_ELSEWHERE: _to(State.PASSIVE),
    },
    State.ACCEPTED: {
        Move.PEER_KEY: _to(State.COMPARING, Act.SEND_KEY, Act.SHOW_SAS),
    },
    State.KEY_SENT: {
        Move.PEER_KEY: _to(State.COMPARING, Act.SHOW_SAS),
        Move.WRONG_COMMITMENT: _cancel(Code.MISMATCHED_COMMITMENT),
    },
    State.COMPARING: {
        Move.CONFIRM: _to(State.CONFIRMED, Act.SEND_MAC),
        Move.CONFIRM_WITHOUT_DONE: _to(State.CONFIRMED, Act.SEND_MAC),
        Move.MISMATCH: _cancel(Code.MISMATCHED_SAS),
        Move.PEER_MAC: _to(State.MAC_RECEIVED),
        Move.PEER_MAC_WITHOUT_DONE: _to(State.MAC_RECEIVED),
        Move.WRONG_MAC: _cancel(Code.KEY_MISMATCH),
    },
    State.MAC_RECEIVED: {
        Move.CONFIRM: _to(State.DONE_SENT, Act.SEND_MAC, Act.SEND_DONE),
        Move.CONFIRM_WITHOUT_DONE: _to(State.DONE, Act.SEND_MAC, Act.MARK_VERIFIED),
        Move.MISMATCH: _cancel(Code.MISMATCHED_SAS),
    },
    State.CONFIRMED: {
        Move.PEER_MAC: _to(State.DONE_SENT, Act.SEND_DONE),
        Move.PEER_MAC_WITHOUT_DONE: _to(State.DONE, Act.MARK_VERIFIED),
        Move.WRONG_MAC: _cancel(Code.KEY_MISMATCH),
    },
    State.DONE_SENT: {
        Move.PEER_DONE: _to(State.DONE, Act.MARK_VERIFIED),
        # the peer may have verified by now: to give up here is to verify on one side only
        Move.GIVE_UP: REFUSED,
    },
}
"""A short authentication string."""

QR: Final[Table] = {
    State.QR_SHOWN: {
        Move.PEER_SCANNED: _to(State.SCANNED, Act.ASK_SCANNED),
        Move.WRONG_SECRET: _cancel(Code.KEY_MISMATCH),
        Move.SHOW_QR: _stay(Act.SHOW_QR),
        Move.SCAN_QR: _to(State.RECIPROCATED, Act.SEND_RECIPROCATE),
        Move.SCAN_OTHER_FLOW: _cancel(Code.UNKNOWN_TRANSACTION),
        Move.SCAN_WRONG_KEYS: _cancel(Code.KEY_MISMATCH),
        # while a code is only shown, SAS may take over
        Move.START_SAS: _to(State.STARTED, Act.SEND_START),
        Move.PEER_STARTS_SAS: _to(State.ACCEPTED, Act.SEND_ACCEPT),
        Move.READY_ELSEWHERE: _to(State.PASSIVE),
    },
    State.RECIPROCATED: {
        Move.PEER_DONE: _to(State.DONE, Act.SEND_DONE, Act.MARK_VERIFIED),
        Move.PEER_START_LOSES: _stay(),
        Move.PEER_SCAN_WINS: _to(State.SCANNED, Act.ASK_SCANNED),
        Move.WRONG_SECRET: _cancel(Code.KEY_MISMATCH),
        Move.READY_ELSEWHERE: _to(State.PASSIVE),
    },
    State.SCANNED: {
        Move.CONFIRM: _to(State.DONE_SENT, Act.SEND_DONE),
        Move.PEER_DONE: _to(State.SCANNER_DONE),
    },
    State.SCANNER_DONE: {
        Move.CONFIRM: _to(State.DONE, Act.SEND_DONE, Act.MARK_VERIFIED),
    },
}
"""A QR code. Who has shown one and confirms goes on in ``DONE_SENT``."""

TRANSITIONS: Final[Table] = {**REQUEST, **SAS, **QR}

_UNEXPECTED: Final = _cancel(Code.UNEXPECTED_MESSAGE)

_WISHES: Final = dict.fromkeys(
    (
        Move.ACCEPT,
        Move.START_SAS,
        Move.SHOW_QR,
        Move.SCAN_QR,
        Move.SCAN_OTHER_FLOW,
        Move.SCAN_WRONG_KEYS,
        Move.CONFIRM,
        Move.CONFIRM_WITHOUT_DONE,
        Move.MISMATCH,
    ),
    REFUSED,
)
"""What users can do in some state only; to give up is possible in most."""

OTHERWISE: Final[Mapping[Phase, Mapping[Move, Outcome | None]]] = {
    Phase.UNKNOWN: {
        **dict.fromkeys(Move, _stay()),
        **_WISHES,
        Move.GIVE_UP: REFUSED,
        Move.TIMEOUT: Outcome(State.CANCELLED, (), Code.TIMEOUT),
    },
    Phase.LIVE: {
        Move.PEER_REQUESTS: _UNEXPECTED,
        Move.PEER_READY: _UNEXPECTED,
        Move.PEER_READY_UNKNOWN: _UNEXPECTED,
        Move.PEER_STARTS: _UNEXPECTED,
        Move.PEER_STARTS_SAS: _UNEXPECTED,
        Move.PEER_SCANNED: _UNEXPECTED,
        Move.PEER_START_LOSES: _UNEXPECTED,
        Move.PEER_SAS_WINS: _UNEXPECTED,
        Move.PEER_SCAN_WINS: _UNEXPECTED,
        Move.PEER_ACCEPTS: _UNEXPECTED,
        Move.PEER_KEY: _UNEXPECTED,
        Move.PEER_MAC: _UNEXPECTED,
        Move.PEER_MAC_WITHOUT_DONE: _UNEXPECTED,
        Move.PEER_DONE: _UNEXPECTED,
        Move.PEER_CANCELS: _to(State.CANCELLED),
        Move.ACCEPTED_ELSEWHERE: _to(State.PASSIVE),
        Move.MALFORMED: _cancel(Code.INVALID_MESSAGE),
        Move.NO_COMMON_METHOD: _cancel(Code.UNKNOWN_METHOD),
        Move.WRONG_COMMITMENT: _UNEXPECTED,
        Move.WRONG_MAC: _UNEXPECTED,
        Move.WRONG_SECRET: _UNEXPECTED,
        Move.KEYS_CHANGED: _cancel(Code.KEY_MISMATCH),
        Move.SECOND_ATTEMPT: _UNEXPECTED,
        Move.STRANGER: _stay(Act.ANSWER_STRANGER),
        Move.NOT_OURS: _stay(),
        Move.REPLAYED: _stay(),
        Move.ECHO: _stay(),
        Move.OWN_READY: _stay(),
        Move.READY_ELSEWHERE: _stay(),
        Move.OWN_CANCEL: _to(State.CANCELLED),
        **_WISHES,
        Move.GIVE_UP: _cancel(Code.USER),
        Move.SENT: _stay(),
        Move.NOT_SENT: _stay(),
        Move.PROMPT_EXPIRED: _stay(),
        Move.TIMEOUT: _cancel(Code.TIMEOUT),
    },
    Phase.ENDED: {
        **dict.fromkeys(Move, _stay()),
        Move.STRANGER: _stay(Act.ANSWER_STRANGER),
        **_WISHES,
        Move.GIVE_UP: REFUSED,
    },
}
"""What a move leads to where the state's own row doesn't say."""

ENDS: Final = frozenset({State.DONE, State.CANCELLED, State.PASSIVE, State.DISMISSED})


def phase(state: State) -> Phase:
    """The group that a state is in."""
    if state in ENDS:
        return Phase.ENDED
    return Phase.UNKNOWN if state in {State.CREATED, State.WITHDRAWN} else Phase.LIVE


def outcome(state: State, move: Move) -> Outcome | None:
    """What ``move`` leads to from ``state``; None if a user asked for what can't be done now."""
    row = TRANSITIONS.get(state, {})
    return row[move] if move in row else OTHERWISE[phase(state)][move]


def is_expected(state: State, move: Move) -> bool:
    """Whether the state's own row has ``move``: what the event carries is of use only then."""
    return move in TRANSITIONS.get(state, {})
