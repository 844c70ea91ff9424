"""Messages about key requests: asking our user's other devices for room keys that this one lacks (spec: Key requests).

Only verified devices of our own user are asked, and only they are answered: verified by our user (`SetDeviceTrust`),
or signed by our user's verified identity. A key that comes that way is marked as forwarded, and counts for no more than
one from a file: who has made it is the word of whoever sent it.
"""

from __future__ import annotations

import attrs

from ._events import SharedEvent
from ._field_types import checked
from ._ids import DeviceId, JsonObject, MegolmSessionId, RequestId, RoomId
from ._message import Command, Query


@attrs.frozen(kw_only=True)
class RoomKeysRequested:
    """Who was asked for room keys."""

    devices: tuple[DeviceId, ...]
    """Our user's other verified devices. If there are none, or no key is missing, nobody was asked, and nothing is
    stored."""


@attrs.frozen(kw_only=True, field_transformer=checked)
class RequestRoomKeys(Command[RoomKeysRequested]):
    """Ask our user's other verified devices for room keys that are missing, or begin too late.

    The requests are stored, and a transport sends them. What is asked for by event is over, and those who were asked
    are told so, once the event's sender has sent the key themselves, early enough for the event. Nobody else's key ends
    a request. Neither does what a device forwards: another may have a better one, and all are taken. So cancel it when
    you have read what you wanted to.

    What its sender has sent already is not asked for. Asking again for the same session repeats the request under its
    id. At most 1,000 are kept. Then those go first, of the sender who has the most, that were answered, and the oldest.

    Returns:
        RoomKeysRequested

    Raises:
        NoAccount: The store is empty.
        MalformedMessage: One of the events isn't an encrypted one.
    """

    events: tuple[tuple[RoomId, JsonObject], ...] = attrs.field(default=(), repr=False)
    """That can't be decrypted, each with its room, as homeservers send them."""
    sessions: tuple[tuple[RoomId, MegolmSessionId], ...] = ()
    """More sessions, of which no event is there. Nobody knows who has made them: only you end these requests."""


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
    """Who won't send it, and the code that says why (spec: m.room_key.withheld). It is a claim: it comes in clear, so
    that the homeserver or any other device of our user's may have written it. The last one counts, until the device
    sends a key: whoever is named here can still answer."""


@attrs.frozen(kw_only=True)
class RoomKeyRequests(Query[tuple[RoomKeyRequest, ...]]):
    """The requests for room keys that no device has answered well enough, oldest first.

    A device has if what it forwards begins early enough, and may be the key of the events' sender. What others send is
    taken all the same, until the request is over.

    Returns:
        tuple[RoomKeyRequest, ...]
    """


@attrs.frozen(kw_only=True)
class RoomKeyRequestRefused(SharedEvent):
    """One of our user's devices says that it won't send a key that was asked for; or another does in its name.

    It is a claim, which came in clear, and ends nothing: a key that comes all the same is taken.
    """

    room_id: RoomId
    session_id: MegolmSessionId
    device_id: DeviceId
    """Which one, as was said."""
    code: str
    """Of ``m.room_key.withheld``: ``m.unavailable``, say."""
