"""What comes in clear is anybody's word: no key and no secret is taken from it (spec: Send-to-Device messaging)."""

from __future__ import annotations

import pytest

from olmstate.actors._capabilities import CAPABILITIES
from olmstate.actors._to_device.handlers import ON_PLAIN
from olmstate.messages import ExportRoomKeys, MissingRoomKey, PlainToDevice
from tests.hostile.people import Us, conversation
from tests.operations.peer import Peer

MAY_COME_IN_CLEAR = {"m.room_key_request", "m.room_key.withheld", "m.secret.request"}


def test_only_what_may_come_in_clear_is_taken_in_from_there() -> None:
    added = [addition.value for each in CAPABILITIES for addition in each.additions if addition.point is ON_PLAIN]
    taken_in = {event_type for handler in added for event_type in handler.types or ()}  # or the inbox
    assert [] == [
        each for each in taken_in if each not in MAY_COME_IN_CLEAR and not each.startswith("m.key.verification.")
    ]


@pytest.mark.parametrize("event_type", ["m.room_key", "m.forwarded_room_key", "m.secret.send", "m.room_key_bundle"])
async def test_a_key_that_comes_in_clear_is_nobodys(event_type: str, us: Us, bob: Peer) -> None:
    room = conversation(bob)
    content = {**room.export(), **room.room_key, "sender_claimed_ed25519_key": bob.ed25519}

    outcome = await us.hand({"type": event_type, "sender": bob.user_id, "content": content})

    assert isinstance(outcome, PlainToDevice)
    assert isinstance(await us.read(room.events[0]), MissingRoomKey)
    assert () == await us.supervisor.ask(ExportRoomKeys())
