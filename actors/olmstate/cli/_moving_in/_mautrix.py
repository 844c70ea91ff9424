"""``olmstate import-mautrix``: from the SQLite crypto store of mautrix's Python library, as bridges and maubot have it.

Its tables are made by ``mautrix/crypto/store/asyncpg/upgrade.py``, from version 4 on; a bridge has them among its own.
"""

from __future__ import annotations

from collections.abc import Generator, Iterator, Mapping
from contextlib import contextmanager
from functools import partial
from pathlib import Path
from typing import Final

from olmstate.cli._commands import commands
from olmstate.messages import DeviceTrust

from ._found import Found, FoundAccount, FoundDevice, text
from ._move import Options, chosen, move, moving_options
from ._sqlite import Tables, opened_copy

_TRUST: Final[Mapping[object, DeviceTrust]] = {
    300: DeviceTrust.VERIFIED,
    -100: DeviceTrust.BLOCKED,
    # before version 6 of its schema
    1: DeviceTrust.VERIFIED,
    2: DeviceTrust.BLOCKED,
    3: DeviceTrust.IGNORED,
}
"""The others are about cross-signing, which tells of itself again."""
_SESSIONS: Final = """
    SELECT session_id, sender_key, session FROM crypto_olm_session WHERE account_id = ? ORDER BY last_decrypted
"""
# a row without a session says that its key was withheld, or taken away
_ROOM_KEYS: Final = """
    SELECT session_id, room_id, sender_key, signing_key, session, forwarding_chains
    FROM crypto_megolm_inbound_session WHERE account_id = ? AND session IS NOT NULL
"""


@commands.command("import-mautrix")
@moving_options
def import_mautrix(options: Options) -> None:
    """Move a device of mautrix's Python library into STORE, which is made.

    SOURCE is the SQLite file with the crypto store. It is only read. Stop the program first, for good: from then on,
    only STORE may be used. A bridge's crypto store doesn't say whose it is: name its bot with --user.

    Account, Olm sessions, room keys, devices with their trust, and the sync token are taken over. The pickle key comes
    from --pickle-key-file or OLMSTATE_PICKLE_KEY, or is asked for, unless it is that of bridges or of maubot.
    """
    move(options, partial(_find, options), defaults=("mautrix.bridge.e2ee", "mau.crypto"))


@contextmanager
def _find(options: Options, folder: Path) -> Generator[Found]:
    with opened_copy(options.source, folder, "mautrix") as tables:
        account, number = chosen(_accounts(tables, options), options)
        yield Found(
            account=account,
            accounts=number,
            sessions=tables.sessions(_SESSIONS, account.row),
            room_keys=tables.room_keys(_ROOM_KEYS, account.row),
            devices=_devices(tables),
        )


def _accounts(tables: Tables, options: Options) -> Iterator[FoundAccount]:
    for row, device_id, pickle, token in tables.rows(
        "SELECT account_id, device_id, account, sync_token FROM crypto_account"
    ):
        user_id = text(row)
        if not user_id.startswith("@") and options.user_id is not None:
            user_id = options.user_id
        yield FoundAccount(
            user_id=user_id, device_id=text(device_id), pickle=text(pickle), sync_token=text(token), row=row
        )


def _devices(tables: Tables) -> Iterator[FoundDevice]:
    query = "SELECT user_id, device_id, identity_key, signing_key, trust, deleted FROM crypto_device"
    for user_id, device_id, curve25519, ed25519, trust, deleted in tables.rows(query):
        yield FoundDevice(
            user_id=text(user_id),
            device_id=text(device_id),
            curve25519=text(curve25519),
            ed25519=text(ed25519),
            trust=_TRUST.get(trust, DeviceTrust.UNSET),
            gone=bool(deleted),
        )
