"""Fuzzing one target in processes of its own until it has had its processor time.

Owns: the folders that libFuzzer works in, its bounds, and reading what it says. It is restarted, with what it has
learnt, until the time is used up: it stops by the clock on the wall, of which a busy machine gives it little.
"""

from __future__ import annotations

import hashlib
import importlib.util
import os
import re
import subprocess
import sys
from pathlib import Path
from typing import Final

import attrs

from tests.faults.fuzz.target import load

ROOT: Final = Path(__file__).parents[3]
CORPUS: Final = Path(__file__).with_name("corpus")
LARGEST: Final = 9000
"""Bytes of an input."""
BOUNDS: Final = ("-rss_limit_mb=1024", "-malloc_limit_mb=512", "-timeout=120")
"""The last one is for what never ends; an input that is merely slow is found by its processor time."""
STINT: Final = 30
"""Seconds on the wall before a restart."""


@attrs.frozen(kw_only=True)
class Fuzzed:
    """What became of one target."""

    executions: int
    coverage: int
    """Edges of the library's code that were reached."""
    cpu_seconds: float
    found: str
    """The end of the fuzzer's output, or nothing."""


def is_installed() -> bool:
    """Whether the fuzzer is here: there is none for every Python and system."""
    return importlib.util.find_spec("atheris") is not None


def corpus(name: str) -> list[Path]:
    """The kept inputs of a target."""
    return sorted((CORPUS / name).iterdir())


def fuzz(name: str, cpu_seconds: float, folder: Path, *, seed: int) -> Fuzzed:
    """Fuzz one target; ``folder`` is empty and keeps what is found."""
    working, seeds = folder / "working", folder / "seeds"
    for made in (working, seeds):
        made.mkdir(parents=True)
    for data in load(name).seeds():
        (seeds / hashlib.sha256(data).hexdigest()[:16]).write_bytes(data)
    executions = coverage = 0
    used = 0.0
    while used < cpu_seconds:
        said, status, stint_used = _stint(name, (working, seeds, CORPUS / name), folder, seed)
        used += stint_used
        executions += _number(r"number_of_executed_units: (\d+)", said)
        coverage = max(coverage, _number(r".*cov: (\d+)", said))
        if status:
            return Fuzzed(executions=executions, coverage=coverage, cpu_seconds=used, found=said[-4000:])
        seed += 1
    return Fuzzed(executions=executions, coverage=coverage, cpu_seconds=used, found="")


def _stint(name: str, corpora: tuple[Path, ...], artifacts: Path, seed: int) -> tuple[str, int, float]:
    """What the fuzzer said, its exit status, and the processor seconds that it took."""
    options = (f"-max_total_time={STINT}", f"-max_len={LARGEST}", f"-seed={seed}", "-print_final_stats=1", *BOUNDS)
    roots = os.pathsep.join(str(ROOT / part) for part in (".", "actors", "messages", "storage"))
    with subprocess.Popen(
        [sys.executable, "-m", "tests.faults.fuzz.run", name, *corpora, *options, f"-artifact_prefix={artifacts}/"],
        cwd=ROOT,
        env={**os.environ, "PYTHONPATH": roots},
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,  # what was raised is said there, and in its place among what is said here
    ) as fuzzer:
        assert fuzzer.stdout is not None
        said = fuzzer.stdout.read().decode("utf-8", "replace")
        # by itself: another target's fuzzer may be running
        _, status, used = os.wait4(fuzzer.pid, 0)
        fuzzer.returncode = os.waitstatus_to_exitcode(status)
    return said, fuzzer.returncode, used.ru_utime + used.ru_stime


def _number(pattern: str, said: str) -> int:
    numbers = re.findall(pattern, said)
    return int(numbers[-1]) if numbers else 0
