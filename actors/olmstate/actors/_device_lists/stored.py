"""What is stored of tracked users."""

from __future__ import annotations

from typing import ClassVar

from olmstate.actors._engine.records import Record
from olmstate.messages import UserId
from olmstate.storage import Table


class TrackedUserRecord(Record, kw_only=True, frozen=True):
    """A user whose devices are kept up to date."""

    table: ClassVar[Table] = Table.TRACKED_USERS

    user_id: UserId


class OutdatedUserRecord(Record, kw_only=True, frozen=True):
    """A user whose devices must be queried."""

    table: ClassVar[Table] = Table.OUTDATED_USERS

    user_id: UserId
    invalidation: str
    """Which one it was: another each time."""
