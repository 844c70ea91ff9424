"""Verifications with somebody between, beside or against them: nobody is half verified."""

from __future__ import annotations

import copy
from typing import Any

import pytest
import trio
from trio.testing import MockClock

from olmstate.actors._device_lists.actor import NotUpToDate
from olmstate.actors._verification import events, receiving
from olmstate.messages import (
    AcceptVerification,
    BootstrapCrossSigning,
    CancelVerification,
    ConfirmVerification,
    DeviceAddress,
    DeviceId,
    Devices,
    EventId,
    IdentityState,
    JsonObject,
    MarkVerificationMessageSent,
    OutdatedUsers,
    ReceiveSync,
    ReceiveVerificationEvent,
    RequestVerification,
    SendToDevice,
    StartSas,
    TrackUsers,
    UpdateDevices,
    UserId,
    Verification,
    VerificationChanged,
    VerificationMessages,
    VerificationStage,
)
from olmstate.storage import Table
from tests.actors.verification.conftest import ALICE, BOB, WHILE_IT_IS_SENT, Device, Two, two_devices
from tests.operations.peer import Peer
from tests.peer.session import API, Session
from tests.peer.verifier import Verifier, fake_key

CANCELLED, DONE = VerificationStage.CANCELLED, VerificationStage.DONE


async def ends(two: Two) -> list[tuple[VerificationStage, str | None]]:
    return [(flow.stage, flow.cancel_code) for flow in (await two.alice.flow(), await two.bob.flow())]


async def nobody_is_verified(two: Two) -> None:
    assert {} == await two.alice.verified(BOB) == await two.bob.verified(ALICE)


def exchange(two: Two, kind: str, changed: dict[str, Any]) -> None:
    """Have the homeserver put other values into messages of one kind."""
    send = two.homeserver._send_to_device  # pyright: ignore[reportPrivateUsage] - what a hostile one does

    def tamper(sender: str, type_: str, messages: dict[str, dict[str, Any]]) -> JsonObject:
        messages = copy.deepcopy(messages)
        if type_ == f"m.key.verification.{kind}":
            for devices in messages.values():
                for content in devices.values():
                    content.update(changed)
        return send(sender, type_, messages)

    two.homeserver._send_to_device = tamper  # type: ignore[method-assign,assignment]


@pytest.mark.parametrize(
    ("kind", "changed", "codes"),
    [
        ("start", {"hashes": ["sha256", "x"]}, {"m.mismatched_commitment"}),
        ("accept", {"commitment": fake_key("other")}, {"m.mismatched_commitment"}),
        ("key", {"key": Verifier("@eve:example.org", "EVE").public}, {"m.mismatched_commitment"}),
        ("mac", {"keys": "A" * 43}, {"m.key_mismatch"}),
        ("mac", {"mac": {"ed25519:BOBDEVICE": "A" * 43, "ed25519:ALICEDEVICE": "A" * 43}}, {"m.key_mismatch"}),
    ],
)
async def test_a_key_that_is_exchanged_on_its_way_ends_it_on_both_sides(
    kind: str, changed: dict[str, Any], codes: set[str], autojump_clock: MockClock
) -> None:
    async with two_devices(processes=3) as two:
        await two.ready()
        exchange(two, kind, changed)
        await two.alice_does(StartSas)
        for wish in (two.alice_does, two.bob_does):
            if (await two.alice.flow()).stage is not CANCELLED:
                await wish(ConfirmVerification)
        (ours, our_code), (theirs, their_code) = await ends(two)
        assert (CANCELLED, CANCELLED) == (ours, theirs)
        assert {our_code, their_code} == codes
        await nobody_is_verified(two)


async def test_everything_that_was_sent_comes_again_and_changes_nothing(autojump_clock: MockClock) -> None:
    """At each step, and once more when it is over."""
    async with two_devices(processes=3) as two:
        send = two.homeserver._send_to_device  # pyright: ignore[reportPrivateUsage] - what a hostile one does
        sent = list[tuple[Any, ...]]()

        def remember(sender: str, type_: str, messages: dict[str, dict[str, Any]]) -> JsonObject:
            sent.append(copy.deepcopy((sender, type_, messages)))
            return send(sender, type_, messages)

        two.homeserver._send_to_device = remember  # type: ignore[method-assign,assignment]

        async def again() -> None:
            for message in sent:
                send(*copy.deepcopy(message))
            await two.deliver()

        await two.request()
        for wish, does in (
            (AcceptVerification, two.bob_does),
            (StartSas, two.alice_does),
            (ConfirmVerification, two.alice_does),
            (ConfirmVerification, two.bob_does),
        ):
            await does(wish)
            await again()
        assert [DONE, DONE] == await two.stages()
        names = [message[1] for message in sent]
        assert [10, 0] == [len(names), names.count("m.key.verification.cancel")]


