"""Answering our own verified devices' requests for room keys; who isn't verified is refused, with the reason."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from olmstate.actors._account.operations import own_device
from olmstate.actors._engine.turn import Turn
from olmstate.actors._room_keys.operations import forwarded_keys
from olmstate.actors._wire.algorithms import MEGOLM
from olmstate.actors._wire.untrusted_json import json_object, string
from olmstate.messages import DeviceId, JsonObject, MegolmSessionId, RoomId

from .actor import ChangeForwards, KeyRequestsActor, WaitingForwards
from .answering import Answer, Answering
from .stored import WaitingForwardRecord, WaitingName


def _read(device_id: DeviceId, request_id: str, content: JsonObject) -> WaitingForwardRecord | None:
    body = json_object(content, "body")
    if body.get("algorithm") != MEGOLM:
        return None
    return WaitingForwardRecord(
        device_id=device_id,
        request_id=request_id,
        room_id=RoomId(string(body, "room_id")),
        session_id=MegolmSessionId(string(body, "session_id")),
    )


def _wanted(record: WaitingForwardRecord) -> str:
    return f"{record.session_id} {record.room_id}"


async def _waiting(turn: Turn) -> Mapping[WaitingName, WaitingForwardRecord]:
    return await turn[KeyRequestsActor].ask(WaitingForwards())


async def _change(turn: Turn, records: Sequence[WaitingForwardRecord], over: Sequence[WaitingName]) -> None:
    await turn[KeyRequestsActor].ask(ChangeForwards(records=tuple(records), over=tuple(over)))


async def _answer(turn: Turn, record: WaitingForwardRecord, is_verified: bool) -> Answer:  # noqa: FBT001 - as `Answering` calls it
    exported = await forwarded_keys(turn, (record.room_id, record.session_id)) if is_verified else []
    if exported:
        contents = tuple(map(_forward, exported))
        return Answer(type="m.forwarded_room_key", contents=contents, encrypted=True)
    refusal: JsonObject = {
        "algorithm": MEGOLM,
        "room_id": record.room_id,
        "session_id": record.session_id,
        "sender_key": (await own_device(turn)).identity.curve25519,
        "code": "m.unavailable" if is_verified else "m.unverified",
    }
    return Answer(type="m.room_key.withheld", contents=(refusal,), encrypted=False)


def _forward(exported: JsonObject) -> JsonObject:
    """``content`` of an ``m.forwarded_room_key``, from an entry of an export."""
    content = {**exported, "sender_claimed_ed25519_key": exported["sender_claimed_keys"]["ed25519"]}
    del content["sender_claimed_keys"]
    return content


FORWARDS = Answering(about="key answer", read=_read, wanted=_wanted, waiting=_waiting, change=_change, answer=_answer)
"""What is done about requests for room keys."""
