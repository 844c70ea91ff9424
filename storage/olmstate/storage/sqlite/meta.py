"""The store's two single rows: what it is (``meta``), and how its data key is wrapped (``wrapping``)."""

from __future__ import annotations

from typing import TYPE_CHECKING

import attrs

from olmstate.messages import DeviceId, StoreCorrupt, UserId
from olmstate.storage.facts import Facts
from olmstate.storage.sealing import Seal, Wrapping

from .schema import newest
from .sqlite3 import sqlite3

if TYPE_CHECKING:
    from sqlite_utils import Database

STORE_ID_BYTES = 16


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


def insert_meta(db: Database, *, facts: Facts, seal: Seal, wrapping: Wrapping) -> None:
    """Fill both rows of a new store.

    Raises:
        sqlite3.Error: Any.
    """
    db.table("meta").insert(
        {
            "id": 1,
            "schema": newest(),
            "store_id": facts.store_id,
            "user_id": facts.user_id,
            "device_id": facts.device_id,
            "generation": 0,
            "writer": "",
            "floor": 0,
            "restored_generation": facts.restored_generation,
            "facts": facts.seal(seal),
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


def claimed_facts(connection: sqlite3.Connection, *, bound_since: int, filled: tuple[str, ...]) -> Facts:
    """What the columns beside the facts say, with what only the facts do.

    Raises:
        StoreCorrupt: They are missing.
        sqlite3.Error: Any.
    """
    row = connection.execute(
        "SELECT store_id, user_id, device_id, restored_generation FROM meta WHERE id = 1"
    ).fetchone()
    if row is None:
        raise StoreCorrupt(reason="the meta row is missing")
    store_id, user_id, device_id, restored_generation = row
    return Facts(
        store_id=store_id,
        user_id=user_id,
        device_id=device_id,
        restored_generation=restored_generation,
        bound_since=bound_since,
        filled=filled,
    )


def read_facts(connection: sqlite3.Connection, seal: Seal) -> Facts:
    """What the store knows of itself, and that its columns say the same.

    Raises:
        StoreCorrupt: Somebody has changed either.
        sqlite3.Error: Any.
    """
    row = connection.execute("SELECT facts FROM meta WHERE id = 1").fetchone()
    facts = Facts.unseal(None if row is None else row[0], seal)
    if facts != claimed_facts(connection, bound_since=facts.bound_since, filled=facts.filled):
        raise StoreCorrupt(reason="what it says of itself was changed")
    return facts


def write_facts(connection: sqlite3.Connection, facts: Facts, seal: Seal) -> None:
    """Replace what the store knows of itself, sealed and beside it.

    Raises:
        sqlite3.Error: Any.
    """
    connection.execute(
        "UPDATE meta SET store_id = ?, restored_generation = ?, facts = ? WHERE id = 1",
        [facts.store_id, facts.restored_generation, facts.seal(seal)],
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
