"""Whether the device trusts anybody more than what people have really signed, compared and decided.

Owns: `Judge`, and what must follow from all that it has been shown.
Rules, by name:

- *verified by real acts alone*: an identity, a device or a sender is told as verified only if our user has compared it
  here, or our user's real keys have signed what was compared; and not after that was given up.
- *signed by their own users*: a device is told as cross-signed only by a key that its user's master key has signed.
  Whose that is, nobody knows who has not compared it; what is told as an identity holds together.
- *changes are told*: once an identity was told as verified, or was the first or agreed to, another is not told as if
  it were that.
- *nothing is signed that was not compared*: of what leaves with our user's signature.
- *a verification ends as people say*: it is done only if our user has confirmed to a real person, and its other side
  is told to have scanned only if it has; it isn't done with a MAC of the other's device that was changed.
- *secrets stay with us*: private keys are our own user's, and come to no device that a homeserver has made.
- *room keys go where the strategy says*.
"""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence

import attrs

from olmstate.actors.testing import DEVICE, USER
from olmstate.messages import (
    CrossSigningSeeds,
    DeviceId,
    DeviceIdentity,
    DeviceKeys,
    DeviceTrust,
    IdentityState,
    JsonObject,
    SenderState,
    SharingStrategy,
    UserId,
    UserIdentity,
    Verification,
    VerificationStage,
)
from tests.operations.peer import Peer
from tests.peer.encoding import unb64
from tests.peer.identity import USAGES, is_signed, public_key_of
from tests.simulation.hostile.runs import Violation
from tests.simulation.trust.flows import OtherSide
from tests.simulation.trust.people import Answer

Device = tuple[UserId, DeviceId, str]
"""User, device and Ed25519 key."""
ACTS, SIGNED, CHANGES = "verified by real acts alone", "signed by their own users", "changes are told"
SIGNING = "nothing is signed that was not compared"
ENDS, SECRETS, KEYS = (
    "a verification ends as people say",
    "secrets stay with us",
    "room keys go where the strategy says",
)


@attrs.frozen
class Seen:
    """An identity that holds together, as the device was shown it last."""

    master: JsonObject
    keys: Mapping[str, str]
    """Public, by usage."""


