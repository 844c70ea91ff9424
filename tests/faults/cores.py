"""Sharing the cases of a long run between two processes, as many as a small machine has cores."""

from __future__ import annotations

from collections.abc import Callable, Generator, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack, contextmanager
from pathlib import Path
from typing import TypeVar

from tests.faults.worker import Workers

C = TypeVar("C")
W = TypeVar("W")


@contextmanager
def desks(folder: Path, number: int) -> Generator[list[tuple[Path, Workers]]]:
    """That many places to work at: each a folder of its own, and who works there."""
    with ExitStack() as stack:
        made: list[tuple[Path, Workers]] = []
        for index in range(number):
            desk = folder / f"desk {index}"
            desk.mkdir()
            made.append((desk, stack.enter_context(Workers.open())))
        yield made


def share(
    judges: Sequence[W], judge: Callable[[W, Sequence[C]], dict[C, str | None]], cases: Sequence[C]
) -> dict[C, str | None]:
    """Have each judge take its share of the cases, all at the same time."""
    outcomes: dict[C, str | None] = {}
    with ThreadPoolExecutor(len(judges)) as threads:
        running = [threads.submit(judge, who, cases[number :: len(judges)]) for number, who in enumerate(judges)]
        for done in running:
            outcomes |= done.result()
    return outcomes
