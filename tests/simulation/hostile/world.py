"""The honest part of the world: people, their homeserver, and what they say to the device and to one another.

Owns: `World`, and the state that every run starts from, which is made once.
Rule: it draws from the generator that it was given, and waits for nothing.
"""

from __future__ import annotations

import copy
import functools
import json
import random

import attrs
import trio

from olmstate.actors import run_supervisor
from olmstate.actors.testing import DEVICE, USER, MemoryDisk, MemoryStore
from olmstate.messages import (
    CreateAccount,
    DeviceId,
    DeviceIdentity,
    Json,
    JsonObject,
    MarkKeysPublished,
    PrepareOneTimeKeys,
    ReceiveSync,
    RoomId,
    SignedDeviceKeys,
    UserId,
)
from olmstate.storage import Table
from tests.operations.peer import Peer
from tests.peer.key_server import PublishedKeys
from tests.simulation.hostile.truth import NUMBER, Letter, Room, Said, Truth
from tests.simulation.world import Stored

ROOM = RoomId("!room:example.org")
BOB, CAROL = UserId("@bob:example.org"), UserId("@carol:example.org")
MALLORY = UserId("@mallory:elsewhere.example")
FULL = 50
KEYS = 12
"""One-time keys that there are before it comes to the fallback key."""


@attrs.frozen(kw_only=True)
class Baseline(Stored):
    """A new device that has uploaded its keys."""

    me: DeviceIdentity
    device_keys: JsonObject
    published: PublishedKeys
    """Its one-time keys and its fallback key, which nobody has claimed."""


@functools.cache
def baseline() -> Baseline:
    """The one that all runs in this process start from."""
    return trio.run(_make_baseline)


async def _make_baseline() -> Baseline:
    disk = MemoryDisk()
    async with run_supervisor(MemoryStore(disk), user_id=USER, device_id=DEVICE) as supervisor:
        me = await supervisor.ask(CreateAccount())
        counts = {"signed_curve25519": FULL - KEYS}
        await supervisor.ask(ReceiveSync(sync={"next_batch": "s0", "device_one_time_keys_count": counts}))
        keys = await supervisor.ask(PrepareOneTimeKeys())
        await supervisor.ask(MarkKeysPublished(key_ids=keys.key_ids))
        device_keys = await supervisor.ask(SignedDeviceKeys())
    published = PublishedKeys()
    published.take(attrs.asdict(keys))
    return Baseline(
        rows={table: disk.rows(table) for table in Table},
        me=me,
        device_keys=device_keys,
        published=published,
    )


class World:
    """See the module."""

    def __init__(self, base: Baseline, rng: random.Random) -> None:
        """Nobody has said anything yet, and the device knows nobody."""
        self.rng = rng
        self.truth = Truth()
        self.me = base.me
        self.honest = [
            self.truth.met(Peer(user_id, DeviceId(name))) for user_id, name in ((BOB, "B1"), (BOB, "B2"), (CAROL, "C"))
        ]
        self.published: dict[UserId, dict[DeviceId, JsonObject]] = {USER: {DEVICE: base.device_keys}}
        """What the homeserver has of everybody's devices."""
        for peer in self.honest:
            self.publish(peer.user_id, peer.device_id, peer.device_keys())
        self.queue: list[JsonObject] = []
        """To-device events for the device."""
        self.timeline: list[JsonObject] = []
        """Events of the room as they are shown to the device."""
        self._published = copy.deepcopy(base.published)

    def publish(self, user_id: UserId, device_id: DeviceId, keys: JsonObject) -> None:
        """Have a homeserver know a device."""
        self.published.setdefault(user_id, {})[device_id] = keys

    # --- to-device ------------------------------------------------------------------------------------------

    def write(
        self,
        maker: Peer,
        event_type: str,
        content: JsonObject,
        *,
        honest: bool = True,
        refused: bool = False,
        session_id: str | None = None,
        **changes: Json,
    ) -> Letter:
        """An Olm message to the device, which nobody has delivered yet; ``changes`` are of the payload."""
        if not maker.sessions or self.rng.random() < 0.2:
            maker.start_session(self.me, self._published.claim_key())
        number = self.truth.number()
        payload = maker.payload(self.me, event_type, {**content, NUMBER: number}, **changes)
        event = maker.olm_event(self.me, json.dumps(payload).encode(), self.rng.choice(maker.sessions[-2:]))
        letter = Letter(maker, honest, event, refused)
        if session_id is not None:
            letter.session_id = next(room.session_id for room in self.truth.rooms if room.session_id == session_id)
        self.truth.letters[number] = letter
        return letter

    def post(self, letter: Letter) -> Letter:
        """Deliver it with the next sync."""
        self.queue.append(letter.event)
        return letter

    # --- the room -------------------------------------------------------------------------------------------

    def open_room(self, maker: Peer) -> Room:
        """A new Megolm session, whose key all members get; the device gets it when it is posted."""
        room = Room(maker, ROOM)
        self.truth.rooms.append(room)
        return room

    def give(self, room: Room, sender: Peer | None = None, *, honest: bool = True, **changes: Json) -> Letter:
        """The room key in a letter: its maker's, or of somebody who says that it is theirs."""
        return self.write(
            sender or room.maker, "m.room_key", room.room_key, honest=honest, session_id=room.session_id, **changes
        )

    def say(self, room: Room) -> Said:
        """One more message, as its maker sends it; it comes to the room."""
        number = self.truth.number()
        event = room.send({NUMBER: number}, event_id=f"$event{number}")
        said = Said(room, number, event)
        room.said.append(said)
        self.truth.said[number] = said
        self.timeline.append(event)
        return said
