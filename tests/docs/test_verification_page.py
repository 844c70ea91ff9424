"""The examples of docs/verification.md, at work: two devices of users who do what the page says."""

from __future__ import annotations

import attrs
import pytest
import trio
from docs.examples.verification import answer_requests, next_step
from docs.examples.verification_in_a_room import after_sync
from trio.testing import MockClock

from olmstate.messages import (
    EventId,
    JsonObject,
    ReceiveSync,
    RequestVerification,
    RoomId,
    SyncToken,
    VerificationStage,
)
from tests.actors.verification.conftest import ALICE, BOB, Device, two_devices
from tests.peer.session import API


@pytest.mark.parametrize("same", [True, False])
async def test_two_programs_that_answer_verify_each_other(*, same: bool, autojump_clock: MockClock) -> None:
    questions: list[str] = []

    async def ask(question: str) -> bool:
        questions.append(question)
        return same or "show" not in question

    async with two_devices() as two, trio.open_nursery() as nursery:
        for device in (two.alice, two.bob):
            nursery.start_soon(answer_requests, device.process, ask)
        await trio.testing.wait_all_tasks_blocked()
        await two.request()
        await two.deliver()
        stage = VerificationStage.DONE if same else VerificationStage.CANCELLED
        assert [stage, stage] == await two.stages()
        shown = {question for question in questions if "show" in question}
        assert 1 == len(shown)
        assert f"ALICEDEVICE of {ALICE} asks to verify. Do you?" in questions
        nursery.cancel_scope.cancel()


async def test_numbers_are_shown_where_the_other_side_has_no_emoji(autojump_clock: MockClock) -> None:
    """Nothing was, and people who said yes had compared nothing."""
    questions: list[str] = []

    async def no(question: str) -> bool:
        questions.append(question)
        return False

    async with two_devices() as two:
        await two.compare()
        flow = attrs.evolve(await two.alice.flow(), emoji=None)
        await next_step(two.alice.process, flow, no)
    assert flow.decimals is not None
    assert [f"Does the other device show {' '.join(map(str, flow.decimals))}?"] == questions


@pytest.mark.parametrize(
    "event",
    [
        {"type": "m.key.verification.done", "content": {}},  # it was redacted
        {"type": "m.key.verification.org.example.dance", "content": {}},
        {"type": "m.room.encrypted", "content": {}},
        {"type": "m.room.encrypted", "content": {"algorithm": "m.megolm.v1.aes-sha2", "session_id": "?"}},
        {"type": "m.room.message"},
    ],
)
async def test_a_sync_loop_goes_on_whatever_somebody_sends(event: JsonObject, autojump_clock: MockClock) -> None:
    """The page's loop ended with an error that anybody in the room could cause."""

    async def send(room_id: RoomId, type_: str, transaction_id: str, content: JsonObject) -> EventId:
        raise AssertionError

    async with two_devices() as two:
        came = {"event_id": "$event", "sender": ALICE, "origin_server_ts": 0, **event}
        await after_sync(two.bob.process, two.room_id, [came], (ALICE, BOB), send)


async def test_a_sync_loop_carries_a_verification_in_a_room(autojump_clock: MockClock) -> None:
    async def yes(question: str) -> bool:
        return True

    async def sync(device: Device) -> None:
        async def send(room_id: RoomId, type_: str, transaction_id: str, content: JsonObject) -> EventId:
            target = f"{API}/rooms/{room_id}/send/{type_}/{transaction_id}"
            return EventId((await device.session.request("PUT", target, content))["event_id"])

        since = await device.process.ask(SyncToken())
        answer = await device.session.sync(since)
        await device.process.ask(ReceiveSync(sync=answer, since=since))
        room = answer["rooms"]["join"].get(two.room_id, {"timeline": {"events": []}})
        await after_sync(device.process, two.room_id, room["timeline"]["events"], (ALICE, BOB), send)

    async with two_devices() as two, trio.open_nursery() as nursery:
        await two.know_each_other()
        for device in (two.alice, two.bob):
            nursery.start_soon(answer_requests, device.process, yes)
        await trio.testing.wait_all_tasks_blocked()
        await two.alice.process.ask(RequestVerification(user_id=BOB, room_id=two.room_id))
        for _ in range(12):
            for device in (two.alice, two.bob):
                await sync(device)
            await trio.sleep(1)
        assert [VerificationStage.DONE, VerificationStage.DONE] == await two.stages()
        nursery.cancel_scope.cancel()
