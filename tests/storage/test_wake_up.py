"""Who waits for the lock, or for a place before his, is woken when it is free; else he polls, and no more."""

from __future__ import annotations

import os
import socket
from collections.abc import AsyncGenerator, Callable, Sequence
from contextlib import ExitStack, asynccontextmanager, closing, suppress
from pathlib import Path

import pytest
import trio
from trio.testing import MockClock, wait_all_tasks_blocked

from olmstate.messages import StoreUnavailable
from olmstate.storage import Turnstile
from olmstate.storage.lock.line import PLACES
from olmstate.storage.lock.lock_file import LockFile
from olmstate.storage.lock.wake_up import WakeUp

LONG = 60.0


async def acquire(turnstile: Turnstile) -> None:
    await turnstile.acquire(LONG)


async def test_the_head_has_the_lock_without_waiting_for_its_next_try(
    tmp_path: Path, autojump_clock: MockClock
) -> None:
    with closing(Turnstile(tmp_path)) as holder, closing(Turnstile(tmp_path)) as head:
        assert holder.acquire_nowait()
        await wakes(holder.release, head)


async def wakes(let_go: Callable[[], None], head: Turnstile) -> None:
    async with trio.open_nursery() as nursery:
        nursery.start_soon(acquire, head)
        await wait_all_tasks_blocked()
        let_go()
        await has_the_lock_at_once(head)


async def has_the_lock_at_once(head: Turnstile) -> None:
    await settled()
    assert head.held


async def settled() -> None:
    """Trio's clock stands while anybody waits for all others to be blocked, so nobody's sleep ends meanwhile."""
    for _ in range(10):
        await wait_all_tasks_blocked()


@pytest.mark.parametrize("waited_for", [True, False])
async def test_who_wakes_another_lets_it_have_the_processor(
    waited_for: bool,  # noqa: FBT001 - whether anybody waits
    tmp_path: Path,
    autojump_clock: MockClock,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    yielded: list[bool] = []
    with closing(Turnstile(tmp_path)) as holder, closing(Turnstile(tmp_path)) as head:
        assert holder.acquire_nowait()
        async with trio.open_nursery() as nursery:
            if waited_for:
                nursery.start_soon(acquire, head)
            await wait_all_tasks_blocked()
            monkeypatch.setattr(os, "sched_yield", lambda: yielded.append(holder.held))
            holder.release()
    assert yielded == [False] * waited_for


async def test_everybody_in_a_line_moves_up_at_once_until_he_has_the_lock(
    tmp_path: Path, autojump_clock: MockClock
) -> None:
    # one more than there are places: he waits for the last one
    async with in_line(tmp_path, len(PLACES) + 1) as (holder, waiting):
        await have_the_lock_at_once(holder, waiting)


@pytest.mark.parametrize("nth", range(len(PLACES)))
async def test_who_gives_up_lets_those_behind_him_move_up_at_once(
    nth: int, tmp_path: Path, autojump_clock: MockClock
) -> None:
    async with in_line(tmp_path, len(PLACES) + 1) as (holder, waiting):
        waiting.pop(nth)[1].cancel()
        await settled()
        await have_the_lock_at_once(holder, waiting)


async def have_the_lock_at_once(holder: Turnstile, waiting: Sequence[tuple[Turnstile, trio.CancelScope]]) -> None:
    """One after the other, each as soon as the one before lets go."""
    for turnstile, _ in waiting:
        holder.release()
        await has_the_lock_at_once(turnstile)
        holder = turnstile


@asynccontextmanager
async def in_line(
    folder: Path, count: int
) -> AsyncGenerator[tuple[Turnstile, list[tuple[Turnstile, trio.CancelScope]]]]:
    """Who has the lock, and so many who wait for it, in their order, each with the scope in which it waits."""

    async def wait(turnstile: Turnstile, scope: trio.CancelScope) -> None:
        with scope:
            await acquire(turnstile)

    with ExitStack() as opened:
        holder, *others = [opened.enter_context(closing(Turnstile(folder))) for _ in range(count + 1)]
        waiting = [(turnstile, trio.CancelScope()) for turnstile in others]
        assert holder.acquire_nowait()
        async with trio.open_nursery() as nursery:
            for turnstile, scope in waiting:
                nursery.start_soon(wait, turnstile, scope)
                await wait_all_tasks_blocked()
            yield holder, waiting


async def test_a_head_that_goes_before_the_next_can_be_woken_leaves_its_place_all_the_same(
    tmp_path: Path, autojump_clock: MockClock, monkeypatch: pytest.MonkeyPatch
) -> None:
    with closing(Turnstile(tmp_path)) as holder, closing(Turnstile(tmp_path)) as second:
        assert holder.acquire_nowait()
        with closing(LockFile(tmp_path / PLACES[0])) as head_place:
            assert head_place.take()
            listen = WakeUp.listen

            def go_before(wake_up: WakeUp) -> bool:
                head_place.let_go()
                return listen(wake_up)

            monkeypatch.setattr(WakeUp, "listen", go_before)
            await wakes(holder.release, second)


async def test_a_lock_that_is_let_go_before_the_head_can_be_woken_is_had_all_the_same(
    tmp_path: Path, autojump_clock: MockClock, monkeypatch: pytest.MonkeyPatch
) -> None:
    with closing(Turnstile(tmp_path)) as holder, closing(Turnstile(tmp_path)) as head:
        assert holder.acquire_nowait()
        listen = WakeUp.listen

        def let_go_before(wake_up: WakeUp) -> bool:
            if holder.held:
                holder.release()
            return listen(wake_up)

        monkeypatch.setattr(WakeUp, "listen", let_go_before)
        await head.acquire(LONG)


async def test_wake_ups_that_mean_nothing_change_nothing(tmp_path: Path, autojump_clock: MockClock) -> None:
    with closing(Turnstile(tmp_path)) as holder, closing(Turnstile(tmp_path)) as head:
        assert holder.acquire_nowait()
        async with trio.open_nursery() as nursery:
            nursery.start_soon(acquire, head)
            await wait_all_tasks_blocked()
            with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM | socket.SOCK_NONBLOCK) as other, suppress(OSError):
                while True:  # until no more can wait to be read
                    other.sendto(bytes(100), name_of(tmp_path))
            await wait_all_tasks_blocked()
            assert not head.held
            holder.release()
            await has_the_lock_at_once(head)


