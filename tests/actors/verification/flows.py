"""A flow of the library against a device that was written apart from it.

Between any two steps the flow is written and read as a row would be, by what could be another process.
"""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Mapping
from typing import Any

import msgspec

from olmstate.actors._verification import begin, events
from olmstate.actors._verification.effects import Effect, Send
from olmstate.actors._verification.events import Envelope, Event, Incoming
from olmstate.actors._verification.flow import State
from olmstate.actors._verification.methods import METHODS
from olmstate.actors._verification.record import Flow, Keys
from olmstate.actors._verification.step import Step, step
from olmstate.messages import DeviceAddress, DeviceId, UserId
from tests.peer.encoding import unb64
from tests.peer.verifier import Message, Verifier, fake_key

NOW = 1_700_000_000_000
MINUTE = 60_000
ALICE = "@alice:example.org"
BOB = "@bob:example.org"
AARON = "@aaron:example.org"
"""Is before Alice, so that Aaron's start counts; Bob's doesn't."""
ROOM = "!room:example.org"
REQUEST_EVENT = "$request"


def stored(flow: Flow) -> Flow:
    """The flow as a row has it."""
    return msgspec.json.decode(msgspec.json.encode(flow), type=Flow)


class Bench:
    """Alice's device, which is the library's, and another."""

    def __init__(
        self, *, peer: str = BOB, room: bool = False, device: str = "PEERDEVICE", methods: tuple[str, ...] = METHODS
    ) -> None:
        self.own = DeviceAddress(user_id=UserId(ALICE), device_id=DeviceId("ALICEDEVICE"))
        self.ed25519 = fake_key(f"{ALICE} ALICEDEVICE")
        self.master_key = fake_key(f"{ALICE} master")
        self.methods = methods
        self.room_id = ROOM if room else None
        self.peer = Verifier(peer, device, room_id=self.room_id, flow_id=REQUEST_EVENT if room else "transaction")
        self.peer.peer = (ALICE, "ALICEDEVICE")
        self.keys = Keys(
            own_ed25519=self.ed25519,
            own_master_key=self.master_key,
            own_master_trusted=True,
            peer_ed25519=self.peer.ed25519,
            peer_master_key=self.peer.master_key,
        )
        self.now = NOW
        self.flow: Flow | None = None
        self.effects: list[Effect] = []
        self.steps = 0

    # --- what is there

    @property
    def state(self) -> State:
        return self.known.state

    @property
    def known(self) -> Flow:
        assert self.flow is not None
        return self.flow

    @property
    def sent(self) -> list[Send]:
        return [effect for effect in self.effects if isinstance(effect, Send)]

    def last(self, type: str) -> dict[str, Any]:  # noqa: A002 - the event's field
        """The content of the last message of this type."""
        return [message.content for message in self.sent if message.type == f"m.key.verification.{type}"][-1]

    # --- what happens

    def parse(self, message: Message, **envelope: Any) -> Incoming:  # noqa: ANN401 - a field's value
        """As it comes out of a sync."""
        kind, content = message
        fields: dict[str, Any] = {"sender": self.peer.user_id}
        if self.room_id is not None:
            fields |= {"room_id": self.room_id, "event_id": REQUEST_EVENT, "timestamp": self.now}
        return events.parse(kind, content, Envelope(**(fields | envelope)))

    def hear(self, message: Message, **envelope: Any) -> Step:  # noqa: ANN401 - a field's value
        """The peer's message comes, or another's."""
        return self.take(self.parse(message, **envelope))

    def take(self, event: Event) -> Step:
        """A step, in a process that has only the row."""
        self.steps += 1
        fresh = hashlib.sha256(f"fresh {self.steps} {self.own}".encode()).digest()
        taken = step(stored(self.known), event, now=self.now, keys=self.keys, fresh=fresh)
        self.flow = taken.flow
        self.effects += taken.effects
        return taken

    def begin(self, began: begin.Beginning) -> begin.Beginning:
        """A flow is there, or not."""
        self.flow = began.flow
        self.effects += began.effects
        return began

    # --- the ways into the states

    def request(self) -> None:
        """Alice asks."""
        if self.room_id is None:
            began = begin.request_devices(
                self.own,
                self.peer.user_id,
                (self.peer.device_id, "OTHERDEVICE"),
                keys=self.keys,
                flow_id=self.peer.flow_id,
                offered=self.methods,
                now=self.now,
            )
        else:
            began = begin.request_in_room(
                self.own,
                self.peer.user_id,
                self.room_id,
                txn_id="txn",
                keys=self.keys,
                offered=self.methods,
                now=self.now,
            )
        self.begin(began)

    def we_requested(self) -> None:
        self.request()
        if self.room_id is not None:
            self.take(events.Sent(event_id=REQUEST_EVENT))

    def requested(self, *methods: str) -> None:
        """The peer asks."""
        message = self.peer.request(*(methods or METHODS), now=self.now, to=ALICE)
        event = self.parse(message)
        assert isinstance(event, events.Request)
        self.begin(begin.receive_request(self.own, event, now=self.now, keys=self.keys))

    def ready(self) -> None:
        self.requested()
        self.take(events.AcceptRequest(methods=self.methods))

    def peer_ready(self) -> None:
        self.we_requested()
        self.hear(self.peer.ready(*METHODS))

    def started(self) -> None:
        self.ready()
        self.take(events.StartSas())

    def start_received(self) -> None:
        event = self.parse(self.peer.start())
        assert isinstance(event, events.Start)
        self.begin(begin.receive_start(self.own, event, now=self.now, keys=self.keys))

    def accepted(self) -> None:
        self.ready()
        self.hear(self.peer.start())

    def key_sent(self) -> None:
        self.started()
        self.hear(self.peer.accept(self.last("start")))
        self.peer.peer_key = self.last("key")["key"]

    def comparing(self) -> None:
        """Alice has started."""
        self.key_sent()
        self.hear(self.peer.key())

    def comparing_as_accepter(self) -> None:
        self.accepted()
        self.hear(self.peer.key())
        self.peer.peer_key = self.last("key")["key"]

    def comparing_without_request(self) -> None:
        self.start_received()
        self.take(events.AcceptRequest(methods=self.methods))
        self.hear(self.peer.key())
        self.peer.peer_key = self.last("key")["key"]

    def mac_received(self) -> None:
        self.comparing()
        self.hear(self.peer.mac())

    def confirmed(self) -> None:
        self.comparing()
        self.take(events.Confirm())

    def done_sent(self) -> None:
        self.mac_received()
        self.take(events.Confirm())

    def done(self) -> None:
        self.done_sent()
        self.hear(self.peer.done())

    def qr_shown(self) -> None:
        self.ready()
        self.take(events.ShowQr())

    def scanned(self) -> None:
        self.qr_shown()
        self.hear(self.peer.reciprocate(self.known.shown_secret))

    def scanner_done(self) -> None:
        self.scanned()
        self.hear(self.peer.done())

    def reciprocated(self) -> None:
        self.ready()
        self.take(events.ScanQr(data=self.code()))

    def code(
        self,
        *,
        mode: int = 0,
        flow_id: str | None = None,
        first: str | None = None,
        second: str | None = None,
    ) -> bytes:
        """The code that the peer shows: a user's to another, unless something else is said."""
        flow = (flow_id or self.known.flow_id or "").encode()
        keys = unb64(first or self.peer.master_key) + unb64(second or self.master_key)
        return b"MATRIX\x02" + bytes([mode]) + len(flow).to_bytes(2, "big") + flow + keys + b"the peer's secret"

    def cancelled(self) -> None:
        self.ready()
        self.take(events.GiveUp())

    def passive(self) -> None:
        self.requested()
        self.hear(self.peer.cancel("m.accepted"))

    def dismissed(self) -> None:
        self.requested()
        self.now += 2 * MINUTE
        self.take(events.Tick())

    def withdrawn(self) -> None:
        self.request()
        self.take(events.GiveUp())


