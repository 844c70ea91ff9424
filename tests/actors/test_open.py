"""What comes out of a supervisor's block, and out of an actor's: what was raised, as it was raised."""

from __future__ import annotations

import pytest
import trio

from olmstate.actors import run_supervisor
from olmstate.actors._engine.hidden_nursery import HiddenNursery
from olmstate.actors.testing import DEVICE, USER, MemoryDisk, MemoryStore
from olmstate.messages import ActorStopped, NoAccount, SignedDeviceKeys
from tests.actors.supervised import supervised


async def fail(error: Exception) -> None:
    await trio.lowlevel.checkpoint()
    raise error


async def raise_in_block(error: Exception) -> None:
    async with run_supervisor(MemoryStore(MemoryDisk()), user_id=USER, device_id=DEVICE):
        raise error


async def fail_in_task(task_error: Exception, block_error: Exception | None = None) -> None:
    """A task of ours fails, and in the end the block does too, since it was cancelled."""
    async with HiddenNursery() as nursery:
        nursery.start_soon(fail, task_error)
        try:
            await trio.sleep_forever()
        finally:
            if block_error is not None:
                raise block_error


async def test_an_exception_leaves_the_block_as_the_very_object_that_was_raised() -> None:
    error = ValueError("of the user's own")
    with pytest.raises(ValueError, match="of the user's own") as caught:
        await raise_in_block(error)
    assert error is caught.value


async def test_an_exception_leaves_the_block_with_the_context_that_it_had() -> None:
    error, context = ValueError("late"), KeyError("early")
    error.__context__ = context
    with pytest.raises(ValueError, match="late") as caught:
        await raise_in_block(error)
    assert context is caught.value.__context__
    assert not caught.value.__suppress_context__


async def test_a_group_that_the_block_raised_is_the_very_object_that_comes_out() -> None:
    group = ExceptionGroup("mixed", [ActorStopped(), ValueError("of the user's own")])
    with pytest.raises(ExceptionGroup) as caught:
        await raise_in_block(group)
    assert group is caught.value


async def test_a_group_of_one_from_the_users_own_nursery_stays_a_group() -> None:
    error = ValueError("of the user's own")
    with pytest.RaisesGroup(pytest.RaisesExc(ValueError, check=lambda raised: raised is error)):
        async with (
            run_supervisor(MemoryStore(MemoryDisk()), user_id=USER, device_id=DEVICE),
            trio.open_nursery() as own,
        ):
            own.start_soon(fail, error)


async def test_a_refusal_leaves_the_block_as_it_was_answered() -> None:
    with pytest.raises(NoAccount):
        async with run_supervisor(MemoryStore(MemoryDisk()), user_id=USER, device_id=DEVICE) as supervisor:
            await supervisor.ask(SignedDeviceKeys())


async def test_a_task_that_failed_is_the_cause_for_whoever_got_no_answer() -> None:
    error = ValueError("a bug")
    with pytest.raises(ValueError, match="a bug") as caught:
        await fail_in_task(error, ActorStopped())
    assert error is caught.value


async def test_a_group_of_askers_that_got_no_answer_gives_way_to_the_cause() -> None:
    error = ValueError("a bug")
    with pytest.raises(ValueError, match="a bug") as caught:
        await fail_in_task(
            ExceptionGroup("the supervisor's own", [error, ActorStopped()]),
            ExceptionGroup("the user's", [ActorStopped(), ActorStopped()]),
        )
    assert error is caught.value


async def test_a_failed_task_and_a_failed_block_come_out_together() -> None:
    with pytest.RaisesGroup(ValueError, KeyError):
        await fail_in_task(ValueError("a bug"), KeyError("the user's own"))


async def test_of_a_group_with_a_cancellation_the_rest_comes_out() -> None:
    async def fail_while_cancelled() -> None:
        async with HiddenNursery() as nursery:
            nursery.cancel_scope.cancel()
            try:
                await trio.sleep_forever()
            except trio.Cancelled as cancelled:
                raise BaseExceptionGroup("mixed", [cancelled, KeyError("the user's own")]) from None

    with pytest.RaisesGroup(KeyError):
        await fail_while_cancelled()


async def test_where_nothing_but_stopping_happened_that_is_what_comes_out() -> None:
    error = ActorStopped()
    with pytest.raises(ActorStopped) as caught:
        await fail_in_task(ExceptionGroup("the supervisor's own", [error]))
    assert error is caught.value
    with pytest.raises(ActorStopped):
        await fail_in_task(ActorStopped(), ActorStopped())


async def test_a_cancelled_block_ends_without_an_exception() -> None:
    with trio.CancelScope() as scope:
        async with run_supervisor(MemoryStore(MemoryDisk()), user_id=USER, device_id=DEVICE):
            scope.cancel()
            await trio.sleep_forever()
    assert scope.cancelled_caught


async def test_users_see_of_a_supervisor_what_is_theirs() -> None:
    async with supervised(MemoryDisk()) as supervisor:
        assert {"ask", "subscribe", "state", "sync_turn"} == {
            name for name in dir(supervisor) if not name.startswith("_")
        }
