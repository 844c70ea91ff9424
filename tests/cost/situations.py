"""Every message in a small situation, on a store on the disk that holds much else.

Owns: `Filled`, a store that is filled once and copied for each message, and `SITUATIONS`, what the simulation has a
scenario for: so that a new message is here without a line of its own.
"""

from __future__ import annotations

import random
import shutil
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import attrs

from olmstate.actors import Options, run_supervisor
from olmstate.actors.testing import DEVICE, USER
from olmstate.messages import Message
from olmstate.storage import SqliteStore, open_store
from tests.cost.asks import fill
from tests.faults.history import Entry, Log
from tests.faults.recording import RecordingStore, RecordingSupervisor
from tests.simulation.client import Client
from tests.simulation.scenario import Scenario
from tests.simulation.scenarios import SCENARIOS
from tests.simulation.schedule import wall_clock
from tests.simulation.world import Baseline, World, meet_somebody

KEY = bytes(range(32))
OPTIONS = Options(wall_clock=wall_clock, write_behind=3600.0)
"""Nothing happens by itself."""

ALL_THERE_IS = ("export_room_keys", "export_key_file", "import_key_file")
"""Scenarios that ask for all of a kind, whatever it is of: there is no rest of it."""

SITUATIONS: Mapping[str, Scenario] = {
    scenario.name: scenario
    for scenario in SCENARIOS
    if not (scenario.empty or scenario.name in ALL_THERE_IS)  # nothing else is in an empty store
}


class _Nobody:
    """Who reads a history that nobody checks."""

    def append(self, entry: Entry) -> None:
        """Forget it."""


@attrs.frozen
class Filled:
    """A store with a device that has met somebody, and so much else in it that no scenario touches."""

    folder: Path
    base: Baseline

    async def prepare(self, scenario: Scenario, folder: Path) -> Message[Any]:
        """Copy the store to ``folder``, and have it ready for a scenario's message; the message."""
        shutil.copytree(self.folder, folder)
        log = Log(_Nobody(), "")
        store = await open_device(folder)
        try:
            recording = RecordingStore(store, log)
            async with run_supervisor(recording, user_id=USER, device_id=DEVICE, options=OPTIONS) as supervisor:
                world = World(self.base, random.Random(0), log)
                prepared = await scenario.prepare(Client(RecordingSupervisor(supervisor, recording, log), world))
        finally:
            await store.aclose()
        return prepared.message


async def open_device(folder: Path) -> SqliteStore:
    """The store, with its key."""
    return await open_store(folder, user_id=USER, device_id=DEVICE, key=KEY)


async def filled(folder: Path, size: int) -> Filled:
    """A store with so much in it."""
    store = await open_device(folder)
    try:
        async with run_supervisor(store, user_id=USER, device_id=DEVICE, options=OPTIONS) as supervisor:
            base = await meet_somebody(supervisor)
            await fill(supervisor, size)
    finally:
        await store.aclose()
    return Filled(folder, base)
