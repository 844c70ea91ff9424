"""`olmstate inspect`."""

from __future__ import annotations

import os
from contextlib import closing
from pathlib import Path

from olmstate.storage import Table, Turnstile
from tests.cli.conftest import ALICE, PHONE, Olmstate, complaint, last_json


def test_it_tells_programs_everything_in_one_object(olmstate: Olmstate, store: Path) -> None:
    result = olmstate("inspect", store, "--json")

    shown = last_json(result)
    assert len(result.stdout.splitlines()) == 1
    assert (shown["user_id"], shown["device_id"]) == (ALICE, PHONE)
    assert shown["sealed"] == "key"
    assert shown["generation"] == 3
    assert shown["lock_holder"] is None
    assert {table.value for table in Table} == set(shown["rows"])
    assert shown["rows"]["inbound_group_sessions"] == shown["rows"]["outbound_group_sessions"] == 2
    assert shown["bytes"]["olmstate.sqlite"] == (store / "olmstate.sqlite").stat().st_size


def test_it_tells_people(olmstate: Olmstate, store: Path) -> None:
    result = olmstate("inspect", store)

    assert result.exit_code == 0
    assert result.stderr == ""
    lines = [" ".join(line.split()) for line in result.stdout.splitlines()]
    assert f"device {ALICE} {PHONE}" in lines
    assert "at rest sealed with a key" in lines
    assert "inbound group sessions 2 rows" in lines
    assert "lock free" in lines


def test_it_names_who_holds_the_lock(olmstate: Olmstate, store: Path) -> None:
    with closing(Turnstile(store)) as lock:
        assert lock.acquire_nowait()
        result = olmstate("inspect", store, "--json")

    assert os.getpid() == last_json(result)["lock_holder"]


def test_a_folder_without_a_store_is_one_clear_line(olmstate: Olmstate, tmp_path: Path) -> None:
    assert "there is no store in" in complaint(olmstate("inspect", tmp_path))
