"""One target, fuzzed for a while: the process that does it.

``python -m tests.faults.fuzz.run TARGET SEED WORKING_FOLDER KEPT_FOLDER [LIBFUZZER OPTION…]``

It ends with 0 if nothing was found. What was found is written into the working folder's parent by libFuzzer.
"""

from __future__ import annotations

import importlib
import random
import resource
import sys
import time
from typing import Any, Final

ADDRESS_SPACE: Final = 6 * 2**30
"""Bytes, most of them never touched."""
CPU_SECONDS: Final = 2.0
"""For one input. Of this process, so that a busy machine finds nothing."""


class TooSlow(Exception):
    """An input took longer than any may."""


def main() -> None:
    """See the module."""
    name, *options = sys.argv[1:]
    resource.setrlimit(resource.RLIMIT_AS, (ADDRESS_SPACE, ADDRESS_SPACE))
    atheris: Any = importlib.import_module("atheris")
    with atheris.instrument_imports(include=["olmstate"]):
        target = importlib.import_module("tests.faults.fuzz.target").load(name)
    structure = importlib.import_module("tests.faults.fuzz.structure")

    def one_input(data: bytes) -> None:
        before = time.process_time()
        target.run(data)
        if time.process_time() - before > CPU_SECONDS:
            raise TooSlow

    def mutate(data: bytes, largest: int, seed: int) -> bytes:
        rng = random.Random(seed)
        head, rest = data[: target.json_at], data[target.json_at :]
        mutated = structure.mutate(rest, rng, largest - len(head)) if rng.random() < 0.8 else None
        return bytes(atheris.Mutate(data, largest)) if mutated is None else head + mutated

    target.run(b"")  # what is made once takes its time now
    atheris.Setup([sys.argv[0], *options], one_input, custom_mutator=mutate)
    atheris.Fuzz()


if __name__ == "__main__":
    main()
