"""`olmstate backup`."""

from __future__ import annotations

from pathlib import Path

from olmstate.storage import Table, inspect_store
from tests.cli.conftest import Olmstate, complaint, last_json


def test_a_backup_opens_with_the_same_key_and_has_the_room_keys(
    olmstate: Olmstate, store: Path, key_file: Path, tmp_path: Path
) -> None:
    shown = last_json(olmstate("backup", store, tmp_path / "backup", "--key-file", key_file, "--json"))

    backup = inspect_store(tmp_path / "backup")
    assert shown["generation"] == inspect_store(store).info.generation
    assert shown["store_id"] == backup.info.store_id != inspect_store(store).info.store_id
    assert backup.rows[Table.INBOUND_GROUP_SESSIONS] == 2
    assert backup.rows[Table.OUTBOUND_GROUP_SESSIONS] == 0


def test_a_store_that_is_there_is_never_replaced(olmstate: Olmstate, store: Path, key_file: Path) -> None:
    before = inspect_store(store)

    assert "there is a store in" in complaint(olmstate("backup", store, store, "--key-file", key_file))
    assert before.info == inspect_store(store).info


def test_a_folder_whose_parent_is_not_there_is_a_typo(
    olmstate: Olmstate, store: Path, key_file: Path, tmp_path: Path
) -> None:
    # all folders above it were made, and the backup was somewhere that nobody looks
    result = olmstate("backup", store, tmp_path / "bakcups" / "today", "--key-file", key_file)

    assert f"{tmp_path / 'bakcups'} is no folder: make it first" in complaint(result)
    assert not (tmp_path / "bakcups").exists()
