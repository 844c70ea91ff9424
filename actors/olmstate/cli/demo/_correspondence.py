"""Correspondence: other devices start Olm sessions with the shared device, write to it, and are answered.

Each of their messages goes to two processes at once: just one may decrypt it, and make a session of it. Two answer at
once: each with a ratchet step of its own.
"""

from __future__ import annotations

import itertools
import random
from typing import Any

import trio

from ._calls import HungUp, Refused
from ._homeserver import Homeserver
from ._pace import Pace
from ._reader import Reader, Unreadable
from ._report import Problem, Report
from ._sync_stream import Received, SyncStream
from ._workers import WorkerProcess, Workers

LANE = "correspondence"
CORRESPONDENTS = 4
EVENT_TYPE = "test.olmstate.letter"
PRE_KEY = 0
NEW_SESSION = 0.5
"""How often somebody who has a session starts another."""
MOST_LETTERS = 3


def rounds(messages: int) -> int:
    """How many rounds go with so many messages to rooms."""
    return 4 + messages // 20


class Correspondence:
    """The letters of one run."""

    def __init__(
        self,
        workers: Workers,
        homeserver: Homeserver,
        stream: SyncStream,
        pace: Pace,
        *,
        report: Report,
        rng: random.Random,
    ) -> None:
        """Nobody has written."""
        self._workers = workers
        self._homeserver = homeserver
        self._stream = stream
        self._pace = pace
        self._report = report
        self._rng = rng
        self._letters = itertools.count(1)
        self._keys: dict[int, str] = {}
        """The one-time key that a correspondent's newest session was started with."""

    async def run(self) -> None:
        """Write and answer, round by round."""
        for number in range(rounds(self._report.messages)):
            await self._pace.keep(LANE)
            await self._upload_keys()
            correspondent = self._rng.randrange(len(self._homeserver.correspondents))
            reader = self._homeserver.correspondents[correspondent]
            if not reader.has_session or self._rng.random() < NEW_SESSION:
                self._start_session(correspondent, reader)
            if reader.has_session:
                await self._write(correspondent, reader, number)
                await self._answer(reader)
            self._pace.done(LANE)

    async def _upload_keys(self) -> None:
        """Two processes upload what is due, at once."""

        async def one(worker: WorkerProcess) -> None:
            try:
                await worker.call("upload_keys")
            except HungUp:
                pass  # the next round's upload brings the same keys
            except Refused as error:
                self._report.found(Problem.REFUSED, f"upload of keys: {error}")

        first = await self._workers.pick(self._rng)
        second = await self._workers.pick(self._rng, other_than=first)
        async with trio.open_nursery() as nursery:
            nursery.start_soon(one, first)
            nursery.start_soon(one, second)

    def _start_session(self, correspondent: int, reader: Reader) -> None:
        key = self._homeserver.keys.claim()
        if key is None:
            return  # both uploads were cut off by a kill
        try:
            reader.start_session(key)
        except Unreadable as error:
            self._report.found(Problem.WRONG_OUTCOMES, str(error))
            return
        self._keys[correspondent] = key["key"]
        self._report.sessions_started += 1

    async def _write(self, correspondent: int, reader: Reader, number: int) -> None:
        events = [
            reader.write(EVENT_TYPE, {"letter": next(self._letters)}) for _ in range(self._rng.randint(1, MOST_LETTERS))
        ]
        sync = {"next_batch": f"demo_{number}", "to_device": {"events": events}}
        received = await self._stream.receive_twice(sync, lane=LANE, number=number)
        for position, event in enumerate(events):
            self._check(event, position, received, correspondent)

    def _check(self, event: dict[str, Any], position: int, received: list[Received], correspondent: int) -> None:
        """Just one process may have decrypted the letter, and the other must know that."""
        outcomes = [each.outcomes[position] for each in received]
        decrypted = sum(outcome["outcome"] == "decrypted" for outcome in outcomes)
        ciphertext = event["content"]["ciphertext"][self._homeserver.shared.curve25519]
        who = f"letter of correspondent {correspondent}"
        if decrypted > 1 and ciphertext["type"] == PRE_KEY:
            key = self._keys[correspondent]
            self._report.found(Problem.REUSED_ONE_TIME_KEYS, f"{key} made two sessions, by a {who}", once=key)
        elif decrypted > 1:
            self._report.found(Problem.WRONG_OUTCOMES, f"{who}: decrypted twice")
        for outcome in outcomes:
            if outcome["outcome"] == "undecryptable":
                self._report.found(Problem.UNDECRYPTABLE, f"{who}: {outcome['error']}")
            elif outcome["outcome"] == "decrypted" and outcome["type"] != EVENT_TYPE:
                self._report.found(Problem.WRONG_OUTCOMES, f"{who}: decrypted as {outcome['type']}")
        if decrypted == 0 and not any(each.retried for each in received):
            self._report.found(Problem.WRONG_OUTCOMES, f"{who}: nobody has decrypted it")

    async def _answer(self, reader: Reader) -> None:
        """Two processes answer, at once; the answer of one that is killed may be lost."""

        async def one(worker: WorkerProcess) -> None:
            letter = next(self._letters)
            device = reader.device
            try:
                sent = await worker.call(
                    "send_to_device",
                    user_id=device.user_id,
                    device_id=device.device_id,
                    event_type=EVENT_TYPE,
                    content={"letter": letter},
                )
            except HungUp:
                return
            except Refused as error:
                self._report.found(Problem.REFUSED, f"letter {letter}: {error}")
                return
            if sent["missing"]:
                self._report.found(
                    Problem.STALE_READS, f"letter {letter}: the session that another has made is not seen"
                )
            for payload in self._homeserver.put_to_device(messages=sent["messages"]):
                if payload["content"].get("letter") != letter:
                    self._report.found(Problem.WRONG_OUTCOMES, f"{payload['content']} was read, not letter {letter}")

        first = await self._workers.pick(self._rng)
        second = await self._workers.pick(self._rng, other_than=first)
        async with trio.open_nursery() as nursery:
            nursery.start_soon(one, first)
            nursery.start_soon(one, second)
