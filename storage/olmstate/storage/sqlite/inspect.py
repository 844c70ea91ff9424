"""Looking at a store from outside: without its key, without a handle on it, without changing anything that is stored.

For people who want to know what is in a folder and who holds its lock. Rows stay sealed, an older schema stays old, and
a lock that is held, by a frozen process say, is no obstacle: a connection that can't write needs none. Only the lock's
files are made, if they are missing.
"""

from __future__ import annotations

import os
from contextlib import closing
from pathlib import Path

import attrs

from olmstate.messages import StoreUnavailable
from olmstate.storage.lock.turnstile import Turnstile
from olmstate.storage.os_errors import os_errors
from olmstate.storage.tables import Table

from .connection import connect, read_error_of
from .filesystem import refuse_network_filesystem
from .folder import DATABASE
from .meta import StoreInfo, read_info
from .schema import version
from .sqlite_errors import look_again, translated
from .statements import COUNT


@attrs.frozen(kw_only=True)
class StoreInspection:
    """What a store shows to who has no key."""

    info: StoreInfo
    rows: dict[Table, int]
    """Rows of each table; tombstones don't count."""
    file_bytes: dict[str, int]
    """Bytes of the database and the files beside it, by name."""
    lock_holder: int | None
    """Process id of who held the lock just then; None: nobody, or nobody who can be named."""


def inspect_store(folder: Path) -> StoreInspection:
    """Look at the store in ``folder``.

    Raises:
        StoreUnavailable: There is none, or it can't be read.
        StoreFull: No room for files of the lock that are missing.
        StoreCorrupt, SchemaTooNew: What is there isn't a store that this version knows.
        UnsupportedFilesystem: It is on a network file system.
    """
    folder = Path(os.path.abspath(folder))  # noqa: PTH100 - resolve() would follow a link that may be changed later
    path = folder / DATABASE
    with os_errors(folder):
        if not path.is_file():
            raise StoreUnavailable(reason=f"there is no store in {folder}")
    refuse_network_filesystem(folder)
    with os_errors(folder), closing(Turnstile(folder)) as lock:
        holder = lock.holder_pid()
    info, rows = look_again(lambda: _read(path))
    with os_errors(folder):
        file_bytes = {file.name: file.stat().st_size for file in sorted(folder.glob(f"{DATABASE}*"))}
    return StoreInspection(info=info, rows=rows, file_bytes=file_bytes, lock_holder=holder)


def _read(path: Path) -> tuple[StoreInfo, dict[Table, int]]:
    with closing(connect(path, write=False)) as connection, translated(read_error_of(connection)):
        version(connection)
        connection.execute("BEGIN")  # one snapshot
        info = read_info(connection)
        rows: dict[Table, int] = {table: connection.execute(COUNT[table]).fetchone()[0] for table in Table}
        connection.execute("COMMIT")
    return info, rows
