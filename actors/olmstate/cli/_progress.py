"""Progress while the demo runs: a line that is written over on a terminal, a line now and then elsewhere."""

from __future__ import annotations

import shutil
from typing import TextIO

import click
import trio

from ._report import Report
from ._workers import Workers

TERMINAL_SECONDS = 0.1
OTHER_SECONDS = 2.0
SAMPLE_SECONDS = 0.5


async def show_progress(report: Report, workers: Workers, stream: TextIO) -> None:
    """Show how far it is until it is cancelled."""
    terminal = stream.isatty()
    pause = TERMINAL_SECONDS if terminal else OTHER_SECONDS
    width = 0
    sampled = trio.current_time()
    try:
        while True:
            await trio.sleep(pause)
            if trio.current_time() - sampled > SAMPLE_SECONDS:
                await workers.sample()
                sampled = trio.current_time()
            line = _line(report)
            if terminal:
                line = line[: shutil.get_terminal_size().columns - 1]  # a line that is wrapped can't be written over
                click.echo(f"\r{line:<{width}}", nl=False, file=stream)
                width = len(line)
            else:
                click.echo(line, file=stream)
    finally:
        if terminal:
            click.echo(f"\r{'':<{width}}\r", nl=False, file=stream)


def _line(report: Report) -> str:
    parts = [
        f"{report.sent:,}/{report.messages:,} sent",
        f"{report.read:,} read",
        f"{report.received_syncs:,}/{report.recorded_syncs:,} syncs",
        f"{report.recorded_decrypted:,}/{report.recorded_expected:,} recorded events decrypted",
        f"{report.kills}/{report.kills_wanted} kills",
        f"{report.invalidations_whole + report.invalidations_by_key:,} invalidations",
    ]
    if report.problems:
        parts.append(f"{report.problems.total():,} problems")
    return " · ".join(parts)
