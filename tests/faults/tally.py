"""What a harness did, in numbers: written down for the table that `make faults` prints."""

from __future__ import annotations

import json
import os
import re
from collections.abc import Hashable, Mapping
from pathlib import Path
from typing import TypeVar

import attrs

C = TypeVar("C", bound=Hashable)

FOLDER = "OLMSTATE_FAULTS_REPORT"
"""The environment variable that names the folder for the numbers. Without it, nothing is written."""


@attrs.frozen(kw_only=True)
class Tally:
    """One row of the table."""

    harness: str
    cases: int
    """Runs that were judged."""
    faults_injected: int
    violations: int
    points_or_seeds: str
    """Which: so that somebody else can have the same."""


def settle(harness: str, outcomes: Mapping[C, str | None], which: str) -> None:
    """Write down and judge a harness each of whose cases is one fault.

    Args:
        harness: Its name in the table.
        outcomes: What is wrong in each case, or None.
        which: Points or seeds.

    Raises:
        AssertionError: Something is wrong in some case.
    """
    violations = {case: wrong for case, wrong in outcomes.items() if wrong is not None}
    write(
        Tally(
            harness=harness,
            cases=len(outcomes),
            faults_injected=len(outcomes),
            violations=len(violations),
            points_or_seeds=which,
        )
    )
    assert not violations, "\n".join(f"--- {case}:\n{wrong}" for case, wrong in violations.items())


def write(tally: Tally) -> None:
    """Leave a row for the table, before anything is asserted: a row that is missing counts as a failure."""
    folder = os.environ.get(FOLDER)
    if folder:
        name = re.sub(r"\W+", "-", tally.harness)
        Path(folder, f"{name}.json").write_text(json.dumps(attrs.asdict(tally)), encoding="ascii")


def read(folder: Path) -> list[Tally]:
    """All rows in ``folder``, by harness.

    Raises:
        ValueError: A file isn't one.
    """
    return [Tally(**json.loads(path.read_text(encoding="ascii"))) for path in sorted(folder.glob("*.json"))]
