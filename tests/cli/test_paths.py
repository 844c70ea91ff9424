"""Paths on the command line: an empty one is none, and no more is read of one than makes sense."""

from __future__ import annotations

from pathlib import Path

import pytest

from olmstate.cli import main
from tests.cli.conftest import Olmstate, complaint

HOMESERVER = ("--homeserver", "http://127.0.0.1:1")


@pytest.mark.parametrize("command", sorted(set(main.commands) - {"demo"}))
def test_an_empty_store_is_not_the_present_folder(
    command: str, olmstate: Olmstate, store: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(store)
    more = {"export-keys": ("keys.txt",), "import-keys": (store / "olmstate.sqlite",), "backup": ("backup",)}
    ran = olmstate(command, "", *more.get(command, ()))
    assert (2, "") == (ran.exit_code, ran.stdout)
    assert "a path can't be empty" in ran.stderr


@pytest.mark.parametrize("arguments", [("export-keys", "--force"), ("export-keys",), ("import-keys",), ("backup",)])
def test_no_other_path_is_empty_either(
    arguments: tuple[str, ...], olmstate: Olmstate, store: Path, key_file: Path
) -> None:
    # `export-keys --force "$UNSET"` was a traceback
    command, *more = arguments
    ran = olmstate(command, store, "", "--key-file", key_file, *more)
    assert 2 == ran.exit_code
    assert "a path can't be empty" in ran.stderr


@pytest.mark.parametrize("option", ["--key-file", "--passphrase-file"])
def test_a_device_without_an_end_is_no_secret(option: str, olmstate: Olmstate, store: Path) -> None:
    # it was read until the memory was full
    said = complaint(olmstate("backup", store, store.parent / "backup", option, "/dev/zero"))
    assert "/dev/zero is too large: 65,536 bytes are the most" in said


@pytest.mark.parametrize("file", ["/dev/zero", "-"])
def test_a_file_without_an_end_is_no_key_file(
    file: str, olmstate: Olmstate, store: Path, key_file: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("olmstate.cli._key_files.MOST_BYTES", 100_000)
    passphrase = store.parent / "passphrase"
    passphrase.write_text("secret")
    options = ("--key-file", key_file, "--export-passphrase-file", passphrase)
    said = complaint(olmstate("import-keys", store, file, *options, typed="\0" * 100_001))
    assert f"{file} is too large: 100,000 bytes are the most" in said
