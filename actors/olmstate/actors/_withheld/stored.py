"""What is stored of notices that were sent."""

from __future__ import annotations

from typing import ClassVar

from olmstate.actors._engine.records import Record
from olmstate.messages import DeviceId, UserId
from olmstate.storage import Table


class NoOlmNoticeRecord(Record, kw_only=True, frozen=True):
    """A device that was told that there is no Olm session with it; no session has worked since."""

    table: ClassVar[Table] = Table.NO_OLM_NOTICES

    user_id: UserId
    device_id: DeviceId
