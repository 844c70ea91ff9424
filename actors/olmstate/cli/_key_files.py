"""``olmstate export-keys`` and ``import-keys``: room keys as an encrypted file (spec: Key exports)."""

from __future__ import annotations

import sys
from contextlib import nullcontext
from pathlib import Path

import click
import trio

from olmstate.actors import open_supervisor
from olmstate.messages import (
    ExportKeyFile,
    ImportKeyFile,
    RoomId,
    RoomKeyExportProgress,
    RoomKeyImportProgress,
    RoomKeysImported,
)
from olmstate.storage import Table, inspect_store

from ._commands import commands, run
from ._output import Output, json_option
from ._paths import FILE, NamedPath, read, store_argument
from ._private_files import STANDARD, PrivateFile
from ._secrets import Secret, check_store_secret, store_secret, store_secret_options

MOST_BYTES = 1 << 30
"""Of a key file: more than a million room keys."""


def _file_secret(passphrase_file: Path | None) -> Secret:
    return Secret(
        what="Passphrase of the key file",
        variable="OLMSTATE_EXPORT_PASSPHRASE",
        option="--export-passphrase-file",
        passphrase_file=passphrase_file,
    )


export_passphrase_option = click.option(
    "--export-passphrase-file", type=FILE, help="File with the passphrase of the key file, which is not the store's."
)


@commands.command("export-keys")
@store_argument
@click.argument("file", type=NamedPath(path_type=Path, dir_okay=False, allow_dash=True))
@store_secret_options
@export_passphrase_option
@click.option("--room", help="Only the keys of this room.")
@click.option("--rounds", type=click.IntRange(100_000, 10_000_000), default=500_000, help="Of PBKDF2.")
@click.option("--force", is_flag=True, help="Replace FILE if it exists.")
@json_option
def export_keys(
    store: Path,
    file: Path,
    *,
    passphrase_file: Path | None,
    key_file: Path | None,
    export_passphrase_file: Path | None,
    room: str | None,
    rounds: int,
    force: bool,
    as_json: bool,
) -> None:
    """Write the room keys in STORE to FILE, encrypted, as all clients read them; - is standard output.

    Without the options, the passphrases come from OLMSTATE_PASSPHRASE and OLMSTATE_EXPORT_PASSPHRASE, or are asked for.
    """
    output = Output(as_json, taken=file == STANDARD)
    inspection = inspect_store(store)
    info = inspection.info
    with PrivateFile(file, force=force) as target:
        key = store_secret(passphrase_file, key_file).for_store(info.sealed)
        secret = _file_secret(export_passphrase_file)
        if secret.is_asked_for:
            check_store_secret(store, key)
        message = ExportKeyFile(
            passphrase=secret.passphrase(new=True), rounds=rounds, room_id=RoomId(room) if room else None
        )

        async def export() -> tuple[bytes, int]:
            async with open_supervisor(store, user_id=info.user_id, device_id=info.device_id, key=key) as supervisor:
                with supervisor.subscribe(RoomKeyExportProgress) as events:
                    content = (await supervisor.ask(message)).encode()
                    done = 0
                    while events.statistics().current_buffer_used:
                        done = events.receive_nowait().done
                    return content, done

        click.echo(f"reading {inspection.rows[Table.INBOUND_GROUP_SESSIONS]:,} room keys …", err=True)
        content, keys = run(export)
        if room and not keys:
            raise click.ClickException(f"there are no room keys of {room} in {store}")
        target.write(content)
    output.say(f"wrote {keys:,} room {_keys(keys)} to {file}, {len(content):,} bytes")
    output.finish({"store": str(store), "file": str(file), "keys": keys, "bytes": len(content)})


def _keys(number: int) -> str:
    return "key" if number == 1 else "keys"


@commands.command("import-keys")
@store_argument
@click.argument("file", type=NamedPath(path_type=Path, exists=True, dir_okay=False, readable=True, allow_dash=True))
@store_secret_options
@export_passphrase_option
@json_option
def import_keys(
    store: Path,
    file: Path,
    *,
    passphrase_file: Path | None,
    key_file: Path | None,
    export_passphrase_file: Path | None,
    as_json: bool,
) -> None:
    """Take the room keys in FILE into STORE; - is standard input.

    Broken off half-way, it keeps what it has taken in; the same command again takes in the rest. Without the options,
    the passphrases come from OLMSTATE_PASSPHRASE and OLMSTATE_EXPORT_PASSPHRASE, or are asked for.
    """
    info = inspect_store(store).info
    content = _text(file)
    key = store_secret(passphrase_file, key_file).for_store(info.sealed)
    secret = _file_secret(export_passphrase_file)
    if secret.is_asked_for:
        check_store_secret(store, key)
    message = ImportKeyFile(file=content, passphrase=secret.passphrase())

    async def import_all() -> RoomKeysImported:
        async with open_supervisor(store, user_id=info.user_id, device_id=info.device_id, key=key) as supervisor:
            with supervisor.subscribe(RoomKeyImportProgress) as events:
                async with trio.open_nursery() as nursery:
                    nursery.start_soon(_show_progress, events)
                    imported = await supervisor.ask(message)
                    if imported.total == 0:
                        nursery.cancel_scope.cancel()  # no step, no progress
                return imported

    imported = run(import_all)
    output = Output(as_json)
    known = imported.total - imported.imported - imported.rejected
    output.say(
        f"{imported.total:,} room {_keys(imported.total)} in {file}: {imported.imported:,} new or better, "
        f"{known:,} known already, {imported.rejected:,} refused"
    )
    output.finish(
        {
            "store": str(store),
            "file": str(file),
            "total": imported.total,
            "imported": imported.imported,
            "known": known,
            "rejected": imported.rejected,
        }
    )


def _text(file: Path) -> str:
    try:
        with nullcontext(sys.stdin.buffer) if file == STANDARD else file.open("rb") as opened:
            content = read(opened, file, most=MOST_BYTES)
        return content.decode("utf-8", "replace")  # what isn't text is no key file, and is told so
    except OSError as error:
        raise click.ClickException(f"{file}: {error.strerror}") from error


async def _show_progress(events: trio.MemoryReceiveChannel[RoomKeyImportProgress]) -> None:
    """Draw a bar until everything is done."""
    event = await events.receive()
    with click.progressbar(length=event.total, label="importing", file=sys.stderr) as bar:
        bar.update(event.done)
        while event.done < event.total:
            before = event.done
            event = await events.receive()
            bar.update(event.done - before)
