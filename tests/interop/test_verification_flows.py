"""The library's verification with matrix-rust-sdk's: each message is understood, each string the same, each end seen.

On a homeserver in memory: what goes between the two is the same as on Synapse.
"""

from __future__ import annotations

import time
from base64 import b64decode, b64encode
from collections.abc import Callable, Coroutine
from typing import Any

import pytest

from olmstate.actors._identities import signing
from olmstate.actors._identities.identity import Usage
from olmstate.actors._verification import events
from olmstate.actors._verification.effects import ShowQr, ShowSas
from olmstate.actors._verification.flow import State
from olmstate.actors._verification.methods import METHODS
from olmstate.messages import JsonObject, RoomId, UserId
from tests.interop.flow_device import FlowDevice
from tests.interop.program import Program
from tests.interop.rust_device import RustDevice, rust_device
from tests.peer.homeserver import Homeserver


class Two:
    """Our device, and an OlmMachine of another user or of our own."""

    def __init__(self, ours: FlowDevice, theirs: RustDevice) -> None:
        self.ours, self.theirs = ours, theirs
        self.flow_id = ""
        self.room_id: RoomId | None = None
        self._read = 0

    async def sync(self) -> None:
        for _ in range(3):
            await self.theirs.sync()
            await self.ours.sync()

    async def they_do(self, command: str, **arguments: object) -> Any:  # noqa: ANN401 - JSON
        answer = await self.theirs.do(command, user_id=self.ours.session.user_id, flow_id=self.flow_id, **arguments)
        await self.sync()
        return answer

    async def we_do(self, event: events.Event) -> None:
        await self.ours.do(event)
        await self.sync()

    async def their(self, what: str) -> JsonObject:
        state = await self.theirs.ask("verification_state", user_id=self.ours.session.user_id, flow_id=self.flow_id)
        found: JsonObject = state[what]
        return found

    async def we_request(self) -> None:
        session = self.theirs.session
        self.flow_id = await self.ours.request(session.user_id, session.device_id)
        await self.sync()
        await self.they_do("accept_verification")
        assert State.READY is self.ours.state

    async def they_request(self) -> None:
        session = self.ours.session
        asked = await self.theirs.do("request_verification", user_id=session.user_id, device_id=session.device_id)
        self.flow_id = asked["flow_id"]
        await self.sync()
        await self.we_do(events.AcceptRequest(methods=METHODS))
        assert State.READY is self.ours.state
        assert "ready" == (await self.their("request"))["phase"]

    async def see_the_same_string(self) -> None:
        theirs = await self.their("sas")
        shown = next(effect for effect in reversed(self.ours.effects) if isinstance(effect, ShowSas))
        assert shown.emoji is not None
        assert [emoji.name for emoji in shown.emoji] == theirs["emoji"]
        assert list(shown.decimals or ()) == theirs["decimals"]

    async def are_done(self) -> None:
        assert State.DONE is self.ours.state, self.ours.flow and self.ours.flow.code
        assert "done" == (await self.their("request"))["phase"]

    async def have_cancelled(self, code: str) -> None:
        await self.sync()
        request = await self.their("request")
        assert self.ours.flow is not None
        assert (State.CANCELLED, code) == (self.ours.state, self.ours.flow.code)
        assert ("cancelled", code) == (request["phase"], request["cancel"]["code"])


Begin = Callable[[Two], Coroutine[Any, Any, None]]
either_asks = pytest.mark.parametrize("begin", [Two.we_request, Two.they_request])


async def two_users(rust: Program) -> Two:
    """Both have cross-signing, and know each other's keys."""
    number = time.time_ns()  # machines outlive a test in their program
    server = Homeserver()
    ours = FlowDevice(session=server.log_in(f"@alice{number}:example.org", "ALICEDEVICE"))
    await ours.publish_device()
    await ours.publish_identity()
    theirs = await rust_device(rust, server.log_in(f"@bob{number}:example.org", "BOBDEVICE"))
    await theirs.do("bootstrap_cross_signing")
    await theirs.track(ours.session.user_id, theirs.session.user_id)
    # without a room in common nobody hears that keys have changed
    room_id = await ours.session.create_room(invite=[theirs.session.user_id])
    await theirs.session.join(room_id)
    return Two(ours, theirs)


async def two_devices(rust: Program, *, ours_is_old: bool) -> Two:
    """One user's: the old one has the cross-signing keys, the new one has nothing."""
    number = time.time_ns()
    user_id, server = f"@alice{number}:example.org", Homeserver()
    ours = FlowDevice(session=server.log_in(user_id, "OURS"), trusted=ours_is_old)
    await ours.publish_device()
    if ours_is_old:
        await ours.publish_identity()
    theirs = await rust_device(rust, server.log_in(user_id, "THEIRS"))
    if not ours_is_old:
        await theirs.do("bootstrap_cross_signing")
    await theirs.track(UserId(user_id))
    return Two(ours, theirs)


