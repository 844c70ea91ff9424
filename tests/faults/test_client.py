"""What the client says of a store that is not as it should be."""

from __future__ import annotations

from pathlib import Path

import pytest

from olmstate.messages import StoreBusy
from olmstate.storage import Table
from tests.faults.client import check_database
from tests.faults.homeserver import Violated
from tests.storage.handles import Handles, put, session
from tests.storage.test_sqlite_errors import sqlite_error


async def test_a_damaged_database_is_a_violation(tmp_path: Path) -> None:
    handles = Handles(tmp_path / "store")
    await put(await handles.open(), *map(session, range(100)), table=Table.INBOUND_GROUP_SESSIONS)
    await handles.aclose()
    whole = handles.database.read_bytes()
    intact = await handles.open()
    check_database(intact)
    await intact.aclose()

    # the last pages are some table's; the first ones are needed to open it at all
    handles.database.write_bytes(whole[:-8192] + b"\xff" * 8192)
    damaged = await handles.open()

    with pytest.raises(Violated, match="damaged"):
        check_database(damaged)
    await damaged.aclose()


async def test_a_call_that_is_refused_while_the_database_is_checked_is_the_stores_error(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    handles = Handles(tmp_path / "store")
    store = await handles.open()

    class Refusing:
        def execute(self, _: str) -> None:
            raise sqlite_error("SQLITE_PROTOCOL")

    with monkeypatch.context() as patch:
        patch.setattr(store, "_reader", Refusing())
        with pytest.raises(StoreBusy):
            check_database(store)
    await handles.aclose()
