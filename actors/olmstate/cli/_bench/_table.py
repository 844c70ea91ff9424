"""The table that people read."""

from __future__ import annotations

from collections.abc import Iterable, Sequence

from ._job import Result
from ._measure import Figure

LABEL = 62


def rows(results: Sequence[Result]) -> Iterable[str]:
    """A line a result, and under it what its ratio is made of."""
    for result in results:
        yield f"{_verdict(result):6} {result.label:<{LABEL}} {_value(result):>12}   {_target(result)}".rstrip()
        for figure in result.figures:
            low, high = figure.spread
            spread = f"({low * 1e6:,.1f} to {high * 1e6:,.1f} µs)"
            yield f"         {figure.name:<{LABEL - 2}} {_time(figure):>12}   {spread}"


def _verdict(result: Result) -> str:
    if result.target is None:
        return ""
    return "ok" if result.met else "MISSED"


def _value(result: Result) -> str:
    return f"{result.value:,.2f} {result.unit}".rstrip()


def _target(result: Result) -> str:
    return "" if result.target is None else f"{result.bound} {result.target:g}"


def _time(figure: Figure) -> str:
    return f"{figure.median * 1e6:,.1f} µs"
