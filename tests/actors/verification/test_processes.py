"""Verifications between two devices of the library's whose processes take turns, at a homeserver in memory."""

from __future__ import annotations

import pytest
import trio
from trio.testing import MockClock

from olmstate.messages import (
    CancelVerification,
    ConfirmVerification,
    Devices,
    DeviceTrust,
    JsonObject,
    NoCommonMethod,
    ReceiveSync,
    RequestVerification,
    StartSas,
    SyncToken,
    UnknownVerification,
    UpdateDevices,
    UserId,
    VerificationChanged,
    VerificationStage,
    WrongStep,
)
from tests.actors.verification.conftest import ALICE, BOB, WHILE_IT_IS_SENT, Two, two_devices
from tests.peer.verifier import Verifier

CANCELLED, DONE = VerificationStage.CANCELLED, VerificationStage.DONE


async def are_verified(two: Two) -> None:
    assert [DONE, DONE] == await two.stages()
    assert {await two.bob.ed25519(): two.bob.device_id} == await two.alice.verified(BOB)
    assert {await two.alice.ed25519(): two.alice.device_id} == await two.bob.verified(ALICE)
    for side, other in ((two.alice, BOB), (two.bob, ALICE)):
        (device,) = await side.process.ask(Devices(user_id=other))
        assert DeviceTrust.VERIFIED is device.trust  # where room keys are shared, too


async def test_two_devices_see_the_same_string_and_verify_each_other(autojump_clock: MockClock) -> None:
    async with two_devices() as two:
        await two.compare()
        ours, theirs = await two.alice.flow(), await two.bob.flow()
        assert VerificationStage.COMPARING is ours.stage is theirs.stage
        assert ours.emoji is not None
        assert (7, ours.emoji, ours.decimals) == (len(ours.emoji), theirs.emoji, theirs.decimals)
        assert {} == await two.alice.verified(BOB)
        await two.confirm()
        await are_verified(two)


async def test_each_step_is_done_by_another_of_three_processes(autojump_clock: MockClock) -> None:
    async with two_devices(processes=3) as two:
        await two.compare()
        await two.confirm()
        await are_verified(two)


async def test_all_processes_end_between_any_two_steps_and_new_ones_go_on(autojump_clock: MockClock) -> None:
    async with two_devices(processes=2) as two:
        two.between_steps = two.replace_both
        await two.compare()
        await two.confirm()
        await are_verified(two)


async def test_one_message_goes_out_once_however_many_processes_there_are(autojump_clock: MockClock) -> None:
    async with two_devices(processes=3) as two:
        await two.compare()
        await two.confirm()
        sent = [asked.target.split("/")[-2] for asked in two.homeserver.asked if "/sendToDevice/" in asked.target]
        names = ["request", "ready", "start", "accept", "key", "key", "mac", "mac", "done", "done"]
        assert sorted(f"m.key.verification.{name}" for name in names) == sorted(sent)


async def test_strings_that_differ_end_it_on_both_sides(autojump_clock: MockClock) -> None:
    async with two_devices(processes=3) as two:
        flow_id = await two.compare()
        await two.bob.process.ask(CancelVerification(user_id=ALICE, flow_id=flow_id, mismatch=True))
        await two.deliver()
        for device, by_us in ((two.alice, False), (two.bob, True)):
            flow = await device.flow()
            assert (CANCELLED, "m.mismatched_sas", by_us) == (flow.stage, flow.cancel_code, flow.cancelled_by_us)
            assert (None, None) == (flow.emoji, flow.decimals)
        assert {} == await two.alice.verified(BOB) == await two.bob.verified(ALICE)


async def test_nobody_is_verified_before_both_have_confirmed(autojump_clock: MockClock) -> None:
    async with two_devices() as two:
        flow_id = await two.compare()
        await two.alice.process.ask(ConfirmVerification(user_id=BOB, flow_id=flow_id))
        await two.deliver()
        assert [VerificationStage.CONFIRMED, VerificationStage.COMPARING] == await two.stages()
        assert {} == await two.alice.verified(BOB) == await two.bob.verified(ALICE)


