"""The world around the device: a homeserver, other people's devices, and rooms; all of it honest, and none of it ours.

Owns: `World`, and `Baseline`, the state that every simulation starts from, which is made once.
Rule: what it does takes no time and draws from the generator that it was given. It writes down what only it can know:
what it has read, which room keys a token stands for.
"""

from __future__ import annotations

import copy
import functools
import random
from collections.abc import Iterable

import attrs
import trio
from vodozemac import InboundGroupSession, SessionKey

from olmstate.actors import Supervisor, run_supervisor
from olmstate.actors.testing import DEVICE, USER, MemoryDisk, MemoryStore
from olmstate.messages import (
    CreateAccount,
    DecryptToDevice,
    DeviceAddress,
    DeviceId,
    DeviceIdentity,
    EncryptToDevice,
    JsonObject,
    MarkKeysPublished,
    PrepareOneTimeKeys,
    ReceiveSync,
    Request,
    RoomId,
    UnpublishedKeys,
    UserId,
)
from olmstate.storage import Row, Table
from tests.faults import wire
from tests.faults.history import Log, digest
from tests.operations.peer import Peer, Room, add_devices
from tests.peer.key_server import PublishedKeys
from tests.peer.requests import messages_of

PICKLE_KEY = bytes(32)
ROOMS = (RoomId("!one:example.org"), RoomId("!two:example.org"))
BOB, CAROL = UserId("@bob:example.org"), UserId("@carol:example.org")
FULL = 50
"""One-time keys that the device wants the server to have."""
MOST_DUE = 3
"""The server says that so many are missing at most: keys take time to make and to load."""


@attrs.frozen(kw_only=True)
class Stored:
    """What is stored where runs begin."""

    rows: dict[Table, list[Row]] = attrs.field(factory=dict[Table, list[Row]])

    def disk(self) -> MemoryDisk:
        """Another store that holds it."""
        disk = MemoryDisk()
        disk.write_from_elsewhere(self.rows)
        return disk


@attrs.frozen(kw_only=True)
class Baseline(Stored):
    """A device that has met somebody: what is stored, and what others know."""

    me: DeviceIdentity
    peers: tuple[JsonObject, ...]
    """Snapshots, since a simulation uses them up."""
    published: PublishedKeys
    """The device's keys that nobody has claimed."""


@functools.cache
def baseline() -> Baseline:
    """The one that all simulations in this process start from."""
    return trio.run(_make_baseline)


async def _make_baseline() -> Baseline:
    disk = MemoryDisk()
    async with run_supervisor(MemoryStore(disk), user_id=USER, device_id=DEVICE) as supervisor:
        base = await meet_somebody(supervisor)
    # as a backup is made
    rows: dict[Table, list[Row]] = {table: disk.rows(table) for table in Table if table is not Table.EVENTS}
    return attrs.evolve(base, rows=rows)


async def meet_somebody(supervisor: Supervisor) -> Baseline:
    """Have a new device meet somebody. What is stored then, the caller knows."""
    published = PublishedKeys()
    bob, bobs_other, carol = Peer(), Peer(BOB, "BOBDEV2"), Peer(CAROL, "CAROLDEV")
    me = await supervisor.ask(CreateAccount())
    counts = {"signed_curve25519": FULL - MOST_DUE}
    await supervisor.ask(ReceiveSync(sync={"next_batch": "s0", "device_one_time_keys_count": counts}))
    await supervisor.ask(add_devices(bob, bobs_other))
    keys = await supervisor.ask(PrepareOneTimeKeys())
    await supervisor.ask(MarkKeysPublished(key_ids=keys.key_ids))
    published.take(attrs.asdict(keys))
    bob.start_session(me, published.claim_key())
    await supervisor.ask(DecryptToDevice(events=(bob.event(me),)))
    hello = await supervisor.ask(EncryptToDevice(devices=(bob.address,), type="m.test", content={}))
    bob.read(hello.messages[bob.user_id][bob.device_id])
    return Baseline(me=me, peers=tuple(peer.snapshot() for peer in (bob, bobs_other, carol)), published=published)


@attrs.frozen
class RoomEvent:
    """An encrypted event in a room."""

    room_id: RoomId
    event: JsonObject


