"""An envelope is answered once, and knows whether somebody still waits."""

from __future__ import annotations

import pytest
import trio
from outcome import Value
from trio.testing import wait_all_tasks_blocked

from olmstate.actors._engine.envelope import Envelope
from olmstate.messages import ActorStopped, MalformedMessage, SyncToken


def envelope() -> Envelope[str | None]:
    return Envelope(SyncToken(), 0)


async def test_the_first_answer_wins() -> None:
    first_value, first_error = envelope(), envelope()
    first_value.answer("s1")
    first_value.answer("s2")
    first_value.fail(ActorStopped())
    first_value.resolve(Value("s3"))
    first_error.fail(MalformedMessage(reason="first"))
    first_error.fail(ActorStopped())
    first_error.answer("s1")
    assert "s1" == await first_value.wait()
    with pytest.raises(MalformedMessage, match="first"):
        await first_error.wait()


async def test_an_answer_may_come_before_or_after_somebody_waits() -> None:
    early, late = envelope(), envelope()
    early.answer(None)  # which is an answer, too
    assert None is await early.wait()
    async with trio.open_nursery() as nursery:
        nursery.start_soon(late.wait)
        await wait_all_tasks_blocked()
        late.answer("s1")
    assert not late.abandoned


async def test_an_asker_that_is_cancelled_has_abandoned_its_message_and_is_not_answered() -> None:
    asked = envelope()
    with trio.CancelScope() as scope:
        scope.cancel()
        await asked.wait()
    assert asked.abandoned
    asked.answer("nobody reads it")


async def test_a_message_that_is_waited_for_is_not_abandoned() -> None:
    asked = envelope()
    asked.answer("s1")
    await asked.wait()
    assert not asked.abandoned


def test_equal_messages_are_different_envelopes() -> None:
    assert envelope() != envelope()
    assert len({envelope(), envelope()}) == 2


def test_what_was_answered_is_not_shown() -> None:
    asked = envelope()
    asked.answer("secret")
    assert "secret" not in repr(asked)
