"""What the account data actor stores."""

from __future__ import annotations

from typing import ClassVar

from olmstate.actors._engine.records import Record
from olmstate.storage import Table


class AccountDataRecord(Record, kw_only=True, frozen=True):
    """Account data of one type."""

    table: ClassVar[Table] = Table.ACCOUNT_DATA

    content: bytes | None
    """JSON; None: the homeserver has none."""
