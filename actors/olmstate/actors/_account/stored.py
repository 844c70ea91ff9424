"""What the account actor stores."""

from __future__ import annotations

from typing import Any, ClassVar

from olmstate.actors._engine.records import Record
from olmstate.storage import Table


class AccountRecord(Record, kw_only=True, frozen=True):
    """The account."""

    table: ClassVar[Table] = Table.ACCOUNT

    pickle: str
    one_time_keys: dict[str, dict[str, Any]]
    """Signed, by key id; those that wait for upload."""
    fallback_keys: dict[str, dict[str, Any]]
    """The same."""
    fallback_made: int | None
    """Milliseconds since 1970."""
    mark: str = ""


class SyncRecord(Record, kw_only=True, frozen=True):
    """How far the device has read."""

    table: ClassVar[Table] = Table.SYNC

    next_batch: str | None = None
    one_time_key_count: int | None = None
    fallback_key_unused: bool | None = None
