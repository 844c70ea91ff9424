"""A job that asks what encryption adds to a program that sends one message and ends: `docs/examples/send.py`.

Owns: a homeserver in memory that real programs reach by HTTP, and the store that they open.
Rule: the programs are processes as users start them: with bytecode, and with nothing installed but what they need.
"""

from __future__ import annotations

import json
import os
import statistics
import sys
from functools import partial
from pathlib import Path
from typing import Final

import trio

from olmstate.actors import open_supervisor
from olmstate.messages import EncryptForRoom, ImportRoomKeys, PublishAccount, RoomId, UserId
from olmstate.storage.sealing import Wrapping
from tests.bench.device import DEVICE, KEY, USER, exported_sessions
from tests.bench.job import ROOT, Outcome, Result, Setting
from tests.bench.measure import Side, Watch, measure
from tests.interop.served_connection import Connection
from tests.operations.transport import transport_of
from tests.peer.device import MEGOLM, PeerDevice
from tests.peer.homeserver import Homeserver
from tests.peer.session import API, RequestRefused

SESSIONS: Final = 10_000
MOST_MS: Final = 150.0
EXAMPLES: Final = ROOT / "docs" / "examples"
PLAIN: Final = Path(__file__).with_name("plain_send.py")
READER: Final = UserId("@reader:example.org")


async def send_program(setting: Setting) -> Outcome:
    """The wall time of send.py on a store of 10,000 sessions, beside the same program without encryption."""
    sessions = setting.scaled(SESSIONS)
    homeserver = Homeserver()
    session = homeserver.log_in(USER, DEVICE)
    room = await _meet(homeserver)
    setting.progress(f"filling a store with {sessions:,} sessions")
    keys, _ = exported_sessions(sessions, events=0)
    async with open_supervisor(
        setting.folder / "store", user_id=USER, device_id=DEVICE, key=KEY, transport=transport_of(session)
    ) as supervisor:
        await supervisor.ask(PublishAccount())
        await supervisor.ask(ImportRoomKeys(keys=tuple(keys)))
        await supervisor.ask(
            EncryptForRoom(room_id=room, members=(UserId(USER), READER), type="m.room.message", content={})
        )
    async with trio.open_nursery() as nursery:
        (listener,) = await nursery.start(partial(trio.serve_tcp, partial(_serve, homeserver), 0, host="127.0.0.1"))
        address = f"http://127.0.0.1:{listener.socket.getsockname()[1]}"
        _log_in(setting.folder, address)
        run = partial(_run, setting.folder, _environment(setting.folder))
        sides: dict[str, Side] = {
            "send.py": partial(run, EXAMPLES / "send.py", room),
            "without encryption": partial(run, PLAIN, room),
            "Argon2id": _derive,
        }
        figures = await measure(sides, rounds=setting.rounds, units=1, progress=setting.progress)
        nursery.cancel_scope.cancel()
    ours, plain, passphrase = figures.values()
    added = statistics.median(one - other for one, other in zip(ours.seconds, plain.seconds, strict=True))
    label = f"send.py on a store of {sessions:,} sessions, more than without encryption"
    return Outcome(
        results=(
            Result(label=label, value=max(0.0, added) * 1000, target=MOST_MS, unit="ms", figures=(ours, plain)),
            Result(label="what a passphrase adds to that", value=passphrase.median * 1000, unit="ms"),
        )
    )


async def _meet(homeserver: Homeserver) -> RoomId:
    """A room with somebody who has a device."""
    reader = PeerDevice(READER)
    session = homeserver.log_in(reader.user_id, reader.device_id)
    keys = {"device_keys": reader.device_keys(), "one_time_keys": reader.one_time_key()}
    await session.request("POST", f"{API}/keys/upload", keys)
    encrypted = {"type": "m.room.encryption", "content": {"algorithm": MEGOLM}}
    room = await session.request("POST", f"{API}/createRoom", {"initial_state": [encrypted], "invite": [USER]})
    await homeserver.session_of(USER, DEVICE).request("POST", f"{API}/rooms/{room['room_id']}/join", {})
    return RoomId(room["room_id"])


async def _serve(homeserver: Homeserver, stream: trio.SocketStream) -> None:
    """Answer what the only device asks on a connection."""
    session = homeserver.session_of(USER, DEVICE)
    connection = Connection(stream)
    while request := await connection.next_request():
        status, answer = 200, {}
        try:
            answer = await session.request(request.method, request.target, json.loads(request.body or b"null"))
        except RequestRefused as refused:
            status, answer = refused.status, refused.body
        await connection.answer(status, json.dumps(answer).encode())
        if not connection.start_next_cycle():
            break


def _log_in(folder: Path, address: str) -> None:
    """What `account.py` finds."""
    account = {"homeserver": address, "user_id": USER, "device_id": DEVICE, "access_token": "t", "key": KEY.hex()}
    (folder / "account.json").write_text(json.dumps(account))


def _environment(folder: Path) -> dict[str, str]:
    """An installed program's: with bytecode, and without numpy, which sqlite-utils loads where it is."""
    absent = folder / "absent"
    absent.mkdir()
    (absent / "numpy.py").write_text("raise ImportError")
    kept = {name: value for name, value in os.environ.items() if name != "PYTHONDONTWRITEBYTECODE"}
    paths = os.pathsep.join((str(absent), str(EXAMPLES), *sys.path))
    return {**kept, "PYTHONPATH": paths, "PYTHONPYCACHEPREFIX": str(folder / "bytecode")}


async def _run(folder: Path, environment: dict[str, str], program: Path, room: RoomId) -> float:
    watch = Watch()
    command = [sys.executable, str(program), room, "hello"]
    await trio.run_process(command, cwd=folder, env=environment, process_group=0)  # Ctrl-C is for us
    return watch.seconds()


async def _derive() -> float:
    await trio.lowlevel.checkpoint()
    wrapping = Wrapping.new("a passphrase")
    watch = Watch()
    wrapping.derive("a passphrase")
    return watch.seconds()
