"""What the client says of a store that is not as it should be."""
# pyright: reportPrivateUsage=false

from __future__ import annotations

from pathlib import Path

import pytest

from olmstate.messages import StoreBusy
from olmstate.storage import Table
from olmstate.storage._sqlite3 import sqlite3
from tests.faults.client import check_database
from tests.faults.homeserver import Violated
from tests.storage.handles import Handles, put, session


async def test_a_damaged_database_is_a_violation(tmp_path: Path) -> None:
    handles = Handles(tmp_path / "store")
    await put(await handles.open(), *map(session, range(100)), table=Table.INBOUND_GROUP_SESSIONS)
    await handles.aclose()
    whole = handles.database.read_bytes()
    damaged = await handles.open()
    check_database(damaged)
    await damaged.aclose()

    # the last pages are some table's; the first ones are needed to open it at all
    handles.database.write_bytes(whole[:-8192] + b"\xff" * 8192)
    store = await handles.open()

    with pytest.raises(Violated, match="damaged"):
        check_database(store)
    await store.aclose()


async def test_a_call_that_is_refused_while_the_database_is_checked_is_the_stores_error(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    handles = Handles(tmp_path / "store")
    store = await handles.open()

    class Refusing:
        def execute(self, _: str) -> None:
            error = sqlite3.OperationalError("locking protocol")
            error.sqlite_errorcode, error.sqlite_errorname = sqlite3.SQLITE_PROTOCOL, "SQLITE_PROTOCOL"
            raise error

    with monkeypatch.context() as patch:
        patch.setattr(store, "_reader", Refusing())
        with pytest.raises(StoreBusy):
            check_database(store)
    await handles.aclose()
