"""The other side of a verification: a device whose user does what a sensible user does, or one that only looks like it.

Owns: `OtherSide`.
Rule: it is written from the spec alone (`tests.peer.verifier`), and knows the truth about the device under test. Its
user compares what both devices show, and confirms nothing that isn't the same.
"""

from __future__ import annotations

import random
from typing import Any

import attrs

from olmstate.actors.testing import DEVICE, USER
from olmstate.messages import DeviceIdentity
from tests.operations.peer import Peer
from tests.peer import formulas
from tests.peer.encoding import b64, unb64
from tests.peer.verifier import Message, Verifier

SAS, SHOW, SCAN, RECIPROCATE = "m.sas.v1", "m.qr_code.show.v1", "m.qr_code.scan.v1", "m.reciprocate.v1"
CAN = (SAS, SHOW, SCAN, RECIPROCATE)
PREFIX = "m.key.verification."
HEADER = b"MATRIX\x02"
OTHER_USER, SELF_TRUSTING, SELF_UNTRUSTING = 0, 1, 2
"""Modes of a QR code."""


@attrs.define(eq=False)
class OtherSide:
    """See the module."""

    peer: Peer
    me: DeviceIdentity
    """The device under test, as it is."""
    master_key: str | None
    """Its user's own, as it is."""
    our_master_key: str | None
    """Of the user of the device under test, as this side knows it."""
    flow_id: str
    rng: random.Random
    honest: bool = True
    """False: it is the homeserver, in somebody's name."""
    verifier: Verifier = attrs.field(init=False)
    waiting: list[Message] = attrs.field(factory=list[Message])
    """What it has sent, and the homeserver has not carried yet."""
    secret: bytes = attrs.field(init=False)
    """Of the code that it shows."""
    scanned: bool = False
    """It has scanned the code of the device under test, and all was right in it."""
    reciprocated: bool = False
    """The device under test knows the secret of the code that this side shows."""
    confirmed: bool = False
    over: bool = False
    _has_key: bool = False

    def __attrs_post_init__(self) -> None:
        self.verifier = Verifier(self.peer.user_id, self.peer.device_id, flow_id=self.flow_id)
        self.verifier.peer = (USER, DEVICE)
        self.verifier.ed25519, self.verifier.master_key = self.peer.ed25519, self.master_key or ""
        self.verifier.private = self.rng.randbytes(32)
        self.verifier.public = b64(formulas.x25519(self.verifier.private, formulas.BASE_POINT))
        self.secret = self.rng.randbytes(16)

    # --- messages -------------------------------------------------------------------------------------------

    def ask(self, now: int) -> None:
        """Begin."""
        self.waiting.append(self.verifier.request(*CAN, now=now))

    def hear(self, kind: str, content: dict[str, Any]) -> None:
        """A message of the device under test has come, whatever it may be."""
        if self.over:
            return
        handle = getattr(self, f"_{kind.removeprefix(PREFIX)}", None)
        if handle is not None:
            handle(content)

    def _request(self, content: dict[str, Any]) -> None:
        del content
        self.waiting.append(self.verifier.ready(*CAN))

    def _start(self, content: dict[str, Any]) -> None:
        if content.get("method") == SAS:
            self.waiting.append(self.verifier.accept(content))
        elif content.get("secret") == b64(self.secret):
            self.reciprocated = True
        else:
            self.give_up("m.key_mismatch")

    def _accept(self, content: dict[str, Any]) -> None:
        del content
        self.waiting.append(self.verifier.key())

    def _key(self, content: dict[str, Any]) -> None:
        if self._has_key:
            return
        self.verifier.peer_key, self._has_key = content.get("key", ""), True
        if not self.verifier.we_started:
            self.waiting.append(self.verifier.key())

    def _mac(self, content: dict[str, Any]) -> None:
        ours: dict[str, str] = {f"ed25519:{DEVICE}": self.me.ed25519}
        if self.our_master_key is not None:
            ours[f"ed25519:{self.our_master_key}"] = self.our_master_key
        ours = {key_id: key for key_id, key in ours.items() if key_id in content.get("mac", {})}
        if not self._has_key or not ours or not self.verifier.is_right(content, ours):
            self.give_up("m.key_mismatch")

    def _cancel(self, content: dict[str, Any]) -> None:
        del content
        self.over = True

    # --- what its user does ---------------------------------------------------------------------------------

    def start(self) -> None:
        """Begin to compare."""
        self.waiting.append(self.verifier.start())

    def give_up(self, code: str = "m.user") -> None:
        """Say so, and hear nothing more."""
        self.waiting.append(self.verifier.cancel(code))
        self.over = True

    @property
    def shown(self) -> tuple[int, int, int] | None:
        """The numbers that this side shows."""
        return formulas.decimals(self.verifier.sas) if self._has_key and self.honest else None

    def confirm(self) -> None:
        """Both devices show the same, or the other has scanned."""
        if not self.confirmed:
            self.confirmed = True
            keys: dict[str, str] = {f"ed25519:{self.peer.device_id}": self.peer.ed25519}
            if self.master_key is not None:
                keys[f"ed25519:{self.master_key}"] = self.master_key
            if self._has_key:
                self.waiting.append(self.verifier.mac(keys))
            self.waiting.append(self.verifier.done())

    def code(self) -> bytes | None:
        """The code that this side shows: with what it knows of both."""
        if self.master_key is None or self.our_master_key is None:
            return None
        if self.peer.user_id == USER:
            return self._code(SELF_TRUSTING, self.master_key, self.me.ed25519)
        return self._code(OTHER_USER, self.master_key, self.our_master_key)

    def _code(self, mode: int, first: str, second: str) -> bytes:
        flow_id = self.flow_id.encode()
        length = len(flow_id).to_bytes(2, "big")
        return HEADER + bytes([mode]) + length + flow_id + unb64(first) + unb64(second) + self.secret

    def scan(self, code: bytes) -> None:
        """Look at the code of the device under test."""
        mode, length = code[7], int.from_bytes(code[8:10], "big")
        keys, secret = code[10 + length :][:64], code[10 + length + 64 :]
        expected = {
            OTHER_USER: (self.our_master_key, self.master_key),
            SELF_TRUSTING: (self.master_key, self.peer.ed25519),
            SELF_UNTRUSTING: (self.me.ed25519, self.master_key),
        }[mode]
        if (b64(keys[:32]), b64(keys[32:])) == expected:
            self.scanned = True
            self.waiting += [self.verifier.reciprocate(secret), self.verifier.done()]
        else:
            self.give_up("m.key_mismatch")
