"""Values that no field is meant for, and messages with one of them in the place of a right one.

Owns: `VALUES`, `right_arguments` (of each message class, arguments as a program would give them), and `spoiled`, which
puts a value in the place of each part of an argument in turn, however deep it is.
Rule: what is wrong is wrong in one place, so that nothing else hides what becomes of it.
"""

from __future__ import annotations

import enum
import math
from collections.abc import Iterator, Mapping, Sequence
from enum import Enum
from typing import Any, Literal, NewType, cast, get_args, get_origin, get_type_hints

import attrs
from vodozemac import Account, GroupSession, InboundGroupSession, SessionKey

import olmstate.messages
from olmstate.messages import (
    AddDevices,
    AddRoomKey,
    Command,
    CreateAccount,
    CreateOlmSessions,
    DecryptRoomEvent,
    DecryptRoomEvents,
    DecryptToDevice,
    DeviceAddress,
    DeviceIdentity,
    Devices,
    DiscardRoomKey,
    EncryptRoomEvent,
    EncryptToDevice,
    ExportKeyFile,
    ExportRoomKeys,
    IdentityKeys,
    ImportAccount,
    ImportedDevice,
    ImportKeyFile,
    ImportRoomKeys,
    JsonObject,
    MarkKeysPublished,
    MarkRequestFailed,
    MarkRequestSent,
    MarkRoomKeyShared,
    Message,
    OlmSessionPickle,
    OutgoingRequests,
    PrepareOneTimeKeys,
    PrepareRoomKey,
    Procedure,
    Query,
    ReceiveSync,
    Response,
    RotateRoomKey,
    RotationPeriod,
    ShareRoomKey,
    SignedDeviceKeys,
    Statistics,
    SyncToken,
)
from tests.operations.device import ROOM
from tests.operations.peer import Peer, claimed, exported, keys_query

_BASES = {Message, Command, Query, Procedure}
MESSAGES: list[type[Message[Any]]] = [
    found
    for name in olmstate.messages.__all__
    if isinstance(found := getattr(olmstate.messages, name), type)
    and issubclass(found, Message)
    and found not in _BASES
]
"""All that can be asked."""
PARTS: list[type[Any]] = [DeviceAddress, ImportedDevice, OlmSessionPickle, Response, RotationPeriod]
"""What users make besides, to put it into messages."""


class _Text(str):
    __slots__ = ()


class _Number(int):
    pass


class _Member(enum.StrEnum):
    ROOM = "!room:example.org"


def _endless() -> JsonObject:
    contains: JsonObject = {}
    contains["itself"] = contains
    return contains


def _deep() -> JsonObject:
    inside: JsonObject = {}
    for _ in range(100_000):
        inside = {"a": inside}
    return inside


HUGE = 10**4301
"""More digits than Python writes."""

VALUES: Mapping[str, Any] = {
    "None": None,
    "true": True,
    "zero": 0,
    "negative": -1,
    "large": 2**64,
    "huge": HUGE,
    "huge and negative": -HUGE,
    "float": 1.5,
    "whole float": 1.0,
    "nan": math.nan,
    "infinity": math.inf,
    "bytes": b"bytes",
    "bytearray": bytearray(32),
    "empty bytes": b"",
    "text": "text",
    "empty text": "",
    "surrogate": "\ud800",
    "nul": "\0",
    "long text": "x" * 100_000,
    "text of a class of one's own": _Text("text"),
    "number of a class of one's own": _Number(5),
    "member": _Member.ROOM,
    "tuple": (),
    "tuple of text": ("text",),
    "tuple of None": (None,),
    "tuple of pairs": (("@a:example.org", "C"),),
    "list": [],
    "list of text": ["text"],
    "dict": {},
    "dict of None": {"signed_curve25519": None},
    "dict of a huge number": {"signed_curve25519": HUGE},
    "dict of nan": {"a": math.nan},
    "dict of bytes": {"a": b"bytes"},
    "dict by bytes": {b"bytes": 1},
    "dict by numbers": {1: {2: 3}},
    "dict without end": _endless(),
    "deep dict": _deep(),
    "set": {"text"},
    "object": object(),
    "class": Peer,
    "function": math.sin,
    "message": SyncToken(),
    "error": ValueError("text"),
}