@pytest.mark.parametrize("in_room", [False, True])
async def test_both_cancel_at_once(*, in_room: bool, autojump_clock: MockClock) -> None:
    async with two_devices(processes=2) as two:
        await two.compare(in_room=in_room)
        for device, mismatch in ((two.alice, True), (two.bob, False)):
            flow = await device.flow()
            await device.process.ask(CancelVerification(user_id=flow.user_id, flow_id=flow.flow_id, mismatch=mismatch))
        await two.deliver()
        assert [(CANCELLED, "m.mismatched_sas"), (CANCELLED, "m.user")] == await ends(two)
        for device in (two.alice, two.bob):
            assert (await device.flow()).cancelled_by_us
        await nobody_is_verified(two)


async def test_ten_at_once_do_not_disturb_each_other(autojump_clock: MockClock) -> None:  # noqa: C901 - ten flows, step by step
    """Alice asks ten devices of others', each apart; nine say yes, one that the emoji differ."""
    async with two_devices(processes=3) as two, trio.open_nursery() as nursery:
        others: list[Device] = []
        for number in range(10):
            other = Device(two.homeserver, UserId(f"@other{number}:example.org"), f"DEVICE{number}")
            await other.start(nursery, 1)
            await two.alice.process.ask(UpdateDevices(users=(other.user_id,)))
            request = RequestVerification(user_id=other.user_id, devices=(other.device_id,))
            await two.alice.process.ask(request)
            others.append(other)

        async def settle() -> None:
            for _ in range(4):
                await trio.sleep(WHILE_IT_IS_SENT)
                for device in (two.alice, *others):
                    await device.sync()

        async def everybody(wish: type[Any], device: Device, flow: Verification, **fields: bool) -> None:
            await device.process.ask(wish(user_id=flow.user_id, flow_id=flow.flow_id, **fields))

        await settle()
        for other in others:
            await everybody(AcceptVerification, other, await other.flow())
        await settle()
        for flow in await two.alice.flows():
            await everybody(StartSas, two.alice, flow)
        await settle()
        shown = {flow.emoji for flow in await two.alice.flows()}
        assert shown == {(await other.flow()).emoji for other in others}
        for flow in await two.alice.flows():
            if flow.device_id == DeviceId("DEVICE7"):
                await everybody(CancelVerification, two.alice, flow, mismatch=True)
            else:
                await everybody(ConfirmVerification, two.alice, flow)
        for other in others:
            if other.device_id != "DEVICE7":
                await everybody(ConfirmVerification, other, await other.flow())
        await settle()
        for other in others:
            stage = CANCELLED if other.device_id == "DEVICE7" else DONE
            assert stage is (await other.flow()).stage
            verified = set((await two.alice.verified(other.user_id)).values())
            assert ({other.device_id} if stage is DONE else set()) == verified
        nursery.cancel_scope.cancel()


async def test_an_11_minute_pause_at_the_emoji_verifies_nobody(autojump_clock: MockClock) -> None:
    async with two_devices(processes=2) as two:
        for device in (two.alice, two.bob):
            await device.process.ask(BootstrapCrossSigning())
        await two.know_each_other()
        await two.compare()
        await trio.sleep(11 * 60)
        await two.deliver()
        assert [(CANCELLED, "m.timeout")] * 2 == await ends(two)
        await nobody_is_verified(two)
        assert IdentityState.PINNED is (await two.alice.identity_of(BOB)).state


async def test_a_third_users_events_are_answered_and_change_nothing(autojump_clock: MockClock) -> None:
    async with two_devices() as two:
        await two.compare()
        flow_id = (await two.alice.flow()).flow_id
        eve = two.homeserver.log_in("@eve:example.org", "EVE")
        content = {"transaction_id": flow_id, "code": "m.user", "reason": ""}
        await eve.send_to_device("m.key.verification.cancel", {BOB: {two.bob.device_id: content}})
        key = {"transaction_id": flow_id, "key": fake_key("eve")}
        await eve.send_to_device("m.key.verification.key", {BOB: {two.bob.device_id: key}})
        await two.deliver()
        assert [VerificationStage.COMPARING] * 2 == await two.stages()
        (answer,) = two.homeserver.queued_for(eve)
        assert "m.unknown_transaction" == answer["content"]["code"]
        await two.confirm()
        assert [DONE, DONE] == await two.stages()