# --- SAS


@either_asks
@pytest.mark.parametrize("we_start", [False, True])
@pytest.mark.parametrize("we_confirm_first", [False, True])
async def test_emoji_are_the_same_and_both_verify(
    rust: Program, begin: Begin, *, we_start: bool, we_confirm_first: bool
) -> None:
    two = await two_users(rust)
    await begin(two)
    if we_start:
        await two.we_do(events.StartSas())
        await two.they_do("sas_accept")
    else:
        await two.they_do("sas_start")
    await two.see_the_same_string()
    if we_confirm_first:
        await two.we_do(events.Confirm())
    await two.they_do("sas_confirm")
    if not we_confirm_first:
        await two.we_do(events.Confirm())
    await two.are_done()

    [verified] = two.ours.verified
    theirs = await two.ours.identity(two.theirs.session.user_id)
    assert theirs is not None
    assert (theirs.master.public_key, two.theirs.identity["ed25519"]) == (verified.master_key, verified.ed25519)
    await two.ours.sign_what_was_verified()
    await two.sync()
    identity = await two.theirs.ask("get_identity", user_id=two.ours.session.user_id)
    assert identity["verified"]


@either_asks
async def test_two_starts_at_once_end_well(rust: Program, begin: Begin) -> None:
    two = await two_users(rust)
    await begin(two)
    await two.ours.do(events.StartSas())
    await two.they_do("sas_start")
    # ours is of the smaller user id
    await two.they_do("sas_accept")
    await two.see_the_same_string()
    await two.we_do(events.Confirm())
    await two.they_do("sas_confirm")
    await two.are_done()


@pytest.mark.parametrize("ours_is_old", [False, True])
@either_asks
async def test_two_devices_of_one_user_verify_each_other(rust: Program, begin: Begin, *, ours_is_old: bool) -> None:
    two = await two_devices(rust, ours_is_old=ours_is_old)
    await begin(two)
    await two.they_do("sas_start")
    await two.see_the_same_string()
    await two.we_do(events.Confirm())
    await two.they_do("sas_confirm")
    await two.are_done()
    user_id = two.ours.session.user_id
    if ours_is_old:
        await two.ours.sign_what_was_verified()
        assert await two.ours.is_cross_signed(user_id, "THEIRS")
    else:
        # it has signed us, as we see too
        await two.theirs.keep_house()
        assert await two.ours.is_cross_signed(user_id, "OURS")
        [verified] = two.ours.verified
        own = await two.ours.identity(user_id)
        assert own is not None
        assert own.master.public_key == verified.master_key


# --- QR


@either_asks
@pytest.mark.parametrize("kind", ["two users", "ours is old", "ours is new"])
@pytest.mark.parametrize("we_show", [False, True])
async def test_a_qr_code_verifies_both(rust: Program, begin: Begin, kind: str, *, we_show: bool) -> None:
    two = await (two_users(rust) if kind == "two users" else two_devices(rust, ours_is_old=kind == "ours is old"))
    await begin(two)
    if we_show:
        await two.we_do(events.ShowQr())
        [code] = [effect.data for effect in two.ours.effects if isinstance(effect, ShowQr)]
        await two.they_do("qr_scan", data=b64encode(code).decode())
        assert State.SCANNED is two.ours.state
        await two.we_do(events.Confirm())
    else:
        data = (await two.they_do("qr_show"))["data"]
        await two.we_do(events.ScanQr(data=b64decode(data)))
        await two.they_do("qr_confirm")
    await two.are_done()
    assert 1 == len(two.ours.verified)


# --- in a room


