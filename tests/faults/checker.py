"""Judges a history by every rule that must hold, whatever was killed, cancelled or refused.

    python -m tests.faults.checker FOLDER

Owns: which rules there are. A rule is a function that finds what breaks it; its docstring says what it is.
Rule: each of them rejects some forged history (`test_history_checker`), or it would prove nothing.
"""

from __future__ import annotations

import sys
from collections.abc import Callable, Iterable, Iterator
from pathlib import Path

from tests.faults import rules_keys, rules_ratchets, rules_store
from tests.faults.evidence import Evidence, Finding, Violation
from tests.faults.history import Entry, read_history


def everybody_gets_through(evidence: Evidence) -> Iterator[Finding]:
    """Once no fault strikes any more, everything that is asked is answered, with no fault of the store's."""
    for calm in evidence.of("calm"):
        for ask in evidence.asks.values():
            if ask.asked.t < calm.t:
                continue
            if ask.outcome is None:
                yield Finding("it was never answered", (calm, ask.asked))
            elif ask.outcome.kind == "failed" and ask.outcome.data["error"] in NOT_THE_ASKERS_FAULT:
                yield Finding("it was refused", (calm, ask.asked, ask.outcome))


NOT_THE_ASKERS_FAULT = frozenset({"StoreBusy", "StorePoisoned", "StoreFull", "StoreUnavailable", "ActorStopped"})

RULES = (*rules_store.RULES, *rules_ratchets.RULES, *rules_keys.RULES, everybody_gets_through)


def check(history: Iterable[Entry]) -> list[Violation]:
    """All that is wrong with a history; an empty list for a good one."""
    evidence = Evidence(history)
    return [Violation(name_of(rule), finding.text, finding.entries) for rule in RULES for finding in rule(evidence)]


def name_of(rule: Callable[[Evidence], Iterable[Finding]]) -> str:
    """What a rule is called."""
    return rule.__name__.replace("_", " ")


def main() -> None:
    """Judge the logs in a folder."""
    history = read_history(Path(sys.argv[1]))
    violations = check(history)
    for violation in violations:
        print(violation)
    print(
        f"{len(history)} entries of {len({entry.process for entry in history})} processes: {len(violations)} violations"
    )
    sys.exit(bool(violations))


if __name__ == "__main__":
    main()
