"""Secrets: private cross-signing keys, and the storage that keeps secrets on the server (spec: Secrets)."""

from __future__ import annotations

import enum

import attrs

from ._errors import OlmStateError
from ._events import SharedEvent
from ._field_types import checked, not_negative
from ._ids import DeviceId, Ed25519Key, JsonObject, UserId
from ._message import Command, Procedure, Query


class SecretOrigin(enum.StrEnum):
    """Where a private key comes from."""

    MADE_HERE = "made_here"
    """By this device."""
    IMPORTED = "imported"
    """By `ImportCrossSigningKeys`."""
    SECRET_STORAGE = "secret_storage"  # noqa: S105 - no password
    OTHER_DEVICE = "other_device"
    """Another device of the own user's has sent it."""


@attrs.frozen(kw_only=True)
class PrivateKey:
    """A private cross-signing key that is there."""

    origin: SecretOrigin
    matches: bool | None
    """Whether it is that of the published key; None: none is known to be published."""


@attrs.frozen(kw_only=True)
class PrivateCrossSigningKeys:
    """Which private keys are there; None: that one isn't."""

    master: PrivateKey | None
    self_signing: PrivateKey | None
    user_signing: PrivateKey | None
    published: bool
    """Whether our user is known to have an identity at the homeserver."""
    pending: bool
    """New ones were made, and the homeserver hasn't taken them yet: ask `BootstrapCrossSigning` again."""

    @property
    def complete(self) -> bool:
        """Whether all three are there, and are those that are published."""
        return all(
            key is not None and key.matches is True for key in (self.master, self.self_signing, self.user_signing)
        )


@attrs.frozen(kw_only=True)
class PrivateCrossSigningKeysChanged(SharedEvent):
    """A private key has come, gone, or been published."""

    keys: PrivateCrossSigningKeys


@attrs.frozen(kw_only=True)
class CrossSigningStatus(Query[PrivateCrossSigningKeys]):
    """Which private cross-signing keys are there.

    Returns:
        PrivateCrossSigningKeys: Which private keys are there; None: that one isn't.

    Raises:
        NoAccount: The store is empty.
    """


@attrs.frozen(kw_only=True, field_transformer=checked)
class BootstrapCrossSigning(Procedure[None]):
    """Give our user an identity, if there is none, and have it sign this device (spec: Cross-signing).

    Everything is stored before it leaves, so that it can be asked again after an error or a crash: it goes on where it
    was, with the same keys. An identity that is published is never replaced.

    Returns:
        None: It was done, and is on the disk.

    Raises:
        AuthenticationRequired: Ask again with ``auth``.
        MalformedContent: ``auth`` is no JSON.
        MissingCrossSigningKeys: There is an identity, or a part of one, and not all of its private keys are here.
        SignatureRefused: The homeserver didn't take this device's new signature.
        NoAccount: The store is empty.
        NoTransport: `OutgoingRequests` has what is next; ask again once that is answered.
        RequestDelayed: The homeserver couldn't be reached in time.
        RequestRefused: It refused.
    """

    auth: JsonObject | None = attrs.field(default=None, repr=False)
    """The user's answer to an `AuthenticationRequired`."""
    patience: float = attrs.field(default=60.0, validator=not_negative)
    """Seconds to wait for each request."""


@attrs.frozen(kw_only=True, field_transformer=checked)
class VerifyUser(Procedure[None]):
    """Our user has made sure that this is another's master key: sign it, so that all our devices know.

    The signature is stored before it leaves. The user is verified once the homeserver shows it.

    Returns:
        None: It was done, and is on the disk.

    Raises:
        UnknownIdentity: None with that master key is known, of the other or of our own user.
        MissingCrossSigningKeys: Our private user-signing key isn't here, or isn't the published one's.
        SignatureRefused: The homeserver didn't take the signature.
        NoAccount: The store is empty.
        NoTransport: `OutgoingRequests` has the signature.
        RequestDelayed: The homeserver couldn't be reached in time; the signature goes out later.
        RequestRefused: It refused.
    """

    user_id: UserId
    master_key: Ed25519Key
    """As it was compared."""
    patience: float = attrs.field(default=60.0, validator=not_negative)
    """Seconds to wait."""


@attrs.frozen(kw_only=True, field_transformer=checked)
class SignDevice(Procedure[None]):
    """Our user has made sure that this is a device of their own: sign it, so that others trust it.

    The signature is stored before it leaves. The device is cross-signed once the homeserver shows it.

    Returns:
        None

    Raises:
        UnknownIdentity: Our own isn't verified, or has no device with that id and that key.
        MissingCrossSigningKeys: Our private self-signing key isn't here, or isn't the published one's.
        SignatureRefused: The homeserver didn't take the signature.
        NoAccount: The store is empty.
        NoTransport: `OutgoingRequests` has the signature.
        RequestDelayed: The homeserver couldn't be reached in time; the signature goes out later.
        RequestRefused: It refused.
    """

    device_id: DeviceId
    ed25519: Ed25519Key
    """As it was compared."""
    patience: float = attrs.field(default=60.0, validator=not_negative)
    """Seconds to wait."""


