"""Tracking users: what a sync tells of their devices, and the queries that are due (spec: Device lists)."""

from __future__ import annotations

import json
from collections.abc import Collection, Iterable, Mapping
from typing import Final
from urllib.parse import urlencode

import msgspec

from olmstate.actors._account.operations import own_device
from olmstate.actors._devices.operations import add_devices, distinct
from olmstate.actors._engine.capability import BesideTurns
from olmstate.actors._engine.slices import SlicesOf
from olmstate.actors._engine.turn import Turn
from olmstate.actors._identities.operations import IDENTITY_FIELDS
from olmstate.actors._requests.actor import (
    AnsweredRequest,
    BackOff,
    CommittedRequests,
    NewRequest,
    PendingRequest,
    PendingRequests,
    PutRequests,
    RequestsActor,
)
from olmstate.actors._requests.operations import NAMES_AT_ONCE, backed_off, committed_back_offs
from olmstate.actors._requests.points import Refused, halves_of
from olmstate.actors._wire.quiet_struct import QuietStruct
from olmstate.actors._wire.untrusted_json import if_sound, is_object, json_object, optional, strings
from olmstate.actors._wire.user_ids import server_of
from olmstate.messages import (
    AddDevices,
    Command,
    JsonObject,
    OutdatedUsers,
    RequestId,
    RequestKind,
    TrackUsers,
    UserId,
)
from olmstate.storage.owner import is_user_id

from .actor import DeviceListsActor, Invalidated, Invalidations, Track, TrackedUsersPage, Untrack, UpToDate

USERS_A_QUERY: Final = 250
USERS_AT_ONCE: Final = 96
"""Tracked, or found outdated, without giving other tasks a chance."""
SERVER_TIMEOUT: Final = 10_000
"""Milliseconds that the homeserver may wait for others (spec: POST /keys/query)."""
CHANGES: Final = "device lists"
"""Subject of requests for ``/keys/changes``."""
QUERY: Final = "keys query"
"""What is backed off when the own homeserver has refused a query, whoever it was about."""


class PrepareQueries(QuietStruct, Command[tuple[RequestId, ...]], kw_only=True, frozen=True):
    """Track users, and ask for the devices of those who are outdated, unless somebody does.

    The reply are this process's requests about them, also those that it has made before.
    """

    users: tuple[UserId, ...]


# --- tracking -----------------------------------------------------------------------------------------------


async def track_users(turn: Turn, command: TrackUsers) -> tuple[UserId, ...]:
    """Track users, and with them the device's own user, who is in each room."""
    own = (await own_device(turn)).identity.user_id
    wanted = await distinct(command.users)
    new: list[UserId] = []
    async for some in SlicesOf(wanted, USERS_AT_ONCE):
        new += await turn[DeviceListsActor].ask(Track(users=some))
    if own not in wanted:
        await turn[DeviceListsActor].ask(Track(users=(own,)))
    return tuple(new)


async def receive_device_lists(turn: Turn, told: JsonObject) -> None:
    """Take in what a sync, or ``/keys/changes``, tells of device lists (spec: Extensions to /sync).

    Our own user, who has left the last room, has other devices all the same.

    Raises:
        MalformedMessage: It is of the wrong shape.
    """
    own = (await own_device(turn)).identity.user_id
    left = [user_id for user_id in optional(strings, told, "left") or () if user_id != own]
    changed = optional(strings, told, "changed") or ()
    async for some in SlicesOf(map(UserId, left), USERS_AT_ONCE):
        await turn[DeviceListsActor].ask(Untrack(users=some))
    async for some in SlicesOf(map(UserId, changed), USERS_AT_ONCE):
        await turn[DeviceListsActor].ask(Invalidated(users=some))


async def catch_up(turn: Turn, since: str | None, now_at: str) -> None:
    """A sync began anew: learn whose devices have changed since the last one, or, if there was none, ask for all."""
    _, tracked = await turn[DeviceListsActor].ask(TrackedUsersPage(limit=1))
    if not tracked:
        return
    pending = await turn[RequestsActor].ask(PendingRequests(kind=RequestKind.KEYS_CHANGES))
    if since is None or pending:
        await _invalidate_all(turn)
        return
    changes = NewRequest(
        kind=RequestKind.KEYS_CHANGES,
        method="GET",
        path=f"/_matrix/client/v3/keys/changes?{urlencode({'from': since, 'to': now_at})}",
        subjects=(CHANGES,),
    )
    await turn[RequestsActor].ask(PutRequests(requests=(changes,), now=turn.now))


async def take_changes(turn: Turn, answered: AnsweredRequest, response: JsonObject) -> None:  # noqa: ARG001 - an answer's function
    """Take in the answer of ``/keys/changes``."""
    await receive_device_lists(turn, response)


async def changes_refused(turn: Turn, refused: AnsweredRequest, why: Refused) -> None:  # noqa: ARG001 - a refusal's function
    """The homeserver doesn't know any more what has changed: ask for everybody."""
    await _invalidate_all(turn)


async def _invalidate_all(turn: Turn) -> None:
    page = TrackedUsersPage()
    while True:
        last, users = await turn[DeviceListsActor].ask(page)
        if not users:
            return
        await turn[DeviceListsActor].ask(Invalidated(users=users))
        page = msgspec.structs.replace(page, after=last)


# --- queries ------------------------------------------------------------------------------------------------


async def queries_due(supervisor: BesideTurns) -> bool:
    """Whether there are outdated users for whom nobody asks yet."""
    outdated = await supervisor.ask(OutdatedUsers())
    if not outdated:
        return False
    pending = await supervisor.ask(CommittedRequests())
    servers = await _servers(await _not_asked_for(outdated, pending))
    failing = await committed_back_offs(supervisor, {QUERY, *servers.values()})
    left = [] if QUERY in failing else [user_id for user_id, server in servers.items() if server not in failing]
    return len(left) > len(await committed_back_offs(supervisor, left))


