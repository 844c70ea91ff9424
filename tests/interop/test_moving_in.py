"""A device of matrix-nio moves into an olmstate store, and nobody else in its rooms notices."""

from __future__ import annotations

import json
import os
import sys
from pathlib import Path

import trio

from olmstate.messages import Devices, DeviceTrust, JsonObject
from tests.interop.device import Device
from tests.interop.nio_device import NioDevice
from tests.interop.olmstate_device import KEY
from tests.interop.people import People, all_say, meet, sync_all, what_they_read

ENVIRONMENT = {**os.environ, "PYTHONPATH": os.pathsep.join(sys.path), "OLMSTATE_PICKLE_KEY": "key"}


async def move_in(device: NioDevice, people: People) -> JsonObject:
    """Stop matrix-nio, and bring its device into the store that `People.olmstate` opens."""
    await device.close()
    key_file = people.folder / "key"
    key_file.write_bytes(KEY)
    (source,) = device.store.glob("*.db")
    store = people.folder / f"olmstate-{device.session.device_id}"
    arguments = ["import-nio", str(store), str(source), "--key-file", str(key_file), "--json"]
    ran = await trio.run_process(
        [sys.executable, "-m", "olmstate", *arguments], env=ENVIRONMENT, capture_stdout=True, capture_stderr=True
    )
    moved: JsonObject = json.loads(ran.stdout.splitlines()[-1])
    return moved


def contents(folder: Path) -> dict[str, bytes]:
    return {path.name: path.read_bytes() for path in folder.iterdir()}


async def test_a_device_that_has_moved_in_reads_and_sends_on_what_it_had(people: People) -> None:
    bot, nio, rust = await people.nio(), await people.nio(), await people.rust()
    everybody: list[Device] = [bot, nio, rust]
    room = await meet(everybody)
    said = await all_say(everybody, room, "before")
    await sync_all(everybody)
    assert [said] * 3 == what_they_read(everybody, said)
    sessions = [bot.ears.heard[event].session_id for event in said]
    await bot.ask("trust", user_id=nio.session.user_id, device_id=nio.session.device_id, state="verify")
    unread = await all_say([nio, rust], room, "while it moved")

    moved = await move_in(bot, people)
    before = contents(bot.store)

    assert [] == moved["refused"]
    assert 3 == moved["room_keys"]
    settled = await people.olmstate(bot.session)
    await settled.sync()
    assert [unread] == what_they_read([settled], unread)
    now: list[Device] = [settled, nio, rust]
    said = await all_say(now, room, "after")
    await sync_all(now)
    assert [said] * 3 == what_they_read(now, said)
    # the others have noticed nothing: they go on with the room keys that they had, and the Olm sessions are the same
    assert sessions[1:] == [settled.ears.heard[event].session_id for event in said][1:]
    known = await settled.device.ask(Devices(users=(nio.session.user_id, rust.session.user_id)))
    assert {nio.session.device_id: DeviceTrust.VERIFIED, rust.session.device_id: DeviceTrust.IGNORED} == {
        device.device_id: device.trust for device in known
    }
    assert before == contents(bot.store)
