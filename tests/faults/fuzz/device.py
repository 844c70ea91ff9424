"""A device that has lived for a while, for one input at a time.

Owns: its state, from the smaller recording, and a friend whose keys never change, so that an input means the same in
every run; and what must still work after an input.
Rule: every input finds the same state: an input that does harm does it again when it is tried alone.
"""

from __future__ import annotations

import functools
import hashlib
import json
from collections.abc import AsyncGenerator, Awaitable, Callable
from contextlib import AbstractAsyncContextManager, asynccontextmanager

import attrs
import trio
from vodozemac import Account, GroupSession

from olmstate.actors import Options, Supervisor, run_supervisor
from olmstate.actors.testing import MemoryDisk, MemoryStore
from olmstate.messages import (
    AddDevices,
    DecryptedRoomEvent,
    DecryptedToDevice,
    DecryptRoomEvent,
    DecryptToDevice,
    DeviceId,
    DeviceIdentity,
    IdentityKeys,
    JsonObject,
    OlmStateError,
    PrepareOneTimeKeys,
    ReceiveSync,
    RoomId,
    UserId,
)
from olmstate.storage import Rows, Table
from tests.faults.fuzz.sealed import PICKLE_KEY, seal
from tests.operations.peer import Peer, keys_query
from tests.recordings.recording import SMALL, Recording, load

RECEIVED = 12
"""Syncs of the recording that were received; the others are still to come."""
ROOM = RoomId("!fuzz:rec.test")
NOW = 1_700_000_000_000
"""Milliseconds."""


def recording() -> Recording:
    """Where the device's account is from."""
    return load(SMALL)


def friend(name: str) -> Peer:
    """A device with fixed keys."""
    account: JsonObject = {
        "signing_key": {"Normal": list(hashlib.sha256(f"signing key of {name}".encode()).digest())},
        "diffie_hellman_key": list(hashlib.sha256(f"identity key of {name}".encode()).digest()),
        "one_time_keys": {"next_key_id": 0, "public_keys": {}, "private_keys": {}},
        "fallback_keys": {"key_id": 0, "fallback_key": None, "previous_fallback_key": None},
    }
    pickle = seal(json.dumps(account).encode())
    return Peer(UserId(f"@{name}:rec.test"), DeviceId(name.upper()), Account.from_pickle(pickle, PICKLE_KEY))


@attrs.define
class Lived:
    """The device's store, and what its friend has kept for the end."""

    rows: Rows
    identity: DeviceIdentity
    bob: Peer
    group: GroupSession
    olm_events: tuple[JsonObject, ...]
    """To try after an input: an Olm message and a room event that can be read."""
    room_event: JsonObject
    first_pre_key: JsonObject
    """Bob's pre-key message, which was decrypted."""


@functools.cache
def lived() -> Lived:
    """Make the device once a process."""
    bob = friend("bob")
    group = GroupSession()
    disk = MemoryDisk()
    made: list[Lived] = []

    async def live() -> None:
        async with _open(disk) as supervisor:
            await supervisor.ask(recording().import_account())
            await supervisor.ask(AddDevices(response=recording().raw["keys_query"]))
            await supervisor.ask(AddDevices(response=keys_query(bob)))
            for sync in recording().syncs[:RECEIVED]:
                await supervisor.ask(ReceiveSync(sync=sync))
            keys = await supervisor.ask(PrepareOneTimeKeys())
            own = await supervisor.ask(IdentityKeys())
            bob.start_session(own, next(iter(keys.fallback_keys.values())))
            first = bob.event(own, "m.room_key", bob.room_key(ROOM, group))
            (outcome,) = await supervisor.ask(DecryptToDevice(events=(first,)))
            assert isinstance(outcome, DecryptedToDevice), outcome
            events = (bob.event(own, "m.dummy", {"control": 0}), bob.event(own, "m.dummy", {"control": 1}))
            room_event = bob.room_event(ROOM, group, event_id="$control")
        rows = {table: disk.rows(table) for table in Table}
        made.append(Lived(rows, own, bob, group, events, room_event, first))

    trio.run(live)
    return made[0]


def _open(disk: MemoryDisk) -> AbstractAsyncContextManager[Supervisor]:
    options = Options(write_behind=1e9, wall_clock=lambda: NOW)
    user_id, device_id = UserId(recording().user_id), DeviceId(recording().device_id)
    return run_supervisor(MemoryStore(disk), user_id=user_id, device_id=device_id, options=options)


@attrs.frozen
class Device:
    """The device, for one input."""

    supervisor: Supervisor
    disk: MemoryDisk

    @asynccontextmanager
    async def refusing(self, *documented: type[OlmStateError]) -> AsyncGenerator[None, None]:
        """One of ``documented`` may come out of this block, and if so, nothing was changed."""
        before = self.disk.generation
        try:
            yield
        except documented:
            assert before == self.disk.generation, "it was refused, and yet something was written"


def on_device(script: Callable[[Device], Awaitable[None]], *, empty: bool = False, rows: Rows | None = None) -> None:
    """Run one input's script on the device; and then it must be as good as before.

    A device that is `empty`, or has other ``rows``, is good for nothing else.
    """
    other = empty or rows is not None
    rows = {} if empty else rows or lived().rows

    async def main() -> None:
        disk = MemoryDisk()
        disk.write_from_elsewhere(rows)
        async with _open(disk) as supervisor:
            await script(Device(supervisor, disk))
            if not other:
                await _still_works(supervisor)

    trio.run(main)


async def _still_works(supervisor: Supervisor) -> None:
    first, second = lived().olm_events
    # the other way round: a skipped message key must be kept as well
    for event in (second, first):
        (outcome,) = await supervisor.ask(DecryptToDevice(events=(event,)))
        assert isinstance(outcome, DecryptedToDevice), outcome
    decrypted = await supervisor.ask(DecryptRoomEvent(room_id=ROOM, event=lived().room_event))
    assert isinstance(decrypted, DecryptedRoomEvent)
