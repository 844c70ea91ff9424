"""Jobs that ask for memory, and for what an idle supervisor does: in processes of their own."""

from __future__ import annotations

import json
import subprocess
import sys

import trio

from ._device import KEY
from ._job import Outcome, Result, Setting

IDLE_SECONDS = 60.0


async def memory(setting: Setting) -> Outcome:
    """10,000 cached inbound sessions, beside a dict of bare ones."""
    ours = await _worker({"what": "cached sessions", "path": str(setting.folder / "store"), "key": KEY.hex()})
    setting.progress()
    bare = await _worker({"what": "bare sessions"})
    setting.progress()
    value = ours["bytes"] / bare["bytes"]
    return Outcome(results=(Result(label="memory of 10,000 cached inbound sessions", value=value, target=2.0),))


async def idle(setting: Setting) -> Outcome:
    """Open, and idle for a minute."""
    order: dict[str, object] = {
        "what": "idle",
        "path": str(setting.folder / "store"),
        "key": KEY.hex(),
        "seconds": IDLE_SECONDS,
    }
    seen = await _worker(order)
    setting.progress()
    return Outcome(
        results=(
            Result(label="written while idle for a minute", value=seen["written"], target=0.0, unit="bytes"),
            Result(label="lock held while idle", value=seen["held"], target=0.0, unit="of the looks"),
        )
    )


async def _worker(order: dict[str, object]) -> dict[str, float]:
    def run() -> dict[str, float]:
        done = subprocess.run(
            [sys.executable, "-m", "olmstate.cli._bench._resource_worker"],
            input=json.dumps(order).encode(),
            stdout=subprocess.PIPE,
            check=True,
        )
        seen: dict[str, float] = json.loads(done.stdout)
        return seen

    return await trio.to_thread.run_sync(run)