@attrs.define
class Judge:
    """See the module."""

    me: DeviceIdentity
    violations: list[Violation] = attrs.field(factory=list[Violation])
    own_keys: set[str] = attrs.field(factory=set[str])
    """Our user's real cross-signing keys, public."""
    seen: dict[UserId, Seen] = attrs.field(factory=dict[UserId, Seen])
    ever: dict[tuple[UserId, DeviceId], str] = attrs.field(factory=dict[tuple[UserId, DeviceId], str])
    """The Ed25519 key of each device as it was shown first."""
    signers: dict[Device, set[str]] = attrs.field(factory=dict[Device, set[str]])
    """The self-signing keys by which devices were shown as signed."""
    compared: dict[UserId, set[str]] = attrs.field(factory=dict[UserId, set[str]])
    """Master keys, ours too, that our user has made sure of and not given up."""
    ever_compared: set[str] = attrs.field(factory=set[str])
    devices: set[Device] = attrs.field(factory=set[Device])
    """Devices that our user has made sure of."""
    agreed: dict[UserId, set[str]] = attrs.field(factory=dict[UserId, set[str]])
    """Others' master keys: the first one, or those that our user has agreed to since."""
    told_verified: set[UserId] = attrs.field(factory=set[UserId])
    """Users who were told as verified, which was not given up."""
    own_was_verified: bool = False
    """Before that, nobody was, and there was nothing to be given up."""
    confirmed: set[str] = attrs.field(factory=set[str])
    """Verifications that our user has confirmed, for good reasons."""

    def found(self, rule: str, *what: object) -> None:
        """A rule is broken."""
        self.violations.append(Violation(rule, " ".join(map(str, what))))

    # --- what happens ---------------------------------------------------------------------------------------

    def answered(self, answers: Sequence[Answer]) -> None:
        """The device was shown this."""
        for answer in answers:
            user_id, seen = answer.user_id, _seen(answer)
            if seen is not None:
                if user_id not in self.seen:
                    self.agreed.setdefault(user_id, set()).add(seen.keys["master"])
                self.seen[user_id] = seen
            seen = self.seen.get(user_id)
            for device_id, keys in answer.devices.items():
                ed25519 = keys["keys"][f"ed25519:{device_id}"]
                if (user_id, device_id) == (USER, DEVICE):
                    self.ever[USER, DEVICE] = self.me.ed25519
                else:
                    self.ever.setdefault((user_id, device_id), ed25519)
                if seen is not None and is_signed(keys, user_id, seen.keys["self_signing"]):
                    self.signers.setdefault((user_id, device_id, ed25519), set()).add(seen.keys["self_signing"])

    def made_sure(self, user_id: UserId, master_key: str) -> None:
        """Our user has made or compared it, on this device."""
        self.signed_elsewhere(user_id, master_key)
        self.ever_compared.add(master_key)
        self.agreed.setdefault(user_id, set()).add(master_key)

    def signed_elsewhere(self, user_id: UserId, master_key: str) -> None:
        """Our user has signed it, on another device."""
        self.compared.setdefault(user_id, set()).add(master_key)

    def made_sure_of_device(self, peer: Peer) -> None:
        """Our user has compared its fingerprint."""
        self.devices.add((peer.user_id, peer.device_id, peer.ed25519))

    def has_confirmed(self, side: OtherSide) -> None:
        """Our user has said that both devices show the same, or that the other has scanned, or has scanned it."""
        self.confirmed.add(side.flow_id)
        self.made_sure_of_device(side.peer)
        if side.master_key is not None:
            self.made_sure(side.peer.user_id, side.master_key)

    def has_agreed(self, user_id: UserId, master_key: str, *, withdraws: bool) -> None:
        """Our user takes the identity that was shown; or gives up, too, that one was verified."""
        if master_key != self.seen[user_id].keys["master"]:
            return  # it is another one now, which our user knows nothing of
        self.agreed[user_id] = {master_key}
        if withdraws and (user_id == USER or self.own_was_verified):
            self.compared[user_id] = set()
            self.told_verified.discard(user_id)

    # --- what is told ---------------------------------------------------------------------------------------

    def is_verified(self, user_id: UserId) -> bool:
        """Whether it may be told that the user's present identity is verified."""
        seen, own = self.seen.get(user_id), self.seen.get(USER)
        if seen is None or own is None or seen.keys["master"] not in self.compared.get(user_id, set()):
            return False
        if user_id == USER:
            return True
        return self.is_verified(USER) and is_signed(seen.master, USER, own.keys["user_signing"])

    def identity(self, user_id: UserId, told: UserIdentity | None) -> None:
        """What the device says of a user's."""
        seen = self.seen.get(user_id)
        if told is None or seen is None:
            if told is not None or seen is not None:
                self.found(SIGNED, user_id, told, seen)
            return
        keys = {"master": told.master_key, "self_signing": told.self_signing_key, "user_signing": told.user_signing_key}
        if any(key is not None and key != seen.keys.get(usage) for usage, key in keys.items()):
            self.found(SIGNED, user_id, told, seen.keys)
        if told.state is IdentityState.VERIFIED:
            if not self.is_verified(user_id):
                self.found(ACTS, told)
            self.told_verified.add(user_id)
            self.own_was_verified = self.own_was_verified or user_id == USER
        elif user_id in self.told_verified and told.state is not IdentityState.VERIFICATION_VIOLATION:
            self.found(CHANGES, "was verified:", told)
        elif told.state is IdentityState.PINNED and seen.keys["master"] not in self.agreed[user_id]:
            self.found(CHANGES, "nobody has agreed:", told)

    def known_devices(self, user_id: UserId, told: Sequence[DeviceKeys]) -> None:
        """What the device says of a user's devices."""
        for device in told:
            key = user_id, device.device_id, str(device.ed25519)
            if self.ever.get(key[:2]) != device.ed25519:
                self.found(SIGNED, "another key:", device)
            if device.cross_signed_by is not None and device.cross_signed_by not in self.signers.get(key, set()):
                self.found(SIGNED, device)
            if device.trust is DeviceTrust.VERIFIED and key not in self.devices:
                self.found(ACTS, device)

    def sender(self, maker: Peer, state: SenderState, device: DeviceIdentity | None) -> None:
        """How well the device says that it knows who sent something."""
        key = maker.user_id, maker.device_id, str(maker.ed25519)
        seen = self.seen.get(maker.user_id)
        is_signed_by_user = seen is not None and seen.keys["self_signing"] in self.signers.get(key, set())
        if device not in {None, maker.identity}:
            self.found(SIGNED, device, "is", maker.address)
        if state is SenderState.THIS_DEVICE:
            self.found(ACTS, maker.address, "passes for this device")
        is_verified = key in self.devices or (is_signed_by_user and self.is_verified(maker.user_id))
        if state is SenderState.VERIFIED and not is_verified:
            self.found(ACTS, maker.address, state.name)
        if state in {SenderState.CROSS_SIGNED, SenderState.VIOLATION} and not is_signed_by_user:
            self.found(SIGNED, maker.address, state.name)
        if state is SenderState.CROSS_SIGNED and maker.user_id in self.told_verified:
            self.found(CHANGES, maker.address, state.name)

    def verification(self, flow: Verification, side: OtherSide | None, changed: Collection[tuple[str, str]]) -> None:
        """How a verification goes; of some keys, by the flow and the id, the MAC was changed on its way."""
        of_device = flow.flow_id, f"ed25519:{flow.device_id}"
        if flow.stage is VerificationStage.DONE and (flow.flow_id not in self.confirmed or of_device in changed):
            self.found(ENDS, flow)
        if flow.stage is VerificationStage.SCANNED and (side is None or not side.scanned):
            self.found(ENDS, flow)

    def private_keys(self, told: CrossSigningSeeds) -> None:
        """Those that the device has."""
        for usage in USAGES:
            seed = getattr(told, usage)
            if seed is not None and public_key_of(unb64(seed)) not in self.own_keys:
                self.found(SECRETS, usage, "is not ours")

    # --- what leaves ----------------------------------------------------------------------------------------

    def signs(self, body: JsonObject) -> None:
        """The device gives its user's signatures away."""
        real = {f"ed25519:{key}" for key in self.own_keys}
        for user_id, objects in body.items():
            for signed_id, signed in objects.items():
                (key,) = (value for name, value in signed["keys"].items() if name == f"ed25519:{signed_id}")
                device = user_id, signed_id, key
                own = device == (USER, DEVICE, self.me.ed25519)
                if not own and device not in self.devices and key not in self.ever_compared:
                    self.found(SIGNING, user_id, signed_id, key)
                if not set(signed["signatures"][USER]) <= real:
                    self.found(SIGNING, "by no key of ours:", signed)

    def is_sent(self, peer: Peer, event_type: str, strategy: SharingStrategy | None) -> None:
        """A device that the homeserver has made can read this."""
        if event_type == "m.secret.send":
            self.found(SECRETS, peer.address, "was sent a secret")
        if event_type != "m.room_key":
            return
        if strategy is SharingStrategy.ONLY_TRUSTED_DEVICES:
            self.found(KEYS, peer.address, strategy)
        key = peer.user_id, peer.device_id, str(peer.ed25519)
        seen = self.seen.get(peer.user_id)
        is_signed_by_user = seen is not None and seen.keys["self_signing"] in self.signers.get(key, set())
        if strategy is SharingStrategy.IDENTITY_BASED and (not is_signed_by_user or peer.user_id in self.told_verified):
            self.found(KEYS, peer.address, strategy)


def _seen(answer: Answer) -> Seen | None:
    """The identity in an answer; None: there is none that holds together."""
    wanted = USAGES if answer.user_id == USER else USAGES[:2]
    keys: dict[str, str] = {}
    for usage in wanted:
        key = answer.keys.get(usage)
        if key is None or key["user_id"] != answer.user_id or key["usage"] != [usage]:
            return None
        ((key_id, keys[usage]),) = key["keys"].items()
        if key_id != f"ed25519:{keys[usage]}":
            return None
    if not all(is_signed(answer.keys[usage], answer.user_id, keys["master"]) for usage in wanted[1:]):
        return None
    return Seen(answer.keys["master"], keys)
