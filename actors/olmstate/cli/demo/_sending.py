"""Sending: all processes at once, in a few rooms, to an independent reader."""

from __future__ import annotations

import random
from collections.abc import Sequence

import trio

from ._calls import HungUp, Refused
from ._homeserver import Homeserver
from ._kills import Kills
from ._pace import Pace
from ._report import Problem, Report
from ._workers import WorkerProcess, Workers

LANE = "sending"
ROOMS: Sequence[str] = ("!one:olmstate.test", "!two:olmstate.test", "!three:olmstate.test")
AT_ONCE = 3
"""Messages that each process has under way."""
ROTATION = 20
"""Messages after which a room key is replaced: few, so that many are.

So many does each process send in the same room as all others, before any goes elsewhere. One that doesn't hear of the
others uses up the room key that it had at first, and with it the indices that they have used.
"""


class Sending:
    """The messages of one run."""

    def __init__(
        self,
        workers: Workers,
        homeserver: Homeserver,
        kills: Kills,
        pace: Pace,
        *,
        report: Report,
        rng: random.Random,
    ) -> None:
        """Nothing was sent."""
        self._workers = workers
        self._homeserver = homeserver
        self._kills = kills
        self._pace = pace
        self._report = report
        self._rng = rng
        self._begun = 0

    async def run(self) -> None:
        """Send everything."""
        started = trio.current_time()
        for room_id in ROOMS:
            await self._send_one(self._workers.all[0], room_id)
        for messages in (1, ROTATION):
            async with trio.open_nursery() as nursery:
                for worker in self._workers.all:
                    nursery.start_soon(self._send_together, worker, messages)
        async with trio.open_nursery() as nursery:
            for worker in self._workers.all:
                for _ in range(AT_ONCE):
                    nursery.start_soon(self._keep_sending, worker)
        self._report.sending_seconds = trio.current_time() - started

    async def _send_together(self, worker: WorkerProcess, messages: int) -> None:
        for _ in range(messages):
            await self._send_one(worker, ROOMS[0])

    async def _keep_sending(self, worker: WorkerProcess) -> None:
        while self._begun < self._report.messages:
            await self._pace.keep(LANE)
            await self._send_one(worker, self._rng.choice(ROOMS))

    async def _send_one(self, worker: WorkerProcess, room_id: str) -> None:
        """Send the next message, if there is one; another in its place if the process is killed meanwhile."""
        number = self._begun
        if number >= self._report.messages:
            return
        self._begun += 1
        self._kills.step(worker, LANE, number)
        tries = 0
        while True:
            tries += 1
            body = f"message {number}, try {tries}"
            try:
                await worker.wait_ready()
                event = await worker.call("send", room_id=room_id, body=body)
            except HungUp:
                continue
            except Refused as error:
                self._report.found(Problem.REFUSED, f"message {number}: {error}")
            else:
                await self._deliver(worker, room_id, event["content"], body)
            break
        self._pace.done(LANE)

    async def _deliver(self, sender: WorkerProcess, room_id: str, content: dict[str, object], body: str) -> None:
        """Give a message to the reader, and back to another process of the device, as /sync does."""
        payload = self._homeserver.put_room_event(room_id, content)
        if payload is not None:
            if payload["content"].get("body") == body:
                self._report.read += 1
            else:
                self._report.found(Problem.WRONG_OUTCOMES, f"the reader read {payload['content']}, not {body}")
        event = {
            "type": "m.room.encrypted",
            "event_id": f"${self._report.sent}:olmstate.test",
            "sender": self._homeserver.shared.user_id,
            "content": content,
        }
        while True:
            other = await self._workers.pick(self._rng, other_than=sender)
            try:
                [result] = await other.call("decrypt", events=[(room_id, event)])
            except HungUp:
                continue
            except Refused as error:
                self._report.found(Problem.REFUSED, f"decrypt: {error}")
                return
            break
        if "clear" not in result:
            self._report.found(Problem.STALE_READS, f"{body}, by another process: {result['reason']}")
        elif result["clear"]["content"].get("body") != body:
            self._report.found(Problem.WRONG_OUTCOMES, f"{result['clear']['content']} was read, not {body}")
