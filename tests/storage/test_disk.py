"""A disk that is full, or fails: nothing is lost, and nobody is told what isn't so."""

from __future__ import annotations

from collections.abc import Generator
from contextlib import contextmanager
from pathlib import Path

import pytest

from tests.storage.processes import Peer, failing, in_small_filesystem, need, peer

SYNC = "fsync,fdatasync"


@contextmanager
def opened(folder: Path) -> Generator[Peer]:
    need("strace")
    with peer(folder) as other:
        assert other.ask("open") == "opened"
        assert other.ask("put 1 before") == "1"
        yield other


def test_a_full_disk_refuses_commits_loses_nothing_and_works_again_when_there_is_room(tmp_path: Path) -> None:
    small = tmp_path / "small"
    small.mkdir()
    with peer(small / "store", within=in_small_filesystem(small, size="1m")) as other:
        assert other.ask("open") == "opened"
        assert other.ask("put 1 first") == "1"
        assert other.ask("fill") == "full"

        answers = [other.ask(f"put-large {number} 3000") for number in range(2, 40)]

        committed = [answer for answer in answers if answer != "StoreFull"]
        assert [str(generation) for generation in range(2, 2 + len(committed))] == committed  # some fitted
        assert "StoreFull" in answers
        assert other.ask("count") == str(1 + len(committed))
        assert other.ask("free") == "free"
        assert other.ask("put 40 last") == str(2 + len(committed))
        assert other.ask("close") == "closed"
        assert other.ask("open") == "opened"
        assert other.ask("count") == str(2 + len(committed))


def test_a_full_disk_lets_no_store_be_made_and_leaves_nothing_of_it(tmp_path: Path) -> None:
    small = tmp_path / "small"
    small.mkdir()
    with peer(small / "store", within=in_small_filesystem(small, size="64k")) as other:
        assert other.ask("open") == "StoreFull"
        assert other.ask("open") == "StoreFull"


def test_a_full_disk_stops_a_backup_and_leaves_nothing_of_it(tmp_path: Path) -> None:
    small = tmp_path / "small"
    small.mkdir()
    with peer(tmp_path / "store", within=in_small_filesystem(small, size="128k")) as other:
        assert other.ask("open") == "opened"
        assert other.ask("put-large 1 1000000") == "1"

        assert other.ask(f"backup {small / 'backup'}") == "StoreFull"

        assert other.ask(f"list-folder {small / 'backup'}") == "lock next third turn"
        assert other.ask(f"backup {tmp_path / 'backup'}") == "written"


def test_a_checkpoint_that_finds_no_room_harms_no_commit(tmp_path: Path) -> None:
    with opened(tmp_path / "store") as other:
        other.ask("checkpoint-each-commit")
        with failing(other, "pwrite64", "ENOSPC", path=tmp_path / "store" / "olmstate.sqlite"):
            assert other.ask("put 2 meanwhile") == "2"
            assert other.ask("put 3 meanwhile") == "3"
        assert other.ask("put 4 after") == "4"
        assert other.ask("get") == "before meanwhile meanwhile after"


def test_a_checkpoint_whose_sync_fails_poisons_after_the_commit_was_answered(tmp_path: Path) -> None:
    with opened(tmp_path / "store") as other:
        other.ask("checkpoint-each-commit")
        with failing(other, SYNC, "EIO", path=tmp_path / "store" / "olmstate.sqlite"):
            assert other.ask("put 2 meanwhile") == "2"
            assert other.ask("put 3 never") == "StorePoisoned"
        assert other.ask("get") == "StorePoisoned"
        assert other.ask("close") == "closed"
        assert other.ask("open") == "opened"
        assert other.ask("get") == "before meanwhile"


@pytest.mark.parametrize("put", ["put 2 never", "put-large 2 9000000"], ids=["at its end", "in the midst of it"])
@pytest.mark.parametrize("where", ["here", "in threads"])
def test_a_commit_that_finds_no_room_was_not_made_and_the_handle_goes_on(tmp_path: Path, put: str, where: str) -> None:
    with opened(tmp_path / "store") as other:
        if where == "in threads":
            other.ask("commit-in-threads")
        with failing(other, "pwrite64", "ENOSPC"):
            assert other.ask(put) == "StoreFull"
            assert other.ask("get") == "before"
        assert other.ask("put 2 after") == "2"
        assert other.ask("get") == "before after"