async def test_in_a_room_nobody_elses_event_waits_as_the_peers(autojump_clock: MockClock) -> None:
    """Bob takes the request with a device that isn't known yet, and Eve, who is in the room, refers to the flow.

    What waited for Bob's devices was taken for Bob's, whoever had sent it: Eve's cancellation ended it. And her events
    could take the room that Bob's need.
    """
    async with two_devices(processes=2) as two, trio.open_nursery() as nursery:
        await two.know_each_other()
        await two.alice.process.ask(RequestVerification(user_id=BOB, room_id=two.room_id))
        await two.alice.send_to_rooms()
        event_id = (await two.alice.flow()).event_id
        assert event_id is not None
        new = Device(two.homeserver, BOB, "BOBSNEW")
        await new.start(nursery, 1)
        two.alice.unsent = "keys/query"

        async def comes(sender: str, number: int, kind: str, content: JsonObject) -> None:
            relation = {"m.relates_to": {"rel_type": "m.reference", "event_id": event_id}}
            event: JsonObject = {
                "type": f"m.key.verification.{kind}",
                "sender": sender,
                "event_id": f"${sender} {number}",
                "origin_server_ts": round(trio.current_time() * 1000),
                "content": content | relation,
            }
            received = ReceiveVerificationEvent(room_id=two.room_id, event=event)
            await two.alice.process.ask(received)

        await comes(BOB, 0, "ready", {"from_device": "BOBSNEW", "methods": ["m.sas.v1"]})
        for number in range(20):
            await comes("@eve:example.org", number, "cancel", {"code": "m.user", "reason": ""})
        _, start = Verifier(BOB, "BOBSNEW", room_id=two.room_id, flow_id=event_id).start()
        await comes(BOB, 1, "start", start)
        two.alice.unsent = "nothing"
        await trio.sleep(60)
        flow = await two.alice.flow()
        assert (VerificationStage.STARTED, "BOBSNEW") == (flow.stage, flow.device_id)
        nursery.cancel_scope.cancel()


