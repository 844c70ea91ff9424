"""What an event relates to is in the clear part, and is read from there if it is nowhere else."""

from __future__ import annotations

import json

import pytest
from vodozemac import GroupSession

from olmstate.actors import Supervisor
from olmstate.messages import (
    DecryptRoomEvent,
    EncryptRoomEvent,
    Json,
    JsonObject,
    MarkRoomKeyShared,
    PrepareRoomKey,
    RoomId,
)
from tests.operations.peer import Peer

ROOM = RoomId("!room:example.org")
REPLY: JsonObject = {"m.in_reply_to": {"event_id": "$first"}}


async def encrypt(alice: Supervisor, content: JsonObject) -> JsonObject:
    key = await alice.ask(PrepareRoomKey(room_id=ROOM))
    await alice.ask(MarkRoomKeyShared(room_id=ROOM, session_id=key.session_id, devices=()))
    return (await alice.ask(EncryptRoomEvent(room_id=ROOM, type="m.room.message", content=content))).content


async def test_it_is_in_the_clear_part_too_and_a_copy(alice: Supervisor) -> None:
    content: JsonObject = {"body": "yes", "m.relates_to": {**REPLY}}
    for _ in range(2):  # in a turn, and with a reserved index
        outer = await encrypt(alice, content)
        assert REPLY == outer["m.relates_to"]
        assert outer["m.relates_to"] is not content["m.relates_to"]
        event = {"event_id": "$1", "sender": "@alice:example.org", "content": outer}
        read = await alice.ask(DecryptRoomEvent(room_id=ROOM, event=event))
        assert content == read.content


async def test_an_event_without_one_has_none(alice: Supervisor) -> None:
    assert "m.relates_to" not in await encrypt(alice, {"body": "hello"})


@pytest.mark.parametrize(
    ("inside", "outside", "expected"),
    [
        (None, REPLY, REPLY),
        ({"rel_type": "m.thread"}, REPLY, {"rel_type": "m.thread"}),
        (REPLY, None, REPLY),
        (None, None, None),
        (None, json.loads("[" * 400 + "]" * 400), None),
    ],
)
async def test_what_is_encrypted_counts_and_else_what_is_in_the_clear(
    alice: Supervisor, inside: Json, outside: Json, expected: Json
) -> None:
    bob, group = Peer(), GroupSession()
    await alice.ask(bob.add_room_key(ROOM, group))
    content = {"body": "yes"} | ({} if inside is None else {"m.relates_to": inside})
    event = bob.room_event(ROOM, group, content)
    if outside is not None:
        event["content"]["m.relates_to"] = outside
    read = await alice.ask(DecryptRoomEvent(room_id=ROOM, event=event))
    assert expected == read.content.get("m.relates_to")
