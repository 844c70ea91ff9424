"""What the OlmMachines can do with each other: so a failure beside olmstate is not the driver's."""

from __future__ import annotations

import pytest

from olmstate.messages import Json, JsonObject
from tests.interop.homeserver import Homeserver
from tests.interop.people import meet, sync_all
from tests.interop.program import Program
from tests.interop.rust_device import RustDevice, rust_device


@pytest.fixture
async def alice(rust: Program, homeserver: Homeserver) -> RustDevice:
    return await signed_in(await rust_device(rust, await homeserver.register("alice")))


@pytest.fixture
async def bob(rust: Program, homeserver: Homeserver) -> RustDevice:
    return await signed_in(await rust_device(rust, await homeserver.register("bob")))


async def signed_in(device: RustDevice) -> RustDevice:
    await device.do("bootstrap_cross_signing")
    await device.track(device.session.user_id)
    return device


class Flow:
    """A verification of two machines, seen from both sides."""

    def __init__(self, one: RustDevice, other: RustDevice, flow_id: str) -> None:
        self.sides = one, other
        self.flow_id = flow_id

    async def do(self, side: RustDevice, command: str, **arguments: object) -> Json:
        """A step of one side; then both hear of it."""
        one, other = self.sides
        with_whom = (other if side is one else one).session.user_id
        done = await side.do(command, user_id=with_whom, flow_id=self.flow_id, **arguments)
        await sync_all(self.sides)
        return done

    async def states(self, of: str) -> list[JsonObject]:
        """``request``, ``sas`` or ``qr``, of both sides."""
        one, other = self.sides
        return [
            (await side.ask("verification_state", user_id=mate.session.user_id, flow_id=self.flow_id))[of]
            for side, mate in ((one, other), (other, one))
        ]


async def know_each_other(one: RustDevice, other: RustDevice) -> None:
    await one.track(other.session.user_id)
    await other.track(one.session.user_id)
    await sync_all([one, other])


async def request_by_to_device(one: RustDevice, other: RustDevice, **methods: object) -> Flow:
    await know_each_other(one, other)
    to = {"user_id": other.session.user_id, "device_id": other.session.device_id}
    flow = Flow(one, other, (await one.do("request_verification", **to, **methods))["flow_id"])
    await sync_all([one, other])
    await flow.do(other, "accept_verification", **methods)
    return flow


async def request_in_room(one: RustDevice, other: RustDevice) -> Flow:
    room = await meet([one, other])
    await know_each_other(one, other)
    content = await one.ask("request_content_for_room", user_id=other.session.user_id)
    event_id = await one.send_content(room, content)
    await one.ask("request_in_room", user_id=other.session.user_id, room_id=room, event_id=event_id)
    flow = Flow(one, other, event_id)
    await sync_all([one, other])
    await flow.do(other, "accept_verification")
    return flow


async def compare_emoji(flow: Flow) -> None:
    one, other = flow.sides
    await flow.do(one, "sas_start")
    await flow.do(other, "sas_accept")
    seen = await flow.states("sas")
    assert 7 == len(seen[0]["emoji"])
    assert seen[0]["emoji"] == seen[1]["emoji"]
    for side in flow.sides:
        await flow.do(side, "sas_confirm")
    assert ["done", "done"] == [state["phase"] for state in await flow.states("request")]


async def sees_as_verified(one: RustDevice, other: RustDevice) -> bool:
    await sync_all([one, other])
    verified: bool = (await one.ask("get_identity", user_id=other.session.user_id))["verified"]
    return verified


async def test_two_users_verify_each_other_by_emoji(alice: RustDevice, bob: RustDevice) -> None:
    await compare_emoji(await request_by_to_device(alice, bob))
    assert await sees_as_verified(alice, bob)
    assert await sees_as_verified(bob, alice)


async def test_two_users_verify_each_other_in_a_room(alice: RustDevice, bob: RustDevice) -> None:
    await compare_emoji(await request_in_room(alice, bob))
    assert await sees_as_verified(alice, bob)
    assert await sees_as_verified(bob, alice)


async def test_two_users_verify_each_other_by_qr_code(alice: RustDevice, bob: RustDevice) -> None:
    flow = await request_by_to_device(alice, bob)
    code = (await flow.do(alice, "qr_show"))["data"]
    await flow.do(bob, "qr_scan", data=code)
    await flow.do(alice, "qr_confirm")
    assert ["done", "done"] == [state["phase"] for state in await flow.states("request")]
    assert await sees_as_verified(alice, bob)
    assert await sees_as_verified(bob, alice)


async def test_a_new_device_that_was_verified_gets_the_secrets(
    alice: RustDevice, rust: Program, homeserver: Homeserver
) -> None:
    new = await rust_device(rust, await homeserver.log_in(alice.session.user_id))
    assert {"master": False, "self_signing": False, "user_signing": False} == await new.ask("cross_signing_status")
    await compare_emoji(await request_by_to_device(new, alice))
    await new.ask("request_missing_secrets")
    await new.keep_house()
    for _ in range(2):  # the request, and its answer on a new Olm session
        await sync_all([alice, new])
    assert {"master": True, "self_signing": True, "user_signing": True} == await new.ask("cross_signing_status")
    assert (await new.ask("get_device", user_id=new.session.user_id, device_id=new.session.device_id))[
        "cross_signed_by_owner"
    ]


async def test_a_verification_that_was_cancelled_is_so_for_both(alice: RustDevice, bob: RustDevice) -> None:
    flow = await request_by_to_device(alice, bob)
    await flow.do(bob, "cancel_verification")
    codes = [(state["phase"], state["cancel"]["code"]) for state in await flow.states("request")]
    assert [("cancelled", "m.user")] * 2 == codes
