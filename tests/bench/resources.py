"""Jobs that ask for memory, and for what an idle supervisor does: in processes of their own."""

from __future__ import annotations

import json
import sys
from pathlib import Path

import trio

from tests.bench.device import KEY
from tests.bench.job import ROOT, Outcome, Result, Setting

SESSIONS = 10_000
FEWEST_SESSIONS = 3_000
"""That can be told from the rest of a process."""
IDLE_SECONDS = 60.0
PROC = Path("/proc/self/io")
NO_PROC = "only Linux tells"


async def memory(setting: Setting) -> Outcome:
    """10,000 cached inbound sessions, beside a dict of bare ones; and what the guard against replays adds."""
    sessions = max(FEWEST_SESSIONS, setting.scaled(SESSIONS))
    label, target = f"memory of {sessions:,} cached inbound sessions", 1.6
    guarded_label = f"{label}, and of a message each"
    if not PROC.exists():
        return Outcome(results=(Result(label=label, value=None, target=target, note=NO_PROC),))
    setting.progress(f"filling a store with {sessions:,} sessions")
    await _worker(setting, "fill", sessions=sessions)
    setting.progress("holding them")
    # without the guard second: it knows all messages by then, so that it has nothing to keep until it is written
    guarded = (await _worker(setting, "cached sessions", guarded=True))["bytes"]
    ours = (await _worker(setting, "cached sessions", guarded=False))["bytes"]
    bare = (await _worker(setting, "bare sessions"))["bytes"]
    beside = f"beside {bare / sessions:,.0f}"
    return Outcome(
        results=(
            Result(label=label, value=ours / bare, target=target, note=f"{ours / sessions:,.0f} bytes each, {beside}"),
            Result(label=guarded_label, value=guarded / bare, note=f"{guarded / sessions:,.0f} bytes each, {beside}"),
        )
    )


async def idle(setting: Setting) -> Outcome:
    """Open, and idle for a minute."""
    return await _idling(setting, "idle", "")


async def housekeeping(setting: Setting) -> Outcome:
    """The same with a transport, while a program asks what there is to send."""
    return await _idling(setting, "housekeeping", ", with a transport")


async def _idling(setting: Setting, what: str, how: str) -> Outcome:
    seconds = IDLE_SECONDS * setting.scale
    units = {"written": "bytes", "held": "of the looks", "turns": ""}
    labels = {
        "written": f"written in {seconds:.0f} idle seconds{how}",
        "held": f"lock held while idle{how}",
        "turns": f"turns in {seconds:.0f} idle seconds{how}",
    }
    if not PROC.exists():
        absent = (Result(label=label, value=None, target=0.0, note=NO_PROC) for label in labels.values())
        return Outcome(results=tuple(absent))
    async with trio.open_nursery() as nursery:
        nursery.start_soon(_count_down, setting, seconds)
        seen = await _worker(setting, what, seconds=seconds)
        nursery.cancel_scope.cancel()
    return Outcome(
        results=tuple(
            Result(label=label, value=seen[name], target=0.0, unit=units[name]) for name, label in labels.items()
        )
    )


async def _count_down(setting: Setting, seconds: float) -> None:
    for left in range(round(seconds), 0, -1):
        setting.progress(f"{left} seconds left")
        await trio.sleep(1.0)


async def _worker(setting: Setting, what: str, **order: float) -> dict[str, float]:
    """Have a process do something; what it has seen."""
    done = await trio.run_process(
        [sys.executable, "-m", "tests.bench.resource_worker"],
        stdin=json.dumps({"what": what, "path": str(setting.folder / "store"), "key": KEY.hex(), **order}).encode(),
        capture_stdout=True,
        cwd=ROOT,
        process_group=0,  # Ctrl-C is for us
    )
    seen: dict[str, float] = json.loads(done.stdout)
    return seen
