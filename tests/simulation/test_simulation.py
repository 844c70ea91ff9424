"""Whatever is killed, cancelled, refused or overtaken: every promise holds, and everybody gets through.

Short form: a few hundred seeds. With `--full`: 10,000 seeds, in two processes.

A seed that fails prints its whole history. `pytest tests/simulation --seed N` runs it again, exactly as it was.
"""

from __future__ import annotations

import multiprocessing
import os
import re
import subprocess
import sys
from collections import Counter
from collections.abc import Iterable, Iterator, Sequence
from concurrent.futures import ProcessPoolExecutor

import attrs
import pytest

from tests.faults import tally
from tests.simulation.messages import all_messages
from tests.simulation.schedule import skeleton
from tests.simulation.simulate import simulate

SHORT, FULL = 250, 10_000
"""Seeds."""
TROUBLE = {
    "kill",
    "cancel",
    "foreign write",
    "lock held",
    "StoreBusy",
    "StoreFull",
    "StorePoisoned",
    "StoreUnavailable",
}
"""What must have struck."""
EVERYTHING = {message.__name__ for message in all_messages()}
"""What must have been asked."""
CHUNK = 100
"""Seeds that a process does before it tells."""


@attrs.frozen(kw_only=True)
class Simulated:
    """What came of some seeds."""

    seeds: int
    asked: Counter[str]
    """Messages by type."""
    faults: Counter[str]
    bad: Sequence[tuple[int, Sequence[str]]]
    """Seeds that broke something, and what."""


def simulate_all(seeds: Iterable[int]) -> Simulated:
    """Run seeds one after another."""
    done = 0
    asked: Counter[str] = Counter()
    faults: Counter[str] = Counter()
    bad: list[tuple[int, Sequence[str]]] = []
    for seed in seeds:
        run = simulate(seed)
        done += 1
        asked.update(entry.data["message"] for entry in run.history if entry.kind == "asked")
        faults += run.faults
        if run.violations:
            bad.append((seed, [str(violation) for violation in run.violations]))
    return Simulated(seeds=done, asked=asked, faults=faults, bad=bad)


def in_two_processes(seeds: range) -> Iterator[Simulated]:
    """Run seeds on both cores."""
    chunks = [seeds[start : start + CHUNK] for start in range(0, len(seeds), CHUNK)]
    with ProcessPoolExecutor(2, mp_context=multiprocessing.get_context("spawn")) as processes:
        yield from processes.map(simulate_all, chunks)


def test_every_promise_holds_in_every_order_of_events(full: bool, only_seed: int | None) -> None:  # noqa: FBT001 - fixtures
    if only_seed is not None:
        run = simulate(only_seed)
        print(run.report())
        assert not run.violations
        return
    seeds = range(FULL if full else SHORT)
    simulated = list(in_two_processes(seeds) if full else [simulate_all(seeds)])
    bad = [found for part in simulated for found in part.bad]
    faults = sum((part.faults for part in simulated), Counter[str]())
    tally.write(
        tally.Tally(
            harness="simulation",
            cases=sum(part.seeds for part in simulated),
            faults_injected=faults.total(),
            violations=len(bad),
            points_or_seeds=f"seeds 0 to {seeds[-1]}",
        )
    )
    asked = sum((part.asked for part in simulated), Counter[str]())
    print(f"{len(seeds)} seeds, {asked.total()} asks, faults: {dict(sorted(faults.items()))}")
    if bad:
        print(simulate(bad[0][0]).report())
    assert not bad, f"seeds {[seed for seed, _ in bad]}"
    assert TROUBLE <= {re.sub(r" at .*", "", fault) for fault in faults}
    assert EVERYTHING == asked.keys()


# --- what makes it worth anything ---------------------------------------------------------------------------


@pytest.mark.parametrize("seed", [3, 17])  # none that moves a key file: its keys are in the order of random ids
def test_a_seed_gives_the_same_history_again(seed: int) -> None:
    first = skeleton(simulate(seed).history)
    assert len(first) > 50
    assert first == skeleton(simulate(seed).history)


def test_a_seed_gives_the_same_history_in_another_process_with_other_hashes() -> None:
    program = "from tests.simulation.test_simulation import *; print(*skeleton(simulate(17).history), sep='\\n')"
    environment = {**os.environ, "PYTHONPATH": os.pathsep.join(sys.path), "PYTHONHASHSEED": "1"}
    printed = subprocess.run(
        [sys.executable, "-c", program], env=environment, capture_output=True, text=True, check=True
    ).stdout
    assert skeleton(simulate(17).history) == printed.splitlines()