async def test_what_does_not_fit_is_refused_and_nothing_happens(autojump_clock: MockClock) -> None:
    async with two_devices() as two:
        flow_id = await two.request()
        with pytest.raises(WrongStep):
            await two.alice.process.ask(ConfirmVerification(user_id=BOB, flow_id=flow_id))
        with pytest.raises(UnknownVerification):
            await two.alice.process.ask(ConfirmVerification(user_id=BOB, flow_id="another"))
        with pytest.raises(UnknownVerification):
            await two.alice.process.ask(ConfirmVerification(user_id=ALICE, flow_id=flow_id))
        with pytest.raises(NoCommonMethod):
            await two.alice.process.ask(RequestVerification(user_id=UserId("@nobody:example.org")))
        assert [VerificationStage.REQUESTED, VerificationStage.ASKED] == await two.stages()


async def test_a_request_of_an_unknown_device_waits_until_its_user_was_queried(autojump_clock: MockClock) -> None:
    """And what the device sends meanwhile waits behind it."""
    async with two_devices(processes=3) as two:
        await two.alice.process.ask(UpdateDevices(users=(BOB,)))
        asked = await two.alice.process.ask(RequestVerification(user_id=BOB))
        await two.alice.process.ask(CancelVerification(user_id=BOB, flow_id=asked.flow_id))
        await trio.sleep(WHILE_IT_IS_SENT)
        assert 2 == len(two.homeserver.queued_for(two.bob.session))
        await two.bob.sync()
        assert () == await two.bob.flows()
        await trio.sleep(WHILE_IT_IS_SENT)
        queries = [asked.body for asked in two.homeserver.asked if asked.user_id == BOB and "/query" in asked.target]
        assert any(body is not None and ALICE in body["device_keys"] for body in queries)
        assert [CANCELLED, CANCELLED] == await two.stages()


async def test_a_request_of_a_device_that_does_not_exist_is_passed_over(autojump_clock: MockClock) -> None:
    async with two_devices() as two:
        ghost = two.homeserver.log_in("@eve:example.org", "GHOST")
        now = round(trio.current_time() * 1000)
        _, content = Verifier("@eve:example.org", "GHOST").request("m.sas.v1", now=now)
        await ghost.send_to_device("m.key.verification.request", {BOB: {two.bob.device_id: content}})
        await two.deliver()
        assert () == await two.bob.flows()
        assert [] == two.homeserver.queued_for(ghost)


async def test_an_event_of_no_verification_is_answered(autojump_clock: MockClock) -> None:
    async with two_devices() as two:
        await two.alice.session.send_to_device(
            "m.key.verification.key", {BOB: {two.bob.device_id: {"transaction_id": "none", "key": "A" * 43}}}
        )
        await two.bob.sync()
        await trio.sleep(WHILE_IT_IS_SENT)
        (answer,) = two.homeserver.queued_for(two.alice.session)
        assert "m.key.verification.cancel" == answer["type"]
        assert ("none", "m.unknown_transaction") == (answer["content"]["transaction_id"], answer["content"]["code"])


@pytest.mark.parametrize("in_room", [True, False])
async def test_a_second_request_ends_both_if_it_is_certain_which_device_made_it(
    *, in_room: bool, autojump_clock: MockClock
) -> None:
    """From device to device they come in clear."""
    async with two_devices() as two:
        await two.know_each_other()
        await two.request(in_room=in_room)
        await two.request(in_room=in_room)
        for device in (two.alice, two.bob):
            flows = await device.flows()
            ended = [(flow.stage, flow.cancel_code) == (CANCELLED, "m.unexpected_message") for flow in flows]
            assert [in_room, in_room] == ended


