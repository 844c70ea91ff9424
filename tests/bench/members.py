"""Jobs of a room's members: sending where nothing has changed, their devices taken in, a first key shared with them."""

from __future__ import annotations

import json
from collections.abc import Callable
from contextlib import AsyncExitStack
from functools import partial

from vodozemac import Ed25519PublicKey, Ed25519Signature

from olmstate.actors import Supervisor
from olmstate.messages import (
    CreateOlmSessions,
    DeviceId,
    EncryptedRoomEvent,
    EncryptForRoom,
    EncryptRoomEvent,
    JsonObject,
    MarkRequestSent,
    Message,
    RoomId,
    ShareRoomKey,
    TrackUsers,
    UserId,
)
from tests.bench.bare import BareStore
from tests.bench.device import CONTENT, NEVER, device
from tests.bench.job import Outcome, Result, Setting
from tests.bench.measure import Side, Watch, measure, ratio
from tests.bench.people import people
from tests.bench.to_device import BARE, bare_sending
from tests.bench.work import know
from tests.cost.asks import answer_of, answer_queries, queries
from tests.operations.peer import Peer, claimed
from tests.peer.encoding import canonical

MEMBERS, MESSAGES = 5_000, 1_000
USERS, DEVICES_A_USER = 1_000, 4
SHARED_WITH = 1_000


async def encrypt_for_room(setting: Setting) -> Outcome:
    """A message for 5,000 members who have the key, beside one in a room of two of which nothing is known."""
    count = max(2, setting.scaled(MEMBERS))
    async with device(setting.folder) as supervisor:
        setting.progress(f"meeting {count:,} people")
        known = people(count)
        await supervisor.ask(TrackUsers(users=tuple(person.user_id for person in known)))
        await answer_queries(supervisor, {person.user_id: [person] for person in known})
        await supervisor.ask(CreateOlmSessions(one_time_keys=claimed(known)))
        large, small = RoomId("!large:example.org"), RoomId("!small:example.org")
        await _share(supervisor, large, known)
        await _share(supervisor, small, known[:2])
        members = tuple(person.user_id for person in known)

        def for_all() -> EncryptForRoom:
            return EncryptForRoom(
                room_id=large, members=members, type="m.room.message", content=CONTENT, rotation=NEVER
            )

        def for_two() -> EncryptRoomEvent:
            return EncryptRoomEvent(room_id=small, type="m.room.message", content=CONTENT)

        async def same(message: Message[EncryptedRoomEvent]) -> float:
            watch = Watch()
            for _ in range(MESSAGES):
                await supervisor.ask(message)
            return watch.seconds()

        async def another(make: Callable[[], Message[EncryptedRoomEvent]]) -> float:
            watch = Watch()
            for _ in range(MESSAGES):
                await supervisor.ask(make())
            return watch.seconds()

        sides: dict[str, Side] = {
            f"EncryptForRoom, {count:,} devices": partial(same, for_all()),
            "EncryptRoomEvent, 2 devices": partial(same, for_two()),
            f"{count:,} members named anew each time": partial(another, for_all),
            "the room of 2 named anew each time": partial(another, for_two),
        }
        figures = await measure(sides, rounds=setting.short_rounds, units=MESSAGES, progress=setting.progress)
    all_of_them, two, all_anew, two_anew = figures.values()
    label = f"a message for {count:,} devices where nothing has changed, against one in a room of 2"
    return Outcome(
        results=(
            Result(label=label, value=ratio(all_of_them, two), target=1.5, figures=(all_of_them, two)),
            Result(
                label="the same, with what is asked made anew each time",
                value=ratio(all_anew, two_anew),
                figures=(all_anew, two_anew),
            ),
        )
    )


async def _share(supervisor: Supervisor, room_id: RoomId, known: list[Peer]) -> None:
    users = tuple(person.user_id for person in known)
    shared = await supervisor.ask(ShareRoomKey(room_id=room_id, users=users, rotation=NEVER))
    for request in shared.requests:
        await supervisor.ask(MarkRequestSent(request_id=request.request_id, response={}))


