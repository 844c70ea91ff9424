"""Scenarios of events that can't be read yet."""

from __future__ import annotations

from olmstate.messages import (
    DecryptRoomEvent,
    DecryptToDevice,
    EventId,
    EventsParked,
    ForgetParkedEvents,
    ParkedEvent,
    ParkedEvents,
    ParkEvents,
    RoomId,
)
from tests.operations.peer import Room
from tests.simulation.client import Client
from tests.simulation.scenario import Elsewhere, Prepared, Scenario, add_a_room_key
from tests.simulation.world import RoomEvent


async def _park(client: Client) -> tuple[Room, RoomEvent]:
    key = client.world.new_room_key(client.world.peers[0])
    said = client.world.say(key)
    await client.supervisor.ask(ParkEvents(events=((said.room_id, said.event),)))
    return key, said


def _name(said: RoomEvent) -> tuple[RoomId, EventId]:
    return said.room_id, EventId(said.event["event_id"])


async def park_events(client: Client) -> Prepared:
    """Their keys haven't come, which others may bring."""
    key = client.world.new_room_key(client.world.peers[0])
    said = client.world.say(key)

    def right(reply: EventsParked) -> bool:
        return [_name(said)] in ([*reply.parked], [*reply.readable])

    message = ParkEvents(events=((said.room_id, said.event),))
    return Prepared(message, right=right, elsewhere=Elsewhere(key.add_room_key()))


async def parked_events(client: Client) -> Prepared:
    """There is one."""
    _, said = await _park(client)

    def right(reply: tuple[ParkedEvent, ...]) -> bool:
        return [said.event] == [each.event for each in reply]

    return Prepared(ParkedEvents(), right=right, elsewhere=add_a_room_key(client))


async def forget_parked_events(client: Client) -> Prepared:
    """There is one."""
    _, said = await _park(client)

    async def it_is_gone(client: Client) -> None:
        assert () == await client.supervisor.ask(ParkedEvents())

    return Prepared(ForgetParkedEvents(events=(_name(said),)), it_is_gone, elsewhere=add_a_room_key(client))


async def receive_the_key_of_a_parked_event(client: Client) -> Prepared:
    """It can be read then."""
    key, said = await _park(client)
    message = DecryptToDevice(events=(key.maker.event(client.world.me, "m.room_key", key.room_key),))

    async def it_is_readable(client: Client) -> None:
        (parked,) = await client.supervisor.ask(ParkedEvents(readable=True))
        assert (None, said.event) == (parked.cause, parked.event)
        await client.supervisor.ask(DecryptRoomEvent(room_id=parked.room_id, event=parked.event))

    return Prepared(message, it_is_readable)


SCENARIOS = (
    Scenario(prepare=park_events),
    Scenario(prepare=parked_events),
    Scenario(prepare=forget_parked_events),
    Scenario(prepare=receive_the_key_of_a_parked_event),
)
