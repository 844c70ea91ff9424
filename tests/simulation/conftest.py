"""The options of the simulations: `--seed N` runs that seed alone, `--case NAME` that case, and prints its history."""

from __future__ import annotations

import pytest


def pytest_addoption(parser: pytest.Parser) -> None:
    """Add `--seed` and `--case`."""
    parser.addoption("--seed", type=int, help="simulate this seed only, and print its history")
    parser.addoption("--case", help="strike at this step only, and print its history")


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
def full(pytestconfig: pytest.Config) -> bool:
    """Whether the long form was asked for."""
    return bool(pytestconfig.getoption("--full"))
