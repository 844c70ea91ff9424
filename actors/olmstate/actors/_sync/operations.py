"""Taking in a /sync response (spec: Syncing, End-to-end encryption extensions)."""

from __future__ import annotations

from itertools import chain

from olmstate.actors._account.actor import ALGORITHM, AccountActor, StoreSync
from olmstate.actors._account.operations import one_time_key_count
from olmstate.actors._device_lists.operations import catch_up, receive_device_lists
from olmstate.actors._engine.slices import in_slices
from olmstate.actors._engine.turn import Turn
from olmstate.actors._rooms.actor import Discard, OutboundGroupSessionsActor
from olmstate.actors._rooms.leaves import rooms_with_leaves
from olmstate.actors._to_device.receiving import receive_to_device
from olmstate.actors._wire.untrusted_json import answer, array_of, if_sound, json_object, optional, string, strings
from olmstate.messages import JsonObject, ReceiveSync, RoomKeysReceived, SyncReceived, SyncToken


async def receive_sync(turn: Turn, command: ReceiveSync) -> SyncReceived:
    """Take in to-device events, key counts and the token, for one commit."""
    sync = answer(command.sync, "the sync response")
    state = _parse_sync(sync, command.since, turn.now)
    to_device = optional(json_object, sync, "to_device") or {}
    events = optional(array_of, to_device, "events") or ()
    before = len(turn.events)
    outcomes = await receive_to_device(turn, events)
    came = [event.room_keys for event in turn.events[before:] if isinstance(event, RoomKeysReceived)]
    if command.since is None:
        await catch_up(turn, await turn[AccountActor].ask(SyncToken()), state.next_batch)
    lists = if_sound(json_object, sync, "device_lists") or {}
    await receive_device_lists(turn, {name: if_sound(strings, lists, name) or () for name in ("changed", "left")})
    for room_id in await in_slices(rooms_with_leaves(sync)):
        await turn[OutboundGroupSessionsActor].ask(Discard(room_id=room_id))
    token_stored = await turn[AccountActor].ask(state)
    return SyncReceived(to_device=outcomes, room_keys=tuple(chain.from_iterable(came)), token_stored=token_stored)


def _parse_sync(sync: JsonObject, since: str | None, now: int) -> StoreSync:
    unused = if_sound(strings, sync, "device_unused_fallback_key_types")
    return StoreSync(
        next_batch=string(sync, "next_batch"),
        since=since,
        one_time_key_count=one_time_key_count(sync.get("device_one_time_keys_count")),
        fallback_key_unused=None if unused is None else ALGORITHM in unused,
        now=now,
    )
