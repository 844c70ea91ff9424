"""Whatever comes from outside, nothing but the documented errors comes out, and what is valid works afterwards.

The short form tries again what fuzzing has found worth keeping; it needs no fuzzer. The long form looks for more.
"""

from __future__ import annotations

import random
from collections.abc import Generator, Mapping
from concurrent.futures import Future, ThreadPoolExecutor

import pytest

from tests.faults.fuzz.fuzzing import Fuzzed, corpus, fuzz, is_installed
from tests.faults.fuzz.structure import mutate
from tests.faults.fuzz.target import NAMES, dump, load
from tests.faults.tally import Tally, write

CPU_SECONDS = 66.0
"""For each target: over ten minutes in all, and what starting takes."""
SEED = 1


@pytest.mark.parametrize("name", NAMES)
def test_no_input_that_was_kept_does_what_no_input_may_do(name: str) -> None:
    target = load(name)
    kept = corpus(name)
    assert kept
    for path in kept:
        target.run(path.read_bytes())


@pytest.mark.parametrize("name", NAMES)
def test_no_seed_does_what_no_input_may_do(name: str) -> None:
    target = load(name)
    for data in target.seeds():
        target.run(data)


def test_a_mutant_is_another_json_text_of_no_more_than_the_length_that_was_asked_for() -> None:
    seed = dump({"type": "m.room.encrypted", "content": {"body": "AAAA", "list": [1, None, {}]}})
    mutants = [mutate(seed, random.Random(number), 200) for number in range(500)]

    made = {mutant for mutant in mutants if mutant is not None}
    assert len(made) > 250
    assert max(map(len, made)) <= 200
    assert mutants[:20] == [mutate(seed, random.Random(number), 200) for number in range(20)]
    assert mutate(b"{", random.Random(0), 200) is None


@pytest.fixture(scope="module")
def under_way(tmp_path_factory: pytest.TempPathFactory) -> Generator[Mapping[str, Future[Fuzzed]]]:
    """What comes of each target, two at a time: as many as a small machine has cores."""
    if not is_installed():
        pytest.fail("atheris is not installed: there is none for this Python or this system", pytrace=False)
    folder = tmp_path_factory.mktemp("fuzzing")
    with ThreadPoolExecutor(2) as threads:
        yield {name: threads.submit(fuzz, name, CPU_SECONDS, folder / name, seed=SEED) for name in NAMES}
        threads.shutdown(cancel_futures=True)


@pytest.mark.full
@pytest.mark.parametrize("name", NAMES)
def test_fuzzing_finds_nothing(name: str, under_way: Mapping[str, Future[Fuzzed]]) -> None:
    fuzzed = under_way[name].result()

    write(
        Tally(
            harness=f"fuzzing {name}",
            cases=fuzzed.executions,
            faults_injected=fuzzed.executions,
            violations=int(bool(fuzzed.found)),
            points_or_seeds=f"seed {SEED}, {fuzzed.cpu_seconds:.0f} CPU seconds, {fuzzed.coverage} edges",
        )
    )
    assert not fuzzed.found, fuzzed.found
