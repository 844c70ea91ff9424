"""Trouble from outside: the clock is set back, or far ahead. It decides when a key is rotated, and nothing else."""

from __future__ import annotations

import ast
from pathlib import Path

import attrs

import olmstate.actors
import olmstate.messages
import olmstate.storage
from tests.faults.client import OPTIONS, check, open_client, work
from tests.faults.world import make_nothing

YEAR = 365 * 24 * 3600 * 1000
"""Milliseconds."""


async def test_nothing_is_lost_or_reused_when_the_clock_jumps(memory_folder: Path) -> None:
    world = make_nothing(memory_folder / "world")
    homeserver = world.homeserver()
    for now in (50 * YEAR, 20 * YEAR, 0, 300 * YEAR, 50 * YEAR):

        def clock(now: int = now) -> int:
            return now

        async with open_client(world.store, homeserver, options=attrs.evolve(OPTIONS, wall_clock=clock)) as (
            supervisor,
            store,
        ):
            await check(supervisor, store, homeserver)
            await work(supervisor, homeserver)
            await check(supervisor, store, homeserver)
    homeserver.judge()


def test_the_library_reads_the_wall_clock_in_one_place_only() -> None:
    files = (olmstate.actors.__file__, olmstate.messages.__file__, olmstate.storage.__file__)
    sources = [source for file in files for source in Path(file).parent.rglob("*.py")]
    assert len(sources) > 50
    readers = {path.name for path in sources if _reads_wall_clock(ast.parse(path.read_text(encoding="utf-8")))}
    assert readers == {"options.py"}


WALL_CLOCKS = {"time.time", "time.time_ns", "time.localtime", "time.gmtime", "datetime.now", "datetime.utcnow"}


def _reads_wall_clock(module: ast.Module) -> bool:
    return any(
        ast.unparse(node).endswith(tuple(WALL_CLOCKS))
        or (isinstance(node, ast.ImportFrom) and node.module in ("time", "datetime"))
        for node in ast.walk(module)
        if isinstance(node, ast.Attribute | ast.ImportFrom)
    )
