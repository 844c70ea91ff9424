"""Every run of the model keeps the promises, and none of the rules can be left out.

Owns: the variants of `ratchet.pml`, and what is expected of each.
Rule: a safe variant is searched to its end; one that lacks a rule must be caught breaking the claim that is named.
Why: a model in which nothing can go wrong proves nothing. docs/decisions/0010-the-model.md says what this one covers.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable
from pathlib import Path

import attrs
import pytest

from tests.model.spin import Search, Spin

MODEL = Path(__file__).with_name("ratchet.pml")

# The claims that a run can break, in the verifier's words.
REUSED = "assertion violated !((emitted&(1<<mine)))"
NOT_DURABLE = "assertion violated (mine<synced.next)"
STALE = "assertion violated (ratchet>=began)"
OVERTAKEN = "assertion violated (overtaken<=1)"
STUCK = "invalid end state"
NEVER_THROUGH = "acceptance cycle"

ALL_FAULTS = "LOCK_LOSS POWER_LOSS UNKNOWN_COMMIT"


@attrs.frozen
class Safe:
    """A variant in which no run may break a promise.

    The top of each Promela file explains the flags. What a size leaves open is two messages for each process, at most
    two of them in a turn, and two faults.
    """

    title: str
    flags: str
    short: str = "P=2"
    full: tuple[str, ...] = ("P=3 FAULTS=1",)


@attrs.frozen
class Broken:
    """A variant that lacks a rule, or a machine that breaks a promise we rely on, with the claim that must fall."""

    title: str
    flags: str
    violated: str


SAFE = [
    Safe("kills", "", full=("P=2 FAULTS=4", "P=3 FAULTS=1")),
    Safe("kills, lock lost", "LOCK_LOSS", full=("P=2 FAULTS=3", "P=3 FAULTS=1")),
    Safe("kills, power lost", "POWER_LOSS"),
    Safe("kills, unknown commits", "UNKNOWN_COMMIT"),
    Safe("all faults", ALL_FAULTS, full=("P=2 FAULTS=3", "P=3 FAULTS=1")),
    Safe("other rows written, lock lost", "FOREIGN_WRITES=1 LOCK_LOSS", short="P=2 FAULTS=1"),
    Safe("other rows written, all faults", f"FOREIGN_WRITES=1 {ALL_FAULTS}", short="P=2 FAULTS=1", full=("P=2",)),
    Safe(
        "answers from the cache, all faults",
        f"QUERIES {ALL_FAULTS}",
        short="P=2 FAULTS=1",
        full=("P=2", "P=3 MESSAGES=1 FAULTS=1"),
    ),
    Safe("queue", "QUEUE", full=("P=2 MESSAGES=3", "P=3 FAULTS=1")),
    Safe("queue, head frozen", "QUEUE FREEZE"),
    Safe("reserved blocks, lock lost", "RESERVE=2 LOCK_LOSS", short="P=2 FAULTS=1", full=("P=2", "P=3 MESSAGES=1")),
    Safe("reserved blocks, all faults", f"RESERVE=2 {ALL_FAULTS}", short="P=2 FAULTS=1", full=("P=2",)),
    # What each of the two guards is worth without the other: see the first four of BROKEN.
    Safe("fence without revalidation, lock lost", "NO_REVALIDATION LOCK_LOSS"),
    Safe("revalidation without fence, lock kept", "NO_FENCE POWER_LOSS UNKNOWN_COMMIT"),
    Safe("SQLite's lock lost, ours kept", "SQLITE_LOCK_LOSS"),
]

EVERYBODY_GETS_THROUGH = [
    Safe("kills, lock lost", "LOCK_LOSS", short="P=2 FAULTS=1"),
    Safe("all faults", ALL_FAULTS, short="P=2 FAULTS=1", full=("P=3 MESSAGES=1",)),
    Safe("queue", "QUEUE", short="P=2 FAULTS=1", full=("P=3 MESSAGES=1",)),
    Safe("reserved blocks, lock lost", "RESERVE=2 LOCK_LOSS", short="P=2 FAULTS=1", full=("P=3 MESSAGES=1 FAULTS=1",)),
]

BROKEN = [
    Broken("neither revalidation nor fence, no fault", "REUSE_ONLY NO_REVALIDATION NO_FENCE FAULTS=0", REUSED),
    Broken("fence without revalidation, answers, no fault", "NO_REVALIDATION QUERIES FAULTS=0", STALE),
    Broken("revalidation without fence, lock lost", "REUSE_ONLY NO_FENCE LOCK_LOSS", REUSED),
    Broken("revalidation without fence, answers, unknown commits", "NO_FENCE QUERIES UNKNOWN_COMMIT", STALE),
    Broken("rows without their generation, no fault", "REUSE_ONLY NO_STAMP FAULTS=0", REUSED),
    Broken("emit before commit", "REUSE_ONLY EMIT_BEFORE_COMMIT", REUSED),
    Broken("emit before commit, no fault", "EMIT_BEFORE_COMMIT FAULTS=0", NOT_DURABLE),
    Broken("unknown commit taken for done", "REUSE_ONLY UNKNOWN_COMMIT EMIT_ON_UNKNOWN", REUSED),
    Broken("power lost without fsync", "REUSE_ONLY POWER_LOSS NO_FSYNC", REUSED),
    Broken("no fsync, no fault", "NO_FSYNC FAULTS=0", NOT_DURABLE),
    Broken("both locks lost", "REUSE_ONLY LOCK_LOSS SQLITE_LOCK_LOSS", REUSED),
    Broken("lock outlives its holder", "STALE_LOCK", STUCK),
    Broken("no way around a frozen head", "QUEUE FREEZE NO_BYPASS", STUCK),
    Broken("lock kept while others wait, no fault", "QUEUE KEEP_REGARDLESS FAULTS=0", OVERTAKEN),
    Broken("queue passed by, no fault", "QUEUE BARGE FAULTS=0", OVERTAKEN),
    Broken("fenced turn keeps its cache", "LIVENESS LOCK_LOSS NO_ROLLBACK", NEVER_THROUGH),
    Broken("block given back blindly, no fault", "REUSE_ONLY RESERVE=2 GIVE_BACK_BLINDLY FAULTS=0", REUSED),
    Broken("block forgotten too late", "REUSE_ONLY RESERVE=2 FORGET_LATE UNKNOWN_COMMIT", REUSED),
    Broken("reserved blocks without fence, lock lost", "REUSE_ONLY RESERVE=2 NO_FENCE LOCK_LOSS", REUSED),
]


def in_every_size(variants: Iterable[Safe]) -> list[object]:
    """Give each variant in its short form, and in its full ones, which only `--full` runs."""
    return [
        pytest.param(variant, size, id=f"{variant.title}: {size}", marks=[pytest.mark.full] if full else [])
        for variant in variants
        for full, sizes in enumerate([(variant.short,), variant.full])
        for size in sizes
    ]


@attrs.frozen(kw_only=True)
class Check:
    """Searches the model as the running test is set up to."""

    spin: Spin
    folder: Path
    optimise: bool
    record: Callable[[str, object], None]

    def __call__(self, flags: str, *, expected: str | None) -> Search:
        """Search one variant, and fail with the run that went wrong unless the outcome is the expected one."""
        definitions = flags.split()
        search = self.spin.search(
            MODEL,
            flags=definitions,
            folder=self.folder,
            whole_runs="LIVENESS" in definitions,
            optimise=self.optimise,
        )
        self.record("states", search.states)
        self.record("depth", search.depth)
        if search.violated not in {None, expected}:
            pytest.fail(f"{search.violated}\n{self.spin.replay(MODEL, flags=definitions, folder=self.folder)}")
        assert expected == search.violated
        return search


@pytest.fixture
def check(
    spin: Spin, tmp_path: Path, pytestconfig: pytest.Config, record_property: Callable[[str, object], None]
) -> Check:
    # The short forms are so small that an optimised verifier takes longer to build than it saves.
    optimise = bool(pytestconfig.getoption("--full"))
    return Check(spin=spin, folder=tmp_path, optimise=optimise, record=record_property)


@pytest.mark.parametrize(("variant", "size"), in_every_size(SAFE))
def test_no_run_breaks_a_promise_or_leaves_anybody_stuck(variant: Safe, size: str, check: Check) -> None:
    search = check(f"{variant.flags} {size}", expected=None)

    # No promise is kept because nobody ever got to where it counts.
    if size == variant.short:
        assert () == search.unreached


@pytest.mark.parametrize(("variant", "size"), in_every_size(EVERYBODY_GETS_THROUGH))
def test_once_faults_stop_every_run_ends_with_everybody_through(variant: Safe, size: str, check: Check) -> None:
    check(f"LIVENESS {variant.flags} {size}", expected=None)


@pytest.mark.parametrize("size", ["P=2", pytest.param("P=3", marks=pytest.mark.full)])
@pytest.mark.parametrize("variant", [pytest.param(variant, id=variant.title) for variant in BROKEN])
def test_a_variant_that_lacks_a_rule_is_caught(variant: Broken, size: str, check: Check) -> None:
    check(f"{variant.flags} {size}", expected=variant.violated)
