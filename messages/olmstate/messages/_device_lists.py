"""Messages about whose devices are tracked (spec: Tracking the device list for a user)."""

from __future__ import annotations

import attrs

from ._field_types import checked, not_negative
from ._ids import UserId
from ._message import Command, Procedure, Query


@attrs.frozen(kw_only=True, field_transformer=checked)
class TrackUsers(Command[tuple[UserId, ...]]):
    """Keep these users' devices up to date from now on: members of encrypted rooms, and whoever else is written to.

    `ReceiveSync` learns whose devices have changed, and whose need no tracking any more.

    Returns:
        tuple[UserId, ...]: Those who were not tracked before. Their devices are to be queried.
    """

    users: tuple[UserId, ...]


@attrs.frozen(kw_only=True)
class OutdatedUsers(Query[tuple[UserId, ...]]):
    """Users whose devices are to be queried.

    Those who are tracked and whose devices have changed, or were never queried; and whoever asks to verify with a
    device that isn't known, until an answer came.

    Returns:
        tuple[UserId, ...]
    """


@attrs.frozen(kw_only=True, field_transformer=checked)
class UpdateDevices(Procedure[tuple[UserId, ...]]):
    """Learn these users' devices, where they are not known or have changed; nothing is asked otherwise.

    Users are tracked from then on. Whom another process is asking for already, nobody else asks for. A server that
    fails is left alone for 15 s, then for twice as long each time, up to 15 minutes, by all processes.

    Returns:
        tuple[UserId, ...]: Users whose devices could not be learned now: their server is out of reach, the homeserver
            refuses to ask for them, or it took too long. What was known of them stays.

    Raises:
        NoAccount: The store is empty.
        NoTransport: There is something to ask, and no transport. `OutgoingRequests` has the requests.
        RequestRefused: The homeserver refused, whoever was asked for.
    """

    users: tuple[UserId, ...]
    patience: float = attrs.field(default=10.0, validator=not_negative)
    """Seconds to wait."""
