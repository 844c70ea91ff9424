"""Whether the rules that must find a broken variant do, and from which seed on."""

from __future__ import annotations

from collections.abc import Callable, Collection, Iterable, Mapping

import attrs

from tests.faults import tally


@attrs.frozen
class Search:
    """What came of looking for a variant, seed after seed."""

    first: Mapping[str, int]
    """The first seed at which each rule was broken."""
    missed: Collection[str]
    """Rules that should have been, and weren't."""

    def tell(self, harness: str, *, cases: int, faults: int) -> None:
        """Add it to the report."""
        by_seed = sorted(self.first.items(), key=lambda item: item[1])
        found = ", ".join(f"{rule} at seed {seed}" for rule, seed in by_seed)
        tally.write(
            tally.Tally(
                harness=harness,
                cases=cases,
                faults_injected=faults,
                violations=len(self.missed),
                points_or_seeds=found,
            )
        )
        print(f"{harness}: {found}")


def search(seeds: Iterable[int], broken_rules: Callable[[int], Iterable[str]], *, found_by: Collection[str]) -> Search:
    """Look until each rule of ``found_by`` was broken, or there are no more seeds."""
    first: dict[str, int] = {}
    for seed in seeds:
        for rule in broken_rules(seed):
            first.setdefault(rule, seed)
        if set(found_by) <= first.keys():
            break
    return Search(first, set(found_by) - first.keys())
