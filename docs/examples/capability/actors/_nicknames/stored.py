"""What the nicknames actor stores."""

from __future__ import annotations

from typing import ClassVar

from olmstate.actors._engine.records import Record
from olmstate.storage import Table


class NicknameRecord(Record, kw_only=True, frozen=True):
    """How a user likes to be called."""

    table: ClassVar[Table] = Table.NICKNAMES

    nickname: str