WAYS: Mapping[State, Callable[[Bench], None]] = {
    State.CREATED: Bench.request,
    State.WITHDRAWN: Bench.withdrawn,
    State.WE_REQUESTED: Bench.we_requested,
    State.REQUESTED: Bench.requested,
    State.READY: Bench.ready,
    State.STARTED: Bench.started,
    State.START_RECEIVED: Bench.start_received,
    State.ACCEPTED: Bench.accepted,
    State.KEY_SENT: Bench.key_sent,
    State.COMPARING: Bench.comparing,
    State.MAC_RECEIVED: Bench.mac_received,
    State.CONFIRMED: Bench.confirmed,
    State.DONE_SENT: Bench.done_sent,
    State.QR_SHOWN: Bench.qr_shown,
    State.SCANNED: Bench.scanned,
    State.SCANNER_DONE: Bench.scanner_done,
    State.RECIPROCATED: Bench.reciprocated,
    State.DONE: Bench.done,
    State.CANCELLED: Bench.cancelled,
    State.PASSIVE: Bench.passive,
    State.DISMISSED: Bench.dismissed,
}
"""One way into each state."""

IN_ROOMS_ONLY = frozenset({State.CREATED, State.WITHDRAWN})
TO_DEVICE_ONLY = frozenset({State.START_RECEIVED})


def bench_in(state: State, *, room: bool = False, peer: str = BOB) -> Bench:
    """A flow in this state."""
    bench = Bench(room=room, peer=peer)
    WAYS[state](bench)
    assert state is bench.state
    return bench
