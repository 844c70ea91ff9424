"""What the secrets actor stores."""

from __future__ import annotations

from typing import ClassVar

from olmstate.actors._engine.records import Record
from olmstate.storage import Table


class SecretRecord(Record, kw_only=True, frozen=True):
    """A private key."""

    table: ClassVar[Table] = Table.SECRETS

    name: str
    """As it is shared and stored (spec: Secrets)."""
    value: bytes
    origin: str
    """Where it comes from."""
    pending: bool = False
    """Made here, and the homeserver hasn't taken its public half yet."""
