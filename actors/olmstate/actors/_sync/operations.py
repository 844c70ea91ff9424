"""Taking in a /sync response (spec: Syncing, End-to-end encryption extensions)."""

from __future__ import annotations

from itertools import chain

import msgspec

from olmstate.actors._account.actor import ALGORITHM, AccountActor, StoreSync
from olmstate.actors._account.operations import one_time_key_count
from olmstate.actors._account_data.operations import account_data_in, receive_account_data
from olmstate.actors._device_lists.operations import catch_up, receive_device_lists
from olmstate.actors._engine.capability import Asking
from olmstate.actors._engine.slices import in_slices
from olmstate.actors._engine.turn import Turn
from olmstate.actors._requests.actor import HomeserverAnswered, RequestsActor
from olmstate.actors._room_settings.actor import Told
from olmstate.actors._room_settings.from_sync import settings_in
from olmstate.actors._room_settings.operations import receive_settings
from olmstate.actors._rooms.actor import Discard, OutboundGroupSessionsActor
from olmstate.actors._rooms.leaves import rooms_with_leaves
from olmstate.actors._to_device.receiving import receive_to_device
from olmstate.actors._to_device.turns import in_turns
from olmstate.actors._wire.json_parts import answer, free
from olmstate.actors._wire.quiet_struct import QuietStruct
from olmstate.actors._wire.untrusted_json import array_of, if_sound, json_object, optional, string, strings
from olmstate.messages import (
    Command,
    Json,
    JsonObject,
    MegolmSessionId,
    OneTimeKeysLow,
    ReceiveSync,
    RoomId,
    RoomKeysReceived,
    SyncReceived,
    SyncToken,
    ToDeviceOutcome,
)


class _Rest(QuietStruct, kw_only=True, frozen=True):
    """What a response brings besides to-device events."""

    state: StoreSync
    device_lists: JsonObject
    rooms_with_leaves: tuple[RoomId, ...]
    settings: dict[RoomId, Told]
    account_data: dict[str, JsonObject]


class Received(QuietStruct, kw_only=True, frozen=True):
    """What some events were, and whether the token was stored."""

    to_device: tuple[ToDeviceOutcome | None, ...]
    """None for one that waits for a later turn: then nothing was done of the rest."""
    room_keys: tuple[tuple[RoomId, MegolmSessionId], ...]
    token_stored: bool = False


class ReceiveSome(QuietStruct, Command[Received], kw_only=True, frozen=True):
    """Take in some to-device events of a response; with the last of them, the rest."""

    events: tuple[Json, ...]
    rest: _Rest | None = None


async def receive_sync(supervisor: Asking, command: ReceiveSync) -> SyncReceived:
    """Take in to-device events, and, with the last of them, key counts and the token: usually all in one commit."""
    sync = await in_slices(answer(command.sync, "the sync response"))
    lists = if_sound(json_object, sync, "device_lists") or {}
    rest = _Rest(
        state=_parse_sync(sync, command.since),
        device_lists={name: if_sound(strings, lists, name) or () for name in ("changed", "left")},
        rooms_with_leaves=await in_slices(rooms_with_leaves(sync)),
        settings=await in_slices(settings_in(sync)),
        account_data=await in_slices(account_data_in(sync)),
    )
    if isinstance(command.sync, str | bytes):
        await in_slices(free(sync.get("rooms")))  # all that is wanted of it was copied
    to_device = optional(json_object, sync, "to_device") or {}
    events = optional(array_of, to_device, "events") or ()
    received: list[Received] = []

    async def take(events: tuple[Json, ...], *, last: bool) -> tuple[ToDeviceOutcome | None, ...]:
        received.append(await supervisor.ask(ReceiveSome(events=events, rest=rest if last else None)))
        return received[-1].to_device

    outcomes = await in_turns(supervisor, events, take)
    return SyncReceived(
        to_device=outcomes,
        room_keys=tuple(chain.from_iterable(each.room_keys for each in received)),
        token_stored=received[-1].token_stored,
    )


async def receive_some(turn: Turn, command: ReceiveSome) -> Received:
    """Take in some to-device events, and the rest if none of them waits."""
    before = len(turn.events)
    outcomes = await receive_to_device(turn, command.events)
    came = [event.room_keys for event in turn.events[before:] if isinstance(event, RoomKeysReceived)]
    token_stored = False
    if command.rest is not None and all(outcome is not None for outcome in outcomes):
        token_stored = await _receive_rest(turn, command.rest)
    return Received(to_device=outcomes, room_keys=tuple(chain.from_iterable(came)), token_stored=token_stored)


async def _receive_rest(turn: Turn, rest: _Rest) -> bool:
    if rest.state.since is None:
        await catch_up(turn, await turn[AccountActor].ask(SyncToken()), rest.state.next_batch)
    await receive_device_lists(turn, rest.device_lists)
    await receive_account_data(turn, rest.account_data)
    await receive_settings(turn, rest.settings)
    for room_id in rest.rooms_with_leaves:
        await turn[OutboundGroupSessionsActor].ask(Discard(room_id=room_id))
    if turn[RequestsActor].some_wait_for_homeserver:
        await turn[RequestsActor].ask(HomeserverAnswered(now=turn.now))
    stored = await turn[AccountActor].ask(msgspec.structs.replace(rest.state, now=turn.now))
    if stored.ran_low and rest.state.one_time_key_count is not None:
        turn.events.append(OneTimeKeysLow(count=rest.state.one_time_key_count))
    return stored.token_stored


def _parse_sync(sync: JsonObject, since: str | None) -> StoreSync:
    unused = if_sound(strings, sync, "device_unused_fallback_key_types")
    return StoreSync(
        next_batch=string(sync, "next_batch"),
        since=since,
        one_time_key_count=one_time_key_count(sync.get("device_one_time_keys_count")),
        fallback_key_unused=None if unused is None else ALGORITHM in unused,
        now=0,  # of the turn that stores it
    )
