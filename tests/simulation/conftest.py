"""The options of the simulations.

`--seed N` runs that seed alone, `--case NAME` that case, and prints its history. `--part N` runs every eighth step.
"""

from __future__ import annotations

import pytest

PARTS = 8
"""In which every step can be run; all take hours."""


def pytest_addoption(parser: pytest.Parser) -> None:
    """Add `--seed`, `--case` and `--part`."""
    parser.addoption("--seed", type=int, help="simulate this seed only, and print its history")
    parser.addoption("--case", help="strike at this step only, and print its history")
    parser.addoption("--part", type=int, choices=range(PARTS), help="of every step, strike at these only: an eighth")


@pytest.fixture
def only_seed(pytestconfig: pytest.Config) -> int | None:
    """The seed that was asked for."""
    seed: int | None = pytestconfig.getoption("--seed", default=None)
    return seed


@pytest.fixture
def only_case(pytestconfig: pytest.Config) -> str | None:
    """The case that was asked for."""
    name: str | None = pytestconfig.getoption("--case", default=None)
    return name


@pytest.fixture
def only_part(pytestconfig: pytest.Config) -> int | None:
    """The part that was asked for."""
    part: int | None = pytestconfig.getoption("--part", default=None)
    return part


@pytest.fixture
def full(pytestconfig: pytest.Config) -> bool:
    """Whether the long form was asked for."""
    return bool(pytestconfig.getoption("--full"))