class InRoom(Two):
    """The same, with all that they say in the room's clear: encrypting it is another matter."""

    since: str | None = None

    async def meet(self) -> None:
        ours, theirs = self.ours.session, self.theirs.session
        self.room_id = await ours.create_room(invite=[theirs.user_id])
        await theirs.join(self.room_id)
        self.since = (await theirs.sync(None))["next_batch"]
        await self.ours.sync()

    async def sync(self) -> None:
        for _ in range(3):
            await self._they_read()
            await self.ours.sync()

    async def _they_read(self) -> None:
        assert self.room_id is not None
        answer = await self.theirs.session.sync(self.since)
        self.since = answer["next_batch"]
        room = answer.get("rooms", {}).get("join", {}).get(self.room_id, {})
        for event in room.get("timeline", {}).get("events", []):
            if events.is_verification(event["type"], event["content"]):
                # by the clock of the machine, which is the real one
                now = {**event, "origin_server_ts": time.time_ns() // 10**6}
                await self.theirs.ask("receive_in_room", room_id=self.room_id, event=now)
        for request in await self.theirs.ask("outgoing_requests"):
            await self._they_send(request)

    async def they_do(self, command: str, **arguments: object) -> Any:  # noqa: ANN401 - JSON
        answer = await self.theirs.ask(command, user_id=self.ours.session.user_id, flow_id=self.flow_id, **arguments)
        for request in (answer.get("request"), *answer.get("requests", ())):
            await self._they_send(request)
        await self.sync()
        return answer

    async def _they_send(self, request: JsonObject | None) -> None:
        if request is None or request["type"] != "room_message":
            await self.theirs.send_request(request)
            return
        assert self.room_id is not None
        event_id = await self.theirs.session.send(self.room_id, request["event_type"], request["body"])
        answer = {"event_id": event_id}
        await self.theirs.ask("mark_request_sent", request_id=request["id"], type="room_message", response=answer)

    async def we_request(self) -> None:
        assert self.room_id is not None
        self.flow_id = await self.ours.request_in_room(self.theirs.session.user_id, self.room_id)
        await self.sync()
        await self.they_do("accept_verification")

    async def they_request(self) -> None:
        assert self.room_id is not None
        asked = {"user_id": self.ours.session.user_id}
        content = await self.theirs.ask("request_content_for_room", **asked)
        self.flow_id = await self.theirs.session.send(self.room_id, "m.room.message", content)
        await self.theirs.ask("request_in_room", room_id=self.room_id, event_id=self.flow_id, **asked)
        await self.sync()
        await self.we_do(events.AcceptRequest(methods=METHODS))


@pytest.mark.parametrize("we_ask", [False, True])
@pytest.mark.parametrize("we_start", [False, True])
async def test_two_users_verify_each_other_in_a_room(rust: Program, *, we_ask: bool, we_start: bool) -> None:
    known = await two_users(rust)
    two = InRoom(known.ours, known.theirs)
    await two.meet()
    await (two.we_request() if we_ask else two.they_request())
    assert State.READY is two.ours.state
    if we_start:
        await two.we_do(events.StartSas())
        await two.they_do("sas_accept")
    else:
        await two.they_do("sas_start")
    await two.see_the_same_string()
    await two.they_do("sas_confirm")
    await two.we_do(events.Confirm())
    await two.are_done()


# --- bad ends


async def test_a_cancellation_of_either_is_seen_by_both(rust: Program) -> None:
    two = await two_users(rust)
    await two.we_request()
    await two.we_do(events.GiveUp())
    await two.have_cancelled("m.user")
    two = await two_users(rust)
    await two.they_request()
    await two.they_do("cancel_verification")
    await two.have_cancelled("m.user")


async def test_strings_that_differ_are_seen_as_such_by_both(rust: Program) -> None:
    two = await two_users(rust)
    await two.they_request()
    await two.they_do("sas_start")
    await two.we_do(events.Mismatch())
    await two.have_cancelled("m.mismatched_sas")


async def test_an_11_minute_pause_is_a_timeout_for_both(rust: Program) -> None:
    two = await two_users(rust)
    await two.they_request()
    await two.they_do("sas_start")
    two.ours.now += 11 * 60_000
    await two.we_do(events.Tick())
    await two.have_cancelled("m.timeout")


# --- cross-signing


async def test_our_cross_signing_is_theirs_and_their_seeds_are_ours(rust: Program) -> None:
    two = await two_users(rust)
    user_id = two.ours.session.user_id
    identity = await two.theirs.ask("get_identity", user_id=user_id)
    own = await two.ours.identity(user_id)
    assert own is not None
    assert own.master.public_key in identity["master"]["keys"].values()
    device = await two.theirs.ask("get_device", user_id=user_id, device_id="ALICEDEVICE")
    assert device["cross_signed_by_owner"]

    exported = await two.theirs.ask("export_cross_signing")
    seeds = signing.Seeds(**{usage.value: signing.seed_from_base64(exported[usage.value], usage) for usage in Usage})
    theirs = await two.ours.identity(two.theirs.session.user_id)
    assert theirs is not None
    matches = signing.compare(seeds, theirs)
    # another's user-signing key isn't shown to us
    assert {Usage.MASTER: True, Usage.SELF_SIGNING: True, Usage.USER_SIGNING: False} == matches
