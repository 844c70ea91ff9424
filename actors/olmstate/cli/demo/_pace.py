"""Keeps several lanes of work abreast, so that all of them go on from the beginning to the end, whatever each takes."""

from __future__ import annotations

from collections.abc import Mapping

from trio.lowlevel import ParkingLot

SLACK = 0.05
"""How far, as a part of the whole, a lane may be ahead of the slowest."""


class Pace:
    """The lanes, by name, and how many steps each has."""

    def __init__(self, lanes: Mapping[str, int]) -> None:
        """Nothing is done yet."""
        self._steps = dict(lanes)
        self._done = dict.fromkeys(lanes, 0)
        self._moved = ParkingLot()

    def done(self, lane: str, steps: int = 1) -> None:
        """A lane has done steps, or given them up."""
        self._done[lane] += steps
        self._moved.unpark_all()

    def part(self, lane: str) -> float:
        """How much of a lane is done, 0 to 1."""
        return self._done[lane] / self._steps[lane] if self._steps[lane] else 1.0

    async def keep(self, lane: str) -> None:
        """Wait while this lane is too far ahead. The slowest never waits."""
        while self.part(lane) > min(map(self.part, self._steps)) + SLACK:
            await self._moved.park()
