"""A process on a store that is shared: it writes, or it says what it hears, until it is killed.

python -m tests.operations.stream_program FOLDER write|read|refuse|bring
python -m tests.operations.stream_program FOLDER hear [POSITION]
"""

from __future__ import annotations

import itertools
import os
import sys
from pathlib import Path

import trio
from vodozemac import GroupSession

from olmstate.actors import Supervisor, open_supervisor
from olmstate.messages import (
    DecryptToDevice,
    DeviceId,
    DevicesChanged,
    DeviceTrust,
    JsonObject,
    Lagged,
    MegolmSessionId,
    ParkEvents,
    PrepareAccount,
    RequestRoomKeys,
    SetDeviceTrust,
)
from tests.operations.device import ALICE, KEY, ROOM
from tests.operations.peer import Peer, add_devices


async def write(supervisor: Supervisor) -> None:
    """A new device after the other; each is said once its commit is durable."""
    for number in itertools.count():
        peer = Peer(f"@{os.getpid()}-{number}:example.org")
        await supervisor.ask(add_devices(peer))
        print(peer.user_id, flush=True)


async def read(supervisor: Supervisor) -> None:
    """An event after the other is parked, and its key comes; each is said once that is durable."""
    sender = Peer()
    for number in itertools.count():
        group, event_id = GroupSession(), f"${os.getpid()}-{number}"
        key = sender.add_room_key(ROOM, group)
        await supervisor.ask(ParkEvents(events=((ROOM, sender.room_event(ROOM, group, event_id=event_id)),)))
        await supervisor.ask(key)
        print(event_id, flush=True)


async def refuse(supervisor: Supervisor) -> None:
    """A key after the other is asked for, and our user's other device says no; each is said once that is durable."""
    await supervisor.ask(PrepareAccount())
    mate = Peer(ALICE, DeviceId(f"MATE{os.getpid()}"))
    await supervisor.ask(add_devices(mate))
    await supervisor.ask(SetDeviceTrust(user_id=ALICE, device_id=mate.device_id, trust=DeviceTrust.VERIFIED))
    for number in itertools.count():
        session_id = MegolmSessionId(f"{os.getpid()}-{number}")
        await supervisor.ask(RequestRoomKeys(sessions=((ROOM, session_id),)))
        content = {"room_id": ROOM, "session_id": session_id, "code": "m.unavailable", "sender_key": mate.curve25519}
        refusal = {"type": "m.room_key.withheld", "sender": ALICE, "content": content}
        await supervisor.ask(DecryptToDevice(events=(refusal,)))
        print(session_id, flush=True)


async def bring(supervisor: Supervisor) -> None:
    """An event for the app after the other comes; each is said once it is durable."""
    await supervisor.ask(PrepareAccount())
    for number in itertools.count():
        event_type = f"org.example.{os.getpid()}.{number}"
        event: JsonObject = {"type": event_type, "sender": "@bob:example.org", "content": {}}
        await supervisor.ask(DecryptToDevice(events=(event,)))
        print(event_type, flush=True)


async def hear(supervisor: Supervisor, since: int | None) -> None:
    """Each event's position, and whose device is new."""
    with supervisor.subscribe(DevicesChanged, Lagged, since=since) as events:
        print("listening", flush=True)
        async for event in events:
            what = "lagged" if isinstance(event, Lagged) else event.added[0].user_id
            print(event.position, what, flush=True)


async def main(folder: Path, role: str, since: int | None) -> None:
    """Open the store, and go on for ever."""
    async with open_supervisor(folder, user_id="@alice:example.org", device_id="ALICE", key=KEY) as supervisor:
        writers = {"write": write, "read": read, "refuse": refuse, "bring": bring}
        await (writers[role](supervisor) if role in writers else hear(supervisor, since))


if __name__ == "__main__":
    trio.run(main, Path(sys.argv[1]), sys.argv[2], int(sys.argv[3]) if len(sys.argv) > 3 else None)
