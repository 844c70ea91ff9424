"""Messages about /sync: taking in what came, and the token that acknowledges it."""

from __future__ import annotations

import attrs

from ._field_types import checked
from ._ids import JsonObject, MegolmSessionId, RoomId
from ._message import Command, Query
from ._to_device import ToDeviceOutcome


@attrs.frozen(kw_only=True)
class SyncReceived:
    """What a sync response's to-device part was, in its order."""

    to_device: tuple[ToDeviceOutcome, ...]
    room_keys: tuple[tuple[RoomId, MegolmSessionId], ...]
    """Sessions that came new or better: events of theirs that could not be decrypted may be now."""
    token_stored: bool
    """False if ``since`` was given and isn't the stored token, since another process has moved that, say: the events
    were taken in all the same. Go on from `SyncToken`."""


@attrs.frozen(kw_only=True, field_transformer=checked)
class ReceiveSync(Command[SyncReceived]):
    """Take in a /sync response: to-device events, room keys, withheld notices, key counts, and the token.

    A token is never stored without what it acknowledges: usually all is in one commit. Very many events, or one
    sender's that are much work (`ToDeviceDelayed`), are taken in in several, and the token is in the last. Each event
    is apart: a bad one never harms the others. A count of one-time keys that is no number, or a list of fallback keys
    that is none, says nothing and harms nothing. Taking in the same response twice is harmless.

    Returns:
        SyncReceived: What a sync response's to-device part was, in its order.

    Raises:
        NoAccount: The store is empty.
        MalformedMessage: The response as a whole isn't one (no JSON, no ``next_batch``); nothing was taken in.
    """

    sync: JsonObject | str | bytes = attrs.field(repr=False)
    """Parsed, or as it came."""
    since: str | None = None
    """The token that the request was made with; if it isn't the stored one, that is left alone, and so is what is known
    of the fallback key, which may be another by now. None: it was made with none, and began anew; it is then asked for
    whose devices have changed meanwhile."""


@attrs.frozen(kw_only=True)
class SyncToken(Query[str | None]):
    """``next_batch`` of the last response taken in, by any process: the ``since`` of the next request.

    Returns:
        str | None
    """
