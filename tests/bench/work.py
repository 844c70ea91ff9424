"""Pieces of work that a device does, each on a store of its own: the same one with a cache and without, say.

Owns: how a device is made ready for a piece of work, and what of it is timed.
Rule: what is timed ends with the reply, and with the disk's word for it where a command is asked.
"""

from __future__ import annotations

import secrets
from collections.abc import AsyncGenerator, Callable, Iterator, Mapping
from contextlib import AbstractAsyncContextManager, AsyncExitStack, asynccontextmanager
from functools import partial
from pathlib import Path
from typing import TypeAlias

import attrs
import trio
from trio.testing import wait_all_tasks_blocked

from olmstate.actors import Options, Supervisor
from olmstate.messages import (
    CreateOlmSessions,
    DecryptRoomEvent,
    DecryptRoomEvents,
    EncryptToDevice,
    IdentityKeys,
    ImportRoomKeys,
    JsonObject,
    MarkRoomKeyShared,
    ReceiveSync,
    ShareRoomKey,
    SyncToken,
)
from olmstate.storage import Table
from tests.bench.device import KEY, MESSAGE, ROOM, device, exported_sessions, hold_sessions, published_keys, share
from tests.bench.measure import Figure, Progress, Side, Watch, measure
from tests.bench.people import Senders, newcomers, olm_message, people, room_key
from tests.operations.peer import Peer, add_devices, claimed


@attrs.frozen(kw_only=True)
class Place:
    """A store, and how it is opened."""

    folder: Path
    key: bytes | None = KEY
    capacities: Mapping[Table, int] = attrs.field(factory=dict[Table, int])

    def device(self) -> AbstractAsyncContextManager[Supervisor]:
        """Open it, or open it once more."""
        return device(self.folder, key=self.key, options=Options(capacities=self.capacities))


@attrs.frozen(kw_only=True)
class Work:
    """A piece of work: ``begin`` has a device ready for it while its block runs, and gives what is timed."""

    name: str
    units: int
    """Into how much work its time is divided."""
    begin: Callable[[Place], AbstractAsyncContextManager[Side]]


Works: TypeAlias = Mapping[str, Work]


async def side_by_side(
    work: Work, places: Mapping[str, Place], *, rounds: int, progress: Progress
) -> dict[str, Figure]:
    """Measure the same work in several places."""
    async with AsyncExitStack() as stack:
        sides: dict[str, Side] = {}
        for name, place in places.items():
            progress(f"{work.name}: preparing")
            sides[name] = await stack.enter_async_context(work.begin(place))
        return await measure(
            sides, rounds=rounds, units=work.units, progress=lambda what: progress(f"{work.name}: {what}")
        )


# --- in a room ----------------------------------------------------------------------------------------------


def decrypting(sessions: int, *, batch: int = 1) -> Work:
    """One event on each of so many sessions, one ask each or in batches."""

    @asynccontextmanager
    async def begin(place: Place) -> AsyncGenerator[Side]:
        async with place.device() as supervisor:
            events = await hold_sessions(supervisor, sessions)
            yield partial(_decrypt, supervisor, events, batch)

    how = "one ask each" if batch == 1 else f"batches of {batch}"
    return Work(name=f"decrypt, {how}", units=sessions, begin=begin)


async def _decrypt(supervisor: Supervisor, events: list[JsonObject], batch: int) -> float:
    watch = Watch()
    if batch == 1:
        for event in events:
            await supervisor.ask(DecryptRoomEvent(room_id=ROOM, event=event))
    else:
        for start in range(0, len(events), batch):
            chunk = tuple((ROOM, event) for event in events[start : start + batch])
            await supervisor.ask(DecryptRoomEvents(events=chunk))
    return watch.seconds()


def encrypting(messages: int, *, callers: int = 1) -> Work:
    """So many messages, by one caller after another or by many at once."""

    @asynccontextmanager
    async def begin(place: Place) -> AsyncGenerator[Side]:
        async with place.device() as supervisor:
            await share(supervisor)
            yield partial(encrypt, supervisor, messages, callers)

    return Work(name=f"encrypt, {counted(callers, 'caller')}", units=messages, begin=begin)


