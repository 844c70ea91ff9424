"""The replay: what real peers sent, handed to random processes, and every outcome compared with what is known of it."""

from __future__ import annotations

import random
from collections.abc import Sequence

from olmstate.messages import JsonObject

from ._calls import Refused
from ._pace import Pace
from ._recording import Progress, Recording, RoomEvent
from ._report import Problem, Report
from ._sync_stream import SyncStream
from ._workers import Workers

LANE = "replay"
MOST_TOGETHER = 8
"""Room events that one process is asked to decrypt at once."""


class Replay:
    """One recording on its way through the processes."""

    def __init__(
        self,
        recording: Recording,
        workers: Workers,
        stream: SyncStream,
        pace: Pace,
        *,
        report: Report,
        rng: random.Random,
    ) -> None:
        """Nothing was received."""
        self._recording = recording
        self._workers = workers
        self._stream = stream
        self._pace = pace
        self._report = report
        self._rng = rng
        self._imports = 0
        self._clear: dict[str, JsonObject] = {}

    async def run(self) -> None:
        """Replay everything, in the recording's order."""
        pending: list[RoomEvent] = []
        for number in range(len(self._recording.syncs)):
            await self._pace.keep(LANE)
            await self._receive(number)
            pending = await self._decrypt(pending, number)
            pending += await self._decrypt(self._recording.room_events(number), number)
            for export in self._recording.imports(number):
                await self._import(export)
                pending = await self._decrypt(pending, number)
            self._pace.done(LANE)
        await self._look_again()

    async def _receive(self, number: int) -> None:
        received = await self._stream.receive(self._recording.syncs[number], lane=LANE, number=number)
        if received is None:
            return
        self._report.received_syncs += 1
        for known, outcome in zip(self._recording.to_device(number), received.outcomes, strict=True):
            wanted = known.outcome, known.type, known.sender
            if received.again and known.outcome == "decrypted":
                # all of it was taken in by the process that was killed, or nothing
                wanted = "replay", known.event["type"], known.sender
            event_type = outcome["type"] if outcome["outcome"] == "decrypted" else known.event.get("type")
            seen = outcome["outcome"], event_type, outcome["sender"]
            if seen != wanted:
                self._report.found(
                    Problem.WRONG_OUTCOMES,
                    f"to-device event of sync {number}: {seen}, not {wanted} {outcome.get('error', '')}",
                )

    async def _import(self, export: JsonObject) -> None:
        try:
            if self._rng.random() < 0.5:  # noqa: PLR2004 - either
                await self._workers.anyone(self._rng, "import_keys", keys=export["keys"])
            else:
                await self._workers.anyone(
                    self._rng, "import_key_file", file=export["file"], passphrase=export["passphrase"]
                )
        except Refused as error:
            self._report.found(Problem.REFUSED, f"import of room keys: {error}")
        self._imports += 1

    async def _decrypt(self, events: Sequence[RoomEvent], sync: int) -> list[RoomEvent]:
        """Try ``events``, each at a random process; those that may be readable later."""
        progress = Progress(syncs=sync + 1, imports=self._imports)
        later: list[RoomEvent] = []
        for event, result in await self._ask(events):
            event_id = event.event_id
            readable = self._recording.is_readable(event, progress)
            if "clear" in result:
                if readable:
                    self._take(event, result["clear"])
                else:
                    self._report.found(
                        Problem.WRONG_OUTCOMES, f"{event_id} was read at sync {sync}, which is too early"
                    )
                continue
            if readable:
                self._report.found(
                    Problem.STALE_READS, f"{event_id} at sync {sync}: {result['reason']}, though it can be read by now"
                )
            elif result["reason"] != self._recording.reason(event):
                self._report.found(
                    Problem.WRONG_OUTCOMES,
                    f"{event_id} at sync {sync}: {result['reason']}, not {self._recording.reason(event)}",
                )
            if self._recording.may_become_readable(event):
                later.append(event)
        return later

    def _take(self, event: RoomEvent, clear: JsonObject) -> None:
        for field in self._recording.differences(event, clear):
            self._report.found(Problem.WRONG_OUTCOMES, f"{event.event_id}: another {field} than recorded")
        self._clear[event.event_id] = clear
        self._report.recorded_decrypted = len(self._clear)

    async def _ask(self, events: Sequence[RoomEvent]) -> list[tuple[RoomEvent, JsonObject]]:
        """Each event with what came of it, in order; a few at a time at one process."""
        done: list[tuple[RoomEvent, JsonObject]] = []
        while len(done) < len(events):
            some = events[len(done) : len(done) + self._rng.randint(1, MOST_TOGETHER)]
            asked = [(event.room_id, event.event) for event in some]
            try:
                results = await self._workers.anyone(self._rng, "decrypt", events=asked)
            except Refused as error:
                self._report.found(Problem.REFUSED, f"decrypt: {error}")
                results = [{"reason": error.name} for _ in some]
            done += zip(some, results, strict=True)
        return done

    async def _look_again(self) -> None:
        """What was read can still be read, and what could not be still can't, whoever is asked."""
        everything = [
            event for sync in range(len(self._recording.syncs)) for event in self._recording.room_events(sync)
        ]
        for event, result in await self._ask(everything):
            before = self._clear.get(event.event_id)
            if before is not None and result.get("clear") != before:
                self._report.found(
                    Problem.WRONG_OUTCOMES, f"{event.event_id} is another at the end: {result.get('reason')}"
                )
            elif before is None and self._recording.may_become_readable(event):
                self._report.found(Problem.UNDECRYPTABLE, f"{event.event_id} in the end: {result.get('reason')}")
            elif before is None and result.get("reason") != self._recording.reason(event):
                self._report.found(
                    Problem.WRONG_OUTCOMES, f"{event.event_id} in the end: {result.get('reason', 'readable')}"
                )
