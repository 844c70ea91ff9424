"""The lock's files: how they are made, and what happens when somebody removes or replaces them."""

from __future__ import annotations

import errno
import os
import sys
from contextlib import closing
from typing import TYPE_CHECKING

import pytest
import trio
import trio.testing

from olmstate.messages import StoreError, StoreFull, StorePoisoned, StoreUnavailable
from olmstate.storage.lock import lock_file
from olmstate.storage.lock.line import PLACES
from olmstate.storage.lock.lock_file import LockFile
from olmstate.storage.lock.turnstile import PATIENCE, Turnstile
from tests.storage.handles import descriptors

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator
    from pathlib import Path
    from types import FrameType

    from trio.testing import MockClock


@pytest.fixture
def umask(request: pytest.FixtureRequest) -> Iterator[int]:
    before = os.umask(request.param)
    yield request.param
    os.umask(before)


def unlink(path: Path) -> None:
    path.unlink()


def replace(path: Path) -> None:
    other = path.with_name("other")
    other.touch()
    other.replace(path)


def move_away(path: Path) -> None:
    path.rename(path.with_name("away"))


losses = pytest.mark.parametrize("lose", [unlink, replace, move_away])


# --- as they are made ------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("umask", [0o000, 0o022, 0o077, 0o177, 0o777], indirect=True, ids=oct)
def test_the_files_belong_to_their_owner_alone_under_any_umask(tmp_path: Path, umask: int) -> None:
    Turnstile(tmp_path).close()

    assert {"lock": 0o600} | dict.fromkeys(PLACES, 0o600) == {
        path.name: path.stat().st_mode & 0o777 for path in tmp_path.iterdir()
    }


def test_files_that_others_may_read_are_closed_to_them(tmp_path: Path) -> None:
    (tmp_path / "lock").touch(0o644)

    Turnstile(tmp_path).close()

    assert (tmp_path / "lock").stat().st_mode & 0o777 == 0o600


def test_a_lock_writes_nothing_but_the_holder_s_process_id_and_how_often_it_went_on(tmp_path: Path) -> None:
    with closing(Turnstile(tmp_path)) as turnstile:
        turnstile.acquire_nowait()
        turnstile.release()

    assert [str(os.getpid()), "1"] == (tmp_path / "lock").read_text().split()
    assert (tmp_path / "turn").read_text() == ""


def test_a_symbolic_link_is_not_followed(tmp_path: Path) -> None:
    target = tmp_path / "precious"
    target.write_text("precious")
    (tmp_path / "lock").symlink_to(target)

    with pytest.raises(StoreUnavailable):
        Turnstile(tmp_path)

    assert target.read_text() == "precious"


@pytest.mark.parametrize("name", [*PLACES, "lock"])
def test_what_can_not_be_opened_is_named(tmp_path: Path, name: str) -> None:
    (tmp_path / name).mkdir()

    with pytest.raises(StoreUnavailable, match=name):
        Turnstile(tmp_path)


@pytest.mark.parametrize(
    ("call", "code", "expected"),
    [
        ("open", errno.ENOSPC, StoreFull),
        ("open", errno.EDQUOT, StoreFull),
        ("open", errno.EACCES, StoreUnavailable),
        ("fstat", errno.EIO, StoreUnavailable),
    ],
)
def test_what_the_operating_system_refuses_is_an_error_of_the_store_and_leaves_nothing_open(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, call: str, code: int, expected: type[StoreError]
) -> None:
    before = descriptors()
    with monkeypatch.context() as patched:
        patched.setattr(os, call, refuse(code))

        with pytest.raises(expected):
            LockFile(tmp_path / "lock")

    assert before == descriptors()


@pytest.mark.filterwarnings("ignore:unclosed file:ResourceWarning")
def test_ctrl_c_while_a_file_is_opened_comes_out_as_what_it_is(tmp_path: Path) -> None:
    before = descriptors()
    moment = 0
    while is_interrupted_at(moment, lambda: LockFile(tmp_path / "lock").close()):
        moment += 1

    assert moment > 10
    assert descriptors() - before <= 2, "left open only by the two moments right after the system call"


