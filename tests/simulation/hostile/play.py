"""One device, honest people, and liars: a run from one seed.

Owns: `play`, and what a run consists of.
Rule: everything is drawn from the seed. Two supervisors have the store open, and any of them is asked; each is closed
and opened again now and then, so that what is told must be what is stored.

A run: honest people write, share room keys and talk; the device queries, syncs, reads, writes and imports; liars do
what they can in between. In the end everything honest is delivered, and must be read and told for what it is.
"""

from __future__ import annotations

import random
import traceback
from collections import Counter
from collections.abc import Awaitable, Callable, Sequence
from typing import Literal, TypeAlias

import attrs
import trio

from olmstate.actors import Supervisor
from olmstate.actors.testing import DEVICE, USER
from olmstate.messages import (
    AddDevices,
    CreateOlmSessions,
    DecryptRoomEvents,
    DeviceAddress,
    Devices,
    EncryptRoomEvent,
    EncryptToDevice,
    ImportRoomKeys,
    JsonObject,
    MarkRoomKeyShared,
    ReceiveSync,
    RoomKeyNotShared,
    ShareRoomKey,
    UserId,
)
from tests.operations.peer import Peer
from tests.simulation import schedule
from tests.simulation.hostile import homeserver, member
from tests.simulation.hostile.broken import PRODUCT, Variant
from tests.simulation.hostile.homeserver import LyingHomeserver
from tests.simulation.hostile.judge import Judge
from tests.simulation.hostile.member import Member
from tests.simulation.hostile.runs import Run, Supervisors
from tests.simulation.hostile.truth import NUMBER, Room, Said
from tests.simulation.hostile.world import ROOM, World, baseline

Liars: TypeAlias = Literal["member", "homeserver", "both"]
LIARS: Sequence[Liars] = ("member", "homeserver", "both")
ALONE: Sequence[Literal["member", "homeserver"]] = ("member", "homeserver")


def play(seed: int, variant: Variant = PRODUCT) -> Run:
    """One run."""
    base = baseline()  # made by the product
    rng = random.Random(seed)
    liars: Liars = LIARS[seed % len(LIARS)]
    game = _Game(rng, liars, World(base, rng))
    with variant.patches():
        schedule.run(game.main, rng)
    return Run(
        seed=seed,
        where="tests/simulation/hostile",
        violations=game.judge.violations,
        attacks=game.attacks,
        told=game.told,
    )


