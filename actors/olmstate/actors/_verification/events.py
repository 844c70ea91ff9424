"""What comes into a flow: a peer's messages, parsed, and what the user and the homeserver do.

Owns: telling a verification's events from others, their flow id, and their fields.
Rule: an event that names its flow always comes out, as `Malformed` if it is nothing better, because the peer must be
told. One that doesn't is `MalformedMessage`.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from hashlib import sha256
from typing import Final, TypeAlias

from olmstate.actors._wire import base64
from olmstate.actors._wire.curve25519 import curve25519_key
from olmstate.actors._wire.quiet_struct import QuietStruct
from olmstate.actors._wire.signatures import canonical_json
from olmstate.actors._wire.untrusted_json import as_object, integer, is_object, json_object, optional, string, strings
from olmstate.messages import Json, JsonObject, MalformedMessage

from .sas import Macs

PREFIX: Final = "m.key.verification."
REQUEST: Final = "m.key.verification.request"
READY: Final = "m.key.verification.ready"
START: Final = "m.key.verification.start"
ACCEPT: Final = "m.key.verification.accept"
KEY: Final = "m.key.verification.key"
MAC: Final = "m.key.verification.mac"
DONE: Final = "m.key.verification.done"
CANCEL: Final = "m.key.verification.cancel"
ROOM_MESSAGE: Final = "m.room.message"
"""Of a request in a room; its ``msgtype`` is `REQUEST`."""

_LONGEST_REASON: Final = 200

# --- from the peer ------------------------------------------------------------------------------------------------


class Envelope(QuietStruct, frozen=True, kw_only=True):
    """Where an event came from. None of it is proved but ``sender_device``."""

    sender: str
    """User id."""
    room_id: str | None = None
    """None: to-device."""
    sender_device: str | None = None
    """Of a to-device event: the device whose Olm session it came through; None if it came unencrypted."""
    event_id: str | None = None
    """In a room."""
    timestamp: int | None = None
    """In a room: ``origin_server_ts``, ms."""


class Incoming(QuietStruct, frozen=True, kw_only=True):
    """One event of a flow."""

    envelope: Envelope
    flow_id: str
    """Transaction id, or the request's event id."""
    digest: str
    """Of its type and content: the same again is a replay."""
    type: str


class Request(Incoming, frozen=True, kw_only=True):
    """Somebody wants to verify."""

    from_device: str
    methods: tuple[str, ...]
    timestamp: int
    """ms, by the clock of the requesting device, or in a room of the homeserver."""
    to: str | None = None
    """In a room: the user who is asked."""


class Ready(Incoming, frozen=True, kw_only=True):
    """A device takes the request."""

    from_device: str
    methods: tuple[str, ...]


class Start(Incoming, frozen=True, kw_only=True):
    """A method begins."""

    from_device: str
    method: str
    content: bytes
    """Canonical JSON of all of it: the commitment is over that."""
    key_agreement_protocols: tuple[str, ...] = ()
    hashes: tuple[str, ...] = ()
    message_authentication_codes: tuple[str, ...] = ()
    short_authentication_string: tuple[str, ...] = ()
    secret: bytes = b""
    """Of a QR code."""


class Accept(Incoming, frozen=True, kw_only=True):
    """SAS: what was chosen, and the commitment."""

    key_agreement_protocol: str
    hash: str
    message_authentication_code: str
    short_authentication_string: tuple[str, ...]
    commitment: str


class Key(Incoming, frozen=True, kw_only=True):
    """SAS: the peer's ephemeral key, in its one spelling."""

    key: str


class Mac(Incoming, frozen=True, kw_only=True):
    """SAS: what the peer vouches for."""

    macs: Macs


class Done(Incoming, frozen=True, kw_only=True):
    """The peer is through."""


class Cancel(Incoming, frozen=True, kw_only=True):
    """The peer gives up."""

    code: str
    reason: str


class Malformed(Incoming, frozen=True, kw_only=True):
    """Not what its type should be."""

    reason: str


# --- from the user ------------------------------------------------------------------------------------------------


class AcceptRequest(QuietStruct, frozen=True, kw_only=True):
    """Take the request, or the ``start`` that came without one.

    Attributes:
        methods: What the user's program can do, of `methods.METHODS`.
    """

    methods: tuple[str, ...]


class StartSas(QuietStruct, frozen=True, kw_only=True):
    """Compare emoji or numbers."""


class ShowQr(QuietStruct, frozen=True, kw_only=True):
    """Show a code. Again: the same."""


class ScanQr(QuietStruct, frozen=True, kw_only=True):
    """The peer's code was scanned."""

    data: bytes


class Confirm(QuietStruct, frozen=True, kw_only=True):
    """The strings are the same; or: the peer's device says that it has scanned our code."""


class Mismatch(QuietStruct, frozen=True, kw_only=True):
    """The strings differ."""


class GiveUp(QuietStruct, frozen=True, kw_only=True):
    """Reject the request, or cancel."""


# --- from elsewhere -----------------------------------------------------------------------------------------------


class Sent(QuietStruct, frozen=True, kw_only=True):
    """Our request is in the room: from the homeserver's answer, or from a sync that has our event. Both may come."""

    event_id: str


class NotSent(QuietStruct, frozen=True, kw_only=True):
    """The homeserver won't take our request for the room."""


class SecondAttempt(QuietStruct, frozen=True, kw_only=True):
    """The same device has begun another flow."""


class Tick(QuietStruct, frozen=True, kw_only=True):
    """Nothing has happened but time."""


