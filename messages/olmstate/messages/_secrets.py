"""Secrets: private cross-signing keys, and the storage that keeps secrets on the server (spec: Secrets)."""

from __future__ import annotations

import enum

import attrs

from ._errors import OlmStateError


class SecretOrigin(enum.StrEnum):
    """Where a private key comes from."""

    MADE_HERE = "made_here"
    """By this device."""
    IMPORTED = "imported"
    """By `ImportCrossSigningKeys`."""
    SECRET_STORAGE = "secret_storage"  # noqa: S105 - no password
    OTHER_DEVICE = "other_device"
    """Another device of the own user's has sent it."""


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