class _Game:
    def __init__(self, rng: random.Random, liars: Liars, world: World) -> None:
        self.rng, self.world = rng, world
        self.liars: Liars = liars
        self.judge = Judge(world.truth, world.me, homeserver_lies=liars != "member")
        self.member, self.homeserver = Member(world), LyingHomeserver(world)
        self.attacks: Counter[str] = Counter()
        self.told: Counter[str] = Counter()
        self._supervisors = Supervisors(baseline().disk(), rng)
        self._synced = 0

    async def main(self) -> None:
        """The whole run."""
        async with trio.open_nursery() as self._supervisors.nursery:
            await self._play()
            self._supervisors.close()

    async def _play(self) -> None:
        try:
            for _ in range(self.rng.randint(25, 45)):
                if self.rng.random() < 0.45:
                    self._attack()
                else:
                    await self.rng.choice(ACTIONS)(self)
            await self._end()
        except Exception as error:  # noqa: BLE001 - whatever it is, the run's report tells it
            self.judge.found("no bugs", "".join(traceback.format_exception(error)))

    async def device(self) -> Supervisor:
        """One of the two supervisors."""
        return await self._supervisors.any()

    def _attack(self) -> None:
        liar = self.rng.choice(ALONE) if self.liars == "both" else self.liars
        if liar == "member":
            of_member = self.rng.choice(member.ATTACKS)
            self.attacks[of_member.__name__] += 1
            of_member(self.member)
        else:
            of_homeserver = self.rng.choice(homeserver.ATTACKS)
            self.attacks[of_homeserver.__name__] += 1
            of_homeserver(self.homeserver)

    # --- what honest people do ------------------------------------------------------------------------------

    async def talk(self) -> None:
        """Start a session, share it and say something; or say more, and share it late."""
        rooms = [room for room in self.world.truth.rooms if room.maker in self.world.honest]
        if rooms and self.rng.random() < 0.5:
            room = self.rng.choice(rooms)
            if not room.given:
                self._share(room)
            self.world.say(room)
            return
        room = self.world.open_room(self.rng.choice(self.world.honest))
        if self.rng.random() < 0.6:
            self._share(room)
        for _ in range(self.rng.randint(1, 2)):
            self.world.say(room)

    def _share(self, room: Room) -> None:
        room.given = True
        self.world.post(self.world.give(room))

    async def write(self) -> None:
        """Write to the device."""
        self.world.post(self.world.write(self.rng.choice(self.world.honest), "m.test", {}))

    # --- what the device does -------------------------------------------------------------------------------

    async def query(self) -> None:
        """Learn of some users' devices, and look at them."""
        users = sorted(self.world.published)
        await self._query(self.rng.sample(users, self.rng.randint(1, len(users))))

    async def _query(self, users: Sequence[UserId]) -> None:
        response = {user_id: dict(self.world.published[user_id]) for user_id in users}
        await (await self.device()).ask(AddDevices(response={"device_keys": response}))
        self.judge.queried(response)
        for user_id in users:
            self.judge.devices(user_id, await (await self.device()).ask(Devices(user_id=user_id)))

    async def sync(self) -> None:
        """Take in all that waits."""
        events, self.world.queue = self.world.queue, []
        self._synced += 1
        sync = {"next_batch": f"s{self._synced}", "to_device": {"events": events}}
        received = await (await self.device()).ask(ReceiveSync(sync=sync))
        for event, outcome in zip(events, received.to_device, strict=True):
            self.told[type(outcome).__name__] += 1
            self.judge.letter(event, outcome)

    async def read(self) -> None:
        """Read some of what was shown of the room."""
        timeline = self.world.timeline
        await self._read(self.rng.sample(timeline, min(len(timeline), self.rng.randint(1, 8))))

    async def _read(self, events: Sequence[JsonObject]) -> None:
        asked = DecryptRoomEvents(events=tuple((ROOM, event) for event in events))
        outcomes = await (await self.device()).ask(asked)
        for event, outcome in zip(events, outcomes, strict=True):
            self.told[type(outcome).__name__] += 1
            self.judge.event(event, outcome)
        await trio.sleep(2)  # what was read is written by then, and the other supervisor knows of it

    async def take_in_an_export(self) -> None:
        """Somebody honest hands over a file with a session of theirs."""
        rooms = [room for room in self.world.truth.rooms if room.maker in self.world.honest]
        if rooms:
            room = self.rng.choice(rooms)
            await (await self.device()).ask(ImportRoomKeys(keys=(room.export(),)))
            room.exported = True

    async def answer(self) -> None:
        """Write to devices that are known, honest ones and others."""
        known = [
            DeviceAddress(user_id=user_id, device_id=device_id)
            for user_id, devices in self.judge.present.items()
            for device_id in devices
            if (user_id, device_id) != (USER, DEVICE)
        ]
        addresses = tuple(self.rng.sample(known, min(len(known), 6)))
        content: JsonObject = {NUMBER: self.world.truth.number()}
        supervisor = await self.device()
        await supervisor.ask(CreateOlmSessions(one_time_keys=self._claimed(addresses)))
        encrypted = await supervisor.ask(EncryptToDevice(devices=addresses, type="m.test", content=content))
        for peer in self.world.honest:
            sent = encrypted.messages.get(peer.user_id, {}).get(peer.device_id)
            if sent is not None and self.judge.knows(peer):
                self.judge.sent(peer, _read_by(peer, sent), content)

    def _claimed(self, addresses: Sequence[DeviceAddress]) -> JsonObject:
        """Keys that were claimed for some of them, each of and by whoever has the device's Ed25519 key."""
        claimed: JsonObject = {}
        for address in addresses:
            _, ed25519 = self.judge.present[address.user_id][address.device_id]
            if self.rng.random() < 0.5:
                maker = self.world.truth.fingerprints[ed25519]
                as_told = attrs.evolve(maker, user_id=address.user_id, device_id=address.device_id)
                claimed.setdefault(address.user_id, {})[address.device_id] = as_told.one_time_key()
        return claimed

    async def speak(self) -> None:
        """Say something in the room, which the device reads itself."""
        supervisor = await self.device()
        number = self.world.truth.number()
        message = EncryptRoomEvent(room_id=ROOM, type="m.room.message", content={NUMBER: number})
        try:
            sent = await supervisor.ask(message)
        except RoomKeyNotShared:
            share = await supervisor.ask(ShareRoomKey(room_id=ROOM, devices=()))
            await supervisor.ask(MarkRoomKeyShared(room_id=ROOM, session_id=share.session_id, devices=()))
            sent = await supervisor.ask(message)
        event = {"event_id": f"$event{number}", "sender": USER, "content": sent.content}
        us = _Us(USER, DEVICE, me=self.world.me)
        room = Room(us, ROOM)
        room.claimed.append(self.world.me)
        self.world.truth.said[number] = Said(room, number, event)
        self.world.timeline.append(event)

    # --- the end --------------------------------------------------------------------------------------------

    async def _end(self) -> None:
        """Everything honest is delivered, and everybody is known for who they are."""
        self.homeserver.let_go()
        for room in self.world.truth.rooms:
            if room.maker in self.world.honest and not room.given:
                self._share(room)
        for peer in self.world.honest:
            self.world.publish(peer.user_id, peer.device_id, peer.device_keys())
        await self._query(sorted(self.world.published))
        await self.sync()
        self.world.queue += [letter.event for letter in self.world.truth.letters.values() if letter.honest]
        await self.sync()
        self.judge.letters_at_the_end()
        await self._read(self.world.timeline)
        await self._read([said.event for said in self.world.truth.said.values()])


@attrs.define(eq=False)
class _Us(Peer):
    """The device itself, as the maker of something."""

    me: object = None

    @property
    def identity(self) -> object:  # type: ignore[override]
        """Which device it is."""
        return self.me


def _read_by(peer: Peer, content: JsonObject) -> JsonObject | None:
    try:
        said: JsonObject = peer.read(content)["content"]
    except (AssertionError, ValueError):
        return None
    return said


Action: TypeAlias = Callable[[_Game], Awaitable[None]]

ACTIONS: Sequence[Action] = (
    _Game.talk,
    _Game.talk,
    _Game.talk,
    _Game.write,
    _Game.query,
    _Game.query,
    _Game.sync,
    _Game.sync,
    _Game.read,
    _Game.read,
    _Game.take_in_an_export,
    _Game.answer,
    _Game.answer,
    _Game.speak,
)
"""What is done besides lying."""