def right_arguments(me: DeviceIdentity) -> dict[type[Any], dict[str, Any]]:
    """What a program would give to each class, on a device that is ``me``; each is another's."""
    bob, stranger, owner = Peer(), Peer(device_id="STRANGER"), Peer(device_id="OWNER")
    group, other = GroupSession(), GroupSession()
    inbound = InboundGroupSession(SessionKey(other.session_key.to_base64()))
    ((key_id, key),) = Peer().one_time_key().items()
    account = Account()
    session = Peer().start_session(me, key)
    plain = {"type": "m.dummy", "sender": bob.user_id, "content": {"a": [1, "b", None]}}
    withheld_content = {
        "room_id": ROOM,
        "session_id": "unknown",
        "code": "m.unverified",
        "algorithm": "m.megolm.v1.aes-sha2",
    }
    withheld = {"type": "m.room_key.withheld", "sender": bob.user_id, "content": withheld_content}
    bob.sessions.append(session)
    encrypted = bob.event(me)
    room_event = bob.room_event(ROOM, group)
    real: dict[type[Any], dict[str, Any]] = {
        AddDevices: {"response": keys_query(bob)},
        AddRoomKey: attrs.asdict(bob.add_room_key(ROOM, group)),
        CreateAccount: {},
        CreateOlmSessions: {"one_time_keys": claimed([bob])},
        DecryptRoomEvent: {"room_id": ROOM, "event": room_event},
        DecryptRoomEvents: {"events": ((ROOM, room_event), (ROOM, room_event))},
        DecryptToDevice: {"events": (plain, encrypted, withheld)},
        DeviceAddress: {"user_id": bob.user_id, "device_id": bob.device_id},
        Devices: {"user_id": bob.user_id},
        DiscardRoomKey: {"room_id": ROOM},
        EncryptRoomEvent: {"room_id": ROOM, "type": "m.room.message", "content": {"body": "hello", "n": [1]}},
        EncryptToDevice: {"devices": (bob.address, stranger.address), "type": "m.test", "content": {"body": ["hello"]}},
        ExportKeyFile: {"passphrase": "secret", "rounds": 1, "room_id": ROOM},
        ExportRoomKeys: {"room_id": ROOM},
        IdentityKeys: {},
        ImportAccount: {
            "pickle": account.pickle(bytes(32)),
            "pickle_key": bytes(32),
            "format": "vodozemac",
            "olm_sessions": (OlmSessionPickle(sender_key=bob.curve25519, pickle=session.pickle(bytes(32))),),
            "devices": (_imported(bob),),
        },
        ImportedDevice: attrs.asdict(_imported(bob)),
        ImportKeyFile: {"file": "-----BEGIN MEGOLM SESSION DATA-----\n", "passphrase": "secret"},
        ImportRoomKeys: {"keys": (exported(owner, ROOM, inbound), exported(owner, ROOM, inbound))},
        MarkKeysPublished: {"key_ids": (key_id,), "one_time_key_counts": {"signed_curve25519": 5, "other": 3}},
        MarkRequestFailed: {
            "request_id": "1",
            "status": 429,
            "errcode": "M_LIMIT_EXCEEDED",
            "error": "too many",
            "retry_after": 1.5,
        },
        MarkRequestSent: {"request_id": "1", "response": {"one_time_key_counts": {"signed_curve25519": 50}}},
        MarkRoomKeyShared: {"room_id": ROOM, "session_id": group.session_id, "devices": (bob.address,)},
        OlmSessionPickle: {"sender_key": bob.curve25519, "pickle": "pickle", "user_id": bob.user_id},
        OutgoingRequests: {},
        PrepareOneTimeKeys: {},
        ReceiveSync: {
            "sync": {
                "next_batch": "s1",
                "to_device": {"events": [plain, encrypted, withheld]},
                "device_one_time_keys_count": {"signed_curve25519": 50},
                "device_unused_fallback_key_types": ["signed_curve25519"],
                "device_lists": {"changed": [bob.user_id], "left": []},
            },
            "since": "s0",
        },
        PrepareRoomKey: {"room_id": ROOM, "rotation": RotationPeriod()},
        Response: {"status": 200, "body": b"{}", "retry_after": 1.5},
        RotateRoomKey: {"room_id": ROOM, "rotation": RotationPeriod()},
        RotationPeriod: {"messages": 100, "milliseconds": 1000},
        ShareRoomKey: {"room_id": ROOM, "devices": (bob.address, stranger.address), "rotation": RotationPeriod()},
        SignedDeviceKeys: {},
        Statistics: {},
        SyncToken: {},
    }
    return {cls: _plain_arguments(cls) | real.get(cls, {}) for cls in (*MESSAGES, *PARTS)}


def _imported(peer: Peer) -> ImportedDevice:
    return ImportedDevice(
        user_id=peer.user_id, device_id=peer.device_id, curve25519=peer.curve25519, ed25519=peer.ed25519
    )


def _plain_arguments(cls: type[Any]) -> dict[str, Any]:
    """Of the right types, at least: for a message of which nobody has said what a program would give."""
    annotations = get_type_hints(cls)
    return {field.name: _plain(annotations[field.name]) for field in cls.__attrs_attrs__}


def _plain(annotation: Any) -> Any:  # noqa: ANN401 - whatever stands in an annotation
    if isinstance(annotation, NewType):
        return _plain(annotation.__supertype__)
    origin, arguments = get_origin(annotation), [part for part in get_args(annotation) if part is not ...]
    if origin is tuple:
        return tuple(map(_plain, arguments))
    if origin is dict:
        return {}
    if origin is Literal:
        return arguments[0]
    if origin is not None:  # a union
        return _plain(arguments[0])
    if annotation in _PLAIN:
        return _PLAIN[annotation]
    if issubclass(annotation, Enum):
        return next(iter(annotation))
    return annotation(**_plain_arguments(annotation))


_PLAIN: Mapping[Any, Any] = {str: "text", int: 1, float: 1.5, bool: True, bytes: b"bytes"}


def spoiled(argument: object, value: object) -> Iterator[object]:
    """``argument`` with ``value`` in the place of each of its parts, one at a time; the first is ``value`` itself."""
    yield value
    if isinstance(argument, dict):
        by_key = cast("dict[object, object]", argument)
        for key, part in by_key.items():
            for inside in spoiled(part, value):
                yield {**by_key, key: inside}
    elif isinstance(argument, list | tuple):
        items = [*cast("Sequence[object]", argument)]
        for at, part in enumerate(items):
            for inside in spoiled(part, value):
                new = [*items[:at], inside, *items[at + 1 :]]
                yield tuple(new) if isinstance(argument, tuple) else new
