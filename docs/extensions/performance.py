"""What a run of the benchmark found: the directives ``performance-table``, ``-plot``, ``-comparison`` and ``-machine``.

Owns: how a saved run is shown on a page.
Rule: every number on the page, and every point in a plot, comes out of the file that the run has saved.
Why: a number that was typed in is wrong after the next change, and nobody notices.
"""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

from docutils import nodes
from sphinx.application import Sphinx
from sphinx.util.docutils import SphinxDirective

from tests.bench import compare
from tests.bench.job import Result
from tests.bench.jobs import CHECKED
from tests.bench.record import Record, read_record
from tests.bench.table import time, value

from .plots import svg
from .tables import table_of


class _OfARun(SphinxDirective):
    required_arguments = 1
    has_content = False

    def record(self, name: str) -> Record:
        """A saved run, by the name of its file."""
        path = Path(self.env.srcdir) / "performance" / f"{name}.json"
        self.env.note_dependency(str(path))
        return read_record(path)


class Table(_OfARun):
    """The results of all jobs that have targets, or of the jobs that are named."""

    optional_arguments = 20

    def run(self) -> list[nodes.Node]:
        """Make it."""
        jobs = self.arguments[1:] or list(CHECKED)
        found = self.record(self.arguments[0]).jobs
        rows = [_cells(result) for job in jobs if job in found for result in found[job].results]
        return [table_of(("", "olmstate", "the other", "comes out", "ought to be"), rows, (5, 2, 3, 2, 3))]


class Plot(_OfARun):
    """A plot of a run."""

    required_arguments = 2

    def run(self) -> list[nodes.Node]:
        """Draw it."""
        run, name = self.arguments
        drawn = [svg(picture) for picture in self.record(run).pictures if picture.name == name]
        if not drawn:
            raise self.error(f"that run has no plot {name}")
        return [nodes.raw("", element, format="html") for element in drawn]


class Comparison(_OfARun):
    """Two runs side by side, drawn."""

    required_arguments = 2

    def run(self) -> list[nodes.Node]:
        """Draw it."""
        one, other = map(self.record, self.arguments)
        return [nodes.raw("", svg(compare.plot(one, other)), format="html")]


class Machine(_OfARun):
    """What a run was measured on."""

    def run(self) -> list[nodes.Node]:
        """List it."""
        record = self.record(self.arguments[0])
        rows = [*record.machine.lines(), ("rounds", f"{record.rounds}")]
        return [table_of(("", ""), rows, (1, 4))]


def _cells(result: Result) -> Sequence[str]:
    ours, *others = result.figures or (None,)
    return (
        result.label,
        _unbroken(time(ours.median)) if ours else "",
        ", ".join(f"{other.name}: {_unbroken(time(other.median))}" for other in others if other),
        _unbroken(value(result)),
        _wanted(result),
    )


def _unbroken(quantity: str) -> str:
    """Not to be divided at the end of a line."""
    return quantity.replace(" ", "\N{NO-BREAK SPACE}")


def _wanted(result: Result) -> str:
    target = "" if result.target is None else f"{result.bound} {result.target:g}"
    missed = "" if result.met else "missed"
    return "; ".join(part for part in (target, missed, result.note) if part)


def setup(app: Sphinx) -> dict[str, Any]:
    """Register the directives."""
    app.add_directive("performance-table", Table)
    app.add_directive("performance-plot", Plot)
    app.add_directive("performance-comparison", Comparison)
    app.add_directive("performance-machine", Machine)
    return {"parallel_read_safe": True, "parallel_write_safe": True}
