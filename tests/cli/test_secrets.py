"""Where keys and passphrases come from, and in which order."""

from __future__ import annotations

from pathlib import Path

import click
import pytest

from olmstate.cli._secrets import Secret
from tests.cli.conftest import KEY, Olmstate, complaint, make_store

WORDS = "OLMSTATE_PASSPHRASE"


def secret(*, passphrase_file: Path | None = None, key_file: Path | None = None) -> Secret:
    return Secret(
        what="Passphrase",
        variable=WORDS,
        option="--passphrase-file",
        passphrase_file=passphrase_file,
        key_file=key_file,
    )


@pytest.mark.parametrize("content", ["some words", "some words\n", "some words\r\n"])
def test_a_passphrase_file_may_end_with_a_line_end(tmp_path: Path, content: str) -> None:
    path = tmp_path / "words"
    path.write_bytes(content.encode())

    assert secret(passphrase_file=path).for_store("passphrase") == "some words"


def test_only_one_line_end_is_taken_off(tmp_path: Path) -> None:
    path = tmp_path / "words"
    path.write_bytes(b" some words \n\n")

    assert secret(passphrase_file=path).for_store("passphrase") == " some words \n"


def test_a_file_goes_before_the_environment(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv(WORDS, "other words")
    path = tmp_path / "words"
    path.write_text("some words")

    assert secret(passphrase_file=path).for_store("passphrase") == "some words"


def test_the_environment_goes_before_the_prompt(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv(WORDS, "some words")

    assert secret().for_store("passphrase") == "some words"


def test_a_store_that_is_not_sealed_asks_for_nothing(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv(WORDS, "some words")

    assert secret().for_store("none") is None


def test_a_store_with_a_key_never_takes_the_passphrase_from_the_environment(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv(WORDS, "some words")

    with pytest.raises(click.ClickException, match="--key-file"):
        secret().for_store("key")


def test_a_key_file_is_32_bytes_as_they_are(tmp_path: Path) -> None:
    path = tmp_path / "key"
    path.write_bytes(KEY)
    assert secret(key_file=path).for_store("key") == KEY
    path.write_bytes(KEY + b"\n")
    with pytest.raises(click.ClickException, match="33"):
        secret(key_file=path).for_store("key")


def test_a_passphrase_file_that_is_no_text_is_refused(tmp_path: Path) -> None:
    path = tmp_path / "words"
    path.write_bytes(b"\xff\xfe")

    with pytest.raises(click.ClickException, match="can't be read"):
        secret(passphrase_file=path).for_store("passphrase")


def test_a_key_and_a_passphrase_together_are_a_mistake(tmp_path: Path) -> None:
    with pytest.raises(click.UsageError):
        secret(passphrase_file=tmp_path, key_file=tmp_path).for_store("key")


def test_a_prompt_without_anybody_to_answer_says_what_else_there_is(
    olmstate: Olmstate, tmp_path: Path, store: Path, key_file: Path
) -> None:
    # it said "Aborted!"
    for name, command in {
        "EXPORT": ("export-keys", store, tmp_path / "keys.txt", "--key-file", key_file),
        "NEW": ("change-passphrase", store, "--key-file", key_file),
    }.items():
        said = complaint(olmstate(*command, typed=""))
        assert f"--{name.lower()}-passphrase-file" in said
        assert f"OLMSTATE_{name}_PASSPHRASE" in said
    assert not (tmp_path / "keys.txt").exists()


def test_a_store_with_a_passphrase_and_nobody_to_ask_says_what_there_is(olmstate: Olmstate, tmp_path: Path) -> None:
    make_store(tmp_path / "sealed", "words", rooms=())

    said = complaint(olmstate("backup", tmp_path / "sealed", tmp_path / "backup", typed=""))
    assert "--passphrase-file" in said
    assert "OLMSTATE_PASSPHRASE" in said


def test_ctrl_c_at_a_prompt_is_no_lack_of_anybody(monkeypatch: pytest.MonkeyPatch) -> None:
    def interrupt(_: str) -> str:
        raise KeyboardInterrupt

    monkeypatch.setattr("click.termui.hidden_prompt_func", interrupt)
    with pytest.raises(click.Abort):
        secret().for_store("passphrase")


def test_a_sealed_store_without_its_key_is_one_clear_line(olmstate: Olmstate, store: Path, tmp_path: Path) -> None:
    assert "--key-file" in complaint(olmstate("backup", store, tmp_path / "backup"))