async def encrypt(supervisor: Supervisor, messages: int, callers: int) -> float:
    """Encrypt; the seconds that took."""
    begin = trio.Event()

    async def call() -> None:
        await begin.wait()
        for _ in range(messages // callers):
            await supervisor.ask(MESSAGE)

    async with trio.open_nursery() as nursery:
        for _ in range(callers):
            nursery.start_soon(call)
        await wait_all_tasks_blocked()  # to start them is the program's affair
        watch = Watch()
        begin.set()
    return watch.seconds()


# --- between devices ----------------------------------------------------------------------------------------


def receiving(room_keys: int, *, new_sessions: bool) -> Work:
    """A sync with so many room keys, on one Olm session or on a new one each."""

    @asynccontextmanager
    async def begin(place: Place) -> AsyncGenerator[Side]:
        async with place.device() as supervisor:
            identity = await supervisor.ask(IdentityKeys())
            if new_sessions:
                yield partial(_receive_from_others, supervisor, newcomers(room_keys, identity), room_keys)
            else:
                senders = Senders(people(1), identity)
                senders.join(await greet(supervisor, senders.known))
                yield partial(_receive, supervisor, senders, room_keys)

    on = "as many new Olm sessions" if new_sessions else "one Olm session"
    return Work(name=f"sync with {counted(room_keys, 'room key')} on {on}", units=1, begin=begin)


def token() -> str:
    """Another each time, or there is nothing to store."""
    return secrets.token_hex(8)


async def greet(supervisor: Supervisor, known: list[Peer]) -> list[tuple[int, bytes]]:
    """Start an Olm session with each, with a message to it."""
    await know(supervisor, known)
    devices = tuple(person.address for person in known)
    encrypted = await supervisor.ask(EncryptToDevice(devices=devices, type="m.dummy", content={}))
    return [olm_message(encrypted.messages[person.user_id][person.device_id], person.curve25519) for person in known]


async def _receive_from_others(supervisor: Supervisor, others: Iterator[Senders], room_keys: int) -> float:
    """From people who are new each time: of one person's sessions a device keeps a few."""
    senders = next(others)
    await supervisor.ask(add_devices(*senders.known))
    senders.start(await published_keys(supervisor, len(senders.known)))
    return await _receive(supervisor, senders, room_keys)


async def _receive(supervisor: Supervisor, senders: Senders, room_keys: int) -> float:
    sync = {"next_batch": token(), "to_device": {"events": senders.room_keys(ROOM, room_keys)}}
    since = await supervisor.ask(SyncToken())  # as clients do: without it, it would be a first sync
    watch = Watch()
    received = await supervisor.ask(ReceiveSync(sync=sync, since=since))
    seconds = watch.seconds()
    assert len(received.room_keys) == room_keys
    return seconds


def receiving_nothing() -> Work:
    """A sync with nothing in it but its token."""

    @asynccontextmanager
    async def begin(place: Place) -> AsyncGenerator[Side]:
        async with place.device() as supervisor:

            async def side() -> float:
                command = ReceiveSync(sync={"next_batch": token()}, since=await supervisor.ask(SyncToken()))
                watch = Watch()
                await supervisor.ask(command)
                return watch.seconds()

            yield side

    return Work(name="sync with nothing in it", units=1, begin=begin)


def sending(devices: int) -> Work:
    """A room key encrypted to so many devices."""

    @asynccontextmanager
    async def begin(place: Place) -> AsyncGenerator[Side]:
        async with place.device() as supervisor:
            known = people(devices)
            await know(supervisor, known)
            yield partial(_send, supervisor, known)

    return Work(name=f"a room key encrypted to {counted(devices, 'device')}", units=1, begin=begin)


async def know(supervisor: Supervisor, known: list[Peer]) -> None:
    """Have everybody's devices, and an Olm session with each."""
    await supervisor.ask(add_devices(*known))
    await supervisor.ask(CreateOlmSessions(one_time_keys=claimed(known)))


async def _send(supervisor: Supervisor, known: list[Peer]) -> float:
    command = EncryptToDevice(
        devices=tuple(person.address for person in known), type="m.room_key", content=room_key(known[0], ROOM)
    )
    watch = Watch()
    encrypted = await supervisor.ask(command)
    seconds = watch.seconds()
    assert not encrypted.missing
    return seconds


def sharing_again(devices: int) -> Work:
    """Asking for a room's key to be shared with devices that all have it, as before every message."""

    @asynccontextmanager
    async def begin(place: Place) -> AsyncGenerator[Side]:
        async with place.device() as supervisor:
            addresses = tuple(peer.address for peer in people(devices))
            await share(supervisor)
            made = await supervisor.ask(ShareRoomKey(room_id=ROOM, devices=addresses))
            await supervisor.ask(MarkRoomKeyShared(room_id=ROOM, session_id=made.session_id, devices=addresses))

            async def side() -> float:
                watch = Watch()
                shared = await supervisor.ask(ShareRoomKey(room_id=ROOM, devices=addresses))
                assert not shared.missing
                return watch.seconds()

            yield side

    return Work(name=f"share again with {counted(devices, 'device')}", units=1, begin=begin)


# --- stores -------------------------------------------------------------------------------------------------


def opening(sessions: int) -> Work:
    """Opening a store of so many inbound sessions, and decrypting one event."""

    @asynccontextmanager
    async def begin(place: Place) -> AsyncGenerator[Side]:
        async with place.device() as supervisor:
            keys, events = exported_sessions(sessions, events=1)
            await supervisor.ask(ImportRoomKeys(keys=tuple(keys)))
        yield partial(open_and_decrypt, place, events[0])

    return Work(name="open and decrypt one event", units=1, begin=begin)


async def open_and_decrypt(place: Place, event: JsonObject) -> float:
    """Open the store and decrypt an event; the seconds that took."""
    watch = Watch()
    async with place.device() as supervisor:
        await supervisor.ask(DecryptRoomEvent(room_id=ROOM, event=event))
        return watch.seconds()


def answering(inbound: int, olm: int) -> Work:
    """The first answer after somebody else's write, in a process that holds so many sessions."""

    @asynccontextmanager
    async def begin(place: Place) -> AsyncGenerator[Side]:
        async with place.device() as supervisor, place.device() as beside:
            await know(supervisor, people(olm))
            events = await hold_sessions(supervisor, inbound)
            yield partial(answer_after_write, supervisor, beside, events[0])

    return Work(name="first answer after another's write", units=1, begin=begin)


async def answer_after_write(supervisor: Supervisor, beside: Supervisor, event: JsonObject) -> float:
    """Let ``beside`` write; the seconds that the next answer took."""
    keys, _ = exported_sessions(1)
    await beside.ask(ImportRoomKeys(keys=tuple(keys)))
    watch = Watch()
    await supervisor.ask(DecryptRoomEvent(room_id=ROOM, event=event))
    return watch.seconds()


def counted(count: int, one: str, many: str = "") -> str:
    """So many of them, in words."""
    return f"{count:,} {many or one + 's'}" if count > 1 else f"one {one}"
