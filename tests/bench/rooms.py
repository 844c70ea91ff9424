"""Jobs in a room: decrypting and encrypting messages."""

from __future__ import annotations

import json

import trio
from vodozemac import GroupSession, InboundGroupSession, MegolmMessage

from olmstate.messages import DecryptRoomEvent, DecryptRoomEvents
from tests.bench.bare import BareStore
from tests.bench.device import CONTENT, MESSAGE, ROOM, device, encrypted_events, share
from tests.bench.job import Outcome, Result, Setting
from tests.bench.measure import Watch, measure, ratio

MESSAGES = 1000
BATCH = 100
CALLERS = 100


def bare_plaintext() -> bytes:
    """What `MESSAGE` is before encryption."""
    return json.dumps({"type": MESSAGE.type, "content": CONTENT, "room_id": ROOM}).encode()


async def decrypt(setting: Setting) -> Outcome:
    """1,000 cached messages, one ask each and in batches of 100."""
    async with device(setting.folder) as supervisor:
        await share(supervisor)
        events = await encrypted_events(supervisor, MESSAGES)
        group = GroupSession()
        inbound = InboundGroupSession(group.session_key)
        ciphertexts = [group.encrypt(bare_plaintext()).to_base64() for _ in range(MESSAGES)]

        async def one_by_one() -> float:
            watch = Watch()
            for event in events:
                await supervisor.ask(DecryptRoomEvent(room_id=ROOM, event=event))
            return watch.seconds()

        async def in_batches() -> float:
            watch = Watch()
            for start in range(0, MESSAGES, BATCH):
                chunk = tuple((ROOM, event) for event in events[start : start + BATCH])
                await supervisor.ask(DecryptRoomEvents(events=chunk))
            return watch.seconds()

        async def bare() -> float:
            watch = Watch()
            for ciphertext in ciphertexts:
                json.loads(inbound.decrypt(MegolmMessage.from_base64(ciphertext)).plaintext)
            return watch.seconds()

        sides = {"one ask each": one_by_one, "batches of 100": in_batches, "bare loop": bare}
        figures = await measure(sides, rounds=setting.short_rounds, units=MESSAGES, progress=setting.progress)
    loop = figures["bare loop"]
    one, batched = figures["one ask each"], figures["batches of 100"]
    return Outcome(
        results=(
            Result(label="decrypt, one ask each", value=ratio(one, loop), target=1.5, figures=(one, loop)),
            Result(label="decrypt, batches of 100", value=ratio(batched, loop), target=1.2, figures=(batched, loop)),
        )
    )


async def encrypt(setting: Setting) -> Outcome:
    """One caller, each message durable before it returns, beside a commit each."""
    async with device(setting.folder / "store") as supervisor:
        await share(supervisor)
        bare_store = BareStore(setting.folder / "bare.sqlite")
        group = GroupSession()

        async def one_caller() -> float:
            watch = Watch()
            for _ in range(MESSAGES):
                await supervisor.ask(MESSAGE)
            return watch.seconds()

        async def bare() -> float:
            watch = Watch()
            for _ in range(MESSAGES):
                group.encrypt(bare_plaintext()).to_base64()
                bare_store.commit([("session", group.pickle(bare_store.pickle_key))])
            return watch.seconds()

        sides = {"one caller": one_caller, "bare loop, a commit each": bare}
        figures = await measure(sides, rounds=setting.short_rounds, units=MESSAGES, progress=setting.progress)
        bare_store.close()
    one, loop = figures.values()
    return Outcome(
        results=(Result(label="encrypt, one caller", value=ratio(one, loop), target=0.5, figures=(one, loop)),)
    )


async def encrypt_together(setting: Setting) -> Outcome:
    """100 callers at once, beside a commit per 100."""
    async with device(setting.folder / "store") as supervisor:
        await share(supervisor)
        bare_store = BareStore(setting.folder / "bare.sqlite")
        group = GroupSession()

        async def caller() -> None:
            for _ in range(MESSAGES // CALLERS):
                await supervisor.ask(MESSAGE)

        async def callers() -> float:
            watch = Watch()
            async with trio.open_nursery() as nursery:
                for _ in range(CALLERS):
                    nursery.start_soon(caller)
            return watch.seconds()

        async def bare() -> float:
            watch = Watch()
            for _ in range(MESSAGES // CALLERS):
                for _ in range(CALLERS):
                    group.encrypt(bare_plaintext()).to_base64()
                bare_store.commit([("session", group.pickle(bare_store.pickle_key))])
            return watch.seconds()

        sides = {"100 callers": callers, "bare loop, a commit per 100": bare}
        figures = await measure(sides, rounds=setting.short_rounds, units=MESSAGES, progress=setting.progress)
        bare_store.close()
    ours, loop = figures.values()
    return Outcome(
        results=(Result(label="encrypt, 100 callers", value=ratio(ours, loop), target=1.3, figures=(ours, loop)),)
    )
