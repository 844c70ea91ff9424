"""Each test of this folder runs once on each engine."""

from __future__ import annotations

from collections.abc import AsyncIterator

import pytest

from olmstate.storage import Store
from tests.storage.contract.engines import ENGINES, Engine


@pytest.fixture(params=ENGINES)
async def engine(request: pytest.FixtureRequest) -> AsyncIterator[Engine]:
    async with ENGINES[request.param]() as opened:
        yield opened


@pytest.fixture
async def one(engine: Engine) -> Store:
    """A handle."""
    return await engine.open()


@pytest.fixture
async def two(engine: Engine) -> Store:
    """Another handle."""
    return await engine.open()
