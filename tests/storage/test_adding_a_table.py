"""Another table is one line in `tables`, a migration, and its line in `MIGRATIONS`: then old and new stores have it."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

from tests.recordings.stores.recorded import RECORDED, unpack

ROOT = Path(__file__).parents[2]

LINE = """
    NOTES = "notes", _PARTITIONED, _NOT_IN_BACKUPS"""
MIGRATION = '''
def notes_table(db: Database) -> None:
    """A table for notes."""
    make_partitioned_table(db, "notes")


'''
PROGRAM = '''
import sys
from pathlib import Path

import trio

from olmstate.storage import START, Row, Table, backup, open_store


async def main(folder: Path) -> None:
    """Use the new table of a store that may be old."""
    store = await open_store(folder, user_id="@alice:example.org", device_id="ALICEDEV", key=bytes(range(32)))
    before = store.info().generation
    await store.lock.acquire(5)
    await store.commit({Table.NOTES: [Row(b"key", b"partition", b"value")]}, before)
    store.lock.release()
    ((row,),) = (await store.read(Table.NOTES, [b"partition"])).values()
    assert (b"value", before + 1) == (row.value, row.generation)
    assert store.changes(before).partitions == {Table.NOTES: frozenset({b"partition"})}
    await backup(store, folder / "backup")
    counts = store.counts()
    await store.aclose()
    restored = await open_store(folder / "backup", key=bytes(range(32)))
    assert [] == await restored.page(Table.NOTES, START, 10)
    assert counts[Table.DEVICES] == restored.counts()[Table.DEVICES]
    print(counts[Table.NOTES], counts[Table.DEVICES])
    await restored.aclose()


trio.run(main, Path(sys.argv[1]))
'''


@pytest.fixture(scope="module")
def next_version(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The storage room of a version with one more table."""
    root = tmp_path_factory.mktemp("next")
    room = shutil.copytree(ROOT / "storage", root / "storage") / "olmstate" / "storage"
    insert(room / "tables.py", LINE, before="\n\nPARTITIONED")
    insert(room / "sqlite" / "migrations.py", MIGRATION, before="MIGRATIONS: ")
    insert(room / "sqlite" / "migrations.py", "    notes_table,\n", before=')\n"""In order')
    return root


def insert(file: Path, text: str, *, before: str) -> None:
    whole = file.read_text(encoding="utf-8")
    assert whole.count(before) == 1
    file.write_text(whole.replace(before, text + before), encoding="utf-8")


def use(next_version: Path, folder: Path) -> str:
    """Rows of the new table, and devices, after a program of the next version has used the store in ``folder``."""
    path = os.pathsep.join([str(next_version / "storage"), str(ROOT / "messages")])
    done = subprocess.run(
        [sys.executable, "-c", PROGRAM, folder],
        env={**os.environ, "PYTHONPATH": path},
        capture_output=True,
        text=True,
        check=False,
    )
    assert (0, "") == (done.returncode, done.stderr)
    return done.stdout.strip()


@pytest.mark.parametrize("version", RECORDED)
def test_an_older_store_has_the_new_table_once_it_is_opened(next_version: Path, tmp_path: Path, version: int) -> None:
    facts = unpack(version, tmp_path / "store")
    assert f"1 {facts['rows']['devices']}" == use(next_version, tmp_path / "store")


def test_a_new_store_has_it_from_the_start(next_version: Path, tmp_path: Path) -> None:
    assert "1 0" == use(next_version, tmp_path / "store")