@pytest.mark.parametrize(
    ("put", "calls", "error"),
    [
        ("put 2 perhaps", SYNC, "EIO"),
        ("put 2 perhaps", "pwrite64", "EIO"),
        ("put 2 perhaps", "pwrite64", "EDQUOT"),
        ("put-large 2 9000000", "pwrite64", "EIO"),
    ],
)
def test_a_commit_that_the_disk_refuses_is_neither_made_nor_denied_and_the_store_can_be_opened_anew(
    tmp_path: Path, put: str, calls: str, error: str
) -> None:
    with opened(tmp_path / "store") as other:
        with failing(other, calls, error):
            assert other.ask(put) == "StorePoisoned"
        for line in ("get", "put 3 never", "change-secret", f"backup {tmp_path / 'backup'}"):
            assert other.ask(line) == "StorePoisoned"
        assert other.ask("close") == "closed"
        assert other.ask("open") == "opened"
        assert other.ask("get") in ("before", "before perhaps")
        assert other.ask("put 3 after") in ("2", "3")
        assert other.ask("get") in ("before after", "before perhaps after")


def test_after_a_failed_sync_others_go_on_with_what_they_can_read(tmp_path: Path) -> None:
    with opened(tmp_path / "store") as first, peer(tmp_path / "store") as second:
        assert second.ask("open") == "opened"
        with failing(first, SYNC, "EIO"):
            assert first.ask("put 2 perhaps") == "StorePoisoned"
            read = second.ask("get")
            assert second.ask("put 3 theirs") == str(1 + len(read.split()))
        first.kill()
        assert second.ask("get") == f"{read} theirs"
        second.kill()
        with peer(tmp_path / "store") as third:
            assert third.ask("open") == "opened"
            assert third.ask("get") == f"{read} theirs"


@pytest.mark.parametrize("error", ["EIO", "EPERM"])
@pytest.mark.parametrize("look", ["count", "changes"])
def test_what_can_not_be_read_is_an_error_and_may_be_read_again_later(tmp_path: Path, look: str, error: str) -> None:
    # SQLite takes EIO for damage, and so did we
    with opened(tmp_path / "store") as other:
        assert other.ask("put-large 2 3000000") == "2"
        with failing(other, "pread64", error):
            assert other.ask(look) == "StoreUnavailable"
        assert other.ask(look) == "2"


@pytest.mark.parametrize("error", ["EIO", "EPERM"])
@pytest.mark.parametrize("look", ["count", "changes", "backup", "put"])
def test_a_read_that_fails_once_costs_nothing(tmp_path: Path, look: str, error: str) -> None:
    asked, answer = {"backup": (f"backup {tmp_path / 'backup'}", "written"), "put": ("put 2 again", "3")}.get(
        look, (look, "2")
    )
    with opened(tmp_path / "store") as other:
        assert other.ask("put-large 2 3000000") == "2"
        other.ask("drop-caches")
        with failing(other, "pread64", error, once=True):
            assert answer == other.ask(asked)


def test_what_is_damaged_is_told_from_what_can_not_be_read(tmp_path: Path) -> None:
    with opened(tmp_path / "store") as other:
        assert other.ask("put-large 2 3000000") == "2"
        assert other.ask("close") == "closed"
        database = tmp_path / "store" / "olmstate.sqlite"
        size = database.stat().st_size
        with database.open("r+b") as file:
            file.seek(8192)
            file.write(bytes(size - 8192))
        assert other.ask("open") == "StoreCorrupt"


@pytest.mark.parametrize("suffix", ["", "-wal", "-shm"])
@pytest.mark.parametrize("after", range(4))
def test_a_file_that_can_be_opened_for_reading_only_just_then_is_opened_anew(
    tmp_path: Path, suffix: str, after: int
) -> None:
    # SQLite opens a file for reading if it may not write to it, and says so only to who writes; that was so for life
    with opened(tmp_path / "store") as other:
        assert other.ask("close") == "closed"
        path = tmp_path / "store" / f"olmstate.sqlite{suffix}"
        with failing(other, "openat", "EACCES", path=path, after=after, once=True):
            assert other.ask("open") == "opened"
        assert other.ask("put 2 again") == "2"
        assert other.ask("get") == "before again"


def test_an_error_in_the_midst_of_looking_for_changes_hides_nothing_and_keeps_no_snapshot(tmp_path: Path) -> None:
    with opened(tmp_path / "store") as other:
        assert other.ask("put-large 2 3000000") == "2"
        answers = ["StoreUnavailable"]
        while answers[-1] == "StoreUnavailable":  # each time it comes one page further
            with failing(other, "pread64", "EPERM", after=1):
                answers.append(other.ask("changes"))
        assert answers[-1] == "2"
        assert len(answers) > 3
        assert other.ask("put 3 after") == "3"
        assert other.ask("changes") == "3"
