"""All that is known of a flow, as one row holds it.

Rule: a `Flow` is complete. Whoever reads it, in whichever process, can take the next step, and bytes are all that a
step has from outside: fresh random ones, and a time.
"""

from __future__ import annotations

from typing import Final

from olmstate.actors._wire.quiet_struct import QuietStruct

from .flow import ENDS, Code, State
from .qr import Mode

LIFETIME: Final = 10 * 60 * 1000
"""ms; after that a flow that isn't done has timed out (spec: Error and exception handling)."""
PROMPT: Final = 2 * 60 * 1000
"""ms; how long a request that came waits for the user, at most (spec: Key verification framework)."""
OLDEST: Final = 10 * 60 * 1000
"""ms; a request that is older is ignored."""
NEWEST: Final = 5 * 60 * 1000
"""ms; a request from farther in the future is ignored."""
REMEMBERED: Final = 10 * 60 * 1000
"""ms; how long an ended flow is kept, so that late events of it are known for what they are."""


class Party(QuietStruct, frozen=True, kw_only=True):
    """One side, with its keys as they were when the flow began with it."""

    user_id: str
    device_id: str
    ed25519: str
    """The device's fingerprint key."""
    master_key: str | None
    """The user's, public; None: the user has no cross-signing."""


class Keys(QuietStruct, frozen=True, kw_only=True):
    """The keys as they are known now. Every step compares them with those of the flow's beginning."""

    own_ed25519: str
    """This device's fingerprint key."""
    own_master_key: str | None
    """As published, whether trusted or not."""
    own_master_trusted: bool
    """Whether this device has verified it, or holds its private half."""
    peer_ed25519: str | None
    """Of the peer's device, `step.device_of` says which; None: unknown, or gone."""
    peer_master_key: str | None
    """Between own devices the same as ``own_master_key``."""
    clashing: bool = False
    """The peer has a device whose id is a cross-signing public key of the peer's (`identities.ids_clash`)."""
    queried: bool = False
    """The peer's devices were queried after the event came: a device that isn't there doesn't exist."""


class Flow(QuietStruct, frozen=True, kw_only=True):
    """A verification, as this device sees it. Times are ms since 1970."""

    # --- who and where
    flow_id: str | None
    """Transaction id, or the request's event id; None: our request isn't known to be in the room yet."""
    room_id: str | None
    """None: to-device."""
    txn_id: str | None
    """Of our request for a room, by which a sync's own event is recognised."""
    own: Party
    peer_user_id: str
    peer: Party | None
    """None: no device has taken our request yet."""
    recipients: tuple[str, ...]
    """Devices that our request went to."""
    we_requested: bool
    requested: bool
    """False: it began with a bare start."""
    own_methods: tuple[str, ...]
    """What we offered, or answered with."""
    peer_methods: tuple[str, ...]
    """Those of the peer's that we know."""

    # --- when
    created_at: int
    deadline: int
    """Not done by then, it has timed out."""
    prompt_until: int | None
    """How long the user is asked about the peer's request."""
    touched_at: int
    """The last step."""

    # --- how far
    state: State
    code: str | None = None
    """Of the cancellation."""
    reason: str = ""
    """The peer's words, to be shown only if the code is unknown."""
    cancelled_by_us: bool = False
    echoed: bool = False
    """Our own ready has come back from the room."""
    sent: int = 0
    """Messages so far: a number for each."""
    taken: tuple[str, ...] = ()
    """Digests of the peer's messages."""

    # --- SAS
    we_started: bool = False
    start_content: bytes = b""
    """Of the start that counts: canonical JSON."""
    mac_method: str = ""
    sas_methods: tuple[str, ...] = ()
    ephemeral: bytes = b""
    """Our private key."""
    commitment: str = ""
    """The peer's."""
    peer_key: str = ""
    vouched: tuple[str, ...] = ()
    """Ids of the peer's keys whose MACs are right."""

    # --- QR
    shown_mode: Mode | None = None
    """Of the code that we show."""
    shown_secret: bytes = b""
    scanned_mode: Mode | None = None
    """Of the peer's code, which we have scanned."""
    scanned_secret: bytes = b""

    @property
    def ended(self) -> bool:
        """Whether nothing can happen to it any more."""
        return self.state in ENDS

    @property
    def cancelled_as(self) -> Code | None:
        """The code, if it is one of the spec's."""
        try:
            return Code(self.code)
        except ValueError:
            return None

    @property
    def due_at(self) -> int:
        """When to look again, if nothing else happens: to end it, or to forget it."""
        if self.ended:
            return self.touched_at + REMEMBERED
        if self.state is State.REQUESTED and self.prompt_until is not None:
            return min(self.prompt_until, self.deadline)
        return self.deadline