@attrs.frozen(kw_only=True, field_transformer=checked)
class ResetCrossSigning(Procedure[None]):
    """Give our user a new identity in the place of the one that is published, and have it sign this device.

    It is for users who have lost the private keys of the old one. Whoever has verified them has to do it again, and so
    have they with others. Asked again after an error or a crash, it goes on with the same keys until the homeserver has
    taken them.

    Returns:
        None

    Raises:
        AuthenticationRequired: Ask again with ``auth``.
        MalformedContent: ``auth`` is no JSON.
        SignatureRefused: The homeserver didn't take this device's new signature.
        NoAccount: The store is empty.
        NoTransport: `OutgoingRequests` has what is next; once that is answered, ask `BootstrapCrossSigning`.
        RequestDelayed: The homeserver couldn't be reached in time.
        RequestRefused: It refused. The old keys are still here.
    """

    auth: JsonObject | None = attrs.field(default=None, repr=False)
    """The user's answer to an `AuthenticationRequired`."""
    patience: float = attrs.field(default=60.0, validator=not_negative)
    """Seconds to wait for each request."""


@attrs.frozen(kw_only=True, field_transformer=checked)
class CrossSigningSeeds:
    """Private cross-signing keys as they are shared and stored: 32 bytes in base64."""

    master: str | None = attrs.field(default=None, repr=False)
    self_signing: str | None = attrs.field(default=None, repr=False)
    user_signing: str | None = attrs.field(default=None, repr=False)


@attrs.frozen(kw_only=True)
class ExportCrossSigningKeys(Query[CrossSigningSeeds]):
    """The private keys that are there. Whoever has them can pass for our user: mind where they go.

    Returns:
        CrossSigningSeeds: Private cross-signing keys as they are shared and stored: 32 bytes in base64.
    """


@attrs.frozen(kw_only=True, field_transformer=checked)
class ImportCrossSigningKeys(Command[PrivateCrossSigningKeys]):
    """Take private keys in, each of which has to be that of the published one; if one isn't, none is taken.

    With the private master key, our identity is verified. `BootstrapCrossSigning` signs this device then.

    Returns:
        PrivateCrossSigningKeys: Which private keys are there; None: that one isn't.

    Raises:
        MalformedSecret: Not 32 bytes in base64.
        MismatchedSecret: It is another's than the published key's.
        UnknownIdentity: None of our user's is known: `UpdateDevices` learns it.
        NoAccount: The store is empty.
    """

    seeds: CrossSigningSeeds = attrs.field(repr=False)


@attrs.define(kw_only=True, eq=False)
class SecretError(OlmStateError):
    """A secret can't be read, written or used."""


@attrs.define(kw_only=True, eq=False)
class MalformedSecret(SecretError):
    """A secret, or what it is stored as, of the wrong shape."""

    text = "{name} can't be read: {reason}"
    name: str
    """As in account data, ``m.cross_signing.master``."""
    reason: str


@attrs.define(kw_only=True, eq=False)
class DamagedSecret(SecretError):
    """A stored secret whose MAC is wrong: it was changed, or was encrypted with another key than it says."""

    text = "{name} was changed, or encrypted with another key"
    name: str


@attrs.define(kw_only=True, eq=False)
class MalformedRecoveryKey(SecretError):
    """Not a recovery key: a character or more is wrong or missing."""

    text = "not a recovery key: {reason}"
    reason: str


@attrs.define(kw_only=True, eq=False)
class UnsupportedSecretStorage(SecretError):
    """A storage key of a kind that we don't know, or that would take too long to work out."""

    text = "this secret storage can't be used: {reason}"
    reason: str


@attrs.define(kw_only=True, eq=False)
class MismatchedSecret(SecretError):
    """A private key that isn't that of the published one."""

    text = "{name} isn't the published key's"
    name: str


@attrs.define(kw_only=True, eq=False)
class MissingCrossSigningKeys(SecretError):
    """Private cross-signing keys are not here. A new identity is not made because of that: others trust the old one.

    Import them, verify this device with another one, or recover them from secret storage.
    """

    text = "private cross-signing keys are missing: {names}"
    names: tuple[str, ...]
    """As in account data, ``m.cross_signing.master``."""


@attrs.define(kw_only=True, eq=False)
class SignatureRefused(SecretError):
    """The homeserver didn't take a signature, though it answered with 200."""

    text = "the homeserver refused a signature on {signed_id} of {user_id} with {errcode}"
    user_id: str
    signed_id: str
    """A device's id, or a public key."""
    errcode: str
