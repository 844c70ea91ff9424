"""Users with real identities, the devices they have, and what a homeserver would say of them if it were honest.

Owns: `Somebody`, and `Answer`, which is one user's part of an answer to ``/keys/query``.
Rule: all seeds are drawn, so that a run repeats.
"""

from __future__ import annotations

import copy
import random

import attrs

from olmstate.messages import DeviceId, JsonObject, UserId
from tests.operations.peer import Peer
from tests.peer.identity import USAGES, PeerIdentity, merged


def new_identity(user_id: UserId, rng: random.Random) -> PeerIdentity:
    """Three keys that nobody has had."""
    return PeerIdentity(user_id, {usage: rng.randbytes(32) for usage in USAGES})


@attrs.define
class Answer:
    """What a homeserver says of one user."""

    user_id: UserId
    devices: dict[DeviceId, JsonObject] = attrs.field(factory=dict[DeviceId, JsonObject])
    keys: dict[str, JsonObject] = attrs.field(factory=dict[str, JsonObject])
    """Cross-signing keys by usage; empty: there are none."""

    def copy(self) -> Answer:
        """One that may be changed."""
        return copy.deepcopy(self)

    def json(self, *, own: bool) -> JsonObject:
        """As ``/keys/query`` has it; the user-signing key is shown to its user alone."""
        shown = {f"{usage}_keys": {self.user_id: key} for usage, key in self.keys.items() if own or usage in USAGES[:2]}
        return {"device_keys": {self.user_id: self.devices}, **shown}


@attrs.define(eq=False)
class Somebody:
    """A user, who signs what is theirs and nothing else."""

    user_id: UserId
    identity: PeerIdentity | None = None
    devices: list[Peer] = attrs.field(factory=list[Peer])
    published: dict[DeviceId, JsonObject] = attrs.field(factory=dict[DeviceId, JsonObject])
    """Device keys with all real signatures."""

    def add(self, peer: Peer, *, sign: bool) -> Peer:
        """A new device, which its user signs perhaps."""
        self.devices.append(peer)
        self.published[peer.device_id] = peer.device_keys()
        if sign:
            self.sign(peer.device_id)
        return peer

    def sign(self, device_id: DeviceId) -> None:
        """Cross-sign a device."""
        assert self.identity is not None
        self.identity.sign_device(self.published[device_id])

    def reset(self, rng: random.Random) -> None:
        """Take another identity, which signs the devices that are there."""
        self.identity = new_identity(self.user_id, rng)
        for device_id in self.published:
            self.sign(device_id)

    @property
    def master_key(self) -> str | None:
        """Public."""
        return None if self.identity is None else self.identity.public_key("master")

    def truth(self) -> Answer:
        """What an honest homeserver would say now."""
        return Answer(self.user_id, self.published, {} if self.identity is None else self.identity.objects).copy()


def answer_of(answers: list[Answer], own: UserId) -> JsonObject:
    """A whole answer to ``/keys/query``."""
    told = merged({"device_keys": {}}, *(answer.json(own=answer.user_id == own) for answer in answers))
    return {**told, "failures": {}}
