"""Scenarios of tracked users, of requests to the homeserver, and of what is sent with their help."""

from __future__ import annotations

import json

from olmstate.actors._requests.actor import CommittedRequests
from olmstate.messages import (
    EncryptForRoom,
    JsonObject,
    MarkRequestFailed,
    MarkRequestSent,
    OutdatedUsers,
    OutgoingRequests,
    Request,
    RequestKind,
    SendToDevice,
    SentToDevice,
    TrackUsers,
    UpdateDevices,
)
from tests.operations.peer import keys_query
from tests.simulation.client import Client
from tests.simulation.scenario import Elsewhere, Prepared, Scenario, add_a_room_key
from tests.simulation.world import ROOMS


async def track_users(client: Client) -> Prepared:
    """Nobody was tracked."""
    bob = client.world.peers[0].user_id

    async def is_outdated(client: Client) -> None:
        assert bob in await client.supervisor.ask(OutdatedUsers())
        assert () == await client.supervisor.ask(TrackUsers(users=(bob,)))

    return Prepared(TrackUsers(users=(bob,)), is_outdated)


async def outdated_users(client: Client) -> Prepared:
    """There are some."""
    bob = client.world.peers[0].user_id
    await client.supervisor.ask(TrackUsers(users=(bob,)))
    return Prepared(OutdatedUsers(), right=lambda reply: bob in reply, elsewhere=add_a_room_key(client))


async def _query(client: Client) -> Request:
    await client.supervisor.ask(TrackUsers(users=(client.world.peers[0].user_id,)))
    return await due_query(client)


async def due_query(client: Client) -> Request:
    """The one that is made for outdated users."""
    requests = await client.supervisor.ask(OutgoingRequests())
    (query,) = [each for each in requests if each.kind is RequestKind.KEYS_QUERY]  # keys may be due, too
    return query


def _answer(client: Client, query: Request) -> JsonObject:
    wanted = set(json.loads(query.body)["device_keys"])
    return keys_query(*(peer for peer in client.world.peers if peer.user_id in wanted))


async def update_devices(client: Client) -> Prepared:
    """They are known already: nobody has to be asked."""
    query = await _query(client)
    await client.supervisor.ask(MarkRequestSent(request_id=query.request_id, response=_answer(client, query)))
    message = UpdateDevices(users=(client.world.peers[0].user_id,))
    return Prepared(message, right=lambda reply: reply == (), elsewhere=add_a_room_key(client))


async def outgoing_requests(client: Client) -> Prepared:
    """A query is due."""
    bob = client.world.peers[0].user_id
    await client.supervisor.ask(TrackUsers(users=(bob,)))
    return Prepared(OutgoingRequests(), elsewhere=add_a_room_key(client))


async def mark_request_sent(client: Client) -> Prepared:
    """A query was answered."""
    query, bob = await _query(client), client.world.peers[0].user_id

    async def is_known(client: Client) -> None:
        assert bob not in await client.supervisor.ask(OutdatedUsers())

    message = MarkRequestSent(request_id=query.request_id, response=_answer(client, query))
    return Prepared(message, is_known, elsewhere=Elsewhere(message))


async def mark_request_failed(client: Client) -> Prepared:
    """The homeserver has refused a query for good."""
    query = await _query(client)

    async def is_made_anew(client: Client) -> None:
        assert all(each.request_id != query.request_id for each in await client.supervisor.ask(OutgoingRequests()))

    message = MarkRequestFailed(request_id=query.request_id, status=404, errcode="M_UNRECOGNIZED")
    return Prepared(message, is_made_anew, elsewhere=Elsewhere(message))


async def mark_request_halved(client: Client) -> Prepared:
    """It may be one of two users that the homeserver has refused a query for."""
    query = await _query(client)
    users = sorted(json.loads(query.body)["device_keys"])

    async def each_is_asked_for_alone(client: Client) -> None:
        pending = await client.supervisor.ask(CommittedRequests())
        queries = [each for each in pending if each.kind is RequestKind.KEYS_QUERY]
        assert [(user,) for user in users] == sorted(each.subjects for each in queries)

    message = MarkRequestFailed(request_id=query.request_id, status=400, errcode="M_INVALID_PARAM")
    return Prepared(message, each_is_asked_for_alone, elsewhere=Elsewhere(message))


async def encrypt_for_room(client: Client) -> Prepared:
    """Nobody else is there, and all is known."""
    await client.supervisor.ask(TrackUsers(users=()))
    query = await due_query(client)
    await client.supervisor.ask(MarkRequestSent(request_id=query.request_id, response={"device_keys": {}}))
    message = EncryptForRoom(room_id=ROOMS[0], members=(), type="m.room.message", content={"body": "hello"})
    return Prepared(message, elsewhere=add_a_room_key(client))


async def send_to_device(client: Client) -> Prepared:
    """All is known of the device, and there is an Olm session: the event waits to be sent."""
    query = await _query(client)
    await client.supervisor.ask(MarkRequestSent(request_id=query.request_id, response=_answer(client, query)))
    message = SendToDevice(devices=(client.world.peers[0].address,), type="m.test", content={})

    async def it_is_stored(client: Client) -> None:
        pending = await client.supervisor.ask(CommittedRequests())
        assert any(each.kind is RequestKind.TO_DEVICE for each in pending)

    reply = SentToDevice(delivered=False, missing=())
    return Prepared(message, it_is_stored, right=lambda told: told == reply, elsewhere=add_a_room_key(client))


SCENARIOS = (
    Scenario(prepare=track_users),
    Scenario(prepare=outdated_users),
    Scenario(prepare=update_devices),
    Scenario(prepare=outgoing_requests),
    Scenario(prepare=mark_request_sent),
    Scenario(prepare=mark_request_failed),
    Scenario(prepare=mark_request_halved),
    Scenario(prepare=encrypt_for_room),
    Scenario(prepare=send_to_device),
)
