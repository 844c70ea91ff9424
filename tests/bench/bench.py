"""``make bench``: what things cost beside straight-line loops. Ratios, never times that a test would compare."""

from __future__ import annotations

import sys
import tempfile
from collections.abc import Sequence
from pathlib import Path

import click
import trio

from olmstate.cli._commands import run
from olmstate.cli._output import Output, json_option
from olmstate.cli._status_line import StatusLine
from tests.bench.compare import lines
from tests.bench.job import Job, Outcome, Setting
from tests.bench.jobs import CHECKED, SHOWN
from tests.bench.machine import Machine, this_machine
from tests.bench.record import Record, read_record
from tests.bench.table import rows, verdict

JOBS: dict[str, Job] = {**CHECKED, **SHOWN}
FILE = click.Path(path_type=Path, dir_okay=False)
SECONDS_BETWEEN_LINES = 10.0
"""Of progress, where it is no terminal."""


@click.command()
@click.argument("jobs", nargs=-1, type=click.Choice(list(JOBS)))
@click.option("--check", is_flag=True, help="A line a job that has targets; exit with 1 if one is missed.")
@click.option(
    "--rounds", type=click.IntRange(1), default=9, show_default=True, help="Rounds that count; more are steadier."
)
@click.option("--save", type=FILE, help="Write everything that was found into this file, as JSON.")
@click.option("--add", is_flag=True, help="With --save: keep what the file has of other jobs.")
@click.option("--compare", nargs=2, type=FILE, help="Measure nothing: show two saved files side by side.")
@json_option
def bench(
    jobs: tuple[str, ...],
    *,
    check: bool,
    rounds: int,
    save: Path | None,
    add: bool,
    compare: tuple[Path, Path] | None,
    as_json: bool,
) -> None:
    """Compare with straight-line loops that do the same work without Trio and actors, and with matrix-nio.

    Without JOBS, all are run; with --check, all that have targets.
    """
    output = Output(as_json)
    if compare is not None:
        _show(*map(read_record, compare), output=output)
        return
    record = run(lambda: _measure(jobs or tuple(CHECKED if check else JOBS), rounds, output, check=check))
    if save is not None:
        (read_record(save).with_jobs_of(record) if add else record).write(save)
    output.finish(record.as_json())
    if check and record.missed:
        click.echo(f"missed: {'; '.join(record.missed)}", err=True)
        raise SystemExit(1)


async def _measure(jobs: Sequence[str], rounds: int, output: Output, *, check: bool) -> Record:
    status = StatusLine(sys.stderr, other_seconds=SECONDS_BETWEEN_LINES)
    outcomes: dict[str, Outcome] = {}
    machine: Machine | None = None
    for number, name in enumerate(jobs, 1):

        def progress(what: str, job: str = f"{number}/{len(jobs)} {name}") -> None:
            status.show_now_and_then(f"{job}: {what}")

        with tempfile.TemporaryDirectory(prefix="olmstate-bench-") as folder:
            if machine is None:
                machine = this_machine(Path(folder))
            place = Path(folder) / "job"
            place.mkdir()
            outcome = await JOBS[name](Setting(folder=place, rounds=rounds, progress=progress))
        await trio.lowlevel.checkpoint()
        status.clear()
        outcomes[name] = outcome
        for line in [verdict(name, outcome.results)] if check else rows(outcome.results):
            output.say(line)
    assert machine is not None
    return Record(machine=machine, rounds=rounds, jobs=outcomes)


def _show(one: Record, other: Record, *, output: Output) -> None:
    for line in lines(one, other):
        output.say(line)
