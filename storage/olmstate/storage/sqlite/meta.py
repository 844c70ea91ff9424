"""The store's two single rows: what it is (``meta``), and how its data key is wrapped (``wrapping``)."""

from __future__ import annotations

import attrs
from sqlite_utils import Database

from olmstate.messages import DeviceId, StoreCorrupt, UserId
from olmstate.storage.sealing import Wrapping

from .schema import newest
from .sqlite3 import sqlite3


@attrs.frozen(kw_only=True)
class StoreInfo:
    """What a store says of itself without its key."""

    store_id: str
    """Hexadecimal."""
    user_id: UserId
    device_id: DeviceId
    generation: int
    writer: str
    """Process id, handle and number of the last commit."""
    restored_generation: int
    schema: int
    sealed: str
    """``none``, ``key`` or ``passphrase``."""


def insert_meta(db: Database, *, store_id: bytes, user_id: UserId, device_id: DeviceId, wrapping: Wrapping) -> None:
    """Fill both rows of a new store.

    Raises:
        sqlite3.Error: Any.
    """
    db.table("meta").insert(
        {
            "id": 1,
            "schema": newest(),
            "store_id": store_id,
            "user_id": user_id,
            "device_id": device_id,
            "generation": 0,
            "writer": "",
            "floor": 0,
            "restored_generation": 0,
        }
    )
    db.table("wrapping").insert({"id": 1, **attrs.asdict(wrapping)})


def read_info(connection: sqlite3.Connection) -> StoreInfo:
    """What the store says of itself, from one snapshot.

    Raises:
        StoreCorrupt: It doesn't.
        sqlite3.Error: Any.
    """
    row = connection.execute(
        "SELECT hex(store_id), user_id, device_id, generation, writer, restored_generation, schema, kind "
        "FROM meta JOIN wrapping USING (id) WHERE id = 1"
    ).fetchone()
    if row is None:
        raise StoreCorrupt(reason="the meta row or the wrapped data key is missing")
    store_id, user_id, device_id, generation, writer, restored_generation, schema, kind = row
    return StoreInfo(
        store_id=store_id,
        user_id=user_id,
        device_id=device_id,
        generation=generation,
        writer=writer,
        restored_generation=restored_generation,
        schema=schema,
        sealed=kind,
    )


def read_wrapping(connection: sqlite3.Connection) -> Wrapping:
    """How the data key is wrapped.

    Raises:
        StoreCorrupt: It is missing.
        sqlite3.Error: Any.
    """
    row = connection.execute(
        "SELECT kind, salt, iterations, lanes, memory_kib, data_key FROM wrapping WHERE id = 1"
    ).fetchone()
    if row is None:
        raise StoreCorrupt(reason="the wrapped data key is missing")
    kind, salt, iterations, lanes, memory_kib, data_key = row
    return Wrapping(kind=kind, salt=salt, iterations=iterations, lanes=lanes, memory_kib=memory_kib, data_key=data_key)


def write_wrapping(connection: sqlite3.Connection, wrapping: Wrapping) -> None:
    """Replace how the data key is wrapped.

    Raises:
        sqlite3.Error: Any.
    """
    connection.execute(
        "UPDATE wrapping SET kind = :kind, salt = :salt, iterations = :iterations, lanes = :lanes, "
        "memory_kib = :memory_kib, data_key = :data_key WHERE id = 1",
        attrs.asdict(wrapping),
    )