def is_interrupted_at(moment: int, work: Callable[[], None]) -> bool:
    """Interrupt `work` at one of the moments of this module, and of `os`, at which Python attends to signals.

    Returns:
        Whether there is such a moment. Moments count from 0.
    """

    def attend(frame: FrameType, event: str, argument: object) -> None:
        nonlocal moment
        del argument  # a traceback would keep what was returned
        if event != "c_call" and frame.f_globals["__name__"] in (lock_file.__name__, os.__name__):
            moment -= 1
            if moment == -1:
                raise KeyboardInterrupt

    before = sys.getprofile()
    sys.setprofile(attend)
    try:
        work()
    except KeyboardInterrupt:
        return True
    finally:
        sys.setprofile(before)
    return False


def refuse(code: int) -> Callable[..., None]:
    def refused(*_: object) -> None:
        raise OSError(code, os.strerror(code))

    return refused


@pytest.mark.parametrize("code", [errno.EPERM, errno.ENOTSUP, errno.EROFS])
def test_a_file_system_without_modes_is_no_obstacle(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, code: int) -> None:
    (tmp_path / "lock").touch(0o644)
    monkeypatch.setattr(os, "fchmod", refuse(code))

    with closing(LockFile(tmp_path / "lock")) as file:
        assert file.take()


