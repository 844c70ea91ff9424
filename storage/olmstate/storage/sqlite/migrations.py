"""How each version of the schema is made from the one before.

Rule: a migration that is on the main branch is never touched again, and neither is a function that it calls. It names
its tables in full, for `Table` is of today. It leaves each row's generation alone, with which its value is sealed. The
next change is a new function, put last in `MIGRATIONS`; its place there is the version that it makes, so that two
people who each add one only have to agree on the order. Tests hold what each does to the schema
(``tests/storage/migrations``), and have stores that earlier versions wrote.

Tables of rows look alike: ``key`` (what the row is), ``partition`` (with which others it is loaded; only where there
are such others, and then first in the primary key), the sealed ``value``, and the ``generation`` that wrote it, by
which "what changed since g" is one seek a table. A deleted row stays as a tombstone, without value,
until nobody can be asking any more. A table of keys alone has the keys and no more.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from sqlite_utils import Database


def core_tables(db: Database) -> None:
    """Version 1: meta, the wrapped data key, a table a data type."""
    meta = {
        "id": int,
        "schema": int,
        "store_id": bytes,
        "user_id": str,
        "device_id": str,
        "generation": int,
        "writer": str,
        "floor": int,
        "restored_generation": int,
    }
    db.table("meta").create(meta, pk="id", not_null=set(meta) - {"id"}, strict=True)
    wrapping = {
        "id": int,
        "kind": str,
        "salt": bytes,
        "iterations": int,
        "lanes": int,
        "memory_kib": int,
        "data_key": bytes,
    }
    db.table("wrapping").create(wrapping, pk="id", not_null=set(wrapping) - {"id"}, strict=True)
    make_keys_only_table(db, "olm_messages")
    make_table(db, "account")
    make_table(db, "sync")
    make_table(db, "inbound_group_sessions")
    make_table(db, "withheld_room_keys")
    make_table(db, "outbound_group_sessions")
    for name in ("olm_sessions", "message_indices", "room_key_recipients", "devices"):
        columns = {"key": bytes, "partition": bytes, "value": bytes, "generation": int}
        db.table(name).create(columns, pk="key", not_null=set(columns) - {"value"}, strict=True)
        db.table(name).create_index(["partition"])
        _index_generations(db, name)


def one_index_by_partition(db: Database) -> None:
    """Version 2: one index of keys by partition, instead of one of keys and one of partitions (decision 0027)."""
    for name in ("olm_sessions", "message_indices", "room_key_recipients", "devices"):
        db.conn.execute(f"DROP INDEX idx_{name}_partition")
        db.table(name).transform(pk=("partition", "key"))  # pyright: ignore[reportUnknownMemberType] - untyped dicts


def requests(db: Database) -> None:
    """Requests to the homeserver that wait for an answer, and which servers have failed."""
    make_partitioned_table(db, "requests")
    make_table(db, "request_contents")
    make_table(db, "back_offs")


def device_lists(db: Database) -> None:
    """Whose devices are kept up to date, and whose are outdated."""
    make_table(db, "tracked_users")
    make_partitioned_table(db, "outdated_users")


def facts(db: Database) -> None:
    """What the store knows of itself, sealed; filled when the store is next unlocked (decision 0037)."""
    db.conn.execute("ALTER TABLE meta ADD COLUMN facts BLOB")


def claims_and_fingerprints(db: Database) -> None:
    """Who says what of a room key, and which Ed25519 keys are somebody's."""
    make_table(db, "room_key_claims")
    make_keys_only_table(db, "device_fingerprints")


def rows_by_room(db: Database) -> None:
    """Room keys, and claims on them, can be found by their room; those that are there are not, until one looks."""
    for name in ("inbound_group_sessions", "room_key_claims"):
        db.conn.execute(f"ALTER TABLE {name} ADD COLUMN grouped BLOB")
        db.conn.execute(f"CREATE INDEX {name}_grouped ON {name} (grouped, key)")


def identities(db: Database) -> None:
    """Users' public cross-signing keys."""
    make_table(db, "identities")


def private_keys(db: Database) -> None:
    """Our own private cross-signing keys."""
    make_partitioned_table(db, "secrets")


def verifications(db: Database) -> None:
    """Verifications that are going on, and the devices that were verified."""
    make_partitioned_table(db, "verifications")
    make_partitioned_table(db, "verified_devices")


def olm_repairs(db: Database) -> None:
    """What was done lately about Olm sessions that were of no use."""
    make_partitioned_table(db, "olm_repairs")


def account_data(db: Database) -> None:
    """What the homeserver has of our user's account data."""
    make_table(db, "account_data")


def parked_events(db: Database) -> None:
    """Room events that wait for their keys."""
    make_partitioned_table(db, "parked_events")
    make_table(db, "parked_contents")


def no_olm_notices(db: Database) -> None:
    """Devices that were told that there is no Olm session with them."""
    make_partitioned_table(db, "no_olm_notices")


def key_requests(db: Database) -> None:
    """Room keys that devices ask each other for."""
    make_partitioned_table(db, "key_requests")
    make_partitioned_table(db, "waiting_forwards")


def events(db: Database) -> None:
    """What subscribers in all processes hear (decision 0055)."""
    make_table(db, "events")


def room_settings(db: Database) -> None:
    """What rooms say of their encryption."""
    make_table(db, "room_settings")


def inbox(db: Database) -> None:
    """To-device events that wait for the app (decision 0071)."""
    make_partitioned_table(db, "inbox")
    make_table(db, "inbox_contents")
    make_table(db, "inbox_state")


def secret_requests(db: Database) -> None:
    """Secrets that devices ask each other for, and those that have come."""
    make_partitioned_table(db, "secret_requests")
    make_partitioned_table(db, "waiting_secrets")
    make_partitioned_table(db, "received_secrets")


def withheld_names(db: Database) -> None:
    """Whose withheld notices are, so that there is an end to them."""
    make_partitioned_table(db, "withheld_names")


MIGRATIONS: tuple[Callable[[Database], None], ...] = (
    core_tables,
    one_index_by_partition,
    requests,
    device_lists,
    facts,
    claims_and_fingerprints,
    rows_by_room,
    identities,
    private_keys,
    verifications,
    olm_repairs,
    account_data,
    parked_events,
    no_olm_notices,
    key_requests,
    events,
    room_settings,
    inbox,
    secret_requests,
    withheld_names,
)
"""In order: the first makes version 1."""


# --- what a migration that adds tables calls ----------------------------------------------------------------


def make_table(db: Database, name: str) -> None:
    """A table in which each row is its own partition."""
    columns = {"key": bytes, "value": bytes, "generation": int}
    db.table(name).create(columns, pk="key", not_null={"key", "generation"}, strict=True)
    _index_generations(db, name)


def make_partitioned_table(db: Database, name: str) -> None:
    """A table whose rows are loaded by a partition of several, in its form since version 2."""
    columns = {"key": bytes, "partition": bytes, "value": bytes, "generation": int}
    db.table(name).create(columns, pk=("partition", "key"), not_null=set(columns) - {"value"}, strict=True)
    _index_generations(db, name)


def make_keys_only_table(db: Database, name: str) -> None:
    """A table of keys alone: one tree, not two, since rows are small and come by the hundred."""
    db.conn.execute(f"CREATE TABLE {name} (key BLOB NOT NULL PRIMARY KEY) STRICT, WITHOUT ROWID")


def _index_generations(db: Database, name: str) -> None:
    db.table(name).create_index(["generation"])
    db.conn.execute(f"CREATE INDEX {name}_marks ON {name} (generation) WHERE value IS NULL")
