"""`olmstate export-keys` and `import-keys`."""

from __future__ import annotations

import os
import stat
from pathlib import Path

import pytest

from olmstate.storage import Table, inspect_store
from tests.cli.conftest import KEY, ROOMS, Olmstate, complaint, last_json, make_store

FEW_ROUNDS = ("--rounds", "100000")


@pytest.fixture
def other(tmp_path: Path) -> Path:
    """Another store, without room keys."""
    folder = tmp_path / "other"
    make_store(folder, KEY, rooms=())
    return folder


@pytest.fixture
def words(monkeypatch: pytest.MonkeyPatch) -> None:
    """The passphrase of key files."""
    monkeypatch.setenv("OLMSTATE_EXPORT_PASSPHRASE", "words")


def room_keys(store: Path) -> int:
    return inspect_store(store).rows[Table.INBOUND_GROUP_SESSIONS]


@pytest.mark.usefixtures("words")
def test_what_one_store_exports_another_takes_in(
    olmstate: Olmstate, store: Path, other: Path, key_file: Path, tmp_path: Path
) -> None:
    file = tmp_path / "keys.txt"

    exported = olmstate("export-keys", store, file, "--key-file", key_file, *FEW_ROUNDS, "--json")
    imported = olmstate("import-keys", other, file, "--key-file", key_file, "--json")

    assert file.stat().st_size == last_json(exported)["bytes"]
    assert 2 == last_json(exported)["keys"]
    assert {"total": 2, "imported": 2, "known": 0, "rejected": 0} == {
        name: last_json(imported)[name] for name in ("total", "imported", "known", "rejected")
    }
    assert room_keys(other) == 2


@pytest.mark.usefixtures("words")
def test_an_import_shows_progress_on_stderr_only(
    olmstate: Olmstate, store: Path, other: Path, key_file: Path, tmp_path: Path
) -> None:
    file = tmp_path / "keys.txt"
    olmstate("export-keys", store, file, "--key-file", key_file, *FEW_ROUNDS)

    result = olmstate("import-keys", other, file, "--key-file", key_file)

    assert "importing" in result.stderr
    assert f"2 room keys in {file}: 2 new or better, 0 known already, 0 refused\n" == result.stdout


@pytest.mark.usefixtures("words")
def test_keys_that_are_there_already_are_told_as_such(
    olmstate: Olmstate, store: Path, key_file: Path, tmp_path: Path
) -> None:
    # "0 new or better, 0 refused" read as if it had failed
    file = tmp_path / "keys.txt"
    exported = olmstate("export-keys", store, file, "--key-file", key_file, *FEW_ROUNDS)

    result = olmstate("import-keys", store, file, "--key-file", key_file)

    assert f"wrote 2 room keys to {file}, {file.stat().st_size:,} bytes\n" == exported.stdout
    assert f"2 room keys in {file}: 0 new or better, 2 known already, 0 refused\n" == result.stdout


@pytest.mark.usefixtures("words")
def test_only_one_rooms_keys_are_exported_if_asked(
    olmstate: Olmstate, store: Path, other: Path, key_file: Path, tmp_path: Path
) -> None:
    file = tmp_path / "keys.txt"

    olmstate("export-keys", store, file, "--key-file", key_file, "--room", ROOMS[0], *FEW_ROUNDS)
    last_json(olmstate("import-keys", other, file, "--key-file", key_file, "--json"))

    assert room_keys(other) == 1


@pytest.mark.usefixtures("words")
def test_a_room_without_keys_is_told_and_no_file_is_written(
    olmstate: Olmstate, store: Path, key_file: Path, tmp_path: Path
) -> None:
    # a typo gave an empty file, and exit code 0
    file = tmp_path / "keys.txt"
    result = olmstate("export-keys", store, file, "--key-file", key_file, "--room", "!typo:example.org", *FEW_ROUNDS)

    assert "there are no room keys of !typo:example.org" in complaint(result)
    assert not file.exists()


@pytest.mark.usefixtures("words")
def test_a_file_that_cannot_be_written_is_found_before_the_store_is_opened(
    olmstate: Olmstate, store: Path, tmp_path: Path
) -> None:
    # and before anybody types a passphrase
    result = olmstate("export-keys", store, tmp_path / "missing" / "keys.txt", *FEW_ROUNDS)

    assert "keys.txt can't be written: No such file or directory" in complaint(result)
    assert "reading" not in result.stderr


@pytest.mark.usefixtures("words")
def test_a_dash_is_standard_output_and_standard_input(
    olmstate: Olmstate, store: Path, other: Path, key_file: Path
) -> None:
    exported = olmstate("export-keys", store, "-", "--key-file", key_file, *FEW_ROUNDS)
    assert exported.stdout.startswith("-----BEGIN MEGOLM SESSION DATA-----")
    assert "wrote 2 room keys to -" in exported.stderr
    assert not Path("-").exists()

    imported = olmstate("import-keys", other, "-", "--key-file", key_file, "--json", typed=exported.stdout)

    assert 2 == last_json(imported)["imported"]


