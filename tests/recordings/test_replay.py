"""Every recording of real peers replays exactly as recorded, however it is handed over and to whom."""

from __future__ import annotations

import json
import random
from collections.abc import AsyncGenerator, Awaitable, Callable, Sequence
from contextlib import asynccontextmanager
from pathlib import Path

import attrs
import pytest
import trio
from vodozemac import InboundGroupSession, MegolmMessage, SessionKey

from olmstate.messages import (
    EncryptRoomEvent,
    JsonObject,
    MalformedMessage,
    MarkRoomKeyShared,
    PrepareRoomKey,
    ReceiveSync,
    RoomId,
    RoomKeyNotShared,
    SyncToken,
)
from tests.recordings.recording import LARGE, SMALL, Recording, load, room_events
from tests.recordings.replay import Replay
from tests.stateful.hosts import Close, LocalHost, Open, RemoteHost, open_remote_hosts

KEY = bytes(range(32))
PROCESSES = 4
SEEDS = {SMALL: 20, LARGE: 2}
SEEDS_IN_FULL = 20

recordings = pytest.mark.parametrize("path", [SMALL, LARGE], ids=["small", "large"])


def opening(recording: Recording, folder: Path) -> Open:
    """What opens the recorded device's store."""
    return Open(folder=str(folder), user_id=recording.user_id, device_id=recording.device_id, key=KEY)


@asynccontextmanager
async def local_hosts(recording: Recording, folder: Path, number: int = 1) -> AsyncGenerator[list[LocalHost], None]:
    """Supervisors of this process on one store."""
    async with trio.open_nursery() as nursery:
        hosts = [LocalHost(nursery) for _ in range(number)]
        for host in hosts:
            await host.do(opening(recording, folder))
        yield hosts
        for host in hosts:
            await host.do(Close())


async def replay_on_processes(
    path: Path,
    folder: Path,
    seeds: int,
    between: Callable[[Sequence[RemoteHost], Open, random.Random], Awaitable[None]] | None = None,
) -> None:
    """Replay a recording for each seed, each on a store of its own, which four processes share."""
    recording = load(path)
    async with open_remote_hosts(PROCESSES) as hosts:
        for seed in range(seeds):
            rng = random.Random(seed)
            opened = opening(recording, folder / str(seed))
            for host in hosts:
                await host.do(opened)
            hook = None if between is None else (lambda opened=opened, rng=rng: between(hosts, opened, rng))
            replay = Replay(recording, hosts, rng, between=hook)
            await replay.run()
            assert replay.wrong == [], f"seed {seed}"
            for host in hosts:
                await host.do(Close())


@recordings
async def test_a_recording_replays_exactly_in_one_process(path: Path, tmp_path: Path) -> None:
    recording = load(path)
    async with local_hosts(recording, tmp_path) as hosts:
        replay = Replay(recording, hosts)
        await replay.run()

    assert replay.wrong == []
    assert set(recording.raw["expected"]) == set(replay.read)


@recordings
async def test_without_its_olm_sessions_a_recording_loses_what_came_on_them_and_nothing_else(
    path: Path, tmp_path: Path
) -> None:
    recording = load(path)
    async with local_hosts(recording, tmp_path) as hosts:
        replay = Replay(recording, hosts, olm_sessions=False)
        await replay.run()

    assert replay.wrong == []
    assert len(replay.read) < len(recording.raw["expected"])


@recordings
async def test_a_recording_replays_exactly_with_each_sync_handed_to_any_of_four_processes(
    path: Path, tmp_path: Path, pytestconfig: pytest.Config
) -> None:
    seeds = SEEDS_IN_FULL if pytestconfig.getoption("--full") else SEEDS[path]

    await replay_on_processes(path, tmp_path, seeds)


async def test_a_recording_replays_exactly_though_processes_are_killed_between_its_syncs(tmp_path: Path) -> None:
    async def kill_one(hosts: Sequence[RemoteHost], opened: Open, rng: random.Random) -> None:
        victim = rng.choice(hosts)
        await victim.kill()
        await victim.do(opened)

    await replay_on_processes(SMALL, tmp_path, 2, kill_one)


@recordings
async def test_a_recording_replays_exactly_on_supervisors_that_cache_nothing(path: Path, tmp_path: Path) -> None:
    recording = load(path)
    async with trio.open_nursery() as nursery:
        hosts = [LocalHost(nursery) for _ in range(2)]
        for host, capacity in zip(hosts, (0, 3), strict=True):
            await host.do(attrs.evolve(opening(recording, tmp_path), capacity=capacity))
        replay = Replay(recording, hosts)
        await replay.run()
        for host in hosts:
            await host.do(Close())

    assert replay.wrong == []


def text(sync: JsonObject) -> str:
    """Escaped to ASCII."""
    return json.dumps(sync)


def text_unescaped(sync: JsonObject) -> str:
    """With lone surrogates in it."""
    return json.dumps(sync, ensure_ascii=False)


def octets(sync: JsonObject) -> bytes:
    """As a server sends it."""
    return json.dumps(sync).encode()


