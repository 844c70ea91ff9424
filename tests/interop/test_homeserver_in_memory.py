"""The homeserver in memory answers as Synapse does, as far as a crypto client can tell: each test runs on both."""

from __future__ import annotations

from collections.abc import AsyncGenerator, Awaitable, Callable
from itertools import count
from pathlib import Path
from typing import cast

import attrs
import httpx2
import pytest

from olmstate.messages import DeviceId, JsonObject, UserId
from tests.interop.device import Device
from tests.interop.homeserver import Homeserver as Real
from tests.interop.olmstate_device import open_olmstate_device
from tests.interop.people import all_say, meet, sync_all, what_they_read
from tests.interop.program import Program
from tests.interop.rust_device import rust_device
from tests.interop.synapse import Synapse
from tests.peer.homeserver import Homeserver as InMemory
from tests.peer.session import API, RequestRefused, Session


@attrs.frozen
class Either:
    """A homeserver of one of the two kinds."""

    register: Callable[[], Awaitable[Session]]
    log_in: Callable[[UserId], Awaitable[Session]]


def in_memory() -> Either:
    server, numbers = InMemory(), count(1)

    async def log_in(user_id: UserId) -> Session:
        return server.log_in(user_id, f"DEVICE{next(numbers)}")

    async def register() -> Session:
        return await log_in(UserId(f"@user{next(numbers)}:example.org"))

    return Either(register, log_in)


@pytest.fixture(params=["in memory", "Synapse"])
def which(request: pytest.FixtureRequest) -> Synapse | None:
    return None if request.param == "in memory" else cast("Synapse", request.getfixturevalue("synapse"))


@pytest.fixture
async def server(which: Synapse | None) -> AsyncGenerator[Either]:
    if which is None:
        yield in_memory()
        return
    async with httpx2.AsyncClient(verify=False, trust_env=False) as client:
        real = Real(synapse=which, client=client)
        yield Either(real.register, real.log_in)


async def upload(session: Session, **keys: JsonObject) -> JsonObject:
    return await session.request("POST", f"{API}/keys/upload", keys)


async def upload_device(session: Session) -> None:
    keys = {f"ed25519:{session.device_id}": session.device_id, f"curve25519:{session.device_id}": session.device_id}
    device_keys: JsonObject = {"user_id": session.user_id, "device_id": session.device_id, "keys": keys}
    await upload(session, device_keys={**device_keys, "algorithms": [], "signatures": {}})


def key(name: str) -> JsonObject:
    return {"key": name, "signatures": {}}


async def claim(session: Session, of: Session) -> JsonObject:
    claimed = await session.claim_keys([(of.user_id, of.device_id)])
    device: JsonObject = claimed["one_time_keys"].get(of.user_id, {}).get(of.device_id, {})
    return device


async def test_keys_are_claimed_once_each_in_their_order_and_then_the_fallback_key(server: Either) -> None:
    alice, bob = await server.register(), await server.register()
    await upload_device(alice)
    one, two, last = key("one"), key("two"), key("last")
    await upload(alice, fallback_keys={"signed_curve25519:F": {**last, "fallback": True}})
    counted = await upload(alice, one_time_keys={"signed_curve25519:AA": one, "signed_curve25519:AB": two})
    assert {"signed_curve25519": 2} == counted["one_time_key_counts"]
    assert {"signed_curve25519:AA": one} == await claim(bob, alice)
    assert {"signed_curve25519:AB": two} == await claim(bob, alice)
    unused = (await alice.sync(None))["device_unused_fallback_key_types"]
    for _ in range(2):
        assert {"signed_curve25519:F": {**last, "fallback": True}} == await claim(bob, alice)
    used = await alice.sync(None, timeout_ms=1)
    assert (["signed_curve25519"], []) == (unused, used["device_unused_fallback_key_types"])
    assert {"signed_curve25519": 0} == used["device_one_time_keys_count"]


