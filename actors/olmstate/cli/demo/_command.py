"""``olmstate demo``: prove it on this machine."""

from __future__ import annotations

import secrets
import shutil
import tempfile
from pathlib import Path

import click

from olmstate.cli._commands import commands, run
from olmstate.cli._output import Output, json_option

from ._demo import KEY, STORE, Plan, run_demo
from ._recording import load_recording


@commands.command("demo")
@click.option("--processes", type=click.IntRange(1, 64), default=4, show_default=True, help="That share the device.")
@click.option("--messages", type=click.IntRange(1), default=400, show_default=True, help="To send, in all.")
@click.option("--kills", type=click.IntRange(0), default=3, show_default=True, help="SIGKILLs at random moments.")
@click.option("--seed", type=int, help="Of everything that is drawn; the system's timing is its own. Default: random.")
@click.option(
    "--recording",
    "recording_file",
    type=click.Path(path_type=Path, exists=True, dir_okay=False),
    help="Another recording than the one that comes with olmstate.",
)
@click.option("--unsafe", is_flag=True, help="The control: without lock, invalidation and fence. It must fail.")
@click.option("--keep", is_flag=True, help="Keep the store, and its key, and say where they are.")
@json_option
@click.pass_context
def demo_command(
    ctx: click.Context,
    *,
    processes: int,
    messages: int,
    kills: int,
    seed: int | None,
    recording_file: Path | None,
    unsafe: bool,
    keep: bool,
    as_json: bool,
) -> None:
    """Let several processes share one Matrix device, kill some of them, and prove that nothing is lost or reused.

    Real encrypted messages, recorded from matrix-rust-sdk devices, are handed to random processes, while all of them
    send at once to an independent reader. Exit code 0 only if all is right.
    """
    output = Output(as_json)
    recording = load_recording(recording_file)
    plan = Plan(
        processes=processes,
        messages=messages,
        kills=kills,
        seed=secrets.randbelow(1 << 32) if seed is None else seed,
        unsafe=unsafe,
    )
    folder = Path(tempfile.mkdtemp(prefix="olmstate-demo-"))
    try:
        report = run(lambda: run_demo(plan, recording, folder))
    finally:
        if not keep:
            shutil.rmtree(folder, ignore_errors=True)
    if keep:
        output.say(f"the store is {folder / STORE}, its key {folder / KEY}")
    output.say(report.as_table())
    output.say(report.verdict())
    output.finish(report.as_json())
    ctx.exit(0 if report.right else 1)
