"""Settings that hold for every test of this project.

Owns: the `--full` switch and the Hypothesis profiles.
Rule: no test is judged by the clock, so that a slow machine can't make one fail.
Why: the multi-process tests run on shared machines, where any deadline is a coin toss.
"""

from __future__ import annotations

import os
import signal

import pytest
from hypothesis import HealthCheck, settings

settings.register_profile("local", deadline=None, suppress_health_check=[HealthCheck.too_slow])
settings.register_profile("ci", settings.get_profile("local"), max_examples=200, print_blob=True)
settings.load_profile("ci" if os.environ.get("CI") else "local")

# A shell that runs us in the background has SIGINT ignored, also for the programs that tests start and interrupt.
if signal.getsignal(signal.SIGINT) is signal.SIG_IGN:
    signal.signal(signal.SIGINT, signal.default_int_handler)


def pytest_addoption(parser: pytest.Parser) -> None:
    """Add `--full`, the switch between the short form of a harness and its long one."""
    parser.addoption("--full", action="store_true", help="run the long form of the harnesses (`make faults`)")


def pytest_collection_modifyitems(config: pytest.Config, items: list[pytest.Item]) -> None:
    """Leave out what is marked `full`, unless `--full` asks for it."""
    if config.getoption("--full"):
        return
    left_out = [item for item in items if item.get_closest_marker("full")]
    if left_out:
        config.hook.pytest_deselected(items=left_out)
        items[:] = [item for item in items if not item.get_closest_marker("full")]
