"""``olmstate change-passphrase``: seal a store with another passphrase or key."""

from __future__ import annotations

from pathlib import Path

import click

from olmstate.storage import inspect_store, open_store

from ._commands import commands, run
from ._output import Output, json_option
from ._paths import FILE, store_argument
from ._secrets import Secret, check_store_secret, store_secret, store_secret_options


@commands.command("change-passphrase")
@store_argument
@store_secret_options
@click.option("--new-passphrase-file", type=FILE, help="File with the new passphrase.")
@click.option("--new-key-file", type=FILE, help="File with a new key: 32 random bytes.")
@json_option
def change_passphrase(
    store: Path,
    *,
    passphrase_file: Path | None,
    key_file: Path | None,
    new_passphrase_file: Path | None,
    new_key_file: Path | None,
    as_json: bool,
) -> None:
    """Open STORE with another passphrase or key from now on.

    No value is rewritten, and processes that have the store open go on. Without the options, the passphrases come from
    OLMSTATE_PASSPHRASE and OLMSTATE_NEW_PASSPHRASE, or are asked for.
    """
    sealed = inspect_store(store).info.sealed
    if sealed == "none":
        raise click.ClickException("the store is not sealed, and stays so: a passphrase wouldn't protect it")
    old = store_secret(passphrase_file, key_file).for_store(sealed)
    new_secret = Secret(
        what="New passphrase",
        variable="OLMSTATE_NEW_PASSPHRASE",
        option="--new-passphrase-file",
        passphrase_file=new_passphrase_file,
        key_file=new_key_file,
    )
    if new_secret.is_asked_for:
        check_store_secret(store, old)
    new = new_secret.key_or_passphrase(new=True)

    async def change() -> None:
        opened = await open_store(store, key=old)
        try:
            await opened.change_secret(new)
        finally:
            await opened.aclose()

    run(change)
    sealed = "key" if isinstance(new, bytes) else "passphrase"
    output = Output(as_json)
    output.say(f"{store} opens with the new {sealed} from now on")
    output.finish({"store": str(store), "sealed": sealed})