def test_what_a_program_reads_is_not_mixed_with_keys(olmstate: Olmstate, store: Path, key_file: Path) -> None:
    result = olmstate("export-keys", store, "-", "--key-file", key_file, "--json")

    assert 2 == result.exit_code
    assert "--json and - both want standard output" in result.stderr


@pytest.mark.usefixtures("words")
def test_an_export_without_keys_can_be_imported(
    olmstate: Olmstate, other: Path, store: Path, key_file: Path, tmp_path: Path
) -> None:
    file = tmp_path / "keys.txt"

    olmstate("export-keys", other, file, "--key-file", key_file, *FEW_ROUNDS)

    assert last_json(olmstate("import-keys", store, file, "--key-file", key_file, "--json"))["total"] == 0


def test_the_passphrase_of_a_new_file_is_typed_twice_and_never_shown(
    olmstate: Olmstate, store: Path, other: Path, key_file: Path, tmp_path: Path
) -> None:
    file = tmp_path / "keys.txt"

    exported = olmstate("export-keys", store, file, "--key-file", key_file, *FEW_ROUNDS, typed="words\nwords\n")
    imported = olmstate("import-keys", other, file, "--key-file", key_file, typed="words\n")

    assert exported.exit_code == imported.exit_code == 0, exported.output + imported.output
    assert "words" not in exported.output + imported.output
    assert room_keys(other) == 2


@pytest.mark.usefixtures("words")
def test_the_file_is_for_its_owner_only_under_any_umask(
    olmstate: Olmstate, store: Path, key_file: Path, tmp_path: Path
) -> None:
    file = tmp_path / "keys.txt"
    before = os.umask(0)
    try:
        olmstate("export-keys", store, file, "--key-file", key_file, *FEW_ROUNDS)
    finally:
        os.umask(before)

    assert stat.S_IMODE(file.stat().st_mode) == 0o600


@pytest.mark.usefixtures("words")
def test_an_existing_file_is_replaced_only_by_force(
    olmstate: Olmstate, store: Path, key_file: Path, tmp_path: Path
) -> None:
    file = tmp_path / "keys.txt"
    file.write_text("something dear")

    refused = olmstate("export-keys", store, file, "--key-file", key_file, *FEW_ROUNDS)
    assert "--force" in complaint(refused)
    assert file.read_text() == "something dear"

    forced = olmstate("export-keys", store, file, "--key-file", key_file, *FEW_ROUNDS, "--force")
    assert forced.exit_code == 0
    assert file.read_text().startswith("-----BEGIN MEGOLM SESSION DATA-----")


def test_an_empty_file_is_no_passphrase_for_a_new_key_file(
    olmstate: Olmstate, store: Path, key_file: Path, tmp_path: Path
) -> None:
    (tmp_path / "empty").write_text("\n")

    options = ("--key-file", key_file, "--export-passphrase-file", tmp_path / "empty", *FEW_ROUNDS)
    assert "holds no passphrase" in complaint(olmstate("export-keys", store, tmp_path / "keys.txt", *options))
    assert not (tmp_path / "keys.txt").exists()


@pytest.mark.usefixtures("words")
def test_a_wrong_passphrase_of_the_file_is_one_clear_line(
    olmstate: Olmstate, store: Path, key_file: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    file = tmp_path / "keys.txt"
    olmstate("export-keys", store, file, "--key-file", key_file, *FEW_ROUNDS)
    monkeypatch.setenv("OLMSTATE_EXPORT_PASSPHRASE", "other words")

    assert "passphrase does not open the key file" in complaint(
        olmstate("import-keys", store, file, "--key-file", key_file)
    )


@pytest.mark.usefixtures("words")
def test_what_is_no_key_file_is_one_clear_line(olmstate: Olmstate, store: Path, key_file: Path) -> None:

    assert "malformed key file" in complaint(olmstate("import-keys", store, key_file, "--key-file", key_file))


@pytest.mark.usefixtures("words")
def test_a_wrong_key_of_the_store_is_one_clear_line(olmstate: Olmstate, store: Path, tmp_path: Path) -> None:
    wrong = tmp_path / "wrong"
    wrong.write_bytes(bytes(32))

    refused = olmstate("export-keys", store, tmp_path / "keys.txt", "--key-file", wrong, *FEW_ROUNDS)

    assert "that key does not open the store" in complaint(refused)
    assert not (tmp_path / "keys.txt").exists()


def test_nothing_more_is_asked_for_once_the_store_has_refused_its_passphrase(
    olmstate: Olmstate, tmp_path: Path
) -> None:
    # all three were asked for first
    make_store(tmp_path / "sealed", "words", rooms=())
    (tmp_path / "keys.txt").write_text("")
    for command in (
        ("export-keys", tmp_path / "sealed", tmp_path / "new.txt", *FEW_ROUNDS),
        ("import-keys", tmp_path / "sealed", tmp_path / "keys.txt"),
        ("change-passphrase", tmp_path / "sealed"),
    ):
        result = olmstate(*command, typed="other words\nmore\nmore\n")

        assert "that key does not open the store" in complaint(result)
        assert 1 == result.stderr.count("assphrase of the store")
        assert "key file" not in result.stderr
        assert "New" not in result.stderr
