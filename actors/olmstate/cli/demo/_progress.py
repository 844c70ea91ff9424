"""Progress while the demo runs."""

from __future__ import annotations

from typing import TextIO

import trio

from olmstate.cli._status_line import StatusLine

from ._report import Report
from ._workers import Workers

SAMPLE_SECONDS = 0.5


async def show_progress(report: Report, workers: Workers, stream: TextIO) -> None:
    """Show how far it is until it is cancelled."""
    status = StatusLine(stream)
    sampled = trio.current_time()
    try:
        while True:
            await trio.sleep(status.pause)
            if trio.current_time() - sampled > SAMPLE_SECONDS:
                await workers.sample()
                sampled = trio.current_time()
            status.show(_line(report))
    finally:
        status.clear()


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
