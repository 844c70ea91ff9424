"""A room's single messages beside matrix-nio: without a target, for it doesn't do the same.

What it has encrypted it doesn't write down, and its guard against replays is kept in memory only.
"""

from __future__ import annotations

from functools import partial
from typing import Any

from olmstate.actors import Supervisor
from olmstate.messages import (
    DecryptRoomEvent,
    JsonObject,
)
from tests.bench.device import CONTENT, MESSAGE, ROOM, device, share
from tests.bench.job import Outcome, Setting
from tests.bench.measure import Figure, Side, Watch, measure
from tests.bench.nio import NAME, NioDevice, beside_nio, matrix_nio
from tests.bench.people import conversation, people
from tests.bench.work import encrypt
from tests.operations.peer import Room, add_devices

MESSAGES = 500
DECRYPT, ENCRYPT = "decrypt one message", "encrypt one message"


async def one_message(setting: Setting) -> Outcome:
    """Decrypt one message, and encrypt one."""
    nio = matrix_nio()
    (sender,) = people(1)
    messages = setting.scaled(MESSAGES)
    decrypting: dict[str, Side] = {}
    encrypting: dict[str, Side] = {}
    async with device(setting.folder / "store") as supervisor:
        room = Room(sender, ROOM)
        await supervisor.ask(add_devices(sender))
        await supervisor.ask(room.add_room_key())
        events = conversation(room, CONTENT, messages)
        await share(supervisor)
        decrypting["olmstate"] = partial(_decrypt, supervisor, events)
        encrypting["olmstate"] = partial(encrypt, supervisor, messages, 1)
        peer = None if nio is None else NioDevice(nio, setting.folder / "nio")
        if peer is not None:
            peer.know([sender])
            peer.add_room_keys(sender, [room.room_key])
            peer.ready_to_send(ROOM)
            decrypting[NAME] = partial(_nio_decrypt, peer, [peer.parse_event(event) for event in events])
            encrypting[NAME] = partial(_nio_encrypt, peer, messages)
        figures = [await _measure(sides, messages, setting) for sides in (decrypting, encrypting)]
        if peer is not None:
            peer.close()
    return Outcome(
        results=tuple(
            beside_nio(label, figure["olmstate"], figure.get(NAME))
            for label, figure in zip((DECRYPT, ENCRYPT), figures, strict=True)
        )
    )


async def _measure(sides: dict[str, Side], messages: int, setting: Setting) -> dict[str, Figure]:
    return await measure(sides, rounds=setting.rounds, units=messages, progress=setting.progress)


async def _decrypt(supervisor: Supervisor, events: list[JsonObject]) -> float:
    watch = Watch()
    for event in events:
        await supervisor.ask(DecryptRoomEvent(room_id=ROOM, event=event))
    return watch.seconds()


async def _nio_decrypt(peer: NioDevice, events: list[Any]) -> float:
    watch = Watch()
    for event in events:
        peer.decrypt(event)
    return watch.seconds()


async def _nio_encrypt(peer: NioDevice, messages: int) -> float:
    watch = Watch()
    for _ in range(messages):
        peer.encrypt(ROOM, MESSAGE.type, CONTENT)
    return watch.seconds()
