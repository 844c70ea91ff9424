"""What the account actor stores."""

from __future__ import annotations

from typing import Any, ClassVar

import msgspec

from olmstate.actors._engine.records import Record
from olmstate.actors._wire.quiet_struct import QuietStruct
from olmstate.storage import Table


class UploadRecord(QuietStruct, kw_only=True, frozen=True):
    """One-time keys that were handed out for upload; see `Upload`."""

    keys: dict[str, str]
    """Public keys by their ids."""
    owner: str
    begun: int
    count: int


class FallbackRecord(QuietStruct, kw_only=True, frozen=True):
    """What is known of the fallback key; see `FallbackKey`."""

    number: int = 2
    published: int | None = None
    was_unused: bool | None = None
    in_doubt: bool = False


class AccountRecord(Record, kw_only=True, frozen=True):
    """The account."""

    table: ClassVar[Table] = Table.ACCOUNT

    pickle: str
    one_time_keys: dict[str, dict[str, Any]]
    """Signed, by key id; earlier versions handed those out until they were marked."""
    fallback_keys: dict[str, dict[str, Any]]
    """Signed, by key id; those that wait for upload."""
    fallback_made: int | None
    """Milliseconds since 1970."""
    mark: str = ""
    upload: UploadRecord | None = None
    in_doubt: dict[str, str] = msgspec.field(default_factory=dict[str, str])
    """Public keys by their ids."""
    published: list[str] = msgspec.field(default_factory=list[str])
    """Public keys."""
    fallback: FallbackRecord = FallbackRecord()


class SyncRecord(Record, kw_only=True, frozen=True):
    """How far the device has read."""

    table: ClassVar[Table] = Table.SYNC

    next_batch: str | None = None
    one_time_key_count: int | None = None
    fallback_key_unused: bool | None = None
    highest_count: int | None = None
    silent_since: int | None = None
    """Milliseconds since 1970."""
