"""``olmstate backup``: a copy of a store that may be opened, which a copy of its files may not."""

from __future__ import annotations

from pathlib import Path

import click

from olmstate.storage import backup as back_up
from olmstate.storage import inspect_store, open_store

from ._commands import commands, run
from ._output import Output, json_option
from ._paths import NamedPath, store_argument
from ._secrets import store_secret, store_secret_options


@commands.command()
@store_argument
@click.argument("folder", type=NamedPath(path_type=Path, file_okay=False))
@store_secret_options
@json_option
def backup(store: Path, folder: Path, *, passphrase_file: Path | None, key_file: Path | None, as_json: bool) -> None:
    """Back STORE up into FOLDER, as a store of its own under the same key.

    Others may use the store meanwhile. A store that is in FOLDER already is never replaced: somebody may have it open.
    Never run a store and a backup of it side by side; a backup that is opened makes new room keys for every room.
    """
    sealed = inspect_store(store).info.sealed
    if not folder.parent.is_dir():
        raise click.ClickException(f"{folder.parent} is no folder: make it first, if it is meant")
    key = store_secret(passphrase_file, key_file).for_store(sealed)

    async def copy() -> None:
        opened = await open_store(store, key=key)
        try:
            await back_up(opened, folder)
        finally:
            await opened.aclose()

    run(copy)
    made = inspect_store(folder)
    size = sum(made.file_bytes.values())
    output = Output(as_json)
    output.say(f"backed up generation {made.info.restored_generation:,} into {folder}, {size:,} bytes")
    output.finish(
        {
            "store": str(store),
            "backup": str(folder),
            "generation": made.info.restored_generation,
            "store_id": made.info.store_id,
            "bytes": size,
        }
    )
