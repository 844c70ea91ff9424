"""Who is known to have some keys: what every question of "who sent this?" comes down to.

Owns: `KnownSender`, what is known of one user's devices by their keys, and `sender_state`, how well founded that is.
Rules:

- A device is whoever has *both* keys. Its Ed25519 key has signed the other, so that nobody can publish it with a key of
  their own. A Curve25519 key alone proves nothing: anybody can publish another's as a device's of theirs.
- Nothing is remembered of an answer. Who asks again may hear more, or less: devices become known, and go.

It is worked out from the devices of the *claimed* user alone, so that nothing that others publish can change it.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from functools import cached_property
from typing import Any

from olmstate.actors._identities.known import KnownIdentity, identity_state
from olmstate.messages import (
    Curve25519Key,
    DeviceId,
    DeviceIdentity,
    DeviceKeys,
    DeviceTrust,
    Ed25519Key,
    IdentityState,
    SenderState,
)


class KnownSender:
    """The devices of one user that are known, and those that were."""

    def __init__(self, known: Iterable[DeviceKeys], gone: Iterable[DeviceKeys] = ()) -> None:
        """Of devices whose self-signatures were checked; ``gone`` are those that the server has left out since."""
        self._devices: dict[tuple[Curve25519Key, Ed25519Key], DeviceKeys] = {}
        self._gone: dict[tuple[Curve25519Key, Ed25519Key], DeviceKeys] = {}
        self._identities: dict[tuple[Curve25519Key, Ed25519Key], DeviceIdentity] = {}
        """Of devices that were asked for."""
        self.any_signed = False
        """Somebody's self-signing key has signed one of those that are known: the owner's identity matters."""
        self.worked_out: dict[object, Any] = {}
        """What others have worked out from it; it is true for as long as this is."""
        for device in gone:
            self.add(device, gone=True)
        for device in known:
            self.add(device, gone=False)

    def add(self, device: DeviceKeys, *, gone: bool) -> None:
        """One more, while nobody has asked yet."""
        keys = device.curve25519, device.ed25519
        if gone:
            self._gone[keys] = device
        else:
            self._devices[keys] = device
            self.any_signed = self.any_signed or device.cross_signed_by is not None

    def device(self, curve25519: Curve25519Key, ed25519: Ed25519Key) -> DeviceIdentity | None:
        """The device that has both keys, if it is known, and not gone."""
        keys = curve25519, ed25519
        identity = self._identities.get(keys)
        if identity is None and (device := self._devices.get(keys)) is not None:
            identity = self._identities[keys] = DeviceIdentity(
                user_id=device.user_id,
                device_id=device.device_id,
                curve25519=device.curve25519,
                ed25519=device.ed25519,
            )
        return identity

    def keys(self, curve25519: Curve25519Key, ed25519: Ed25519Key) -> DeviceKeys | None:
        """The same, with what is known of it."""
        return self._devices.get((curve25519, ed25519))

    def had(self, curve25519: Curve25519Key, ed25519: Ed25519Key) -> bool:
        """Whether a device with both keys is known, or was."""
        return (curve25519, ed25519) in self._devices or (curve25519, ed25519) in self._gone

    @property
    def both_keys(self) -> Iterator[tuple[Curve25519Key, Ed25519Key]]:
        """Of all devices that are known, or were."""
        yield from self._devices
        yield from self._gone

    def contradicts(self, curve25519: Curve25519Key, ed25519: Ed25519Key) -> bool:
        """Whether a device has one of the keys, and none has both.

        Of a device that is gone, only the Ed25519 key counts: that the other was its own, it has never shown.
        """
        if self.had(curve25519, ed25519):
            return False
        return curve25519 in self._curve25519_keys or ed25519 in self._ed25519_keys

    def fingerprint(self, device_id: DeviceId) -> Ed25519Key | None:
        """The Ed25519 key of the device that has this id, or had it: it never gets another."""
        return self._fingerprints.get(device_id)

    # made when they are asked for: of devices that aren't known, and of keys that are sent along

    @cached_property
    def _curve25519_keys(self) -> frozenset[Curve25519Key]:
        return frozenset(device.curve25519 for device in self._devices.values())

    @cached_property
    def _ed25519_keys(self) -> frozenset[Ed25519Key]:
        return frozenset(ed25519 for _, ed25519 in self.both_keys)

    @cached_property
    def _fingerprints(self) -> dict[DeviceId, Ed25519Key]:
        return {device.device_id: device.ed25519 for device in (*self._gone.values(), *self._devices.values())}


def sender_state(device: DeviceKeys | None, identity: KnownIdentity | None, own: KnownIdentity | None) -> SenderState:
    """How well founded it is that a user has sent something.

    Args:
        device: The user's known device with both keys of whoever sent it; None: there is none.
        identity: The user's.
        own: Our own user's.
    """
    if device is None:
        return SenderState.UNKNOWN_DEVICE
    if device.trust is DeviceTrust.VERIFIED:
        return SenderState.VERIFIED
    if (
        identity is None
        or identity.identity is None
        or device.cross_signed_by != identity.identity.self_signing.public_key
    ):
        return SenderState.DEVICE
    match identity_state(identity, own):
        case IdentityState.VERIFIED:
            return SenderState.VERIFIED
        case IdentityState.VERIFICATION_VIOLATION:
            return SenderState.VIOLATION
        case _:
            return SenderState.CROSS_SIGNED
