"""Messages about users' cross-signing identities (spec: Cross-signing)."""

from __future__ import annotations

import enum

import attrs

from ._events import SharedEvent
from ._field_types import checked
from ._ids import Ed25519Key, UserId
from ._message import Command, Query


class IdentityState(enum.StrEnum):
    """How far a user's identity is to be trusted. The homeserver can't raise it."""

    NEVER_VERIFIED = "never_verified"
    """Our own: this device has never had a reason to trust it."""
    PINNED = "pinned"
    """Another user's: the one that we saw first, or that our user has agreed to. Nobody has compared anything."""
    VERIFIED = "verified"
    """Our user has verified it: our own identity, or another's that our user-signing key has signed."""
    PIN_VIOLATION = "pin_violation"
    """Another user's: it has changed, and our user hasn't agreed to that. Tell the user."""
    VERIFICATION_VIOLATION = "verification_violation"
    """It was verified once, and the present one isn't. Nothing should be sent until the user has decided."""


@attrs.frozen(kw_only=True)
class UserIdentity:
    """A user's public cross-signing keys; the master key has signed the others."""

    user_id: UserId
    master_key: Ed25519Key
    self_signing_key: Ed25519Key
    user_signing_key: Ed25519Key | None
    """None: another user's."""
    state: IdentityState


@attrs.frozen(kw_only=True, field_transformer=checked)
class Identity(Query[UserIdentity | None]):
    """A user's identity; None if none is known.

    Returns:
        UserIdentity | None
    """

    user_id: UserId


@attrs.frozen(kw_only=True, field_transformer=checked)
class PinIdentity(Command[None]):
    """Our user agrees to another user's identity. That one was verified once isn't forgotten by this.

    Returns:
        None: It was done, and is on the disk.

    Raises:
        UnknownIdentity: None with that master key is known; it may have been replaced since. Nothing has changed.
    """

    user_id: UserId
    master_key: Ed25519Key
    """As it was shown to our user: `UserIdentity.master_key`."""


@attrs.frozen(kw_only=True, field_transformer=checked)
class WithdrawVerification(Command[None]):
    """Our user gives up that an identity was verified, and agrees to the one that is there now.

    Our signature may still be at the homeserver. On this device it doesn't count any more until our user compares
    again. Of our own: it is as if it had never been verified.

    Returns:
        None: It was done, and is on the disk.

    Raises:
        UnknownIdentity: None with that master key is known; it may have been replaced since. Nothing has changed.
    """

    user_id: UserId
    master_key: Ed25519Key
    """As it was shown to our user: `UserIdentity.master_key`."""


@attrs.frozen(kw_only=True)
class IdentitiesChanged(SharedEvent):
    """These users' identities, or what is known of their signatures, or our trust in them have changed.

    If our own is among them, the state of everybody's may be another.
    """

    users: tuple[UserId, ...]
    refused: tuple[UserId, ...] = ()
    """Of these came keys that aren't signed as they have to be. What was known before stays."""