def name_of(folder: Path) -> bytes:
    status = (folder / "lock").stat()
    return b"\0olmstate %x %x" % (status.st_dev, status.st_ino)


async def test_a_head_whose_name_is_taken_polls(tmp_path: Path, autojump_clock: MockClock) -> None:
    with closing(Turnstile(tmp_path)) as holder, closing(Turnstile(tmp_path)) as head:
        assert holder.acquire_nowait()
        with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as other:
            other.bind(name_of(tmp_path))
            await let_go_while_it_waits(holder, head)


@pytest.mark.parametrize("system", ["darwin", "linux"])
async def test_where_there_are_no_such_sockets_the_head_polls(
    system: str, tmp_path: Path, autojump_clock: MockClock, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("olmstate.storage.lock.wake_up.sys.platform", system)
    monkeypatch.setattr("olmstate.storage.lock.wake_up.socket.socket", refuse)
    with closing(Turnstile(tmp_path)) as holder, closing(Turnstile(tmp_path)) as head:
        assert holder.acquire_nowait()
        await let_go_while_it_waits(holder, head)


def refuse(family: int, kind: int) -> socket.socket:
    raise PermissionError(family, kind)


async def let_go_while_it_waits(holder: Turnstile, head: Turnstile) -> None:
    async with trio.open_nursery() as nursery:
        nursery.start_soon(acquire, head)
        await trio.sleep(1)
        assert not head.held
        holder.release()
    assert head.held


async def test_a_lock_that_was_let_go_without_a_wake_up_is_found_by_the_next_try(
    tmp_path: Path, autojump_clock: MockClock
) -> None:
    """As when its holder was killed."""
    with closing(LockFile(tmp_path / "lock")) as holder, closing(Turnstile(tmp_path)) as head:
        assert holder.take()
        async with trio.open_nursery() as nursery:
            nursery.start_soon(acquire, head)
            await trio.sleep(1)
            holder.let_go()
            began = trio.current_time()
        assert trio.current_time() - began < 0.01
        assert head.held


async def test_closing_a_handle_that_holds_the_lock_wakes_who_waits_for_it(
    tmp_path: Path, autojump_clock: MockClock
) -> None:
    with closing(Turnstile(tmp_path)) as holder, closing(Turnstile(tmp_path)) as head:
        assert holder.acquire_nowait()
        await wakes(holder.close, head)
    assert not holder.held


async def test_handles_that_followed_a_replaced_lock_file_wake_those_that_came_after(
    tmp_path: Path, autojump_clock: MockClock
) -> None:
    with closing(Turnstile(tmp_path)) as older:
        replace(tmp_path / "lock")
        assert older.acquire_nowait()
        with closing(Turnstile(tmp_path)) as newer:
            await wakes(older.release, newer)
            await wakes(newer.release, older)


def replace(path: Path) -> None:
    """With both files there at once, for else the new one may have the old one's inode."""
    other = path.with_name("other")
    other.touch(0o600)
    other.replace(path)


async def test_who_waits_while_the_lock_file_is_replaced_is_woken_by_who_holds_the_new_one(
    tmp_path: Path, autojump_clock: MockClock
) -> None:
    with closing(Turnstile(tmp_path)) as holder, closing(Turnstile(tmp_path)) as head:
        assert holder.acquire_nowait()
        async with trio.open_nursery() as nursery:
            nursery.start_soon(acquire, head)
            await wait_all_tasks_blocked()
            replace(tmp_path / "lock")
            with closing(Turnstile(tmp_path)) as newer:
                assert newer._take_lock()  # pyright: ignore[reportPrivateUsage] - the head's place is taken
                holder.release()
                await trio.sleep(1)
                assert not head.held
                newer.release()
                await has_the_lock_at_once(head)


@pytest.mark.parametrize("waited_for", ["third", "next"])
async def test_who_is_refused_after_he_has_moved_up_leaves_the_name_that_he_was_woken_by(
    waited_for: str, tmp_path: Path, autojump_clock: MockClock, monkeypatch: pytest.MonkeyPatch
) -> None:
    with closing(Turnstile(tmp_path)) as waiter, closing(LockFile(tmp_path / waited_for)) as before:
        assert before.take()
        async with trio.open_nursery() as nursery:
            nursery.start_soon(refused, waiter)
            await wait_all_tasks_blocked()
            monkeypatch.setattr(LockFile, "take", refuse_the_head_s_place(LockFile.take))
            before.let_go()
        with closing(WakeUp(before)) as other:
            assert other.listen()


async def refused(waiter: Turnstile) -> None:
    with pytest.raises(StoreUnavailable):
        await waiter.acquire(LONG)


def refuse_the_head_s_place(take: Callable[[LockFile], bool]) -> Callable[[LockFile], bool]:
    def take_others(file: LockFile) -> bool:
        if file._path.endswith(PLACES[0]):  # pyright: ignore[reportPrivateUsage]
            raise StoreUnavailable(reason="the folder is gone")
        return take(file)

    return take_others


async def test_closing_lets_go_on_who_waits(tmp_path: Path, autojump_clock: MockClock) -> None:
    with closing(Turnstile(tmp_path)) as holder, closing(Turnstile(tmp_path)) as head:
        assert holder.acquire_nowait()
        async with trio.open_nursery() as nursery:

            async def find_it_closed() -> None:
                with pytest.raises(trio.ClosedResourceError):
                    await head.acquire(LONG)

            nursery.start_soon(find_it_closed)
            await wait_all_tasks_blocked()
            head.close()


async def test_a_forked_child_leaves_its_parent_waiting_and_able_to_be_woken(
    tmp_path: Path, autojump_clock: MockClock
) -> None:
    with closing(Turnstile(tmp_path)) as holder, closing(Turnstile(tmp_path)) as head:
        assert holder.acquire_nowait()
        async with trio.open_nursery() as nursery:
            nursery.start_soon(acquire, head)
            await wait_all_tasks_blocked()
            child = os.fork()
            if child == 0:
                os._exit(0)
            os.waitpid(child, 0)  # noqa: ASYNC222 - it ends at once
            holder.release()
            await has_the_lock_at_once(head)
