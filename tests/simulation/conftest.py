"""The one option of the simulations: `pytest tests/simulation --seed N` runs that seed alone and prints its history."""

from __future__ import annotations

import pytest


def pytest_addoption(parser: pytest.Parser) -> None:
    """Add `--seed`."""
    parser.addoption("--seed", type=int, help="simulate this seed only, and print its history")


@pytest.fixture
def only_seed(pytestconfig: pytest.Config) -> int | None:
    """The seed that was asked for."""
    seed: int | None = pytestconfig.getoption("--seed", default=None)
    return seed


@pytest.fixture
def full(pytestconfig: pytest.Config) -> bool:
    """Whether the long form was asked for."""
    return bool(pytestconfig.getoption("--full"))