@pytest.mark.parametrize(("strangers", "asker"), [(1, BOB), (10, ALICE)])
async def test_strangers_who_begin_many_keep_others_out_as_little_as_they_can(
    strangers: int, asker: UserId, autojump_clock: MockClock
) -> None:
    """One could keep out everybody, our user's own devices too. Now it takes several, and those get through."""
    async with two_devices(user_ids=(asker, ALICE)) as two:
        await two.know_each_other()
        now = round(trio.current_time() * 1000)
        kind, content = Verifier(asker, two.alice.device_id, flow_id="wanted").request("m.sas.v1", now=now)
        for number in range(300):
            stranger = two.homeserver.log_in(f"@eve{number % strangers}:example.org", "EVE")
            begun = content | {"transaction_id": str(number), "from_device": f"GHOST{number}"}
            await stranger.send_to_device(kind, {ALICE: {two.bob.device_id: begun}})
        await two.alice.session.send_to_device(kind, {ALICE: {two.bob.device_id: content}})
        since = at = await two.bob.process.ask(SyncToken())
        came: list[JsonObject] = []
        while some := (answer := await two.bob.session.sync(at))["to_device"]["events"]:
            came += some
            at = answer["next_batch"]
        # all at once, before anybody's devices can be queried
        sync: JsonObject = {"next_batch": at, "to_device": {"events": came}}
        await two.bob.process.ask(ReceiveSync(sync=sync, since=since))
        assert ["wanted"] == [flow.flow_id for flow in await two.bob.flows()]


async def test_a_request_whose_time_was_over_while_nobody_looked_does_not_end_the_next_one(
    autojump_clock: MockClock,
) -> None:
    """It did: who had asked, given up without a word, and asked again when Bob's processes ran again, was refused."""

    async def ask(flow_id: str) -> None:
        now = round(trio.current_time() * 1000)
        kind, content = Verifier(ALICE, two.alice.device_id, flow_id=flow_id).request("m.sas.v1", now=now)
        await two.alice.session.send_to_device(kind, {BOB: {two.bob.device_id: content}})
        await two.bob.sync()

    async with two_devices() as two:
        await two.know_each_other()
        await ask("first")
        await two.bob.replace(after=11 * 60)
        await ask("second")
        await trio.sleep(WHILE_IT_IS_SENT)
        first, second = await two.bob.flows()
        assert (VerificationStage.DISMISSED, VerificationStage.ASKED) == (first.stage, second.stage)


async def test_a_verification_that_takes_too_long_ends_on_both_sides_and_is_forgotten(
    autojump_clock: MockClock,
) -> None:
    async with two_devices() as two:
        await two.compare()
        await trio.sleep(11 * 60)
        for device in (two.alice, two.bob):
            flow = await device.flow()
            assert (CANCELLED, "m.timeout") == (flow.stage, flow.cancel_code)
        await two.deliver()
        await trio.sleep(11 * 60)
        assert () == await two.alice.flows() == await two.bob.flows()
        with pytest.raises(UnknownVerification):
            await two.alice.process.ask(StartSas(user_id=BOB, flow_id="flow"))


async def test_a_request_that_nobody_takes_is_dismissed(autojump_clock: MockClock) -> None:
    async with two_devices() as two:
        await two.request()
        await trio.sleep(3 * 60)
        assert [VerificationStage.REQUESTED, VerificationStage.DISMISSED] == await two.stages()


async def test_who_subscribes_hears_of_each_stage(autojump_clock: MockClock) -> None:
    async with two_devices() as two:
        with two.bob.processes[0].subscribe(VerificationChanged) as changes:
            flow_id = await two.compare()
            await two.confirm()
            heard = [await changes.receive() for _ in range(6)]
        stages = ["asked", "ready", "started", "comparing", "confirmed", "done"]
        assert [(ALICE, flow_id, stage) for stage in stages] == [
            (change.user_id, change.flow_id, change.stage.value) for change in heard
        ]