Action: TypeAlias = AcceptRequest | StartSas | ShowQr | ScanQr | Confirm | Mismatch | GiveUp
Event: TypeAlias = Incoming | Action | Sent | NotSent | SecondAttempt | Tick


# --- reading ------------------------------------------------------------------------------------------------------


def is_verification(type: str, content: Json) -> bool:  # noqa: A002 - the event's field
    """Whether an event, to-device or of a room, is for this capability."""
    if type == ROOM_MESSAGE:
        return is_object(content) and content.get("msgtype") == REQUEST
    return type.startswith(PREFIX)


def parse(type: str, content: Json, envelope: Envelope) -> Incoming:  # noqa: A002 - the event's field
    """Read an event of a flow.

    Args:
        type: The event's, decrypted.
        content: The event's, decrypted. In a room with ``m.relates_to``, as
            `DecryptRoomEvent` gives it.
        envelope: Where it came from.

    Raises:
        MalformedMessage: It doesn't say which flow it is of, has no canonical JSON, or is of a type that we don't
            know. There is nothing to answer.
    """
    content = as_object(content, "the content")
    kind = REQUEST if type == ROOM_MESSAGE else type
    read = _READERS.get(kind)
    if read is None:
        raise MalformedMessage(reason="an unknown type of verification event")
    octets = canonical_json(content)
    common: dict[str, Json] = {
        "envelope": envelope,
        "flow_id": _flow_id(kind, content, envelope),
        "digest": base64.encode(sha256(kind.encode() + b"\0" + octets).digest()),
        "type": kind,
    }
    try:
        return read(common, content, envelope, octets)
    except MalformedMessage as error:
        reason = error.reason
    return Malformed(reason=reason, **common)


def _flow_id(kind: str, content: JsonObject, envelope: Envelope) -> str:
    flow_id = _named_flow(kind, content, envelope)
    if flow_id:
        return flow_id
    raise MalformedMessage(reason="an empty id names no flow")  # and nobody could ask for anything by it


def _named_flow(kind: str, content: JsonObject, envelope: Envelope) -> str:
    if envelope.room_id is None:
        return string(content, "transaction_id")
    if kind == REQUEST:
        return string({"event_id": envelope.event_id}, "event_id")
    relation = json_object(content, "m.relates_to")
    if string(relation, "rel_type") != "m.reference":
        raise MalformedMessage(reason="not a reference to a request")
    return string(relation, "event_id")


_Common: TypeAlias = Mapping[str, Json]
_Reader: TypeAlias = Callable[[_Common, JsonObject, Envelope, bytes], Incoming]


def _request(common: _Common, content: JsonObject, envelope: Envelope, octets: bytes) -> Incoming:
    del octets
    in_room = envelope.room_id is not None
    return Request(
        from_device=string(content, "from_device"),
        methods=strings(content, "methods"),
        timestamp=integer({"timestamp": envelope.timestamp} if in_room else content, "timestamp"),
        to=string(content, "to") if in_room else None,
        **common,
    )


def _ready(common: _Common, content: JsonObject, envelope: Envelope, octets: bytes) -> Incoming:
    del envelope, octets
    return Ready(from_device=string(content, "from_device"), methods=strings(content, "methods"), **common)


def _start(common: _Common, content: JsonObject, envelope: Envelope, octets: bytes) -> Incoming:
    del envelope
    method = string(content, "method")
    fields: dict[str, Json] = {}
    if method == "m.sas.v1":
        names = ("key_agreement_protocols", "hashes", "message_authentication_codes", "short_authentication_string")
        fields = {name: strings(content, name) for name in names}
    elif method == "m.reciprocate.v1":
        fields = {"secret": base64.decode(string(content, "secret"), "the secret")}
    return Start(from_device=string(content, "from_device"), method=method, content=octets, **fields, **common)


def _accept(common: _Common, content: JsonObject, envelope: Envelope, octets: bytes) -> Incoming:
    del envelope, octets
    # the schema wants `method` too, and nothing says what for
    return Accept(
        key_agreement_protocol=string(content, "key_agreement_protocol"),
        hash=string(content, "hash"),
        message_authentication_code=string(content, "message_authentication_code"),
        short_authentication_string=strings(content, "short_authentication_string"),
        commitment=string(content, "commitment"),
        **common,
    )


def _key(common: _Common, content: JsonObject, envelope: Envelope, octets: bytes) -> Incoming:
    del envelope, octets
    return Key(key=curve25519_key(string(content, "key"), "the ephemeral key"), **common)


def _mac(common: _Common, content: JsonObject, envelope: Envelope, octets: bytes) -> Incoming:
    del envelope, octets
    macs = json_object(content, "mac")
    return Mac(macs=Macs(mac={key: string(macs, key) for key in macs}, keys=string(content, "keys")), **common)


def _done(common: _Common, content: JsonObject, envelope: Envelope, octets: bytes) -> Incoming:
    del content, envelope, octets
    return Done(**common)


def _cancel(common: _Common, content: JsonObject, envelope: Envelope, octets: bytes) -> Incoming:
    del envelope, octets
    reason = optional(string, content, "reason") or ""
    return Cancel(code=string(content, "code"), reason=reason[:_LONGEST_REASON], **common)


_READERS: Final[Mapping[str, _Reader]] = {
    REQUEST: _request,
    READY: _ready,
    START: _start,
    ACCEPT: _accept,
    KEY: _key,
    MAC: _mac,
    DONE: _done,
    CANCEL: _cancel,
}