@pytest.mark.parametrize("prepare", [text, text_unescaped, octets])
async def test_a_sync_as_text_or_bytes_says_the_same_as_a_parsed_one(
    prepare: Callable[[JsonObject], str | bytes], tmp_path: Path
) -> None:
    recording = load(SMALL)
    async with local_hosts(recording, tmp_path, 2) as hosts:
        replay = Replay(recording, hosts, prepare=prepare)
        await replay.run()

    assert replay.wrong == []


@pytest.mark.parametrize(
    ("path", "deliveries", "copies"),
    [(SMALL, 2, 1), (SMALL, 1, 2), (SMALL, 2, 2), (LARGE, 2, 1), (LARGE, 1, 2)],
    ids=["small-sync", "small-events", "small-both", "large-sync", "large-events"],
)
async def test_what_is_delivered_twice_is_a_replay_and_harms_nothing(
    path: Path, deliveries: int, copies: int, tmp_path: Path
) -> None:
    recording = load(path)
    async with local_hosts(recording, tmp_path, 2) as hosts:
        replay = Replay(recording, hosts, deliveries=deliveries, copies=copies)
        await replay.run()

    assert replay.wrong == []


async def test_a_sync_nested_a_hundred_thousand_deep_is_refused_and_nothing_of_it_taken_in(tmp_path: Path) -> None:
    recording = load(SMALL)
    nested = recording.raw["raw_sync_huge_nesting"]
    refused = 0

    async with local_hosts(recording, tmp_path) as hosts:

        async def receive_nested() -> None:
            nonlocal refused
            token = await hosts[0].ask(SyncToken())
            for sync in (nested, nested.encode()):
                with pytest.raises(MalformedMessage):
                    await hosts[0].ask(ReceiveSync(sync=sync))
                refused += 1
                assert token == await hosts[0].ask(SyncToken())

        replay = Replay(recording, hosts, between=receive_nested)
        await replay.run()

    assert replay.wrong == []
    assert 2 * len(recording.syncs) == refused


@attrs.define
class Sends:
    """Sends in a room of its own, by any of some hosts, several at once."""

    hosts: Sequence[RemoteHost]
    rng: random.Random
    room_id: RoomId = attrs.field(default=RoomId("!own:rec.test"))
    readers: dict[str, InboundGroupSession] = attrs.field(factory=dict[str, InboundGroupSession])
    sent: list[JsonObject] = attrs.field(factory=list[JsonObject])

    async def some(self) -> None:
        """Send six messages."""
        waiting = [f"{len(self.sent)} {number}" for number in range(6)]
        while waiting:
            failed: list[str] = []
            async with trio.open_nursery() as nursery:
                for body in waiting:
                    nursery.start_soon(self._encrypt, body, failed)
            waiting = failed
            if waiting:
                await self._share()

    async def _encrypt(self, body: str, failed: list[str]) -> None:
        message = EncryptRoomEvent(room_id=self.room_id, type="m.room.message", content={"body": body})
        try:
            encrypted = await self.rng.choice(self.hosts).ask(message)
        except RoomKeyNotShared:
            failed.append(body)
        else:
            self.sent.append(encrypted.content)

    async def _share(self) -> None:
        room_key = await self.rng.choice(self.hosts).ask(PrepareRoomKey(room_id=self.room_id))
        self.readers.setdefault(room_key.session_id, InboundGroupSession(SessionKey(room_key.session_key)))
        marked = MarkRoomKeyShared(room_id=self.room_id, session_id=room_key.session_id, devices=())
        await self.rng.choice(self.hosts).ask(marked)


async def test_sends_between_the_syncs_and_the_recording_do_not_disturb_one_another(tmp_path: Path) -> None:
    """An independent reader decrypts all that any of the processes sends."""
    recording = load(SMALL)
    async with open_remote_hosts(PROCESSES) as hosts:
        for host in hosts:
            await host.do(opening(recording, tmp_path))
        sends = Sends(hosts, random.Random(0))
        replay = Replay(recording, hosts, sends.rng, between=sends.some)
        await replay.run()
        for host in hosts:
            await host.do(Close())

    assert replay.wrong == []
    read = [
        sends.readers[content["session_id"]].decrypt(MegolmMessage.from_base64(content["ciphertext"]))
        for content in sends.sent
    ]
    assert 6 * len(recording.syncs) == len({message.plaintext for message in read}) == len(read)
    indices = {
        (content["session_id"], message.message_index) for content, message in zip(sends.sent, read, strict=True)
    }
    assert len(read) == len(indices)


@recordings
def test_a_recording_holds_what_it_is_here_for(path: Path) -> None:
    """A recording that has lost its hard cases would replay, and prove nothing."""
    raw = load(path).raw
    tags = {*raw["tags"].values(), *(entry.get("tag") for entry in raw["to_device_expected"])}

    assert {"decrypted", "plain", "replay", "undecryptable"} == {
        entry["outcome"] for entry in raw["to_device_expected"]
    }
    assert {
        "better_index_second",
        "corrupted_copy_first",
        "import_lower_index",
        "nested_content",
        "plaintext_other_room",
        "same_otk_second",
        "withheld_then_key",
        "worse_index_second",
        "wrong_payload_sender",
    } <= tags
    assert len({event.event_id for sync in raw["syncs"] for event in room_events(sync)}) == len(raw["expected"]) + len(
        raw["undecryptable"]
    )
