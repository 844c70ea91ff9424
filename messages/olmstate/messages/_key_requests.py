"""Messages about key requests: asking our user's other devices for room keys that this one lacks (spec: Key requests).

Only verified devices of our own user are asked, and only they are answered: verified by our user (`SetDeviceTrust`),
or signed by our user's verified identity. A key that comes that way is marked as forwarded, and counts for no more than
one from a file: who has made it is the word of whoever sent it.
"""

from __future__ import annotations

import attrs

from ._events import SharedEvent
from ._field_types import checked
from ._ids import DeviceId, MegolmSessionId, RequestId, RoomId
from ._message import Command, Query


@attrs.frozen(kw_only=True)
class RoomKeysRequested:
    """Who was asked for room keys."""

    devices: tuple[DeviceId, ...]
    """Our user's other verified devices. If there are none, nobody was asked, and nothing is stored."""


@attrs.frozen(kw_only=True, field_transformer=checked)
class RequestRoomKeys(Command[RoomKeysRequested]):
    """Ask our user's other verified devices for the keys of sessions that are missing, or begin too late.

    The requests are stored; a transport sends them, and with the key that comes, from wherever, goes a cancellation to
    whoever was asked. Asking again for the same session repeats the request under its id. At most 1,000 are open; the
    oldest are forgotten then.

    Returns:
        RoomKeysRequested

    Raises:
        NoAccount: The store is empty.
    """

    sessions: tuple[tuple[RoomId, MegolmSessionId], ...]


@attrs.frozen(kw_only=True, field_transformer=checked)
class CancelRoomKeyRequests(Command[None]):
    """Ask no longer for the keys of these sessions. Of others, nothing happens.

    Returns:
        None

    Raises:
        NoAccount: The store is empty.
    """

    sessions: tuple[tuple[RoomId, MegolmSessionId], ...]


@attrs.frozen(kw_only=True)
class RoomKeyRequest:
    """A request for a room key, still open."""

    room_id: RoomId
    session_id: MegolmSessionId
    request_id: RequestId
    """As in ``m.room_key_request``."""
    made: int
    """Milliseconds since 1970: when it was last sent."""
    devices: tuple[DeviceId, ...]
    """Who was asked."""
    refused: dict[DeviceId, str]
    """Who won't send it, and the code that says why (spec: m.room_key.withheld); as the homeserver delivers that, in
    clear."""


@attrs.frozen(kw_only=True)
class RoomKeyRequests(Query[tuple[RoomKeyRequest, ...]]):
    """The requests for room keys that are still open, oldest first.

    Returns:
        tuple[RoomKeyRequest, ...]
    """


@attrs.frozen(kw_only=True)
class RoomKeyRequestRefused(SharedEvent):
    """One of our user's devices says that it won't send a key that was asked for."""

    room_id: RoomId
    session_id: MegolmSessionId
    device_id: DeviceId
    code: str
    """Of ``m.room_key.withheld``: ``m.unavailable``, say. It came in clear."""
