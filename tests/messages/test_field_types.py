"""What a message's constructor takes, what it says of anything else, and what it makes of it."""

from __future__ import annotations

import enum
import math
from typing import Any

import pytest

from olmstate.messages import (
    AddDevices,
    Curve25519Key,
    DecryptRoomEvents,
    DecryptToDevice,
    DeviceAddress,
    DeviceId,
    EncryptionSettings,
    EncryptRoomEvent,
    ExportKeyFile,
    ImportAccount,
    JsonObject,
    MarkKeysPublished,
    OlmSessionPickle,
    PrepareRoomKey,
    ReceiveSync,
    Response,
    RoomId,
    RotationPeriod,
    ShareRoomKey,
    UserId,
)

Arguments = dict[str, Any]

ROOM = RoomId("!room:example.org")
BOB = DeviceAddress(user_id=UserId("@bob:example.org"), device_id=DeviceId("BOB"))
NAN = math.nan
HUGE = 10**4301
"""Python refuses to write it."""


WRONG_TYPES: list[tuple[type[object], Arguments, str]] = [
    (PrepareRoomKey, {"room_id": None}, "PrepareRoomKey.room_id must be str, not NoneType"),
    (
        PrepareRoomKey,
        {"room_id": ROOM, "rotation": 100},
        "PrepareRoomKey.rotation must be RotationPeriod or None, not int",
    ),
    (
        ShareRoomKey,
        {"room_id": ROOM, "devices": [BOB]},
        "ShareRoomKey.devices must be tuple[DeviceAddress, ...], not list",
    ),
    (
        ShareRoomKey,
        {"room_id": ROOM, "devices": (BOB, ("@a:b", "C"))},
        "ShareRoomKey.devices[1] must be DeviceAddress, not tuple",
    ),
    (
        DecryptRoomEvents,
        {"events": ({},)},
        "DecryptRoomEvents.events[0] must be tuple[str, dict], not dict",
    ),
    (
        DecryptRoomEvents,
        {"events": ((ROOM,),)},
        "DecryptRoomEvents.events[0] must be tuple[str, dict], not a tuple of 1",
    ),
    (
        DecryptRoomEvents,
        {"events": ((ROOM, {}), (5, {}))},
        "DecryptRoomEvents.events[1][0] must be str, not int",
    ),
    (ImportAccount, {"pickle": b"", "pickle_key": b""}, "ImportAccount.pickle must be str, not bytes"),
    (ReceiveSync, {"sync": {}, "since": b"s1"}, "ReceiveSync.since must be str or None, not bytes"),
    (ReceiveSync, {"sync": bytearray()}, "ReceiveSync.sync must be dict or str or bytes, not bytearray"),
    (
        EncryptRoomEvent,
        {"room_id": ROOM, "type": "m.test", "content": {()}},
        "EncryptRoomEvent.content must be dict, not set",
    ),
    (MarkKeysPublished, {"key_ids": (1,)}, "MarkKeysPublished.key_ids[0] must be str, not int"),
    (RotationPeriod, {"messages": True}, "RotationPeriod.messages must be int, not bool"),
    (RotationPeriod, {"messages": 100.0}, "RotationPeriod.messages must be int, not float"),
]


@pytest.mark.parametrize(("cls", "arguments", "says"), WRONG_TYPES)
def test_a_value_of_the_wrong_type_is_a_type_error_that_names_the_field(
    cls: type[object], arguments: Arguments, says: str
) -> None:
    with pytest.raises(TypeError) as caught:
        cls(**arguments)
    assert says == str(caught.value)


