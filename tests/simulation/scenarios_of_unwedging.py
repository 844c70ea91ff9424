"""Scenarios of Olm sessions that one side can't use any more."""

from __future__ import annotations

from olmstate.actors._rooms.sharing import PrepareShare
from olmstate.messages import (
    DecryptToDevice,
    JsonObject,
    MarkRequestSent,
    OutgoingRequests,
    Request,
    RequestKind,
    RotationPeriod,
    TrackUsers,
    UndecryptableToDevice,
)
from tests.operations.peer import Peer, keys_query
from tests.peer.encoding import b64
from tests.peer.forged import forged_message
from tests.simulation.client import Client
from tests.simulation.scenario import Elsewhere, Prepared, Scenario
from tests.simulation.scenarios_of_requests import due_query
from tests.simulation.world import ROOMS


def _undecryptable(client: Client, peer: Peer) -> JsonObject:
    body = b64(forged_message(1))
    content = {
        "algorithm": "m.olm.v1.curve25519-aes-sha2",
        "sender_key": peer.curve25519,
        "ciphertext": {client.world.me.curve25519: {"type": 1, "body": body}},
    }
    return {"type": "m.room.encrypted", "sender": peer.user_id, "content": content}


async def _requests(client: Client, kind: RequestKind) -> list[Request]:
    return [each for each in await client.supervisor.ask(OutgoingRequests()) if each.kind is kind]


async def decrypt_what_no_session_does(client: Client) -> Prepared:
    """A known device's message."""

    def right(reply: tuple[object, ...]) -> bool:
        return isinstance(reply[0], UndecryptableToDevice)

    async def a_key_is_claimed(client: Client) -> None:
        (claim,) = await _requests(client, RequestKind.KEYS_CLAIM)
        assert client.world.peers[0].device_id.encode() in claim.body

    message = DecryptToDevice(events=(_undecryptable(client, client.world.peers[0]),))
    return Prepared(message, a_key_is_claimed, right, elsewhere=Elsewhere(message))


async def begin_a_session_that_was_wanted(client: Client) -> Prepared:
    """The answer to a claim that was made since a message could not be decrypted."""
    bob = client.world.peers[0]
    await client.supervisor.ask(DecryptToDevice(events=(_undecryptable(client, bob),)))
    (claim,) = await _requests(client, RequestKind.KEYS_CLAIM)

    async def the_device_is_told(client: Client) -> None:
        (dummy,) = await _requests(client, RequestKind.TO_DEVICE)
        assert bob.device_id.encode() in dummy.body

    message = MarkRequestSent(
        request_id=claim.request_id, response={"one_time_keys": client.world.claim((bob.address,))}
    )
    return Prepared(message, the_device_is_told, elsewhere=Elsewhere(message))


async def meet_who_has_lost_a_room_key(client: Client) -> Prepared:
    """A device that was sent one begins a new session."""
    world = client.world
    bob = world.peers[0]
    await client.supervisor.ask(TrackUsers(users=(bob.user_id,)))
    query = await due_query(client)
    await client.supervisor.ask(MarkRequestSent(request_id=query.request_id, response=keys_query(bob)))
    share = PrepareShare(room_id=ROOMS[0], users=(bob.user_id,), rotation=RotationPeriod())
    for request_id in (await client.supervisor.ask(share)).request_ids:
        await client.supervisor.ask(MarkRequestSent(request_id=request_id, response={}))
    world.meet(bob)

    async def it_is_sent_again(client: Client) -> None:
        assert await _requests(client, RequestKind.TO_DEVICE)

    return Prepared(DecryptToDevice(events=(bob.event(world.me),)), it_is_sent_again)


SCENARIOS = (
    Scenario(prepare=decrypt_what_no_session_does),
    Scenario(prepare=begin_a_session_that_was_wanted),
    Scenario(prepare=meet_who_has_lost_a_room_key),
)
