"""Run spin on a Promela model and read what its search found.

Owns: the way from a model and its flags to a `Search`: `spin -a` writes a verifier in C, a C compiler builds it.
Rule: a search that was cut short is never taken for a result.
Why: the verifier exits 0 whatever it finds, and says "errors: 0" also when it ran out of depth or of memory.
"""

from __future__ import annotations

import re
import shutil
import subprocess
from collections.abc import Sequence
from pathlib import Path

import attrs

_TOTALS = re.compile(r"State-vector \d+ byte, depth reached (?P<depth>\d+), errors: (?P<errors>\d+)")
_STORED = re.compile(r"^ *(?P<states>[\d.]+(e\+\d+)?) states, stored", re.MULTILINE)
_VIOLATED = re.compile(r"^pan:1: (?P<claim>.+) \(at depth \d+\)$", re.MULTILINE)
_UNREACHED = re.compile(r"^\t\S*?(?P<line>[^/\s]+\.pml:\d+), state \d+, (?P<text>.*)$", re.MULTILINE)
_CUT_SHORT = ("max search depth too small", "reached -DMEMLIM bound", "out of memory")


class SpinError(Exception):
    """A tool is missing or failed, or the search was cut short: there is no result."""


@attrs.frozen(kw_only=True)
class Search:
    """What one finished search found."""

    states: int
    """Distinct states stored; if something was violated, those seen until then."""
    depth: int
    """Steps in the longest run that was followed."""
    violated: str | None
    """The first violation in the verifier's words; None if every run was searched and none has one."""
    unreached: tuple[str, ...]
    """Steps of the model that no run took, as `file:line step`. After a violation it says nothing."""


@attrs.frozen(kw_only=True)
class Spin:
    """The tools that a search needs."""

    spin: str
    compiler: str

    @classmethod
    def find(cls) -> Spin:
        """Find the tools on PATH.

        Raises:
            SpinError: One is missing; the message says which one, and where it comes from.
        """
        spin, compiler = shutil.which("spin"), shutil.which("cc")
        if spin is None:
            raise SpinError("spin is not on PATH (on Debian and Ubuntu: apt-get install spin)")
        if compiler is None:
            raise SpinError("no C compiler `cc` is on PATH (on Debian and Ubuntu: apt-get install gcc libc6-dev)")
        return cls(spin=spin, compiler=compiler)

    def search(
        self,
        model: Path,
        *,
        flags: Sequence[str],
        folder: Path,
        whole_runs: bool = False,
        optimise: bool = False,
        depth: int = 20_000,
        megabytes: int = 6_000,
    ) -> Search:
        """Search every run of a model until something is violated.

        Args:
            model: The Promela file.
            flags: Preprocessor definitions, `NAME` or `NAME=value`.
            folder: Where the verifier is built and leaves its trail, which `replay` reads.
            whole_runs: Check the model's `ltl` claim, and not end states, which it implies.
            optimise: Spend a second or two on the verifier; pays off from a million states.
            depth: Steps after which a run is not followed further, and there is no result.
            megabytes: Memory at which the search stops, and there is no result.

        Raises:
            SpinError: There is no result.
        """
        _run([self.spin, *self._definitions(flags), "-a", str(model)], folder=folder)
        # No partial order reduction: it saves one state in a hundred, and would have to be shown to go with `unless`.
        options = ["-O2" if optimise else "-O0", "-DNOREDUCE", "-DCOLLAPSE", f"-DMEMLIM={megabytes}"]
        _run([self.compiler, *options, *([] if whole_runs else ["-DSAFETY"]), "-o", "pan", "pan.c"], folder=folder)
        return read_report(_run(["./pan", f"-m{depth}", *(["-a"] if whole_runs else [])], folder=folder))

    def replay(self, model: Path, *, flags: Sequence[str], folder: Path) -> str:
        """Tell, step by step, the run that leads to the violation which a search in `folder` found."""
        trail = folder / f"{model.name}.trail"
        return _run(
            [self.spin, *self._definitions(flags), "-p", "-g", "-l", "-k", str(trail), str(model)], folder=folder
        )

    def _definitions(self, flags: Sequence[str]) -> list[str]:
        # Spin would run gcc as its preprocessor, wherever the compiler has another name.
        return [f"-P{self.compiler} -E -x c", *(f"-D{flag}" for flag in flags)]


def read_report(report: str) -> Search:
    """Read what a verifier printed.

    Raises:
        SpinError: It is no report, or that of a search that was cut short or did not store every state.
    """
    totals, stored, violation = (pattern.search(report) for pattern in (_TOTALS, _STORED, _VIOLATED))
    if totals is None or stored is None or "Full statespace search for:" not in report:
        raise SpinError(f"this is no report of an exhaustive search:\n{report}")
    if (violation is None) != (totals["errors"] == "0"):
        raise SpinError(f"the report counts {totals['errors']} errors but does not name the first:\n{report}")
    cut_short = next((reason for reason in _CUT_SHORT if reason in report), None)
    # A violation stops the search, and the verifier then says the same of it.
    if violation is None and "Search not completed" in report:
        cut_short = cut_short or "search not completed"
    if cut_short is not None:
        raise SpinError(f"the search was cut short ({cut_short}):\n{report}")
    return Search(
        states=int(float(stored["states"])),
        depth=int(totals["depth"]),
        violated=None if violation is None else " ".join(violation["claim"].split()),
        unreached=tuple(f"{match['line']} {match['text']}" for match in _UNREACHED.finditer(report)),
    )


def _run(command: Sequence[str], *, folder: Path) -> str:
    done = subprocess.run(command, cwd=folder, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True, check=False)
    if done.returncode != 0:
        raise SpinError(f"{' '.join(command)} failed with exit code {done.returncode}:\n{done.stdout}")
    return done.stdout
