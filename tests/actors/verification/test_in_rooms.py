"""Verifications in rooms. The program sends their messages, which are stored until they are there."""

from __future__ import annotations

import pytest
import trio
from trio.testing import MockClock

from olmstate.messages import (
    AcceptVerification,
    BootstrapCrossSigning,
    CancelVerification,
    EventId,
    IdentityState,
    JsonObject,
    MalformedMessage,
    MarkVerificationMessageRefused,
    MarkVerificationMessageSent,
    MissingRoomKey,
    NoCommonMethod,
    ReceiveVerificationEvent,
    RequestVerification,
    RoomId,
    StartSas,
    UpdateDevices,
    VerificationMessages,
    VerificationStage,
)
from tests.actors.verification.conftest import ALICE, BOB, Device, Two, two_devices
from tests.peer.verifier import Verifier

CANCELLED, DONE = VerificationStage.CANCELLED, VerificationStage.DONE


async def with_identities(two: Two) -> None:
    for device in (two.alice, two.bob):
        await device.process.ask(BootstrapCrossSigning())
    await two.know_each_other()


async def ask_in_room(two: Two) -> str:
    """Nothing is sent yet."""
    await two.know_each_other()
    request = RequestVerification(user_id=BOB, room_id=two.room_id)
    return (await two.alice.process.ask(request)).flow_id


def in_room(two: Two, type_: str = "m.room.encrypted") -> list[JsonObject]:
    return [event for event in two.homeserver.rooms.rooms[two.room_id].timeline if event["type"] == type_]


@pytest.mark.parametrize("replaced", [False, True])
async def test_each_step_is_done_by_another_process(*, replaced: bool, autojump_clock: MockClock) -> None:
    async with two_devices(processes=2 if replaced else 3) as two:
        await with_identities(two)
        if replaced:
            two.between_steps = two.replace_both
        await two.compare(in_room=True)
        ours, theirs = await two.alice.flow(), await two.bob.flow()
        assert ours.emoji is not None
        assert (ours.emoji, ours.event_id, two.room_id) == (theirs.emoji, theirs.event_id, theirs.room_id)
        await two.confirm()
        assert [DONE, DONE] == await two.stages()
        await two.know_each_other()
        for device, user_id in ((two.alice, BOB), (two.bob, ALICE)):
            assert IdentityState.VERIFIED is (await device.identity_of(user_id)).state
        # request, ready, start, accept, two keys, two MACs, two dones: each once
        assert 10 == len(in_room(two))


async def test_a_message_waits_until_it_is_known_to_be_there(autojump_clock: MockClock) -> None:
    """Whoever sends it again does so under the same id."""
    async with two_devices(processes=2) as two:
        await ask_in_room(two)
        (first,) = await two.alice.process.ask(VerificationMessages())
        await two.alice.replace()
        (again,) = await two.alice.process.ask(VerificationMessages())
        assert first == again
        event_ids = {await two.alice.send_to_room(message) for message in (first, again)}
        assert 1 == len(event_ids)
        sent = MarkVerificationMessageSent(transaction_id=first.transaction_id, event_id=event_ids.pop())
        for _ in range(2):
            await two.alice.process.ask(sent)
        assert () == await two.alice.process.ask(VerificationMessages())
        assert sent.event_id == (await two.alice.flow()).event_id
        await two.deliver()
        assert [VerificationStage.REQUESTED, VerificationStage.ASKED] == await two.stages()


async def test_a_message_that_is_seen_in_the_room_need_not_be_marked(autojump_clock: MockClock) -> None:
    """The process that sent it has died before its answer came."""
    async with two_devices(processes=2) as two:
        await ask_in_room(two)
        (message,) = await two.alice.process.ask(VerificationMessages())
        event_id = await two.alice.send_to_room(message)
        await two.alice.replace()
        await two.deliver()
        assert (event_id, VerificationStage.REQUESTED) == (
            (await two.alice.flow()).event_id,
            (await two.alice.flow()).stage,
        )
        assert 1 == len(in_room(two))
        await two.bob_does(AcceptVerification)
        assert [VerificationStage.READY] * 2 == await two.stages()


