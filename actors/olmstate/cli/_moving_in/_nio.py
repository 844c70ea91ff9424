"""``olmstate import-nio``: from the SQLite store of matrix-nio 0.2x.

Its tables are `nio.store.models`'. What is trusted stands in a table (`SqliteStore`), or in three files beside the
database, a line a device (`DefaultStore`, which is the one that a client has unless it says otherwise).
"""

from __future__ import annotations

from collections.abc import Generator, Iterator, Mapping
from contextlib import contextmanager, suppress
from functools import partial
from pathlib import Path
from typing import Final

import click

from olmstate.cli._commands import commands
from olmstate.messages import DeviceTrust

from ._found import Found, FoundAccount, FoundDevice, text
from ._move import Options, chosen, move, moving_options
from ._sqlite import Tables, opened_copy

_VERSION: Final = 2
"""Of its schema, since 0.2."""
_STATES: Final[Mapping[object, DeviceTrust]] = {
    1: DeviceTrust.VERIFIED,
    2: DeviceTrust.BLOCKED,
    3: DeviceTrust.IGNORED,
}
_FILES: Final[Mapping[str, DeviceTrust]] = {
    "trusted_devices": DeviceTrust.VERIFIED,
    "blacklisted_devices": DeviceTrust.BLOCKED,
    "ignored_devices": DeviceTrust.IGNORED,
}
_SESSIONS: Final = """
    SELECT session_id, sender_key, session FROM olmsessions WHERE account_id = ? ORDER BY last_usage_date
"""
_ROOM_KEYS: Final = """
    SELECT session_id, room_id, sender_key, fp_key, session,
        (SELECT group_concat(sender_key, ',') FROM forwardedchains WHERE session_id = room_key.session_id)
    FROM megolminboundsessions AS room_key WHERE account_id = ?
"""


@commands.command("import-nio")
@moving_options
def import_nio(options: Options) -> None:
    """Move a device of matrix-nio 0.2x into STORE, which is made.

    SOURCE is the file in the client's store_path, as @bot:example.org_DEVICE.db. It is only read. Stop the client
    first, for good: from then on, only STORE may be used.

    Account, Olm sessions, room keys, devices with their trust, and the sync token are taken over. The client's
    pickle_key comes from --pickle-key-file or OLMSTATE_PICKLE_KEY, or is asked for, unless it is matrix-nio's own.
    """
    move(options, partial(_find, options), defaults=("DEFAULT_KEY", ""), also_vodozemac=True)


@contextmanager
def _find(options: Options, folder: Path) -> Generator[Found]:
    with opened_copy(options.source, folder, "matrix-nio") as tables:
        versions = {version for (version,) in tables.rows("SELECT version FROM storeversion")}
        if versions != {_VERSION}:
            raise click.ClickException(
                f"{options.source} is in version {versions or 'none'} of matrix-nio's store: "
                f"open it once with a matrix-nio 0.2x, which makes version {_VERSION} of it"
            )
        account, number = chosen(_accounts(tables), options)
        yield Found(
            account=account,
            accounts=number,
            sessions=tables.sessions(_SESSIONS, account.row),
            room_keys=tables.room_keys(_ROOM_KEYS, account.row),
            devices=_devices(tables, account, options.source.parent),
        )


def _accounts(tables: Tables) -> Iterator[FoundAccount]:
    query = """
        SELECT accounts.id, user_id, device_id, account, token
        FROM accounts LEFT JOIN synctokens ON synctokens.account_id = accounts.id
    """
    for row, user_id, device_id, pickle, token in tables.rows(query):
        yield FoundAccount(
            user_id=text(user_id), device_id=text(device_id), pickle=text(pickle), sync_token=text(token), row=row
        )


def _devices(tables: Tables, account: FoundAccount, folder: Path) -> Iterator[FoundDevice]:
    # the table is there in a SqliteStore only
    state, join = "NULL", ""
    if tables.has("devicetruststate"):
        state, join = "state", "LEFT JOIN devicetruststate ON devicetruststate.device_id = devicekeys.id"
    query = f"""
        SELECT user_id, devicekeys.device_id, deleted, {state},
            (SELECT key FROM keys WHERE keys.device_id = devicekeys.id AND key_type = 'curve25519'),
            (SELECT key FROM keys WHERE keys.device_id = devicekeys.id AND key_type = 'ed25519')
        FROM devicekeys {join} WHERE account_id = ?
    """  # noqa: S608 - our own names
    in_files = _trust_in_files(folder, account)
    for user_id, device_id, deleted, state_of_it, curve25519, ed25519 in tables.rows(query, account.row):
        trust = in_files.get((text(user_id), text(device_id), text(ed25519)))
        yield FoundDevice(
            user_id=text(user_id),
            device_id=text(device_id),
            curve25519=text(curve25519),
            ed25519=text(ed25519),
            trust=trust or _STATES.get(state_of_it, DeviceTrust.UNSET),
            gone=bool(deleted),
        )


def _trust_in_files(folder: Path, account: FoundAccount) -> dict[tuple[str, str, str], DeviceTrust]:
    """By user, device and fingerprint."""
    found: dict[tuple[str, str, str], DeviceTrust] = {}
    for name, trust in _FILES.items():
        with suppress(FileNotFoundError):
            content = (folder / f"{account.user_id}_{account.device_id}.{name}").read_bytes()
            for line in text(content).splitlines():
                match line.split():
                    case [user_id, device_id, "matrix-ed25519", ed25519, *_] if not line.startswith("#"):
                        found[user_id, device_id, ed25519] = trust
                    case _:
                        pass  # as matrix-nio does
    return found