def test_a_handle_that_can_not_follow_to_the_new_file_stays_as_it_was(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    with closing(LockFile(tmp_path / "lock")) as file:
        place = file.place
        replace(tmp_path / "lock")
        with monkeypatch.context() as patched:
            patched.setattr(os, "fstat", refuse(errno.EIO))
            with pytest.raises(StoreUnavailable):
                file.take()

        assert place == file.place
        assert file.take()
        assert place != file.place


def test_a_missing_folder_is_not_created(tmp_path: Path) -> None:
    with pytest.raises(StoreUnavailable):
        Turnstile(tmp_path / "missing")

    assert not (tmp_path / "missing").exists()


# --- lost while nobody has taken them --------------------------------------------------------------------------------


@losses
def test_handles_exclude_one_another_after_the_lock_file_was_lost(tmp_path: Path, lose: Callable[[Path], None]) -> None:
    with closing(Turnstile(tmp_path)) as older:
        lose(tmp_path / "lock")
        with closing(Turnstile(tmp_path)) as newer:
            assert newer.acquire_nowait()
            assert not older.acquire_nowait()
            assert older.holder_pid() == os.getpid()
            newer.release()
            assert older.acquire_nowait()
            assert not newer.acquire_nowait()


@losses
def test_handles_queue_up_together_after_the_turn_file_was_lost(tmp_path: Path, lose: Callable[[Path], None]) -> None:
    with closing(Turnstile(tmp_path)) as older:
        lose(tmp_path / "turn")
        with closing(LockFile(tmp_path / "turn")) as head:
            assert head.take()
            assert not older.acquire_nowait()


def test_a_file_system_without_steady_inode_numbers_is_refused_not_tried_forever(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    another_file = tmp_path.stat()

    def stat(_path: str) -> os.stat_result:
        return another_file

    with closing(LockFile(tmp_path / "lock")) as lock_file, monkeypatch.context() as patched:
        patched.setattr(os, "stat", stat)

        with pytest.raises(StoreUnavailable, match="another file"):
            lock_file.take()


# --- lost while they are taken ---------------------------------------------------------------------------------------


@losses
def test_the_holder_learns_that_its_lock_file_was_lost(tmp_path: Path, lose: Callable[[Path], None]) -> None:
    with closing(Turnstile(tmp_path)) as holder:
        holder.check()
        holder.acquire_nowait()
        holder.check()

        lose(tmp_path / "lock")

        with pytest.raises(StorePoisoned):
            holder.check()
        holder.release()
        holder.check()
        assert holder.acquire_nowait()
        holder.check()


@pytest.mark.parametrize("lose", [unlink, replace])
def test_the_holder_learns_that_somebody_waits_even_if_the_turn_file_was_lost(
    tmp_path: Path, lose: Callable[[Path], None]
) -> None:
    with closing(Turnstile(tmp_path)) as holder:
        holder.acquire_nowait()
        lose(tmp_path / "turn")
        assert not holder.contended()
        with closing(LockFile(tmp_path / "turn")) as head:
            assert head.take()
            assert holder.contended()
        lose(tmp_path / "turn")
        with closing(LockFile(tmp_path / "turn")) as head:
            assert head.take()
            assert holder.contended()


@losses
async def test_a_waiter_goes_over_to_the_file_that_replaced_the_one_it_waited_for(
    tmp_path: Path, autojump_clock: MockClock, lose: Callable[[Path], None]
) -> None:
    with (
        closing(Turnstile(tmp_path)) as holder,
        closing(Turnstile(tmp_path)) as waiter,
        closing(LockFile(tmp_path / "turn")) as head,
    ):
        holder.acquire_nowait()
        async with trio.open_nursery() as nursery:
            nursery.start_soon(waiter.acquire, 60)
            await trio.testing.wait_all_tasks_blocked()
            lose(tmp_path / "lock")
            with closing(LockFile(tmp_path / "lock")) as successor:
                assert successor.take()
                holder.release()
                await trio.sleep(1)
                with pytest.raises(trio.BusyResourceError):
                    waiter.acquire_nowait()
                assert not head.take()
        assert waiter.held
        waiter.check()


def test_closing_lets_go_though_a_copy_of_the_descriptor_lives_on(tmp_path: Path) -> None:
    # A process that is just being started has such copies, until it runs its program.
    lock_file = LockFile(tmp_path / "lock")
    lock_file.take()
    copy = os.dup(lock_file._descriptor)  # pyright: ignore[reportPrivateUsage]
    try:
        lock_file.close()
        with closing(LockFile(tmp_path / "lock")) as other:
            assert other.take()
    finally:
        os.close(copy)


async def test_a_waiter_behind_a_head_that_froze_on_a_lost_turn_file_gets_through(
    tmp_path: Path, autojump_clock: MockClock
) -> None:
    with closing(Turnstile(tmp_path)) as waiter, closing(LockFile(tmp_path / "turn")) as frozen:
        frozen.take()
        unlink(tmp_path / "turn")

        wait = await waiter.acquire(60)

    assert wait.bypassed
    assert wait.waited >= PATIENCE


async def test_when_the_folder_is_removed_nobody_acquires_and_the_holder_learns_it(
    tmp_path: Path, autojump_clock: MockClock
) -> None:
    folder = tmp_path / "store"
    folder.mkdir()
    with closing(Turnstile(folder)) as holder, closing(Turnstile(folder)) as other:
        holder.acquire_nowait()
        for path in folder.iterdir():
            path.unlink()
        folder.rmdir()

        with pytest.raises(StorePoisoned):
            holder.check()
        with pytest.raises(StoreUnavailable):
            holder.contended()
        with pytest.raises(StoreUnavailable):
            await other.acquire(60)
        assert not other.held
        holder.release()
        with pytest.raises(StoreUnavailable):
            holder.acquire_nowait()


def test_a_descriptor_that_other_code_closed_is_an_error_of_the_store(tmp_path: Path) -> None:
    with closing(LockFile(tmp_path / "lock")) as lock_file, (tmp_path / "other").open("w") as other:
        descriptor = lock_file._descriptor  # pyright: ignore[reportPrivateUsage]
        os.close(descriptor)
        try:
            with pytest.raises(StoreUnavailable, match="lock"):
                lock_file.take()
        finally:
            os.dup2(other.fileno(), descriptor)
