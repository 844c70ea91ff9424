"""``olmstate inspect``: what a store holds, to see from outside. Needs no key and shows no secret."""

from __future__ import annotations

import os
from pathlib import Path

import attrs

from olmstate.messages import JsonObject
from olmstate.storage import StoreInspection, inspect_store

from ._commands import commands
from ._output import Output, json_option
from ._paths import store_argument


@commands.command()
@store_argument
@json_option
def inspect(store: Path, *, as_json: bool) -> None:
    """Show what is in STORE: whose it is, rows, sizes, generation, who holds its lock.

    It needs no key, changes nothing, and works while others use the store.
    """
    output = Output(as_json)
    inspection = inspect_store(store)
    output.say(_text(store, inspection))
    output.finish(_json(store, inspection))


def _json(store: Path, inspection: StoreInspection) -> JsonObject:
    return {
        "store": os.fspath(store),
        **attrs.asdict(inspection.info),
        "lock_holder": inspection.lock_holder,
        "rows": {table.value: rows for table, rows in inspection.rows.items()},
        "bytes": inspection.file_bytes,
    }


def _text(store: Path, inspection: StoreInspection) -> str:
    info = inspection.info
    sealed = {"none": "not sealed", "key": "sealed with a key", "passphrase": "sealed with a passphrase"}
    lines = [
        ("store", os.fspath(store)),
        ("device", f"{info.user_id} {info.device_id}"),
        ("store id", info.store_id),
        ("schema", str(info.schema)),
        ("at rest", sealed.get(info.sealed, info.sealed)),
        ("generation", f"{info.generation:,}"),
        ("last writer", f"process {info.writer.split()[0]}" if info.writer else "none yet"),
        ("lock", "free" if inspection.lock_holder is None else f"held by process {inspection.lock_holder}"),
    ]
    if info.restored_generation:
        lines.append(("restored", f"from a backup made at generation {info.restored_generation:,}"))
    lines.append(("", ""))
    lines += [(table.value.replace("_", " "), f"{rows:>12,} rows") for table, rows in inspection.rows.items()]
    lines.append(("", ""))
    lines += [(name, f"{size:>12,} bytes") for name, size in inspection.file_bytes.items()]
    width = max(len(name) for name, _ in lines)
    return "\n".join(f"{name:<{width}}  {value}".rstrip() for name, value in lines)
