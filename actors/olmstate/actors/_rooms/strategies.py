"""Which devices get a room's key: the strategies of sharing, as a pure function of what is known and decided.

Owns: for each device, whether it gets the key or which code of ``m.room_key.withheld`` says why it doesn't; and what is
wrong with users that a strategy refuses to send beside.
Rule: a device that our user has blocked gets no key, whatever the strategy. A device counts as signed if the present
self-signing key of its owner has signed it; an owner as verified if our user has verified the present identity.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Final

from olmstate.actors._identities.known import KnownIdentity, identity_state
from olmstate.actors._wire.quiet_struct import QuietStruct
from olmstate.actors._wire.steps import Steps
from olmstate.actors._withheld.notices import BLACKLISTED, UNVERIFIED
from olmstate.messages import (
    CrossSigningNotSetUp,
    DeviceAddress,
    DeviceKeys,
    DeviceTrust,
    Ed25519Key,
    IdentityState,
    SendingFromUnsignedDevice,
    SharingStrategy,
    UserId,
    VerifiedUserChangedIdentity,
    VerifiedUserHasUnsignedDevice,
)

DEVICES_AT_ONCE: Final = 250
"""Looked at without giving other tasks a chance: below a millisecond."""


class Chosen(QuietStruct, kw_only=True, frozen=True):
    """What a strategy says of some devices."""

    allowed: dict[DeviceAddress, DeviceKeys]
    """Who gets the key."""
    withheld: dict[DeviceAddress, str]
    """Who doesn't, and the code that says why."""


class Owners:
    """What is known of the users whose devices they are, and of our own."""

    def __init__(self, own_user: UserId, identities: Mapping[UserId, KnownIdentity | None]) -> None:
        """Our own identity is among them, if it is known."""
        self._identities = identities
        self._own = identities.get(own_user)
        self._states: dict[UserId, IdentityState | None] = {}

    @property
    def own_known(self) -> bool:
        """Whether our user has an identity."""
        return self._own is not None and self._own.identity is not None

    def state(self, user_id: UserId) -> IdentityState | None:
        """How far the owner is trusted; None: no identity is known."""
        if user_id not in self._states:
            known = self._identities.get(user_id)
            self._states[user_id] = None if known is None else identity_state(known, self._own)
        return self._states[user_id]

    def is_signed(self, device: DeviceKeys) -> bool:
        """Whether its owner has signed it."""
        return device.cross_signed_by is not None and device.cross_signed_by == self._self_signing(device.user_id)

    def _self_signing(self, user_id: UserId) -> Ed25519Key | None:
        known = self._identities.get(user_id)
        return None if known is None or known.identity is None else known.identity.self_signing.public_key

    def in_violation(self) -> tuple[UserId, ...]:
        """Who was verified once, and isn't now; our own user may be among them."""
        return tuple(
            user_id for user_id in self._identities if self.state(user_id) is IdentityState.VERIFICATION_VIOLATION
        )


def needs_identities(strategy: SharingStrategy) -> bool:
    """Whether a strategy asks who has signed what."""
    return strategy is not SharingStrategy.ALL_DEVICES


def choose(
    strategy: SharingStrategy,
    devices: Mapping[DeviceAddress, DeviceKeys],
    owners: Owners,
    itself: DeviceKeys | None,
) -> Steps[Chosen]:
    """Who of ``devices`` gets the key.

    Args:
        strategy: What is decided by.
        devices: All that may read the room, except this one.
        owners: What is known of their users.
        itself: This device, as the homeserver lists it.

    Raises:
        EncryptionError: The strategy refuses to send: see `SharingStrategy`.
    """
    if strategy is SharingStrategy.IDENTITY_BASED:
        if not owners.own_known:
            raise CrossSigningNotSetUp
        if itself is None or not owners.is_signed(itself):
            raise SendingFromUnsignedDevice
    chosen, refused = Chosen(allowed={}, withheld={}), list[DeviceAddress]()
    for number, (address, device) in enumerate(devices.items(), 1):
        code = _code(strategy, device, owners)
        if code is None:
            chosen.allowed[address] = device
        else:
            chosen.withheld[address] = code
        if strategy is SharingStrategy.ERROR_ON_VERIFIED_USER_PROBLEM and _is_a_problem(device, owners):
            refused.append(address)
        if number % DEVICES_AT_ONCE == 0:
            yield
    if refused:
        raise VerifiedUserHasUnsignedDevice(devices=tuple(refused))
    if strategy in _REFUSE_VIOLATIONS and (users := owners.in_violation()):
        raise VerifiedUserChangedIdentity(users=users)
    return chosen


_REFUSE_VIOLATIONS: Final = (SharingStrategy.ERROR_ON_VERIFIED_USER_PROBLEM, SharingStrategy.IDENTITY_BASED)
_DECIDED: Final = (DeviceTrust.VERIFIED, DeviceTrust.IGNORED)


def _is_a_problem(device: DeviceKeys, owners: Owners) -> bool:
    """Whether it is a device that a verified user hasn't signed, and of which ours has decided nothing."""
    return (
        device.trust is DeviceTrust.UNSET
        and owners.state(device.user_id) is IdentityState.VERIFIED
        and not owners.is_signed(device)
    )


def _code(strategy: SharingStrategy, device: DeviceKeys, owners: Owners) -> str | None:
    if device.trust is DeviceTrust.BLOCKED:
        return BLACKLISTED
    match strategy:
        case SharingStrategy.IDENTITY_BASED:
            allowed = owners.is_signed(device)
        case SharingStrategy.ONLY_TRUSTED_DEVICES:
            verified = owners.state(device.user_id) is IdentityState.VERIFIED
            allowed = device.trust in _DECIDED or (verified and owners.is_signed(device))
        case _:
            allowed = True
    return None if allowed else UNVERIFIED
