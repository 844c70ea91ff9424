"""``olmstate bench``: what things cost beside straight-line loops. Ratios, never times that a test would compare."""

from __future__ import annotations

import json
import tempfile
from pathlib import Path

import click
import trio

from olmstate.cli._commands import commands, run

from ._job import Job, Outcome, Result, Setting
from ._plot import draw
from ._processes import processes
from ._resources import idle, memory
from ._rooms import decrypt, encrypt, encrypt_together
from ._stores import capacities, first_answer, open_and_decrypt
from ._table import rows
from ._to_device import share_100, share_1000, sync_new_sessions, sync_one_session

JOBS: dict[str, Job] = {
    "decrypt": decrypt,
    "encrypt": encrypt,
    "encrypt-together": encrypt_together,
    "processes-2": processes(2),
    "processes-4": processes(4),
    "sync-one-session": sync_one_session,
    "sync-new-sessions": sync_new_sessions,
    "share-100": share_100,
    "share-1000": share_1000,
    "first-answer": first_answer,
    "open": open_and_decrypt,
    "memory": memory,
    "idle": idle,
    "capacities": capacities,
}


@commands.command()
@click.argument("jobs", nargs=-1, type=click.Choice(list(JOBS)))
@click.option("--check", is_flag=True, help="Exit with 1 if a target is missed.")
@click.option("--rounds", default=9, show_default=True, help="Rounds that count; more are steadier.")
@click.option("--plots", type=click.Path(path_type=Path, file_okay=False), help="Draw SVG plots into this folder.")
@click.option("--json", "as_json", is_flag=True, help="Print one JSON object as the last line of standard output.")
def bench(jobs: tuple[str, ...], *, check: bool, rounds: int, plots: Path | None, as_json: bool) -> None:
    """Compare with straight-line loops that do the same work without Trio and actors."""
    results: list[Result] = []

    async def all_jobs() -> None:
        for name in jobs or JOBS:
            outcome = await _run(name, rounds)
            results.extend(outcome.results)
            for line in rows(outcome.results):
                click.echo(line, err=as_json)
            if outcome.plot is not None and plots is not None:
                draw(outcome.plot, plots)

    run(all_jobs)
    missed = [result.label for result in results if not result.met]
    if as_json:
        click.echo(json.dumps({"results": {result.label: result.value for result in results}, "missed": missed}))
    if check and missed:
        click.echo(f"missed: {', '.join(missed)}", err=True)
        raise SystemExit(1)


async def _run(name: str, rounds: int) -> Outcome:
    steps = 0

    def progress() -> None:
        nonlocal steps
        steps += 1
        click.echo(f"\r{name}: {'.' * steps}", err=True, nl=False)

    with tempfile.TemporaryDirectory(prefix="olmstate-bench-") as folder:
        outcome = await JOBS[name](Setting(folder=Path(folder), rounds=rounds, progress=progress))
    click.echo("\r" + " " * (len(name) + 2 + steps) + "\r", err=True, nl=False)
    await trio.lowlevel.checkpoint()
    return outcome
