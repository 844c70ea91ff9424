"""Whatever a homeserver and a member of the room do within their keys: nothing is told of who didn't do it.

Short form: 40 seeds, and for each variant one that finds it out, or more if it no longer does. With `--full`: 1,000.

A seed that fails repeats: `pytest tests/simulation/hostile --seed N`.
"""

from __future__ import annotations

import pytest

from tests.simulation.hostile import homeserver, member
from tests.simulation.hostile.broken import Broken
from tests.simulation.hostile.play import play
from tests.simulation.hostile.runs import all_seeds, must_be_found
from tests.simulation.hostile.variants import BROKEN

SHORT, FULL = 40, 1_000
"""Seeds."""
SEARCHED = 150
"""Seeds within which a variant must be found out, in the short form."""
EVERY_ATTACK = {attack.__name__ for attack in (*member.ATTACKS, *homeserver.ATTACKS)}


def test_nobody_passes_for_anybody_and_nobody_is_silenced(full: bool, only_seed: int | None) -> None:  # noqa: FBT001 - fixtures
    all_seeds(play, FULL if full else SHORT, only_seed, harness="liars", attacks=EVERY_ATTACK)


@pytest.mark.parametrize("broken", BROKEN, ids=lambda broken: broken.variant.name)
def test_a_check_that_is_missing_is_found_out(broken: Broken, full: bool) -> None:  # noqa: FBT001 - a fixture
    must_be_found(play, broken, FULL if full else SEARCHED, harness="liars", all_of_them=full)


@pytest.mark.parametrize("seed", [5, 8])
def test_a_seed_gives_the_same_again(seed: int) -> None:
    first, again = play(seed), play(seed)

    assert (first.attacks, first.told) == (again.attacks, again.told)