async def test_only_the_next_message_is_handed_out(autojump_clock: MockClock) -> None:
    async with two_devices() as two:
        await ask_in_room(two)
        await two.deliver()
        for device, wish in ((two.bob, AcceptVerification), (two.bob, StartSas)):
            flow = await device.flow()
            await device.process.ask(wish(user_id=flow.user_id, flow_id=flow.flow_id))
        (message,) = await two.bob.process.ask(VerificationMessages())
        assert "m.key.verification.ready" == message.type
        await two.deliver()
        assert [VerificationStage.COMPARING] * 2 == await two.stages()


async def test_a_request_that_the_homeserver_refuses_is_over(autojump_clock: MockClock) -> None:
    async with two_devices() as two:
        flow_id = await ask_in_room(two)
        for _ in range(2):
            await two.alice.process.ask(MarkVerificationMessageRefused(transaction_id=flow_id))
        assert (CANCELLED, ()) == ((await two.alice.flow()).stage, await two.alice.process.ask(VerificationMessages()))


async def test_who_cancels_before_the_request_is_there_says_so_afterwards(autojump_clock: MockClock) -> None:
    async with two_devices() as two:
        flow_id = await ask_in_room(two)
        await two.alice.process.ask(CancelVerification(user_id=BOB, flow_id=flow_id))
        await two.deliver()
        await two.deliver()
        for device in (two.alice, two.bob):
            flow = await device.flow()
            assert (CANCELLED, "m.user") == (flow.stage, flow.cancel_code)


async def test_a_request_that_nobody_has_sent_for_ten_minutes_is_never_sent(autojump_clock: MockClock) -> None:
    async with two_devices() as two:
        await ask_in_room(two)
        await trio.sleep(11 * 60)
        assert (CANCELLED, "m.timeout") == ((await two.alice.flow()).stage, (await two.alice.flow()).cancel_code)
        assert () == await two.alice.process.ask(VerificationMessages())


@pytest.mark.parametrize("code", ["m.user", "m.mismatched_sas"])
async def test_both_sides_see_why_it_was_cancelled(code: str, autojump_clock: MockClock) -> None:
    async with two_devices(processes=3) as two:
        await two.compare(in_room=True)
        await two.bob_does(CancelVerification, mismatch=code != "m.user")
        for device in (two.alice, two.bob):
            flow = await device.flow()
            assert (CANCELLED, code, device is two.bob) == (flow.stage, flow.cancel_code, flow.cancelled_by_us)


async def test_two_starts_at_once_end_well(autojump_clock: MockClock) -> None:
    async with two_devices(processes=2) as two:
        await two.ready(in_room=True)
        for device in (two.alice, two.bob):
            flow = await device.flow()
            await device.process.ask(StartSas(user_id=flow.user_id, flow_id=flow.flow_id))
        await two.deliver()
        assert [VerificationStage.COMPARING] * 2 == await two.stages()
        await two.confirm()
        assert [DONE, DONE] == await two.stages()


async def test_our_other_device_steps_aside(autojump_clock: MockClock) -> None:
    """It sees in the room that this one has taken the request."""
    async with two_devices() as two, trio.open_nursery() as nursery:
        other = Device(two.homeserver, BOB, "BOBSOTHER")
        await other.start(nursery, 1)
        await other.sync()
        await two.know_each_other()
        await other.process.ask(UpdateDevices(users=(ALICE, BOB)))
        flow_id = await ask_in_room(two)
        await two.deliver()
        await other.sync()
        assert VerificationStage.ASKED is (await other.flow()).stage
        await two.bob_does(AcceptVerification)
        await other.sync()
        assert VerificationStage.ELSEWHERE is (await other.flow()).stage
        await two.alice_does(StartSas)
        await two.confirm()
        await other.sync()
        assert [DONE, DONE] == await two.stages()
        assert (VerificationStage.ELSEWHERE, flow_id) == ((await other.flow()).stage, (await two.alice.flow()).flow_id)
        nursery.cancel_scope.cancel()


# --- what comes from rooms


async def in_clear(two: Two, content: JsonObject, **fields: object) -> None:
    """Bob's device takes in an event."""
    event = {
        "type": "m.room.message",
        "sender": ALICE,
        "event_id": "$1",
        "origin_server_ts": round(trio.current_time() * 1000),
        "content": content,
        **fields,
    }
    await two.bob.process.ask(ReceiveVerificationEvent(room_id=two.room_id, event=event))


async def request(two: Two, *, to: str = BOB, device_id: str = "ALICEDEVICE") -> JsonObject:
    _, content = Verifier(ALICE, device_id, room_id=two.room_id).request("m.sas.v1", now=0, to=to)
    return content


