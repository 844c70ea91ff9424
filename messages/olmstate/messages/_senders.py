"""Who sent something, as far as is known when it is asked.

Three things are told apart. What a message, or a file, *claims* of its sender: fields that begin with ``claimed_``.
What is *known*: a device that was told of by `AddDevices`, has both of the claimed keys, and signed them itself. And
how well founded that is: a `SenderState`. None of them is stored with the message: what is told may be more, or less,
another time, when more is known, or when the device is gone.
"""

from __future__ import annotations

import enum

import attrs

from ._account import DeviceIdentity
from ._ids import Curve25519Key, Ed25519Key, UserId


class SenderState(enum.IntEnum):
    """How well it is known who sent something; the larger, the better founded. The numbers mean nothing else."""

    UNKNOWN_DEVICE = 0
    """No known device of the sender has the keys: its keys were not queried yet, it is gone, or somebody lies."""
    INSECURE_SOURCE = 1
    """The room key came from an export: whoever wrote that says whose it is, and nothing else does."""
    DEVICE = 2
    """A known device has both keys. That it is that user's is the homeserver's word."""
    VIOLATION = 3
    """The user has signed the device, and was verified once; the user's present identity isn't."""
    CROSS_SIGNED = 4
    """The user's identity has signed the device. Our user hasn't verified that."""
    VERIFIED = 5
    """The same, of an identity that our user has verified; or our user has verified the device itself."""
    THIS_DEVICE = 6
    """This very device sent it."""


class ShieldColor(enum.StrEnum):
    """How loud a warning beside a message is."""

    NONE = "none"
    GREY = "grey"
    RED = "red"


class ShieldCode(enum.StrEnum):
    """Why there is a warning."""

    AUTHENTICITY_NOT_GUARANTEED = "authenticity_not_guaranteed"
    """The room key came from an export, or was forwarded."""
    UNKNOWN_DEVICE = "unknown_device"
    UNSIGNED_DEVICE = "unsigned_device"
    """Its user hasn't signed it."""
    UNVERIFIED_IDENTITY = "unverified_identity"
    VERIFICATION_VIOLATION = "verification_violation"


@attrs.frozen
class Shield:
    """What to show beside a message."""

    color: ShieldColor
    code: ShieldCode | None = None
    """None: there is nothing to show."""


class RequiredTrust(enum.StrEnum):
    """Whose events are decrypted."""

    ANY = "any"
    CROSS_SIGNED = "cross_signed"
    """Those of a `SenderState` of `SenderState.CROSS_SIGNED` or better."""


@attrs.frozen(kw_only=True, slots=False)  # many are made in a batch: with slots it takes longer
class EncryptionInfo:
    """What is known of who encrypted a room event, at the time of asking."""

    sender_state: SenderState
    sender_device: DeviceIdentity | None
    """The device that made the room key: the only user, device and fingerprint that are more than a claim. None unless
    ``sender_state`` is `SenderState.DEVICE` or better. It is a device of the event's ``sender``."""
    claimed_sender: UserId | None
    """The user in whose name the room key was sent; None if it came from an export."""
    claimed_device: DeviceIdentity | None
    """The known device of the event's sender that has the claimed keys; of an export, whoever wrote that claims so."""
    claimed_curve25519: Curve25519Key
    """If it didn't come from an export, the room key was sent by whoever has this key."""
    claimed_ed25519: Ed25519Key
    """As whoever sent the room key, or wrote the export, says. A fingerprint to show is ``sender_device.ed25519``."""
    imported: bool
    """The room key came from an export, or was forwarded."""
    forwarded: bool = False
    """It was forwarded: by another device of our user's, or by one that whoever wrote the export had it from."""

    @property
    def strict_shield(self) -> Shield:
        """What a client shows whose user verifies everybody they talk to."""
        return _STRICT[self.sender_state]

    @property
    def lax_shield(self) -> Shield:
        """What a client shows that trusts on first use."""
        return _LAX[self.sender_state]


_NO_SHIELD = Shield(ShieldColor.NONE)
_UNVERIFIED = Shield(ShieldColor.RED, ShieldCode.UNVERIFIED_IDENTITY)
_UNKNOWN = Shield(ShieldColor.RED, ShieldCode.UNKNOWN_DEVICE)
_STRICT = {
    SenderState.UNKNOWN_DEVICE: _UNKNOWN,
    SenderState.INSECURE_SOURCE: Shield(ShieldColor.RED, ShieldCode.AUTHENTICITY_NOT_GUARANTEED),
    SenderState.DEVICE: _UNVERIFIED,
    SenderState.VIOLATION: _UNVERIFIED,
    SenderState.CROSS_SIGNED: _UNVERIFIED,
    SenderState.VERIFIED: _NO_SHIELD,
    SenderState.THIS_DEVICE: _NO_SHIELD,
}
_LAX = {
    SenderState.UNKNOWN_DEVICE: _UNKNOWN,
    SenderState.INSECURE_SOURCE: Shield(ShieldColor.GREY, ShieldCode.AUTHENTICITY_NOT_GUARANTEED),
    SenderState.DEVICE: Shield(ShieldColor.RED, ShieldCode.UNSIGNED_DEVICE),
    SenderState.VIOLATION: Shield(ShieldColor.RED, ShieldCode.VERIFICATION_VIOLATION),
    SenderState.CROSS_SIGNED: _NO_SHIELD,
    SenderState.VERIFIED: _NO_SHIELD,
    SenderState.THIS_DEVICE: _NO_SHIELD,
}
