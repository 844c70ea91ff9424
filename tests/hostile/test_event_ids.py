"""One message is one event, whatever ids the homeserver makes up."""

from __future__ import annotations

import pytest

from olmstate.actors import Supervisor
from olmstate.messages import DecryptedRoomEvent, ImportRoomKeys, MalformedMessage, ReplayedMessage
from tests.hostile.people import Us, conversation, read
from tests.operations.peer import Peer

COLLIDING = "$822fc0de4382daab", "$0c9264eb182dc722"
"""Their BLAKE2b with 8 bytes and no key is the same: 2b62770bb485e739. They were found in ten minutes on one core."""


PAIRS = [
    COLLIDING,
    COLLIDING[::-1],
    ("$event", "$event "),
    ("$event", "$EVENT"),
    ("$caf\u00e9", "$cafe\u0301"),
    ("$a\0b", "$a"),
]
"""Ids that some hash, or some comparison, may take for one another."""


@pytest.mark.parametrize("pair", PAIRS)
async def test_one_message_is_not_read_as_two_events(
    pair: tuple[str, str], us: Us, other: Supervisor, bob: Peer
) -> None:
    room = conversation(bob)
    await us.give(bob, room)
    first, second = ({**room.events[0], "event_id": event_id} for event_id in pair)

    assert isinstance(await us.read(first), DecryptedRoomEvent)
    assert isinstance(await us.read(second), ReplayedMessage)

    await us.give(bob, conversation(bob))  # a turn, with which it is written
    for supervisor in (us.supervisor, other):
        assert isinstance(await read(supervisor, second), ReplayedMessage)
        assert isinstance(await read(supervisor, first), DecryptedRoomEvent)


async def test_one_event_is_not_read_as_two_peoples(us: Us, other: Supervisor, bob: Peer) -> None:
    """On a key that an export names and nobody has claimed, the homeserver shows it again, with another sender."""
    room = conversation(bob)
    await us.supervisor.ask(ImportRoomKeys(keys=(room.export(),)))

    assert isinstance(await us.read(room.events[0]), DecryptedRoomEvent)
    for sender in ("@mallory:elsewhere.example", "@new:example.org"):
        assert isinstance(await us.read(room.events[0], sender=sender), ReplayedMessage)
    await us.give(bob, conversation(bob))  # a turn, with which it is written
    assert isinstance(await read(other, room.events[0], sender="@mallory:elsewhere.example"), ReplayedMessage)
    assert isinstance(await read(other, room.events[0]), DecryptedRoomEvent)


async def test_without_an_id_a_message_is_no_event(us: Us, bob: Peer) -> None:
    """It was read as often as the homeserver showed it, since nothing told one from another."""
    room = conversation(bob)
    await us.give(bob, room)
    nameless = {field: value for field, value in room.events[0].items() if field != "event_id"}

    for event in (nameless, {**nameless, "event_id": None}, {**nameless, "event_id": ["$event"]}):
        assert isinstance(await us.read(event), MalformedMessage)
    assert isinstance(await us.read(room.events[0]), DecryptedRoomEvent)
