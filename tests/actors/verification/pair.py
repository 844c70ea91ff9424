"""Two devices of the library's, their users, and what is between them. Every step is done from a stored row."""

from __future__ import annotations

import hashlib
from collections.abc import Callable
from typing import Any, TypeAlias

from olmstate.actors._verification import begin, events
from olmstate.actors._verification.effects import Effect, Send, Verified
from olmstate.actors._verification.events import Envelope
from olmstate.actors._verification.flow import State
from olmstate.actors._verification.methods import METHODS
from olmstate.actors._verification.record import Flow, Keys
from olmstate.actors._verification.show import qr_code_of, sas_of
from olmstate.actors._verification.step import step
from olmstate.messages import DeviceAddress, DeviceId, MalformedMessage, UserId, VerificationError
from tests.actors.verification.flows import NOW, ROOM, stored
from tests.peer.verifier import fake_key

REQUEST_EVENT = "$0"
Tamper: TypeAlias = Callable[[int, str, dict[str, Any]], dict[str, Any]]
"""The number of a message, its type and its content; what arrives instead."""


class Device:
    """One device, and its user."""

    def __init__(self, user_id: str, device_id: str, *, trusted: bool = True) -> None:
        self.address = DeviceAddress(user_id=UserId(user_id), device_id=DeviceId(device_id))
        self.ed25519 = fake_key(f"{user_id} {device_id}")
        self.master_key = fake_key(f"{user_id} master")
        self.trusted = trusted
        self.flow: Flow | None = None
        self.effects: list[Effect] = []
        self.steps = 0
        self.read = 0
        """How many of the messages it has read."""

    @property
    def state(self) -> State | None:
        return None if self.flow is None else self.flow.state

    @property
    def verified(self) -> list[Verified]:
        return [effect for effect in self.effects if isinstance(effect, Verified)]

    def fresh(self) -> bytes:
        self.steps += 1
        return hashlib.sha256(f"{self.address} {self.steps}".encode()).digest()


class Pair:
    """Alice asks Bob, or one device of hers another."""

    def __init__(self, first: Device, second: Device, *, room: bool = False, tamper: Tamper | None = None) -> None:
        self.devices = (first, second)
        self.room_id = ROOM if room else None
        self.tamper = tamper
        self.timeline: list[tuple[Device, str, dict[str, Any]]] = []
        """All messages, in the order in which they were sent."""
        self.now = NOW

    def other(self, device: Device) -> Device:
        first, second = self.devices
        return second if device is first else first

    def keys_for(self, device: Device) -> Keys:
        peer = self.other(device)
        return Keys(
            own_ed25519=device.ed25519,
            own_master_key=device.master_key,
            own_master_trusted=device.trusted,
            peer_ed25519=peer.ed25519,
            peer_master_key=peer.master_key,
        )

    def request(self) -> None:
        """The first asks."""
        first, second = self.devices
        kwargs: dict[str, Any] = {"keys": self.keys_for(first), "offered": METHODS, "now": self.now}
        to = second.address
        if self.room_id is None:
            began = begin.request_devices(first.address, to.user_id, (to.device_id,), flow_id="flow", **kwargs)
        else:
            began = begin.request_in_room(first.address, to.user_id, self.room_id, txn_id="txn", **kwargs)
        self.keep(first, began.flow, began.effects)

    def keep(self, device: Device, flow: Flow | None, effects: tuple[Effect, ...]) -> None:
        device.flow = flow
        device.effects += effects
        for effect in effects:
            if isinstance(effect, Send) and effect.user_id == self.other(device).address.user_id:
                content = effect.content
                if self.tamper is not None:
                    content = self.tamper(len(self.timeline), effect.type, content)
                self.timeline.append((device, effect.type, content))

    def act(self, device: Device, event: events.Event) -> bool:
        """A user does something; False: that can't be done now."""
        if device.flow is None:
            return False
        try:
            stepped = step(stored(device.flow), event, now=self.now, keys=self.keys_for(device), fresh=device.fresh())
        except VerificationError:
            return False
        self.keep(device, stepped.flow, stepped.effects)
        return True

    def deliver(self, device: Device) -> bool:
        """The next message that ``device`` hasn't read; False: there is none."""
        if device.read == len(self.timeline):
            return False
        number, (sender, kind, content) = device.read, self.timeline[device.read]
        device.read += 1
        if self.room_id is None:
            if sender is not device:
                self.hear(device, kind, content, Envelope(sender=sender.address.user_id))
            return True
        envelope = Envelope(
            sender=sender.address.user_id, room_id=self.room_id, event_id=f"${number}", timestamp=self.now
        )
        if sender is device and number == 0:
            self.act(device, events.Sent(event_id=REQUEST_EVENT))
        else:
            self.hear(device, kind, content, envelope)
        return True

    def hear(self, device: Device, kind: str, content: dict[str, Any], envelope: Envelope) -> None:
        try:
            event = events.parse(kind, content, envelope)
        except MalformedMessage:
            return
        if device.flow is not None:
            self.act(device, event)
        elif isinstance(event, events.Request):
            began = begin.receive_request(device.address, event, now=self.now, keys=self.keys_for(device))
            self.keep(device, began.flow, began.effects)

    def deliver_all(self) -> None:
        while sum(self.deliver(device) for device in self.devices):  # all of them, so not `any`
            pass

    # --- sensible users

    def strings_agree(self, device: Device) -> bool:
        """What the two see, compared by telephone."""
        other = self.other(device)
        if device.flow is None or other.flow is None:
            return False
        return sas_of(device.flow) is not None and sas_of(device.flow) == sas_of(other.flow)

    def wish(self, device: Device, method: str) -> events.Event | None:
        """What a sensible user does next who wants this method: ``sas``, ``show`` or ``scan``."""
        other = self.other(device)
        match device.state:
            case State.REQUESTED:
                return events.AcceptRequest(methods=METHODS)
            case State.READY | State.QR_SHOWN:
                code = qr_code_of(other.flow) if other.flow is not None else None
                if method == "sas":
                    return events.StartSas()
                if method == "scan" and code is not None:
                    return events.ScanQr(data=code)
                return events.ShowQr() if method == "show" and device.state is State.READY else None
            case State.COMPARING | State.MAC_RECEIVED:
                # a user waits until there is something to compare with
                if self.strings_agree(device) or other.state is State.DONE_SENT:
                    return events.Confirm()
                shown = other.flow is not None and sas_of(other.flow) is not None
                return events.Mismatch() if shown else None
            case State.SCANNED | State.SCANNER_DONE:
                return events.Confirm() if other.state in {State.RECIPROCATED, State.DONE} else events.GiveUp()
            case _:
                return None

    def finish(self, methods: tuple[str, str]) -> None:
        """All is delivered and everybody does what is sensible, until nothing more happens."""
        while True:
            self.deliver_all()
            wishes = [(device, self.wish(device, method)) for device, method in zip(self.devices, methods, strict=True)]
            if not sum(self.act(device, wish) for device, wish in wishes if wish is not None):
                return


def two_users() -> tuple[Device, Device]:
    """Alice and Bob."""
    return Device("@alice:example.org", "ALICEDEVICE"), Device("@bob:example.org", "BOBDEVICE")


def two_devices(*, new_one_asks: bool) -> tuple[Device, Device]:
    """A device of Alice's that trusts her master key, and a new one."""
    old, new = Device("@alice:example.org", "OLD"), Device("@alice:example.org", "NEW", trusted=False)
    return (new, old) if new_one_asks else (old, new)
