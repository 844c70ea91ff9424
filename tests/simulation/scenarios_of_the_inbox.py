"""Scenarios of to-device events that are the app's."""

from __future__ import annotations

from olmstate.messages import (
    AcknowledgeInbox,
    DecryptedToDevice,
    DecryptToDevice,
    Inbox,
    InboxPage,
    JsonObject,
    KeepInInbox,
    PlainToDevice,
    ReceiveSync,
    SyncToken,
)
from tests.simulation.client import Client
from tests.simulation.scenario import Prepared, Scenario, add_a_room_key

TYPE = "org.example.letter"


def _letter(client: Client, number: int) -> JsonObject:
    return client.world.peers[0].event(client.world.me, TYPE, {"number": number})


def _numbers(page: InboxPage) -> list[int]:
    return [each.event.content["number"] for each in page.events if isinstance(each.event, DecryptedToDevice)]


async def _receive(client: Client, number: int) -> None:
    await client.supervisor.ask(DecryptToDevice(events=(_letter(client, number),)))


async def _acknowledge_all(client: Client) -> None:
    page = await client.supervisor.ask(Inbox())
    await client.supervisor.ask(AcknowledgeInbox(numbers=tuple(each.number for each in page.events)))


async def receive_letters(client: Client) -> Prepared:
    """Events for the app: they are there, once, whoever has taken them in, and whatever became of its reply."""
    since = await client.supervisor.ask(SyncToken())
    # in the midst of everything else, it has to be one of the homeserver's
    sync = {"next_batch": since or "s0", "to_device": {"events": [_letter(client, 1), _letter(client, 2)]}}

    async def they_are_in_the_inbox(client: Client) -> None:
        assert [1, 2] == _numbers(await client.supervisor.ask(Inbox(types=(TYPE,))))

    return Prepared(ReceiveSync(sync=sync, since=since), they_are_in_the_inbox)


async def inbox(client: Client) -> Prepared:
    """There is something in it."""
    await _receive(client, 3)

    def right(reply: InboxPage) -> bool:
        return [3] == _numbers(reply)

    return Prepared(Inbox(types=(TYPE,)), right=right, elsewhere=add_a_room_key(client))


async def acknowledge_inbox(client: Client) -> Prepared:
    """One of two events."""
    await _receive(client, 4)
    await _receive(client, 5)
    last = (await client.supervisor.ask(Inbox(types=(TYPE,)))).events[-2:]  # others may have acknowledged them

    async def the_other_is_left(client: Client) -> None:
        left = await client.supervisor.ask(Inbox(types=(TYPE,)))
        assert [last[1]] == [each for each in left.events if each in last]

    return Prepared(AcknowledgeInbox(numbers=tuple(each.number for each in last[:1])), the_other_is_left)


async def keep_in_inbox(client: Client) -> Prepared:
    """A type that olmstate does something about itself."""

    async def it_is_kept(client: Client) -> None:
        await _acknowledge_all(client)
        event = {"type": "m.room_key_request", "sender": "@bob:example.org", "content": {"number": 6}}
        await client.supervisor.ask(DecryptToDevice(events=(event,)))
        page = await client.supervisor.ask(Inbox())
        assert [PlainToDevice(event=event)] == [each.event for each in page.events]

    return Prepared(KeepInInbox(types=("m.room_key_request",)), it_is_kept)


SCENARIOS = (
    Scenario(prepare=receive_letters),
    Scenario(prepare=inbox),
    Scenario(prepare=acknowledge_inbox),
    Scenario(prepare=keep_in_inbox),
)