async def test_nobody_keeps_others_from_asking_by_asking_many_times(
    autojump_clock: MockClock, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Whoever sent 256 requests first was the last to be heard for ten minutes: all others were passed over."""
    monkeypatch.setattr(receiving, "MOST_FLOWS", 4)
    async with two_devices() as two, trio.open_nursery() as nursery:
        eve = Device(two.homeserver, UserId("@eve:example.org"), "EVE")
        await eve.start(nursery, 1)

        async def flood(name: str) -> None:
            for number in range(8):
                content = {"from_device": "EVE", "methods": ["m.sas.v1"], "transaction_id": f"{name} {number}"}
                made = {"timestamp": round(trio.current_time() * 1000)}
                messages = {BOB: {two.bob.device_id: content | made}}
                await eve.session.send_to_device("m.key.verification.request", messages)
            await two.deliver()

        await two.bob.process.ask(UpdateDevices(users=(eve.user_id,)))
        await flood("before")
        flow_id = await two.request()
        await flood("after")
        flows = {flow.user_id: flow for flow in await two.bob.flows()}
        assert (flow_id, VerificationStage.ASKED) == (flows[ALICE].flow_id, flows[ALICE].stage)
        assert 4 == len(await two.bob.flows())
        with two.bob.process.subscribe(VerificationChanged) as changed:
            monkeypatch.setattr(receiving, "MOST_FLOWS", 1)
            await flood("last")
            told = [changed.receive_nowait() for _ in range(changed.statistics().current_buffer_used)]
            assert VerificationStage.DISMISSED in [each.stage for each in told if each.user_id == ALICE]
        nursery.cancel_scope.cancel()


async def test_whoever_sends_much_is_not_answered_each_time(autojump_clock: MockClock) -> None:
    """Each event of no flow was answered, each request that was one too many twice; all else waited for those."""
    async with two_devices() as two:
        eve = two.homeserver.log_in("@eve:example.org", "EVE")
        two.bob.unsent = "sendToDevice"
        for number in range(receiving.MOST_ANSWERS + 8):
            content = {"transaction_id": f"{number}", "key": fake_key("eve")}
            await eve.send_to_device("m.key.verification.key", {BOB: {two.bob.device_id: content}})
        await two.deliver()
        two.bob.unsent = "nothing"
        await trio.sleep(600)
        assert receiving.MOST_ANSWERS == len(two.homeserver.queued_for(eve))
        await two.compare()


async def ask_in_alices_name(two: Two, thief: Session, *flow_ids: str) -> None:
    """As another device of the same user can, and the homeserver."""
    for flow_id in flow_ids:
        now = round(trio.current_time() * 1000)
        kind, content = Verifier(ALICE, two.alice.device_id, flow_id=flow_id).request("m.sas.v1", now=now)
        await thief.send_to_device(kind, {two.bob.user_id: {two.bob.device_id: content}})
    await two.deliver()


async def test_nobody_ends_anothers_verification_by_asking_in_its_name(autojump_clock: MockClock) -> None:
    """Two requests of one device end each other. Whose a request is that came in clear, any device of its user says."""
    async with two_devices(user_ids=(ALICE, ALICE)) as two:
        thief = two.homeserver.log_in(ALICE, "THIEF")
        await two.know_each_other()

        await ask_in_alices_name(two, thief, "before")
        flow_id = await two.request()
        await ask_in_alices_name(two, thief, "meanwhile")
        flows = {flow.flow_id: flow.stage for flow in await two.bob.flows()}
        assert VerificationStage.ASKED is flows[flow_id]
        await two.bob.process.ask(AcceptVerification(user_id=ALICE, flow_id=flow_id))
        await two.deliver()
        await two.alice_does(StartSas)
        await ask_in_alices_name(two, thief, "at last")
        for device in (two.alice, two.bob):
            await device.process.ask(ConfirmVerification(user_id=ALICE, flow_id=flow_id))
            await two.deliver()
        assert DONE is (await two.alice.flow()).stage
        assert DONE is {flow.flow_id: flow.stage for flow in await two.bob.flows()}[flow_id]


async def test_nobody_keeps_its_users_other_devices_from_asking_by_having_much_be_answered(
    autojump_clock: MockClock,
) -> None:
    """Who had so many answers coming began no verification any more; of which device they are, nobody knows."""
    async with two_devices(user_ids=(ALICE, ALICE)) as two:
        thief = two.homeserver.log_in(ALICE, "THIEF")
        await two.know_each_other()
        two.bob.unsent = "sendToDevice"
        for number in range(receiving.MOST_ANSWERS + 8):
            content = {"transaction_id": f"{number}", "key": fake_key("thief")}
            await thief.send_to_device("m.key.verification.key", {ALICE: {two.bob.device_id: content}})
        await two.deliver()
        flow_id = await two.request()
        assert (flow_id, VerificationStage.ASKED) == ((await two.bob.flow()).flow_id, (await two.bob.flow()).stage)


@pytest.mark.parametrize("kind", ["request", "start"])
async def test_whoever_begins_many_is_not_answered_each_time_either(kind: str, autojump_clock: MockClock) -> None:
    async with two_devices() as two, trio.open_nursery() as nursery:
        eve = Device(two.homeserver, UserId("@eve:example.org"), "EVE")
        await eve.start(nursery, 1)
        await two.bob.process.ask(UpdateDevices(users=(eve.user_id,)))
        two.bob.unsent = "sendToDevice"
        for number in range(receiving.MOST_ANSWERS + 8):
            verifier = Verifier(eve.user_id, eve.device_id, flow_id=f"{number}")
            now = round(trio.current_time() * 1000)
            # a start that has nothing in common with us is refused; what comes after a request, if it is garbage
            messages = (
                [verifier.start(hashes=["none"])]
                if kind == "start"
                else [verifier.request("m.sas.v1", now=now), verifier.message("m.key.verification.key", key=7)]
            )
            for type_, content in messages:
                await eve.session.send_to_device(type_, {BOB: {two.bob.device_id: content}})
        await two.deliver()
        two.bob.unsent = "nothing"
        await trio.sleep(600)
        assert receiving.MOST_ANSWERS == len(two.homeserver.queued_for(eve.session))
        nursery.cancel_scope.cancel()


async def test_whoever_begins_many_encrypted_is_not_answered_each_time_either(autojump_clock: MockClock) -> None:
    """It is certain whose they are, so that each one ends the one before, and two are answered."""
    async with two_devices() as two:
        await two.know_each_other()
        two.bob.unsent = "sendToDevice"
        for number in range(2 * receiving.MOST_ANSWERS):
            now = round(trio.current_time() * 1000)
            request = Verifier(ALICE, two.alice.device_id, flow_id=f"{number}").request("m.sas.v1", now=now)
            to = DeviceAddress(user_id=BOB, device_id=two.bob.device_id)
            await two.alice.process.ask(SendToDevice(devices=(to,), type=request[0], content=request[1]))
        await two.deliver()
        two.bob.unsent = "nothing"
        await trio.sleep(600)
        answers = two.homeserver.queued_for(two.alice.session)
        assert receiving.MOST_ANSWERS <= len(answers) <= receiving.MOST_ANSWERS + 1


async def test_a_flow_takes_little_room_whatever_is_sent_of_it(autojump_clock: MockClock) -> None:
    """16 events of 64 KB waited in each of 256 flows."""
    async with two_devices() as two:
        await two.know_each_other()
        ghost = two.homeserver.log_in("@eve:elsewhere.example", "GHOST")
        two.bob.unsent = "keys/query"
        now = round(trio.current_time() * 1000)
        verifier = Verifier("@eve:elsewhere.example", "GHOST")
        messages = [
            verifier.request("m.sas.v1", now=now),
            *(verifier.message(events.KEY, key=f"{n}") for n in range(20)),
        ]
        for kind, content in messages:
            await ghost.send_to_device(kind, {BOB: {two.bob.device_id: {**content, "padding": "x" * 30_000}}})
        large = Verifier("@eve:elsewhere.example", "GHOST", flow_id="large").request("m.sas.v1", now=now)
        await ghost.send_to_device(large[0], {BOB: {two.bob.device_id: {**large[1], "padding": "x" * 60_000}}})
        await two.deliver()
        (row,) = two.bob.disk.rows(Table.VERIFICATIONS)
        assert row.value is not None
        assert len(row.value) < 2 * receiving.MOST_BYTES


async def strangers_ask(two: Two, number: int) -> tuple[UserId, ...]:
    """So many users of whom nobody has heard ask Bob to verify."""
    users: list[UserId] = []
    for each in range(number):
        user_id, device_id = UserId(f"@stranger{each}:elsewhere.example"), "STRANGE"
        stranger = two.homeserver.log_in(user_id, device_id)
        await stranger.request("POST", f"{API}/keys/upload", {"device_keys": Peer(user_id, device_id).device_keys()})
        now = round(trio.current_time() * 1000)
        kind, content = Verifier(user_id, device_id, flow_id=f"{now}").request("m.sas.v1", now=now)
        await stranger.send_to_device(kind, {BOB: {two.bob.device_id: content}})
        users.append(user_id)
    return tuple(users)


async def test_strangers_who_ask_are_not_tracked(autojump_clock: MockClock) -> None:
    """They were, for ever: each made us query one user more, each time that anybody's devices may have changed."""
    async with two_devices() as two:
        await two.know_each_other()
        strangers = await strangers_ask(two, 3)
        await two.deliver()
        flows = await two.bob.flows()
        assert set(strangers) == {flow.user_id for flow in flows if flow.stage is VerificationStage.ASKED}
        queries = await queries_for(two, strangers[0])
        assert 1 == queries
        await two.bob.process.ask(
            ReceiveSync(sync={"next_batch": "changed", "device_lists": {"changed": list(strangers)}})
        )
        await two.bob.process.ask(ReceiveSync(sync={"next_batch": "anew"}))  # whoever may have changed since is queried
        await trio.sleep(60)
        assert queries == await queries_for(two, strangers[0])
        assert strangers == await two.bob.process.ask(NotUpToDate(users=strangers))


@pytest.mark.parametrize("number", [3, 8])
async def test_strangers_of_whom_nobody_tells_are_not_asked_for_longer_than_their_events_wait(
    number: int, autojump_clock: MockClock, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A server that fails left its users to be queried for ever."""
    monkeypatch.setattr(receiving, "MOST_FLOWS", 4)
    async with two_devices() as two:
        await two.know_each_other()
        two.bob.unsent = "keys/query"
        await strangers_ask(two, number)
        await two.deliver()
        asked_for = await two.bob.process.ask(OutdatedUsers())
        assert min(4, number) == len(asked_for)
        await trio.sleep(11 * 60)
        assert () == await two.bob.process.ask(OutdatedUsers())


async def test_whoever_asks_again_is_asked_for_as_long_as_the_second_request_waits(autojump_clock: MockClock) -> None:
    async with two_devices() as two:
        await two.know_each_other()
        two.bob.unsent = "keys/query"
        asked = [await strangers_ask(two, 1)]
        await two.deliver()
        await trio.sleep(6 * 60)
        asked.append(await strangers_ask(two, 1))
        await two.deliver()
        await trio.sleep(6 * 60)
        assert asked[-1] == await two.bob.process.ask(OutdatedUsers())


@pytest.mark.parametrize("tracked", [False, True])
async def test_nobody_is_asked_for_whose_flow_is_over_unless_tracked(
    *, tracked: bool, autojump_clock: MockClock
) -> None:
    """Of our own request, too, which a device has taken that isn't known."""
    async with two_devices() as two:
        if tracked:
            await two.alice.process.ask(TrackUsers(users=(BOB,)))
        two.alice.unsent = "keys/query"
        await two.alice.process.ask(RequestVerification(user_id=BOB, room_id=two.room_id))
        (message,) = await two.alice.process.ask(VerificationMessages())
        event_id = EventId("$request")
        sent = MarkVerificationMessageSent(transaction_id=message.transaction_id, event_id=event_id)
        await two.alice.process.ask(sent)
        kind, content = Verifier(BOB, "BOBSNEW", room_id=two.room_id, flow_id=event_id).ready("m.sas.v1")
        now = round(trio.current_time() * 1000)
        event: JsonObject = {"event_id": "$ready", "origin_server_ts": now, "type": kind, "sender": BOB}
        ready = ReceiveVerificationEvent(room_id=two.room_id, event={**event, "content": content})
        await two.alice.process.ask(ready)
        assert BOB in await two.alice.process.ask(OutdatedUsers())
        flow = await two.alice.flow()
        await two.alice.process.ask(CancelVerification(user_id=BOB, flow_id=flow.flow_id))
        assert tracked == (BOB in await two.alice.process.ask(OutdatedUsers()))


async def queries_for(two: Two, user_id: UserId) -> int:
    """How often Bob's device has asked for somebody's devices."""
    bodies = [each.body for each in two.homeserver.asked if each.user_id == BOB and "/query" in each.target]
    return sum(user_id in body["device_keys"] for body in bodies if body is not None)


# --- what is possible after all


async def test_who_knows_its_id_can_end_a_verification_in_the_name_of_another_device_of_the_same_user(
    autojump_clock: MockClock,
) -> None:
    """A request that goes to all of a user's devices has one id."""
    async with two_devices() as two:
        thief = two.homeserver.log_in(ALICE, "THIEF")
        await two.compare()
        content = {"transaction_id": (await two.bob.flow()).flow_id, "code": "m.user", "reason": ""}
        await thief.send_to_device("m.key.verification.cancel", {BOB: {two.bob.device_id: content}})
        await two.deliver()
        assert CANCELLED is (await two.bob.flow()).stage
        await nobody_is_verified(two)


async def test_what_our_user_has_done_nothing_about_goes_for_what_is_begun_in_the_same_users_name(
    autojump_clock: MockClock, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(receiving, "MOST_FLOWS", 4)
    async with two_devices() as two:
        thief = two.homeserver.log_in(ALICE, "THIEF")
        await two.know_each_other()
        flow_id = await two.ready()
        another = await two.request()
        await ask_in_alices_name(two, thief, *map(str, range(8)))
        known = [flow.flow_id for flow in await two.bob.flows()]
        assert (True, False) == (flow_id in known, another in known)


async def test_what_was_learned_of_strangers_who_asked_is_kept(autojump_clock: MockClock) -> None:
    """Or a homeserver could have a device come back with other keys."""
    async with two_devices() as two:
        await two.know_each_other()
        strangers = await strangers_ask(two, 2)
        await two.deliver()
        await trio.sleep(60 * 60)
        assert () == await two.bob.flows()
        for stranger in strangers:
            assert ["STRANGE"] == [each.device_id for each in await two.bob.process.ask(Devices(user_id=stranger))]
