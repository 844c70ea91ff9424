"""The table that people read."""

from __future__ import annotations

from collections.abc import Iterable, Sequence

from tests.bench.job import Result

LABEL = 66


def rows(results: Sequence[Result]) -> Iterable[str]:
    """A line a result, and under it what its ratio is made of."""
    for result in results:
        yield f"{_verdict(result):6} {result.label:<{LABEL}} {value(result):>14}   {target(result)}".rstrip()
        for figure in result.figures:
            low, high = figure.spread
            spread = f"({time(low)} to {time(high)})"
            yield f"         {figure.name:<{LABEL - 2}} {time(figure.median):>14}   {spread}"


def verdict(job: str, results: Sequence[Result]) -> str:
    """One line a job: the result of it that is nearest to its target, or beyond it the farthest."""
    compared = [result for result in results if result.target is not None]
    if not compared:
        return f"       {job:<18} has no target"
    worst = max(compared, key=_nearness)
    others = f", the nearest of {len(compared)}" if len(compared) > 1 else ""
    said = f"{_verdict(worst):6} {job:<18} {worst.label}: {value(worst)}, {target(worst)}"
    return f"{said}{others}"


def value(result: Result) -> str:
    """What came out."""
    if result.value is None:
        return "not compared"
    return f"{result.value:,.2f} {result.unit}".rstrip()


def target(result: Result) -> str:
    """What it ought to be, or why there is nothing to say of it."""
    wanted = [] if result.target is None else [f"{result.bound} {result.target:g}"]
    return ": ".join([*wanted, *([result.note] if result.note else [])])


def time(seconds: float) -> str:
    """In the unit that reads best."""
    if seconds < 0.001:
        return f"{seconds * 1e6:,.1f} µs"
    if seconds < 1:
        return f"{seconds * 1e3:,.3g} ms" if seconds < 0.1 else f"{seconds * 1e3:,.0f} ms"
    return f"{seconds:,.2f} s"


def _verdict(result: Result) -> str:
    if result.target is None or result.value is None:
        return ""
    return "ok" if result.met else "MISSED"


def _nearness(result: Result) -> float:
    """Greater than 1 if the target is missed."""
    if result.value is None or result.target is None:
        return -1.0
    part, whole = (result.value, result.target) if result.bound == "at most" else (result.target, result.value)
    return part / whole if whole else float(part > whole)
