"""The actors, the supervisor, and how to open one."""

from __future__ import annotations

from ._engine.options import Options
from ._engine.states import State
from ._open import open_supervisor, run_supervisor
from ._supervisor import Supervisor, SyncTurn
from ._wire import inherited_randomness as inherited_randomness  # for what importing it does
from ._wire.attachments import AttachmentDecryptor, AttachmentEncryptor, decrypt_attachment, encrypt_attachment
from ._wire.encrypted_events import encrypted_events

__all__ = [
    "AttachmentDecryptor",
    "AttachmentEncryptor",
    "Options",
    "State",
    "Supervisor",
    "SyncTurn",
    "decrypt_attachment",
    "encrypt_attachment",
    "encrypted_events",
    "open_supervisor",
    "run_supervisor",
]
