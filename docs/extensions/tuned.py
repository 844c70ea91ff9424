"""The numbers that were tuned.

Owns: which numbers those are, and what to run after a change of one.
Rule: a number and what it means stand in the code, and come from there.
Why: a number that somebody once measured looks like one that somebody once guessed.
"""

from __future__ import annotations

import ast
from collections.abc import Iterator, Mapping
from pathlib import Path

import attrs

from .source import names_in, syntax_of

ROOT = Path(__file__).parents[2]

RUN: Mapping[str, Mapping[str, str]] = {
    "actors/olmstate/actors/_engine/actor.py": {
        "MAILBOX_SIZE": "",
        "BATCH": "stall",
        "SLICE": "decrypt, stall",
    },
    "actors/olmstate/actors/_engine/cache.py": {
        "ROWS_AT_ONCE": "stall, tests/cost",
        "BYTES_AT_ONCE": "stall, tests/cost",
    },
    "actors/olmstate/actors/_engine/options.py": {"DEFAULT_CAPACITY": "memory, capacities"},
    "actors/olmstate/actors/_engine/runner.py": {
        "MAILBOX_SIZE": "",
        "MOST_COMMANDS": "processes-4",
        "MOST_ROWS": "stall",
        "MOST_FENCED": "",
    },
    "actors/olmstate/actors/_rooms/actor.py": {
        "FIRST_RESERVED": "processes-2, processes-4",
        "LEAST_RESERVED": "processes-2, processes-4",
        "MOST_RESERVED": "encrypt",
    },
    "actors/olmstate/actors/_room_keys/message_indices.py": {"BLOCK": "decrypt, tests/cost"},
    "actors/olmstate/actors/_room_keys/operations.py": {
        "EVENTS_AT_ONCE": "decrypt, tests/cost",
        "CHUNK": "stall",
        "AT_ONCE": "stall",
        "PAGE": "stall, tests/cost",
    },
    "actors/olmstate/actors/_to_device/sending.py": {
        "KEYS_AT_ONCE": "tests/cost",
        "PLAINTEXTS_AT_ONCE": "share-1000, tests/cost",
    },
    "storage/olmstate/storage/lock/role.py": {"ROLE_POLL": "tests/operations"},
    "storage/olmstate/storage/lock/turnstile.py": {
        "WAITER_POLL": "processes-4",
        "LATE_POLL": "processes-4",
        "HEAD_POLL": "processes-2, idle",
        "LATE": "processes-4",
        "CROWD_POLL": "tests/interop",
        "PATIENCE": "tests/faults",
    },
    "storage/olmstate/storage/sqlite/store.py": {
        "MANY_CHANGES": "sizes",
        "TOMBSTONES_KEPT": "sizes",
        "FORGET_EVERY": "stall",
        "SLOW_COMMIT": "one-message, stall",
        "UNSEALED_AT_ONCE": "stall",
        "SEALED_AT_ONCE": "stall",
        "CHECKPOINT_PAGES": "one-message",
    },
    "storage/olmstate/storage/sqlite/backup.py": {"PAGES_A_STEP": ""},
}
"""By file, each number, and the jobs of the bench or the tests on whose paths it is, if any."""


@attrs.frozen(kw_only=True)
class Tuned:
    """A number that was tuned."""

    file: str
    name: str
    value: str
    text: str
    run: str


def read_tuned() -> Iterator[Tuned]:
    """All of them, as the code has them."""
    for file, run in RUN.items():
        names = list(names_in(syntax_of(ROOT / file).body))
        by_name = {name.name: (at, name) for at, name in enumerate(names)}
        for name, jobs in run.items():
            at, found = by_name[name]
            assert found.value is not None  # noqa: S101 - a constant has one
            # where several share one text, it stands below the last
            text = next(each.text for each in names[at:] if each.text)
            yield Tuned(file=file, name=name, value=ast.unparse(found.value), text=text, run=jobs or "—")
