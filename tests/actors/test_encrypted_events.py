"""Which events of a sync are handed to `DecryptRoomEvents`."""

from __future__ import annotations

from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from olmstate.actors import encrypted_events
from olmstate.messages import Json, JsonObject, RoomId

ONE, TWO = RoomId("!one:example.org"), RoomId("!two:example.org")
ENCRYPTED: JsonObject = {"type": "m.room.encrypted", "event_id": "$1", "content": {"algorithm": "any"}}
NAMES = ("rooms", "join", "timeline", "events", "type", "content", "m.room.encrypted", str(ONE))


def sync(**rooms: Json) -> JsonObject:
    return {"next_batch": "s1", "rooms": rooms}


def room(*events: Json) -> JsonObject:
    return {"timeline": {"events": list(events)}}


def test_those_of_joined_rooms_come_in_their_order_each_with_its_room() -> None:
    later = {**ENCRYPTED, "event_id": "$2"}
    plain: JsonObject = {"type": "m.room.message", "content": {"body": "hello"}}
    found = encrypted_events(sync(join={ONE: room(ENCRYPTED, plain, later), TWO: room(later)}))
    assert ((ONE, ENCRYPTED), (ONE, later), (TWO, later)) == found


def test_state_other_rooms_and_what_was_redacted_have_nothing_to_decrypt() -> None:
    state = {"state": {"events": [ENCRYPTED]}}
    redacted: JsonObject = {**ENCRYPTED, "content": {}}
    assert () == encrypted_events(sync(join={ONE: {**state, **room(redacted)}}, leave={TWO: room(ENCRYPTED)}))


@pytest.mark.parametrize("part", [{}, {"rooms": {}}, sync(), sync(join={}), sync(join={ONE: {}}), {"rooms": None}])
def test_what_a_homeserver_leaves_out_is_nothing(part: JsonObject) -> None:
    assert () == encrypted_events(part)


@pytest.mark.parametrize("given_instead", [None, b'{"rooms": {}}', "{}", [], 1])
def test_what_was_not_parsed_is_refused_with_the_arguments_name(given_instead: Any) -> None:  # noqa: ANN401 - the wrong types
    with pytest.raises(TypeError, match=f"^sync must be a parsed JSON object, not {type(given_instead).__name__}$"):
        encrypted_events(given_instead)


@given(
    st.recursive(
        st.none() | st.integers() | st.sampled_from(NAMES),
        lambda inner: st.lists(inner) | st.dictionaries(st.sampled_from(NAMES), inner),
    ),
)
def test_what_is_not_of_the_right_shape_is_passed_over(value: Json) -> None:
    whole = sync(join={ONE: room(value, ENCRYPTED), TWO: value})
    assert (ONE, ENCRYPTED) in encrypted_events(whole)
    for part in ({"rooms": value}, sync(join=value), sync(join={ONE: {"timeline": value}})):
        assert all(event["type"] == "m.room.encrypted" for _, event in encrypted_events(part))
