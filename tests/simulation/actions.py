"""What an app does, one thing after another.

Owns: `ACTIONS`, and how often each is chosen.
"""

from __future__ import annotations

import random
from collections.abc import Awaitable, Callable, Sequence
from typing import Any, TypeAlias

import attrs

from olmstate.messages import ActorStopped, OlmStateError, StoreError
from tests.simulation import (
    scenarios_of_devices,
    scenarios_of_identities,
    scenarios_of_key_requests,
    scenarios_of_parked_events,
    scenarios_of_rooms,
    scenarios_of_secret_requests,
    scenarios_of_secret_storage,
    scenarios_of_the_inbox,
)
from tests.simulation.client import PATIENCE, Client
from tests.simulation.scenario import Prepare

Action: TypeAlias = Callable[[Client], Awaitable[None]]

RARER: Sequence[Prepare] = (
    scenarios_of_key_requests.request_room_keys,
    scenarios_of_key_requests.room_key_requests,
    scenarios_of_key_requests.cancel_room_key_requests,
    scenarios_of_devices.publish_a_new_account,
    scenarios_of_rooms.encryption_info_of,
    scenarios_of_rooms.room_settings,
    scenarios_of_rooms.set_room_settings,
    *(scenario.prepare for scenario in scenarios_of_parked_events.SCENARIOS),
    *(scenario.prepare for scenario in scenarios_of_the_inbox.SCENARIOS),
    *(scenario.prepare for scenario in scenarios_of_secret_storage.SCENARIOS),
    *(scenario.prepare for scenario in scenarios_of_secret_requests.SCENARIOS),
    scenarios_of_identities.sign_device,
    scenarios_of_identities.reset_cross_signing,
    scenarios_of_identities.recover_from_secret_storage,
)
"""What `Client` has nothing for. No message in it sends what somebody must be able to read."""


async def do_something_rarer(client: Client) -> None:
    """What a scenario prepares, in the midst of everything else, which may take away what was prepared."""
    try:
        prepared = await client.rng.choice(RARER)(client)
        message: Any = prepared.message
        if hasattr(message, "patience"):
            message = attrs.evolve(message, patience=PATIENCE)
        await client.supervisor.ask(message)
    except (StoreError, ActorStopped):
        raise
    except OlmStateError:
        pass  # another app was quicker; the history has to be right all the same


ACTIONS: Sequence[tuple[int, Action]] = (
    (8, Client.send),
    (5, Client.send_more),
    (2, Client.share),
    (1, Client.rotate),
    (1, Client.discard),
    (4, Client.send_to_devices),
    (1, Client.post),
    (2, Client.receive_to_device),
    (5, Client.sync),
    (1, Client.look_at_token),
    (3, Client.read),
    (2, Client.read_many),
    (3, Client.upload_keys),
    (2, Client.query_devices),
    (2, Client.look_at_devices),
    (1, Client.decide_about_a_device),
    (1, Client.add_room_key),
    (1, Client.import_room_keys),
    (1, Client.move_keys),
    (1, Client.move_key_file),
    (2, Client.keep_devices),
    (1, Client.encrypt_for_room),
    (1, Client.look_at_identities),
    (1, Client.look_at_private_keys),
    (1, Client.verify),
    (1, Client.verify_in_a_room),
    (1, Client.look_at_itself),
    (1, Client.try_another_account),
    (8, do_something_rarer),
)
"""What it does, and how often."""


def choose(rng: random.Random) -> Action:
    """Something to do."""
    return rng.choices([action for _, action in ACTIONS], [weight for weight, _ in ACTIONS])[0]