@pytest.mark.parametrize(
    ("cls", "arguments", "says"),
    [
        (
            ImportAccount,
            {"pickle": "", "pickle_key": b"", "format": "nio"},
            "ImportAccount.format must be 'vodozemac' or 'libolm'",
        ),
        (
            Response,
            {"status": 200, "body": b"", "retry_after": math.nan},
            "Response.retry_after must be a finite number",
        ),
        (Response, {"status": 200, "body": b"", "retry_after": HUGE}, "Response.retry_after must be a finite number"),
        (RotationPeriod, {"messages": 0}, "RotationPeriod.messages must be from 1 to 9,007,199,254,740,991"),
        (
            RotationPeriod,
            {"milliseconds": HUGE},
            "RotationPeriod.milliseconds must be from 1 to 9,007,199,254,740,991",
        ),
        (ExportKeyFile, {"passphrase": "secret", "rounds": 0}, "ExportKeyFile.rounds must be from 1 to 10,000,000"),
        (ExportKeyFile, {"passphrase": "secret", "rounds": HUGE}, "ExportKeyFile.rounds must be from 1 to 10,000,000"),
    ],
)
def test_a_value_of_the_right_type_that_a_field_cannot_take_is_a_value_error(
    cls: type[object], arguments: Arguments, says: str
) -> None:
    with pytest.raises(ValueError) as caught:  # noqa: PT011 - its text is compared
        cls(**arguments)
    assert says == str(caught.value)


def test_an_error_never_shows_the_value() -> None:
    with pytest.raises(TypeError) as caught:
        OlmSessionPickle(sender_key=Curve25519Key(""), pickle=b"s3cret")  # type: ignore[arg-type]
    assert "s3cret" not in str(caught.value)


class EventType(enum.StrEnum):
    """As many programs have it."""

    MESSAGE = "m.room.message"


class Text(str):
    """An id of somebody's own class."""

    __slots__ = ()


def test_a_member_of_an_enumeration_becomes_plain_text() -> None:
    # msgspec writes no others, so what was stored of it felled the supervisor
    message = EncryptRoomEvent(room_id=RoomId(Text("!a:b")), type=EventType.MESSAGE, content={})
    assert (str, str) == (type(message.room_id), type(message.type))
    assert ("!a:b", "m.room.message") == (message.room_id, message.type)


def test_each_item_of_a_tuple_becomes_plain_too() -> None:
    (pair,) = DecryptRoomEvents(events=((RoomId(Text("!a:b")), {}),)).events
    assert (tuple, str, "!a:b") == (type(pair), type(pair[0]), pair[0])


def test_what_a_homeserver_has_sent_in_place_of_an_object_is_no_fault_of_the_program() -> None:
    responses: list[Any] = [{}, [], None, "text", 5, 1.5, True]
    for response in responses:
        assert response is AddDevices(response=response).response


def test_what_a_homeserver_has_put_among_events_costs_no_others() -> None:
    events: Any = ({"type": "m.dummy"}, None, 5)
    assert events is DecryptToDevice(events=events).events
    pairs: Any = ((ROOM, None), (ROOM, {}))
    assert pairs is DecryptRoomEvents(events=pairs).events


@pytest.mark.parametrize(
    ("content", "expected"),
    [
        ({"algorithm": "m.megolm.v1.aes-sha2"}, RotationPeriod()),
        (
            {"rotation_period_msgs": 20, "rotation_period_ms": 3_600_000},
            RotationPeriod(messages=20, milliseconds=3_600_000),
        ),
        ({"rotation_period_msgs": "20", "rotation_period_ms": True}, RotationPeriod()),
        ({"rotation_period_msgs": 0, "rotation_period_ms": 1.5}, RotationPeriod()),
        ({"rotation_period_msgs": HUGE, "rotation_period_ms": None}, RotationPeriod()),
        # no key could be delivered before it was due again: a room's admin kept everybody from sending
        ({"rotation_period_ms": 1}, RotationPeriod(milliseconds=60_000)),
    ],
)
def test_a_rooms_own_numbers_are_used_as_far_as_they_are_some(content: JsonObject, expected: RotationPeriod) -> None:
    assert expected == RotationPeriod.from_content(content)
    assert expected == EncryptionSettings.from_content(content).rotation


@pytest.mark.parametrize("content", [None, True, 5, "text", [], ["text"], math.nan])
def test_what_is_sent_in_place_of_a_rooms_settings_says_nothing(content: Any) -> None:  # noqa: ANN401 - as it may come
    # it was an AttributeError, in a sync whose token was stored
    assert RotationPeriod() == RotationPeriod.from_content(content)
    assert EncryptionSettings(algorithm="") == EncryptionSettings.from_content(content, content)
