"""What the unwedging actor stores."""

from __future__ import annotations

from typing import ClassVar

import msgspec

from olmstate.actors._engine.records import Record
from olmstate.messages import DeviceId, UserId
from olmstate.storage import Table


class RepairRecord(Record, kw_only=True, frozen=True):
    """What was done lately because Olm sessions with a device were of no use; see `Repair`."""

    table: ClassVar[Table] = Table.OLM_REPAIRS

    user_id: UserId
    device_id: DeviceId
    wanted: int | None = None
    begun: int | None = None
    shared_again: list[int] = msgspec.field(default_factory=list[int])
