"""The device's /sync: one response after another, each handed to a random process, or to two at once.

Rule: a response whose process was killed is handed over again. Whether it had been taken in before is known: then its
token was stored, and everything in it, or neither.
"""

from __future__ import annotations

import random
from collections.abc import Sequence

import attrs
import trio

from olmstate.messages import JsonObject

from ._calls import HungUp, Refused
from ._homeserver import Homeserver
from ._key_server import ALGORITHM
from ._kills import Kills
from ._report import Problem, Report
from ._workers import WorkerProcess, Workers


@attrs.frozen(kw_only=True)
class Received:
    """One response, taken in by one process."""

    outcomes: Sequence[JsonObject]
    """Of its to-device events, in order."""
    token_stored: bool
    retried: bool
    """The process that had it first was killed."""
    again: bool
    """That process, or another, had taken it in before; only looked for if it was retried."""


class SyncStream:
    """See the module."""

    def __init__(
        self, workers: Workers, homeserver: Homeserver, kills: Kills, report: Report, rng: random.Random
    ) -> None:
        """Nothing was received."""
        self._workers = workers
        self._homeserver = homeserver
        self._kills = kills
        self._report = report
        self._rng = rng
        self._one_at_a_time = trio.Lock()
        self._token: str | None = None

    async def receive(self, sync: JsonObject, *, lane: str, number: int) -> Received | None:
        """Hand a response to a random process; None if that refused it."""
        async with self._one_at_a_time:
            worker = await self._workers.pick(self._rng)
            self._kills.step(worker, lane, number)
            received = await self._hand_over(self._completed(sync), worker)
        if received is not None and not received.retried and not received.token_stored:
            self._report.found(Problem.WRONG_OUTCOMES, f"token {self._token} was not stored")
        return received

    async def receive_twice(self, sync: JsonObject, *, lane: str, number: int) -> list[Received]:
        """Hand a response to two random processes at once, as when both have asked with the same token."""
        received: list[Received | None] = []

        async def one(worker: WorkerProcess) -> None:
            received.append(await self._hand_over(completed, worker))

        async with self._one_at_a_time:
            completed = self._completed(sync)
            async with trio.open_nursery() as nursery:
                first = await self._workers.pick(self._rng)
                second = await self._workers.pick(self._rng, other_than=first)
                self._kills.step(first, lane, number)
                nursery.start_soon(one, first)
                nursery.start_soon(one, second)
        return [each for each in received if each is not None]

    def _completed(self, sync: JsonObject) -> JsonObject:
        """With what this homeserver says of keys: a recorded one counted others."""
        return {
            **sync,
            "device_one_time_keys_count": self._homeserver.keys.counts,
            "device_unused_fallback_key_types": [ALGORITHM],
        }

    async def _hand_over(self, sync: JsonObject, worker: WorkerProcess) -> Received | None:
        since, next_batch = self._token, sync["next_batch"]
        reply: JsonObject | None = None
        retried = again = False
        while reply is None:
            try:
                reply = await worker.call("receive_sync", sync=sync, since=since)
            except HungUp:
                retried = True
                again = await self._workers.anyone(self._rng, "sync_token") == next_batch
                worker = await self._workers.pick(self._rng)
            except Refused as error:
                self._report.found(Problem.REFUSED, f"sync {next_batch}: {error}")
                return None
        self._token = next_batch
        await self._check_token(worker)
        return Received(outcomes=reply["to_device"], token_stored=reply["token_stored"], retried=retried, again=again)

    async def _check_token(self, told: WorkerProcess) -> None:
        """Another process must know the token that one has just acknowledged."""
        while True:
            other = await self._workers.pick(self._rng, other_than=told)
            try:
                token = await other.call("sync_token")
            except HungUp:
                continue
            break
        if token != self._token:
            self._report.found(Problem.STALE_READS, f"token {token} where {self._token} was stored before")
