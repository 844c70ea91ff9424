"""``python -m tests.mutants``, which is what ``make mutants`` runs: does a test fail if a line of the code is changed?

Owns: the sample, drawn by seed; what is left out, each with its reason; and which tests judge a changed file.
Rule: cosmic-ray changes files where they are, so all of it happens in a copy of what is committed.
"""

from __future__ import annotations

import importlib
import random
import re
import subprocess
import sys
from collections.abc import Iterator
from contextlib import AbstractContextManager
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import click

ROOT = Path(__file__).parents[2]
SESSION = "mutants.sqlite"

JUDGES = {
    "actors/olmstate/actors/_wire/": ("tests/actors", "tests/recordings"),
    "actors/": ("tests/actors", "tests/operations", "tests/hostile", "tests/cost"),
    "storage/": ("tests/storage", "tests/actors", "tests/operations"),
}
"""The tests of a changed file, by how its path begins; the first that fits."""

LEFT_OUT_OPERATORS = {
    "core/ReplaceBinaryOperator_BitOr": "nearly every | stands in an annotation, which nothing reads",
    "core/NumberReplacer": "most numbers are tuned: docs/contributing.md names the job that holds each",
}
"""By how the operator's name begins."""

LEFT_OUT_LINES = {
    r"assert_never\(": "never runs; the type checkers hold it",
    r"if TYPE_CHECKING": "the same",
    r"^\s*@": "a decorator taken away is an error when the file is imported, or means what the type checkers hold",
    r"# pragma: no cover": "can't be reached from a test, as the comment beside it says",
}
"""By a pattern of the line."""


def _cosmic_ray(folder: Path, *arguments: str) -> None:
    subprocess.run([sys.executable, "-m", "cosmic_ray.cli", *arguments], cwd=folder, check=True)


# It has no types, and only `make mutants` installs it.
def _open_session(folder: Path) -> AbstractContextManager[Any]:
    work_db: Any = importlib.import_module("cosmic_ray.work_db")
    opened: AbstractContextManager[Any] = work_db.use_db(str(folder / SESSION), work_db.WorkDB.Mode.open)
    return opened


def _skipped() -> Any:  # noqa: ANN401 - see `_open_session`
    work_item: Any = importlib.import_module("cosmic_ray.work_item")
    return work_item.WorkResult(worker_outcome=work_item.WorkerOutcome.SKIPPED, output="not in the sample")


def _is_left_out(mutation: Any, folder: Path) -> bool:  # noqa: ANN401 - see `_open_session`
    if any(mutation.operator_name.startswith(prefix) for prefix in LEFT_OUT_OPERATORS):
        return True
    line = (folder / mutation.module_path).read_text().splitlines()[mutation.start_pos[0] - 1]
    return any(re.search(pattern, line) for pattern in LEFT_OUT_LINES)


def _sample(folder: Path, *, seed: int, size: int) -> None:
    """Skip all mutants but ``size`` of those that mean something."""
    with _open_session(folder) as db:
        items = sorted(db.work_items, key=lambda item: str(item.mutations))
        counted = [item for item in items if not any(_is_left_out(mutation, folder) for mutation in item.mutations)]
        chosen = {item.job_id for item in random.Random(seed).sample(counted, min(size, len(counted)))}
        db.set_multiple_results([item.job_id for item in items if item.job_id not in chosen], _skipped())
    click.echo(f"{len(chosen)} of {len(counted)} mutants; {len(items) - len(counted)} left out")


def _survivors(folder: Path) -> Iterator[str]:
    with _open_session(folder) as db:
        for _, result in db.completed_work_items:
            if result.worker_outcome.name != "SKIPPED" and result.test_outcome.name != "KILLED":
                yield f"{result.test_outcome.name}\n{result.diff or result.output}"


@click.group()
def main() -> None:
    """Change the code, and see whether a test fails."""


@main.command()
@click.option("--seed", default=0, help="Which sample.")
@click.option("--size", default=40, help="How many mutants.")
@click.option("--only", default="", help="Of files whose path has this in it.")
def run(seed: int, size: int, only: str) -> None:
    """Judge a sample of mutants of actors and storage; exit with 1 if any survives."""
    with TemporaryDirectory() as name:
        folder = Path(name) / "copy"
        subprocess.run(["git", "clone", "--quiet", ROOT, folder], check=True)
        sources = (*(folder / "actors/olmstate/actors").rglob("*.py"), *(folder / "storage").rglob("*.py"))
        paths = sorted(str(path.relative_to(folder)) for path in sources if only in str(path))
        judge = f"'{sys.executable}' -m tests.mutants judge"
        (folder / "mutants.toml").write_text(
            f"[cosmic-ray]\nmodule-path = {paths!r}\ntimeout = 1800.0\nexcluded-modules = []\n"
            f'test-command = "{judge}"\n[cosmic-ray.distributor]\nname = "local"\n'
        )
        _cosmic_ray(folder, "init", "mutants.toml", SESSION)
        _cosmic_ray(folder, "baseline", "mutants.toml")  # or else any failure would pass for a mutant that was found
        _sample(folder, seed=seed, size=size)
        _cosmic_ray(folder, "exec", "mutants.toml", SESSION)
        survivors = list(_survivors(folder))
    for survivor in survivors:
        click.echo(survivor)
    click.echo(f"{len(survivors)} survived")
    sys.exit(bool(survivors))


@main.command()
def judge() -> None:
    """Run the tests of the file that is changed here, or all of them; exit with their result."""
    diff = subprocess.run(["git", "diff", "--name-only"], check=True, capture_output=True, text=True)
    changed = diff.stdout.strip()
    every = sorted({folder for folders in JUDGES.values() for folder in folders})
    tests = next((folders for prefix, folders in JUDGES.items() if changed.startswith(prefix)), every)
    command = [sys.executable, "-m", "pytest", "-x", "-q", "-p", "no:cacheprovider", *tests]
    sys.exit(subprocess.run(command, check=False).returncode)


if __name__ == "__main__":
    main()