async def make_queries(turn: Turn) -> None:
    """Ask for all outdated users for whom nobody asks yet, but for those who are backed off, or whose servers are."""
    await _ask_for(turn, await turn[DeviceListsActor].ask(Invalidations()))


async def prepare_queries(turn: Turn, command: PrepareQueries) -> tuple[RequestId, ...]:
    """Track users, and ask for those of them, and for the own user, who are outdated."""
    await track_users(turn, TrackUsers(users=command.users))
    own = (await own_device(turn)).identity.user_id
    invalidations = await turn[DeviceListsActor].ask(Invalidations())
    return await _ask_for(turn, {user: invalidations[user] for user in (*command.users, own) if user in invalidations})


async def _ask_for(turn: Turn, invalidations: Mapping[UserId, str]) -> tuple[RequestId, ...]:
    pending = await turn[RequestsActor].ask(PendingRequests(kind=RequestKind.KEYS_QUERY))
    own = tuple(each.request_id for each in pending if each.own and not invalidations.keys().isdisjoint(each.subjects))
    waiting = await _not_asked_for(invalidations, pending)
    servers = await _servers(waiting)
    failing = await backed_off(turn, {QUERY, *servers.values()})
    if failing:
        waiting = [user_id for user_id in waiting if failing.keys().isdisjoint((QUERY, servers[user_id]))]
    refused = await backed_off(turn, waiting)
    if refused:
        waiting = [user_id for user_id in waiting if user_id not in refused]
    requests = [
        _query({user_id: invalidations[user_id] for user_id in some}) async for some in SlicesOf(waiting, USERS_A_QUERY)
    ]
    return own + await turn[RequestsActor].ask(PutRequests(requests=tuple(requests), now=turn.now))


async def _servers(users: Iterable[UserId]) -> dict[UserId, str]:
    """The server of each."""
    servers: dict[UserId, str] = {}
    async for some in SlicesOf(users, USERS_A_QUERY):
        servers |= {user_id: server_of(user_id) for user_id in some}
    return servers


def _query(invalidations: Mapping[UserId, str]) -> NewRequest:
    body = {"device_keys": {user_id: list[str]() for user_id in invalidations}, "timeout": SERVER_TIMEOUT}
    return NewRequest(
        kind=RequestKind.KEYS_QUERY,
        method="POST",
        path="/_matrix/client/v3/keys/query",
        body=json.dumps(body).encode(),
        subjects=tuple(invalidations),
        context=json.dumps(invalidations).encode(),
    )


async def _not_asked_for(users: Collection[UserId], pending: Collection[PendingRequest]) -> list[UserId]:
    asked_for = frozenset[str]().union(*(each.subjects for each in pending if each.kind == RequestKind.KEYS_QUERY))
    waiting: list[UserId] = []
    async for some in SlicesOf(users, USERS_A_QUERY):
        # members of a room are what others wrote; a name that is no id has a homeserver refuse the whole query
        waiting += [user_id for user_id in some if user_id not in asked_for and is_user_id(user_id)]
    return waiting


async def take_query_answer(turn: Turn, answered: AnsweredRequest, response: JsonObject) -> None:
    """Take in the answer of ``/keys/query``: of the users that were asked for, and of nobody else.

    A user of whom the answer says nothing, and whose server hasn't failed, has no devices that could be learned; what
    is known of them stays.
    """
    invalidations: dict[UserId, str] = json.loads(answered.context)
    told = {} if "device_keys" not in response else json_object(response, "device_keys")  # some leave it out if empty
    # a remote server's garbage must not cost the others of its answer
    garbage = {server_of(UserId(user_id)) for user_id, devices in told.items() if not is_object(devices)}
    believed = {user_id: told[user_id] for user_id in invalidations if is_object(told.get(user_id))}
    keys = {name: _of_users(response, name, invalidations) for name in IDENTITY_FIELDS}
    await add_devices(turn, AddDevices(response={"device_keys": believed, **keys}))
    own = (await own_device(turn)).identity
    failed = {*(optional(json_object, response, "failures") or {}), *garbage} - {server_of(own.user_id)}
    learned = {user_id: token for user_id, token in invalidations.items() if server_of(user_id) not in failed}
    asked = {server_of(user_id) for user_id in invalidations}
    succeeded = (QUERY, *(asked - failed))
    await turn[RequestsActor].ask(BackOff(failed=tuple(asked & failed), succeeded=succeeded, now=turn.now))
    async for some in SlicesOf(learned, NAMES_AT_ONCE):
        await turn[RequestsActor].ask(BackOff(failed=(), succeeded=some, now=turn.now))
    await turn[DeviceListsActor].ask(UpToDate(invalidations=learned))


async def halve_query(refused: AnsweredRequest) -> tuple[NewRequest, ...]:
    """Ask for the halves of its users: of 250, only those who are refused themselves must wait."""
    invalidations: dict[UserId, str] = json.loads(refused.context)
    return tuple(_query(dict(half)) for half in halves_of(tuple(invalidations.items())))


async def query_refused(turn: Turn, refused: AnsweredRequest, why: Refused) -> None:
    """Its users stay outdated: they are asked for again, and not at once."""
    failed = (QUERY,) if why.is_of_all else refused.subjects
    await turn[RequestsActor].ask(BackOff(failed=failed, succeeded=(), now=turn.now))


def _of_users(response: JsonObject, field: str, users: Collection[UserId]) -> JsonObject:
    """What an answer has for those who were asked for; nothing where it is garbage."""
    told = if_sound(json_object, response, field) or {}
    return {user_id: told[user_id] for user_id in users if user_id in told}
