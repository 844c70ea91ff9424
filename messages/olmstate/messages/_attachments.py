"""Encrypted files of room events (spec: Sending encrypted attachments)."""

from __future__ import annotations

import attrs

from ._errors import OlmStateError


@attrs.define(kw_only=True, eq=False)
class AttachmentError(OlmStateError):
    """An encrypted file can't be read."""


@attrs.define(kw_only=True, eq=False)
class MalformedAttachment(AttachmentError):
    """What the event says of its file is not what the spec calls an `EncryptedFile`."""

    text = "not an encrypted file: {reason}"
    reason: str


@attrs.define(kw_only=True, eq=False)
class DamagedAttachment(AttachmentError):
    """The file isn't the one that was sent: its hash is another. What was decrypted of it must not be used."""

    text = "the file was changed or is not whole"