async def test_a_request_to_somebody_else_is_none(autojump_clock: MockClock) -> None:
    async with two_devices() as two:
        await two.know_each_other()
        await in_clear(two, await request(two, to="@carol:example.org"))
        await in_clear(two, await request(two), sender=BOB)
        assert () == await two.bob.flows()


@pytest.mark.parametrize(("age", "flows"), [(9, 1), (11, 0), (-4, 1), (-6, 0)])
async def test_a_request_that_is_too_old_or_from_the_future_is_none(
    age: int, flows: int, autojump_clock: MockClock
) -> None:
    async with two_devices() as two:
        await two.know_each_other()
        made = round((trio.current_time() - age * 60) * 1000)
        await in_clear(two, await request(two), origin_server_ts=made)
        assert flows == len(await two.bob.flows())


async def test_a_request_of_an_unknown_device_waits_until_its_user_was_queried(autojump_clock: MockClock) -> None:
    async with two_devices() as two:
        await in_clear(two, await request(two))
        assert () == await two.bob.flows()
        await trio.sleep(1)
        assert VerificationStage.ASKED is (await two.bob.flow()).stage


async def test_a_request_of_a_device_that_does_not_exist_is_passed_over(autojump_clock: MockClock) -> None:
    async with two_devices() as two:
        await in_clear(two, await request(two, device_id="GHOST"))
        await trio.sleep(1)
        assert () == await two.bob.flows()


async def test_what_is_of_no_verification_is_passed_over(autojump_clock: MockClock) -> None:
    async with two_devices() as two:
        await in_clear(two, {"msgtype": "m.text", "body": "hello"})
        reference = {"m.relates_to": {"rel_type": "m.reference", "event_id": "$none"}}
        await in_clear(two, reference, type="m.key.verification.done")
        assert ((), []) == (await two.bob.flows(), in_room(two))


async def test_another_users_flow_in_a_room_is_not_known_by_its_id(autojump_clock: MockClock) -> None:
    """Somebody refers from another room, or from a device, to a flow that is in this one."""
    async with two_devices() as two:
        await ask_in_room(two)
        await two.deliver()
        flow = await two.bob.flow()
        cancel = {"code": "m.user", "reason": ""}
        relation = {"m.relates_to": {"rel_type": "m.reference", "event_id": flow.event_id}}
        event = {
            "type": "m.key.verification.cancel",
            "sender": ALICE,
            "event_id": "$2",
            "origin_server_ts": 0,
            "content": cancel | relation,
        }
        await two.bob.process.ask(ReceiveVerificationEvent(room_id=RoomId(f"{two.room_id}2"), event=event))
        content = {BOB: {two.bob.device_id: cancel | {"transaction_id": flow.event_id}}}
        await two.alice.session.send_to_device("m.key.verification.cancel", content)
        await two.deliver()
        assert VerificationStage.ASKED is (await two.bob.flow()).stage


async def test_what_cannot_be_read_is_an_error(autojump_clock: MockClock) -> None:
    async with two_devices() as two:
        await ask_in_room(two)
        (message,) = await two.alice.process.ask(VerificationMessages())
        await two.alice.send_to_room(message)
        (event,) = in_room(two)
        with pytest.raises(MissingRoomKey):
            await two.bob.process.ask(ReceiveVerificationEvent(room_id=two.room_id, event=event))
        with pytest.raises(MalformedMessage):
            await in_clear(two, {}, type="m.key.verification.done")
        with pytest.raises(MalformedMessage):
            await in_clear(two, await request(two), event_id=7)


async def test_nobody_asks_oneself_in_a_room(autojump_clock: MockClock) -> None:
    async with two_devices() as two:
        with pytest.raises(NoCommonMethod):
            await two.alice.process.ask(RequestVerification(user_id=ALICE, room_id=two.room_id))
        with pytest.raises(NoCommonMethod):
            await two.alice.process.ask(RequestVerification(user_id=BOB, room_id=two.room_id, methods=()))


async def test_an_unknown_message_is_marked_without_harm(autojump_clock: MockClock) -> None:
    async with two_devices() as two:
        marked = MarkVerificationMessageSent(transaction_id="none", event_id=EventId("$none"))
        await two.alice.process.ask(marked)
        await two.alice.process.ask(MarkVerificationMessageRefused(transaction_id="none"))
        assert () == await two.alice.flows()
