"""What the inbox actor stores."""

from __future__ import annotations

from typing import ClassVar

import msgspec

from olmstate.actors._engine.records import Record
from olmstate.messages import Curve25519Key, Ed25519Key, UserId
from olmstate.storage import Table


class InboxRecord(Record, kw_only=True, frozen=True):
    """What is known of an event in the inbox; its content is a row of its own, since it may be large."""

    table: ClassVar[Table] = Table.INBOX

    number: int
    type: str
    received: int
    """Milliseconds since 1970."""
    size: int
    """Bytes of its content."""
    sender: UserId | None
    """As the homeserver says, and the payload, if there was one."""
    encrypted: bool


class InboxContentRecord(Record, kw_only=True, frozen=True):
    """An event in the inbox. Who has sent it is worked out from the keys when it is read."""

    table: ClassVar[Table] = Table.INBOX_CONTENTS

    json: str
    """In ASCII: of an event that came encrypted, its content; of another, all of it."""
    sender_key: Curve25519Key | None = None
    ed25519: Ed25519Key | None = None
    """As the payload says."""


class InboxStateRecord(Record, kw_only=True, frozen=True):
    """What outlives the events in the inbox."""

    table: ClassVar[Table] = Table.INBOX_STATE

    last: int
    """The number that was given last."""
    lost: int = 0
    """How many events were dropped, ever."""
    kept: dict[str, bool] = msgspec.field(default_factory=dict[str, bool])
    """Types of which the app has said whether they are kept."""
