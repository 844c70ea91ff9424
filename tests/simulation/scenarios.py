"""All scenarios: for each message a user can ask, at least one, and what others ask at the same time.

Owns: `SCENARIOS` and `CROWD`.
Rule: what the crowd asks takes nothing from any scenario: it sends in another room, and brings keys of its own.
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Sequence
from typing import TypeAlias

import attrs

from olmstate.messages import (
    DecryptRoomEvent,
    Devices,
    MarkRoomKeyShared,
    MegolmSessionId,
    RoomKeyReplaced,
    SignedDeviceKeys,
    Statistics,
    SyncToken,
)
from tests.simulation import (
    scenarios_of_devices,
    scenarios_of_identities,
    scenarios_of_key_requests,
    scenarios_of_parked_events,
    scenarios_of_requests,
    scenarios_of_rooms,
    scenarios_of_secret_requests,
    scenarios_of_secret_storage,
    scenarios_of_the_inbox,
    scenarios_of_unwedging,
    scenarios_of_verification,
)
from tests.simulation.client import Client
from tests.simulation.scenario import Scenario
from tests.simulation.world import ROOMS

SCENARIOS: Sequence[Scenario] = (
    *scenarios_of_devices.SCENARIOS,
    *scenarios_of_rooms.SCENARIOS,
    *scenarios_of_requests.SCENARIOS,
    *scenarios_of_unwedging.SCENARIOS,
    *scenarios_of_key_requests.SCENARIOS,
    *scenarios_of_parked_events.SCENARIOS,
    *scenarios_of_the_inbox.SCENARIOS,
    *scenarios_of_identities.SCENARIOS,
    *scenarios_of_secret_storage.SCENARIOS,
    *scenarios_of_secret_requests.SCENARIOS,
    *scenarios_of_verification.SCENARIOS,
)

Ignore: TypeAlias = Callable[[str], None]
"""Says that a session's key is not the scenario's."""


async def _send(client: Client, ignore: Ignore) -> None:
    await client.send_in(ROOMS[1])


async def _take_in(client: Client, ignore: Ignore) -> None:
    key = client.world.new_room_key(client.world.peers[0])
    ignore(key.session_id)
    said = client.world.events[-1]
    message = key.add_room_key()
    await client.supervisor.ask(attrs.evolve(message, session_key=key.room_key["session_key"]))
    await client.supervisor.ask(DecryptRoomEvent(room_id=said.room_id, event=said.event))


async def _be_refused(client: Client, ignore: Ignore) -> None:
    message = MarkRoomKeyShared(room_id=ROOMS[1], session_id=MegolmSessionId("none"), devices=())
    try:
        await client.supervisor.ask(message)
    except RoomKeyReplaced:
        return
    raise AssertionError("there is no such session")


async def _look(client: Client, ignore: Ignore) -> None:
    await client.supervisor.ask(SyncToken())
    await client.supervisor.ask(Devices(user_id=client.world.peers[0].user_id))
    await client.supervisor.ask(Statistics())
    await client.supervisor.ask(SignedDeviceKeys())


Asking: TypeAlias = Callable[[Client, Ignore], Awaitable[None]]

CROWD: Sequence[Asking] = (_send, _take_in, _be_refused, _look)
"""What others ask."""