class World:
    """See the module."""

    def __init__(self, base: Baseline, rng: random.Random, log: Log) -> None:
        """The world at the start."""
        self.rng = rng
        self.log = log
        self.me = base.me
        self.peers = [Peer.of(snapshot) for snapshot in base.peers]
        self.known_devices = self.peers[:2]
        """Of which keys the device knows that they are up to date."""
        self._published = copy.deepcopy(base.published)
        self._late: list[UnpublishedKeys] = []
        for key in self._published.fallback_keys.values():
            log.write("fallback", key=key["key"])
        self._queue: list[JsonObject] = []
        self._room_keys_by_position: list[tuple[str, ...]] = [()]
        self.room_keys: list[Room] = []
        self.events: list[RoomEvent] = []
        self.taken: set[str] = set()
        """Paths of requests, with their transaction ids."""

    # --- keys -----------------------------------------------------------------------------------------------

    def upload(self, keys: UnpublishedKeys) -> None:
        """Take keys. What was claimed is forgotten: a key that came again would be given to somebody else."""
        self._published.take(attrs.asdict(keys))

    def upload_late(self, keys: UnpublishedKeys) -> None:
        """The request is on its way, and nobody waits for it any more."""
        self._late.append(keys)

    @property
    def counts(self) -> dict[str, int]:
        """One-time keys, as the server tells it."""
        return {"signed_curve25519": FULL - MOST_DUE + min(len(self._published.one_time_keys), MOST_DUE)}

    def claim(self, addresses: Iterable[DeviceAddress]) -> JsonObject:
        """A /keys/claim response's keys for those devices that there are."""
        by_user: JsonObject = {}
        for peer in self.peers:
            if peer.address in addresses:
                by_user.setdefault(peer.user_id, {})[peer.device_id] = peer.one_time_key()
        return by_user

    # --- to-device ------------------------------------------------------------------------------------------

    def take(self, request: Request) -> None:
        """Have the homeserver take a request; Olm messages are delivered, once if they come twice under one id."""
        if "/sendToDevice/m.room.encrypted/" in request.path and request.path not in self.taken:
            self.taken.add(request.path)
            self.receive(messages_of(request))

    def receive(self, messages: dict[UserId, dict[DeviceId, JsonObject]]) -> None:
        """Let each peer read what it is sent, as it comes."""
        for peer in self.peers:
            content = messages.get(peer.user_id, {}).get(peer.device_id)
            if content is not None:
                self._read(peer, content)

    def _read(self, peer: Peer, content: JsonObject) -> None:
        try:
            payload = peer.read(content)
        except (AssertionError, ValueError):
            return  # the history then lacks an entry, which is for the checker to judge
        (ciphertext,) = content["ciphertext"].values()
        said = payload["content"]
        self.log.write("read", hash=digest(wire.decode(ciphertext["body"])), digest=digest(said))
        if payload["type"] == "m.room_key":
            self.log.write(
                "room_key",
                session=said["session_id"],
                index=InboundGroupSession(SessionKey(said["session_key"])).first_known_index,
                session_key=said["session_key"],
                reader=peer.device_id,
            )

    def send(self, peer: Peer, event_type: str = "m.dummy", content: JsonObject | None = None) -> JsonObject:
        """An event from a peer to the device, on a session that they have or on a new one."""
        if not peer.sessions or self.rng.random() < 0.3:
            self.meet(peer)
        return peer.event(self.me, event_type, content)

    def meet(self, peer: Peer) -> None:
        """Have a peer start a session with the device."""
        peer.start_session(self.me, self._published.claim_key())

    def stir(self) -> None:
        """Let somebody send something to the device, or a late request arrive."""
        if self._late and self.rng.random() < 0.3:
            self.upload(self._late.pop(self.rng.randrange(len(self._late))))
        peer = self.rng.choice(self.peers)
        match self.rng.randrange(4):
            case 0:
                self.post(self.send(peer))
            case 1 | 2:
                self.give(self.new_room_key(peer))
            case _:
                if self._queue:
                    self.post(self.rng.choice(self._queue))  # delivered twice

    def post(self, event: JsonObject, *room_keys: str) -> None:
        """Let an event, which brings these room keys, wait for the next /sync."""
        self._queue.append(event)
        self._room_keys_by_position.append((*self._room_keys_by_position[-1], *room_keys))

    def give(self, key: Room) -> None:
        """Have a peer send a session's key to the device."""
        self.post(self.send(key.maker, "m.room_key", key.room_key), key.session_id)

    def sync(self, since: str | None) -> JsonObject:
        """A /sync response, which may leave something for the next."""
        position = 0 if since is None else int(since.removeprefix("s"))
        return self._sync_to(position, self.rng.randint(position, len(self._queue)))

    def last_sync(self, since: str | None) -> JsonObject:
        """A /sync response with everything that waits."""
        return self._sync_to(0 if since is None else int(since.removeprefix("s")), len(self._queue))

    def _sync_to(self, position: int, upto: int) -> JsonObject:
        token = f"s{upto}"
        self.log.write("batch", token=token, room_keys=list(self._room_keys_by_position[upto]))
        sync: JsonObject = {
            "next_batch": token,
            "to_device": {"events": self._queue[position:upto]},
            "device_one_time_keys_count": self.counts,
        }
        if self.rng.random() < 0.1:
            del sync["device_one_time_keys_count"]
        if self.rng.random() < 0.2:
            sync["device_unused_fallback_key_types"] = []  # used up
        return sync

    # --- rooms ----------------------------------------------------------------------------------------------

    def new_room_key(self, peer: Peer) -> Room:
        """Have a peer start a Megolm session and send an event on it."""
        key = Room(peer, self.rng.choice(ROOMS))
        self.room_keys.append(key)
        self.say(key)
        return key

    def say(self, key: Room) -> RoomEvent:
        """Have a peer send one more event on a session."""
        said = RoomEvent(key.room_id, key.send(event_id=f"$event{len(self.events)}"))
        self.events.append(said)
        return said

    def see(self, room_id: RoomId, content: JsonObject) -> None:
        """An event that the device has sent has come to its room."""
        event = {
            "type": "m.room.encrypted",
            "event_id": f"$event{len(self.events)}",
            "sender": self.me.user_id,
            "content": content,
        }
        self.events.append(RoomEvent(room_id, event))