async def test_another_key_under_an_id_that_waits_is_refused_and_under_a_claimed_one_taken(server: Either) -> None:
    alice, bob = await server.register(), await server.register()
    await upload_device(alice)
    first, other = key("first"), key("other")
    for _ in range(2):
        await upload(alice, one_time_keys={"signed_curve25519:AA": first})
    with pytest.raises(RequestRefused, match="already exists") as refused:
        await upload(alice, one_time_keys={"signed_curve25519:AA": other})
    assert (400, "M_UNKNOWN") == (refused.value.status, refused.value.code)
    assert {"signed_curve25519:AA": first} == await claim(bob, alice)
    await upload(alice, one_time_keys={"signed_curve25519:AA": other})
    assert {"signed_curve25519:AA": other} == await claim(bob, alice)


async def test_a_to_device_message_comes_until_it_is_acknowledged_and_never_again(server: Either) -> None:
    alice, bob = await server.register(), await server.register()
    begun = (await alice.sync(None))["next_batch"]
    for number in range(101):
        await bob.send_to_device("m.test", {alice.user_id: {alice.device_id: {"n": number}}})
    await alice.sync(begun)
    first = await alice.sync(begun, timeout_ms=1)
    rest = await alice.sync(first["next_batch"])
    nothing = await alice.sync(rest["next_batch"])
    again = await alice.sync(begun, timeout_ms=2)
    numbers = [[event["content"]["n"] for event in answer["to_device"]["events"]] for answer in (first, rest)]
    assert [list(range(100)), [100]] == numbers
    assert [[], []] == [answer.get("to_device", {}).get("events", []) for answer in (nothing, again)]


async def test_what_is_sent_again_under_the_same_transaction_id_is_sent_once(server: Either) -> None:
    alice = await server.register()
    other = await server.log_in(alice.user_id)
    begun = (await other.sync(None))["next_batch"]
    room = await alice.create_room()
    for _ in range(2):
        message: JsonObject = {"messages": {alice.user_id: {"*": {"body": "hello"}}}}
        await alice.request("PUT", f"{API}/sendToDevice/m.test/again", message)
    target = f"{API}/rooms/{room}/send/m.test/again"
    ids = [(await alice.request("PUT", target, {}))["event_id"] for _ in range(2)]
    answer = await other.sync(begun)
    assert 1 == len(answer["to_device"]["events"])
    timeline = answer["rooms"]["join"][room]["timeline"]["events"]
    assert ids[:1] == ids[1:] == [event["event_id"] for event in timeline if event["type"] == "m.test"]


async def test_changed_devices_are_told_to_those_in_the_same_room_only(server: Either) -> None:
    alice, bob, carol = [await server.register() for _ in range(3)]
    for session in (alice, bob, carol):
        await upload_device(session)
    room = await alice.create_room(invite=[bob.user_id])
    since = (await alice.sync(None))["next_batch"]
    await bob.join(room)
    met = await alice.sync(since)
    await upload_device(await server.log_in(bob.user_id))
    await upload_device(await server.log_in(carol.user_id))
    changed = await alice.sync(met["next_batch"])
    await bob.leave(room)
    parted = await alice.sync(changed["next_batch"])
    lists = [answer.get("device_lists", {}) for answer in (met, changed, parted)]
    assert [[bob.user_id], [bob.user_id], []] == [told.get("changed", []) for told in lists]
    assert [[], [], [bob.user_id]] == [told.get("left", []) for told in lists]


async def test_a_query_knows_all_devices_that_have_keys(server: Either) -> None:
    alice = await server.register()
    other, without = [await server.log_in(alice.user_id) for _ in range(2)]
    for session in (alice, other):
        await upload_device(session)
    found_keys: dict[DeviceId, JsonObject] = (await alice.query_keys([alice.user_id]))["device_keys"][alice.user_id]
    assert {alice.device_id, other.device_id} == set(found_keys)
    assert without.device_id not in found_keys


async def test_olmstate_and_an_olmmachine_read_each_other_without_any_http(rust: Program, tmp_path: Path) -> None:
    server = in_memory()
    async with open_olmstate_device(await server.register(), tmp_path / "store") as alice:
        devices: list[Device] = [alice, await rust_device(rust, await server.register())]
        room = await meet(devices)
        said = await all_say(devices, room)
        await sync_all(devices)
        assert [said] * 2 == what_they_read(devices, said)
