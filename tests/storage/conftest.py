"""What the tests of the store share: handles that are closed when a test is over, and Argon2id at no cost."""

from __future__ import annotations

from collections.abc import AsyncIterator
from pathlib import Path

import pytest

from olmstate.storage import sealing
from tests.storage.handles import Handles


@pytest.fixture
async def stores(tmp_path: Path) -> AsyncIterator[Handles]:
    handles = Handles(tmp_path / "store")
    yield handles
    await handles.aclose()


@pytest.fixture
def cheap_argon2(monkeypatch: pytest.MonkeyPatch) -> None:
    """The least that Argon2id takes, for new stores: what these tests are about is not its price."""
    monkeypatch.setattr(sealing, "ITERATIONS", 1)
    monkeypatch.setattr(sealing, "LANES", 1)
    monkeypatch.setattr(sealing, "MEMORY_KIB", 8)
