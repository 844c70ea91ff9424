"""A world for each test."""

from __future__ import annotations

import pytest

from tests.actors.world import World


@pytest.fixture
def world() -> World:
    return World()


@pytest.fixture(autouse=True)
def seldom(monkeypatch: pytest.MonkeyPatch) -> None:
    """Hours pass in these tests, and nobody else writes: there is no need to look each quarter of a second."""
    monkeypatch.setattr("olmstate.actors._requests.courier.POLL", 5)