async def device_query(setting: Setting) -> Outcome:
    """The devices of 1,000 users taken in, beside a loop that checks and seals them, and a commit."""
    users = max(1, setting.scaled(USERS))
    async with AsyncExitStack() as stack:
        supervisor = await stack.enter_async_context(device(setting.folder / "store"))
        bare = BareStore(setting.folder / "bare.sqlite")
        first = 0

        def newcomers() -> dict[UserId, list[Peer]]:
            """Others each time, or their keys would be known already."""
            nonlocal first
            first += users
            return {
                person.user_id: [Peer(person.user_id, f"D{number}") for number in range(DEVICES_A_USER)]
                for person in people(users, first)
            }

        async def ours() -> float:
            known = newcomers()
            await supervisor.ask(TrackUsers(users=tuple(known)))
            answered = [(query.request_id, answer_of(query, known)) for query in await queries(supervisor)]
            watch = Watch()
            for request_id, response in answered:
                await supervisor.ask(MarkRequestSent(request_id=request_id, response=response))
            return watch.seconds()

        async def loop() -> float:
            answer = {
                user: {each.device_id: each.device_keys() for each in devices} for user, devices in newcomers().items()
            }
            watch = Watch()
            bare.commit([value for user, devices in answer.items() for value in _checked(bare, user, devices)])
            return watch.seconds()

        sides: dict[str, Side] = {"olmstate": ours, BARE: loop}
        figures = await measure(sides, rounds=(setting.rounds + 1) // 2, units=1, progress=setting.progress)
        bare.close()
    one, other = figures.values()
    label = f"devices of {users:,} users, {DEVICES_A_USER} each, taken in"
    return Outcome(results=(Result(label=label, value=ratio(one, other), target=1.3, figures=(one, other)),))


def _checked(bare: BareStore, user_id: UserId, devices: dict[DeviceId, JsonObject]) -> list[tuple[str, bytes]]:
    """What to store of a user's devices, once they are theirs, signed, and the same as before, if they were there."""
    values: list[tuple[str, bytes]] = []
    for device_id, keys in devices.items():
        assert (keys["user_id"], keys["device_id"]) == (user_id, device_id)
        signed = {name: value for name, value in keys.items() if name not in {"signatures", "unsigned"}}
        key = Ed25519PublicKey.from_base64(keys["keys"][f"ed25519:{device_id}"])
        signature = Ed25519Signature.from_base64(keys["signatures"][user_id][f"ed25519:{device_id}"])
        key.verify_signature(canonical(signed).encode(), signature)
        name = f"{user_id} {device_id}"
        before = bare.unsealed(name)
        assert before is None or json.loads(before)["keys"] == keys["keys"]
        values.append((name, bare.seal(name, json.dumps(keys))))
    return values


async def share_first(setting: Setting) -> Outcome:
    """A room's first key for 1,000 devices with which there are sessions, beside a loop that stores its requests."""
    count = max(2, setting.scaled(SHARED_WITH))
    async with device(setting.folder / "store") as supervisor:
        known = people(count)
        await know(supervisor, known)
        users = tuple(person.user_id for person in known)
        bare = BareStore(setting.folder / "bare.sqlite")
        rooms = 0

        async def ours() -> float:
            nonlocal rooms
            rooms += 1
            command = ShareRoomKey(room_id=RoomId(f"!{rooms}:example.org"), users=users)
            watch = Watch()
            shared = await supervisor.ask(command)
            seconds = watch.seconds()
            assert not shared.missing
            for request in shared.requests:
                await supervisor.ask(MarkRequestSent(request_id=request.request_id, response={}))
            return seconds

        sides: dict[str, Side] = {"olmstate": ours, BARE: bare_sending(bare, people(count), keep=True)}
        figures = await measure(sides, rounds=setting.rounds, units=1, progress=setting.progress)
        bare.close()
    one, loop = figures.values()
    label = f"a first room key for {count:,} devices"
    return Outcome(results=(Result(label=label, value=ratio(one, loop), target=1.3, figures=(one, loop)),))
