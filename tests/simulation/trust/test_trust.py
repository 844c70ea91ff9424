"""Whatever a homeserver says of keys: nobody is trusted more than what people have compared, signed and agreed to.

Short form: 30 seeds, and for each variant one that finds it out, or more if it no longer does. With `--full`: 1,000.

A seed that fails repeats: `pytest tests/simulation/trust --seed N`.
"""

from __future__ import annotations

import pytest

from tests.simulation.hostile.broken import Broken
from tests.simulation.hostile.runs import all_seeds, must_be_found
from tests.simulation.trust.homeserver import ATTACKS
from tests.simulation.trust.play import play
from tests.simulation.trust.variants import BROKEN

SHORT, FULL = 30, 1_000
"""Seeds."""
SEARCHED = 150
"""Seeds within which a variant must be found out, in the short form."""
EVERY_ATTACK = {attack.__name__ for attack in ATTACKS}


def test_trust_is_never_raised_by_words_of_the_homeserver(full: bool, only_seed: int | None) -> None:  # noqa: FBT001 - fixtures
    all_seeds(play, FULL if full else SHORT, only_seed, harness="lies about trust", attacks=EVERY_ATTACK)


@pytest.mark.parametrize("broken", BROKEN, ids=lambda broken: broken.variant.name)
def test_a_check_that_is_missing_is_found_out(broken: Broken, full: bool) -> None:  # noqa: FBT001 - a fixture
    must_be_found(play, broken, FULL if full else SEARCHED, harness="lies about trust", all_of_them=full)


@pytest.mark.parametrize("seed", [3, 4])
def test_a_seed_gives_the_same_again(seed: int) -> None:
    first, again = play(seed), play(seed)

    assert (first.attacks, first.told) == (again.attacks, again.told)
