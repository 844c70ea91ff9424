"""`olmstate change-passphrase`."""

from __future__ import annotations

from pathlib import Path

import pytest
import trio

from olmstate.messages import WrongKey
from olmstate.storage import open_store
from tests.cli.conftest import KEY, Olmstate, complaint, last_json, make_store


def opens(store: Path, key: bytes | str) -> bool:
    async def try_it() -> bool:
        try:
            opened = await open_store(store, key=key)
        except WrongKey:
            return False
        await opened.aclose()
        return True

    return trio.run(try_it)


def test_the_new_passphrase_opens_the_store_and_the_old_one_does_not(
    olmstate: Olmstate, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    store = tmp_path / "store"
    make_store(store, "old words")
    monkeypatch.setenv("OLMSTATE_PASSPHRASE", "old words")
    monkeypatch.setenv("OLMSTATE_NEW_PASSPHRASE", "new words")

    shown = last_json(olmstate("change-passphrase", store, "--json"))

    assert shown["sealed"] == "passphrase"
    assert opens(store, "new words")
    assert not opens(store, "old words")


def test_a_key_may_follow_a_passphrase_and_a_passphrase_a_key(
    olmstate: Olmstate, store: Path, key_file: Path, tmp_path: Path
) -> None:
    words = tmp_path / "words"
    words.write_text("some words\n")

    to_words = olmstate("change-passphrase", store, "--key-file", key_file, "--new-passphrase-file", words)
    assert to_words.exit_code == 0, to_words.output
    assert opens(store, "some words")

    back = olmstate("change-passphrase", store, "--passphrase-file", words, "--new-key-file", key_file)
    assert back.exit_code == 0, back.output
    assert opens(store, KEY)


def test_passphrases_are_typed_and_never_shown(olmstate: Olmstate, tmp_path: Path) -> None:
    store = tmp_path / "store"
    make_store(store, "old words")

    result = olmstate("change-passphrase", store, typed="old words\nnew words\nnew words\n")

    assert result.exit_code == 0, result.output
    assert "words" not in result.output
    assert opens(store, "new words")


def test_a_wrong_passphrase_changes_nothing(
    olmstate: Olmstate, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    store = tmp_path / "store"
    make_store(store, "old words")
    monkeypatch.setenv("OLMSTATE_PASSPHRASE", "wrong words")
    monkeypatch.setenv("OLMSTATE_NEW_PASSPHRASE", "new words")

    assert "that key does not open the store" in complaint(olmstate("change-passphrase", store))
    assert opens(store, "old words")


def test_a_store_that_is_not_sealed_stays_so(
    olmstate: Olmstate, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    store = tmp_path / "store"
    make_store(store, None)
    monkeypatch.setenv("OLMSTATE_NEW_PASSPHRASE", "new words")

    assert "not sealed" in complaint(olmstate("change-passphrase", store))
