"""Whose devices are kept up to date, and how often anybody asks."""

from __future__ import annotations

import json

import pytest
import trio
from trio.testing import MockClock

from olmstate.actors import Supervisor
from olmstate.actors.testing import USER
from olmstate.messages import (
    DecryptToDevice,
    Devices,
    Json,
    JsonObject,
    MalformedMessage,
    MarkRequestFailed,
    MarkRequestSent,
    NoTransport,
    OutdatedUsers,
    OutgoingRequests,
    ReceiveSync,
    Request,
    RequestGivenUp,
    RequestKind,
    RequestRefused,
    Statistics,
    TrackUsers,
    UpdateDevices,
    UserId,
)
from olmstate.storage.owner import is_user_id
from tests.actors.world import World
from tests.peer.session import RequestRefused as Refusal
from tests.peer.verifier import Verifier

BOB, CAROL, DAVE = UserId("@bob:example.org"), UserId("@carol:example.org"), UserId("@dave:far.example")


async def known(supervisor: Supervisor, user_id: UserId) -> list[str]:
    return [device.device_id for device in await supervisor.ask(Devices(user_id=user_id))]


def sync(changed: list[str] | None = None, left: list[str] | None = None, token: str = "s1") -> JsonObject:
    return {
        "next_batch": token,
        "device_lists": {"changed": changed or [], "left": left or []},
        "device_one_time_keys_count": {"signed_curve25519": 50},
    }


async def queries(supervisor: Supervisor) -> list[Request]:
    requests = await supervisor.ask(OutgoingRequests())
    return [request for request in requests if request.kind is RequestKind.KEYS_QUERY]


async def the_changes(supervisor: Supervisor) -> Request:
    requests = await supervisor.ask(OutgoingRequests())
    (changes,) = [request for request in requests if request.kind is RequestKind.KEYS_CHANGES]
    return changes


def users_of(request: Request) -> set[str]:
    return set(json.loads(request.body)["device_keys"])


# --- with a transport ---------------------------------------------------------------------------------------


async def test_devices_are_learned_once_and_then_nobody_is_asked(world: World, autojump_clock: MockClock) -> None:
    await world.log_in(BOB, "ONE")
    await world.log_in(BOB, "TWO")
    await world.log_in(CAROL)
    async with world.process() as device:
        assert () == await device.ask(UpdateDevices(users=(BOB, CAROL)))
        assert ["ONE", "TWO"] == await known(device, BOB)
        assert ["DEV"] == await known(device, CAROL)
        await trio.sleep(5)  # until the device's own keys are uploaded, and its own user known
        asked, turns = len(world.asked), (await device.ask(Statistics())).turns
        assert () == await device.ask(UpdateDevices(users=(BOB, CAROL)))
        assert (asked, turns) == (len(world.asked), (await device.ask(Statistics())).turns)


async def test_a_change_costs_one_query_over_all_processes(world: World, autojump_clock: MockClock) -> None:
    await world.log_in(BOB)
    async with world.process() as one, world.process() as other, world.process() as third:
        await one.ask(UpdateDevices(users=(BOB,)))
        await trio.sleep(5)  # until the device's own keys are uploaded, and its own user known
        before = len(world.queries)
        await world.log_in(BOB, "NEW")
        await one.ask(ReceiveSync(sync=sync([BOB]), since="s0"))
        async with trio.open_nursery() as nursery:
            for process in (one, other, third):
                nursery.start_soon(process.ask, UpdateDevices(users=(BOB,)))
        for process in (one, other, third):
            assert ["DEV", "NEW"] == await known(process, BOB)
        assert [{BOB}] == world.queries[before:]


async def test_what_is_outdated_is_asked_for_in_the_background(world: World, autojump_clock: MockClock) -> None:
    await world.log_in(BOB)
    async with world.process() as device:
        await device.ask(TrackUsers(users=(BOB,)))
        await trio.sleep(1)
        assert ["DEV"] == await known(device, BOB)
        assert () == await device.ask(OutdatedUsers())


async def test_a_server_that_fails_is_left_alone_by_all_and_costs_the_others_nothing(
    world: World, autojump_clock: MockClock, monkeypatch: pytest.MonkeyPatch
) -> None:
    await world.log_in(BOB)
    answer = world.homeserver.keys.query

    def query(asker: str, body: JsonObject) -> JsonObject:
        answered = answer(asker, body)
        if DAVE in body["device_keys"]:
            del answered["device_keys"][DAVE]
            answered["failures"] = {"far.example": {"status": 503}}
        return answered

    monkeypatch.setattr(world.homeserver.keys, "query", query)
    async with world.process() as one, world.process() as other:
        assert (DAVE,) == await one.ask(UpdateDevices(users=(BOB, DAVE)))
        assert ["DEV"] == await known(one, BOB)
        before = len(world.queries)
        for process in (one, other):
            assert (DAVE,) == await process.ask(UpdateDevices(users=(BOB, DAVE)))
        assert before == len(world.queries)
        await trio.sleep(110)
        assert 3 == len(world.queries[before:])  # after 15, 30, and 60 seconds
        monkeypatch.setattr(world.homeserver.keys, "query", answer)
        await trio.sleep(120)
        assert () == await one.ask(UpdateDevices(users=(BOB, DAVE)))


@pytest.mark.parametrize("failures", [{}, {"failures": {"far.example": {}}}])
async def test_an_answer_may_leave_out_that_nobody_has_devices(
    world: World, autojump_clock: MockClock, monkeypatch: pytest.MonkeyPatch, failures: JsonObject
) -> None:
    """Conduit and its kin leave out what is empty: the query was made again for ever, and whoever sent waited."""

    def query(*_: object) -> JsonObject:
        return failures

    monkeypatch.setattr(world.homeserver.keys, "query", query)
    async with world.process() as device:
        with trio.fail_after(5):
            assert (() if not failures else (DAVE,)) == await device.ask(UpdateDevices(users=(DAVE,)))
        assert 1 == len(world.queries)
        assert () == await device.ask(UpdateDevices(users=(BOB,)))


@pytest.mark.parametrize("status", [302, 400, 404, 413])
async def test_a_homeserver_that_refuses_a_query_is_asked_less_and_less(
    world: World, autojump_clock: MockClock, monkeypatch: pytest.MonkeyPatch, status: int
) -> None:
    """Another query followed each that was refused, as quickly as answers came."""
    query, refusals = world.homeserver.keys.query, 0

    def refuse(*_: object) -> JsonObject:
        nonlocal refusals
        refusals += 1
        raise Refusal(status, {"errcode": "M_UNRECOGNIZED"})

    monkeypatch.setattr(world.homeserver.keys, "query", refuse)
    await world.log_in(BOB)
    async with world.process() as one, world.process() as other:
        with pytest.raises(RequestRefused):
            await one.ask(UpdateDevices(users=(BOB,)))
        assert (BOB,) == await other.ask(UpdateDevices(users=(BOB,)))
        assert 1 == refusals
        await trio.sleep(110)
        assert 4 == refusals  # after 15, 30, and 60 seconds
        monkeypatch.setattr(world.homeserver.keys, "query", query)
        await trio.sleep(120)
        assert ["DEV"] == await known(one, BOB)
        await one.ask(ReceiveSync(sync=sync([BOB]), since="s0"))
        await trio.sleep(1)
        assert () == await one.ask(OutdatedUsers())


@pytest.mark.parametrize("status", [400, 404, 413])
@pytest.mark.parametrize("bad", [(0,), (249,), (7, 8), (0, 125, 126, 251)])
async def test_whom_the_homeserver_does_not_like_costs_the_others_nothing(
    world: World, autojump_clock: MockClock, monkeypatch: pytest.MonkeyPatch, status: int, bad: tuple[int, ...]
) -> None:
    """The whole query was refused, and made again after 15 seconds, and refused again."""
    users = tuple(UserId(f"@user{number}:example.org") for number in range(260))
    refused = {users[number] for number in bad}
    query, asked = world.homeserver.keys.query, list[list[UserId]]()

    def refuse(asker: str, body: JsonObject) -> JsonObject:
        asked.append(list(body["device_keys"]))
        if not refused.isdisjoint(body["device_keys"]):
            raise Refusal(status, {"errcode": "M_INVALID_PARAM"})
        return query(asker, body)

    monkeypatch.setattr(world.homeserver.keys, "query", refuse)
    async with world.process() as one, world.process() as other:
        with trio.fail_after(14), one.subscribe(RequestGivenUp) as events:
            assert refused == {*await one.ask(UpdateDevices(users=users))}
            told = [events.receive_nowait() for _ in bad]
        assert {(RequestKind.KEYS_QUERY, status, (user,)) for user in refused} == {
            (each.kind, each.status, each.users) for each in told
        }
        assert len(asked) < 20 * len(bad)
        await world.log_in(BOB)
        assert () == await other.ask(UpdateDevices(users=(BOB,)))
        before = len(asked)
        assert refused == {*await other.ask(UpdateDevices(users=users))}
        assert before == len(asked)
        await trio.sleep(110)
        assert dict.fromkeys(refused, 3) == {user: asked[before:].count([user]) for user in refused}  # 15, 30, 60 s
        monkeypatch.setattr(world.homeserver.keys, "query", query)
        await trio.sleep(120)
        assert () == await one.ask(OutdatedUsers())
        monkeypatch.setattr(world.homeserver.keys, "query", refuse)
        before = len(asked)
        await one.ask(ReceiveSync(sync=sync([*refused]), since="s0"))
        await trio.sleep(20)
        assert dict.fromkeys(refused, 2) == {user: asked[before:].count([user]) for user in refused}  # 15 s


async def test_a_process_that_dies_while_a_query_is_halved_costs_nothing(
    world: World, autojump_clock: MockClock, monkeypatch: pytest.MonkeyPatch
) -> None:
    await world.log_in(BOB)
    query = world.homeserver.keys.query
    async with world.process(transport=False) as device:
        await device.ask(TrackUsers(users=(BOB, CAROL)))
        (whole,) = await queries(device)
        await device.ask(MarkRequestFailed(request_id=whole.request_id, status=400, errcode="M_INVALID_PARAM"))
        halves = await queries(device)
        assert [1, 2] == sorted(len(users_of(each)) for each in halves)
        assert users_of(whole) == set[str]().union(*map(users_of, halves))
    monkeypatch.setattr(world.homeserver.keys, "query", query)
    async with world.process() as device:
        assert () == await device.ask(UpdateDevices(users=(BOB, CAROL)))
        assert ["DEV"] == await known(device, BOB)


async def test_ones_patience_ends_and_what_was_known_stays(world: World, autojump_clock: MockClock) -> None:
    await world.log_in(BOB)
    async with world.process() as device:
        await device.ask(UpdateDevices(users=(BOB,)))
        await device.ask(ReceiveSync(sync=sync([BOB]), since="s0"))
        world.fail = True
        before = trio.current_time()
        assert (BOB,) == await device.ask(UpdateDevices(users=(BOB,), patience=3))
        assert 3 == round(trio.current_time() - before)
        assert ["DEV"] == await known(device, BOB)


async def test_a_query_has_at_most_250_users(world: World, autojump_clock: MockClock) -> None:
    users = tuple(UserId(f"@user{number}:example.org") for number in range(600))
    async with world.process() as device:
        assert () == await device.ask(UpdateDevices(users=users))
        assert [250, 250, 101] == sorted((len(query) for query in world.queries), reverse=True)
        assert {*users, USER} == set[str]().union(*world.queries)


@pytest.mark.parametrize(
    "no_id", ["", "bob", "@bob", "#bob:a.example", "@bob:", "@b:a b", "@\ud800:a", f"@{'b' * 253}:a"]
)
async def test_what_is_no_user_id_is_asked_of_nobody(world: World, autojump_clock: MockClock, no_id: str) -> None:
    """A homeserver refuses a query that has one, and nobody's devices were learned any more."""
    await world.log_in(BOB)
    async with world.process() as device:
        assert (no_id,) == await device.ask(UpdateDevices(users=(UserId(no_id), BOB)))
        await device.ask(ReceiveSync(sync=sync([BOB]), since="s0"))
        assert (no_id,) == await device.ask(UpdateDevices(users=(UserId(no_id), BOB)))
        assert ["DEV"] == await known(device, BOB)
        assert not any(no_id in query for query in world.queries)


@pytest.mark.parametrize("user_id", ["@Bob:a.example", "@bob/+=:a", "@bü:a.example:8448", "@:1.2.3.4", "@b:[::1]:80"])
def test_users_have_had_ids_of_many_kinds(user_id: str) -> None:
    assert is_user_id(user_id)


# --- by hand ------------------------------------------------------------------------------------------------


async def test_without_a_transport_the_queries_are_handed_out(world: World) -> None:
    await world.log_in(BOB)
    async with world.process(transport=False) as device:
        with pytest.raises(NoTransport):
            await device.ask(UpdateDevices(users=(BOB,)))
        (query,) = await queries(device)
        assert {BOB, USER} == users_of(query)
        answer = world.homeserver.keys.query(USER, json.loads(query.body))
        await device.ask(MarkRequestSent(request_id=query.request_id, response=answer))
        assert () == await device.ask(UpdateDevices(users=(BOB,)))
        assert [] == await queries(device)


@pytest.mark.parametrize("why", ["is tracked", "asks to verify"])
async def test_a_user_who_changes_while_a_query_is_under_way_stays_outdated(why: str, world: World) -> None:
    await world.log_in(BOB)
    async with world.process(transport=False) as device:
        await device.ask(TrackUsers(users=(BOB, CAROL) if why == "is tracked" else (CAROL,)))
        if why == "asks to verify":
            kind, content = Verifier(BOB, "NEW").request("m.sas.v1", now=round(trio.current_time() * 1000))
            await device.ask(DecryptToDevice(events=({"type": kind, "sender": BOB, "content": content},)))
        (query,) = await queries(device)
        answer = world.homeserver.keys.query(USER, json.loads(query.body))
        await device.ask(ReceiveSync(sync=sync([BOB]), since="s0"))
        assert [query] == await queries(device)  # one at a time
        await device.ask(MarkRequestSent(request_id=query.request_id, response=answer))
        assert ["DEV"] == await known(device, BOB)
        assert (BOB,) == await device.ask(OutdatedUsers())
        (again,) = await queries(device)
        assert {BOB} == users_of(again)


async def test_it_survives_restarts_that_a_user_is_tracked_and_outdated(world: World) -> None:
    async with world.process(transport=False) as device:
        await device.ask(TrackUsers(users=(BOB,)))
        (query,) = await queries(device)
        await device.ask(MarkRequestSent(request_id=query.request_id, response={"device_keys": {BOB: {}}}))
        await device.ask(ReceiveSync(sync=sync([BOB]), since="s0"))
    async with world.process(transport=False) as device:
        assert (BOB,) == await device.ask(OutdatedUsers())
        assert () == await device.ask(TrackUsers(users=(BOB,)))


async def test_whoever_is_not_tracked_is_not_outdated(world: World) -> None:
    async with world.process(transport=False) as device:
        await device.ask(ReceiveSync(sync=sync([BOB]), since="s0"))
        assert () == await device.ask(OutdatedUsers())
        assert [] == await queries(device)


async def test_nobody_tracks_users_with_whom_no_room_is_shared_any_more(world: World) -> None:
    async with world.process(transport=False) as device:
        await device.ask(TrackUsers(users=(BOB, CAROL)))
        await device.ask(ReceiveSync(sync=sync(left=[BOB]), since="s0"))
        assert BOB not in await device.ask(OutdatedUsers())
        await device.ask(ReceiveSync(sync=sync([BOB], token="s2"), since="s1"))
        assert BOB not in await device.ask(OutdatedUsers())
        assert (BOB,) == await device.ask(TrackUsers(users=(BOB,)))
        assert BOB in await device.ask(OutdatedUsers())


async def test_our_own_user_is_tracked_though_in_no_room_any_more(world: World) -> None:
    """New devices of one's own were not learned of then."""
    async with world.process(transport=False) as device:
        await device.ask(TrackUsers(users=(BOB,)))
        (query,) = await queries(device)
        await device.ask(MarkRequestSent(request_id=query.request_id, response={"device_keys": {}}))
        await device.ask(ReceiveSync(sync=sync(left=[USER]), since="s0"))
        await device.ask(ReceiveSync(sync=sync([USER], token="s2"), since="s1"))
        assert (USER,) == await device.ask(OutdatedUsers())


async def test_a_user_who_left_and_changed_in_one_sync_is_not_tracked(world: World) -> None:
    async with world.process(transport=False) as device:
        await device.ask(TrackUsers(users=(BOB,)))
        await device.ask(ReceiveSync(sync=sync([BOB], left=[BOB]), since="s0"))
        assert BOB not in await device.ask(OutdatedUsers())


async def test_after_a_sync_that_began_anew_one_asks_what_has_changed(world: World) -> None:
    async with world.process(transport=False) as device:
        await device.ask(TrackUsers(users=(BOB, CAROL)))
        (query,) = await queries(device)
        await device.ask(MarkRequestSent(request_id=query.request_id, response={"device_keys": {}}))
        await device.ask(ReceiveSync(sync={"next_batch": "s 1&"}, since=None))
        (query,) = await queries(device)  # there was no sync before: everybody may have changed
        assert {BOB, CAROL, USER} == users_of(query)
        await device.ask(MarkRequestSent(request_id=query.request_id, response={"device_keys": {}}))
        await device.ask(ReceiveSync(sync={"next_batch": "s2"}, since=None))
        changes = await the_changes(device)
        assert (RequestKind.KEYS_CHANGES, b"") == (changes.kind, changes.body)
        assert changes.path.endswith("/keys/changes?from=s+1%26&to=s2")
        await device.ask(MarkRequestSent(request_id=changes.request_id, response={"changed": [BOB], "left": [CAROL]}))
        assert (BOB,) == await device.ask(OutdatedUsers())


async def test_a_homeserver_that_does_not_know_what_has_changed_makes_everybody_outdated(world: World) -> None:
    async with world.process(transport=False) as device:
        await device.ask(TrackUsers(users=(BOB,)))
        (query,) = await queries(device)
        await device.ask(MarkRequestSent(request_id=query.request_id, response={"device_keys": {}}))
        await device.ask(ReceiveSync(sync={"next_batch": "s1"}))
        (query,) = await queries(device)
        await device.ask(MarkRequestSent(request_id=query.request_id, response={"device_keys": {}}))
        await device.ask(ReceiveSync(sync={"next_batch": "s2"}))
        changes = await the_changes(device)
        await device.ask(MarkRequestFailed(request_id=changes.request_id, status=400, errcode="M_UNKNOWN"))
        (query,) = await queries(device)
        assert {BOB, USER} == users_of(query)


@pytest.mark.parametrize("devices", [None, [], "text", 1])
async def test_a_remote_servers_garbage_costs_its_own_users_only(world: World, devices: Json) -> None:
    bob = await world.log_in(BOB)
    async with world.process(transport=False) as device:
        await device.ask(TrackUsers(users=(BOB, DAVE)))
        (query,) = await queries(device)
        answer: JsonObject = {"device_keys": {BOB: {"DEV": bob.peer.device_keys()}, DAVE: devices}}
        await device.ask(MarkRequestSent(request_id=query.request_id, response=answer))
        assert ["DEV"] == await known(device, BOB)
        assert (DAVE,) == await device.ask(OutdatedUsers())


async def test_nobody_is_believed_of_whom_nobody_asked(world: World) -> None:
    carol = await world.log_in(CAROL)
    async with world.process(transport=False) as device:
        await device.ask(TrackUsers(users=(BOB,)))
        (query,) = await queries(device)
        answer: JsonObject = {"device_keys": {BOB: {}, CAROL: {"DEV": carol.peer.device_keys()}}}
        await device.ask(MarkRequestSent(request_id=query.request_id, response=answer))
        assert [] == await known(device, CAROL)


@pytest.mark.parametrize("answer", [{"device_keys": None}, {"device_keys": []}, {"device_keys": {}, "failures": []}])
async def test_an_answer_of_the_wrong_shape_is_none(world: World, answer: JsonObject) -> None:
    async with world.process(transport=False) as device:
        await device.ask(TrackUsers(users=(BOB,)))
        (query,) = await queries(device)
        with pytest.raises(MalformedMessage):
            await device.ask(MarkRequestSent(request_id=query.request_id, response=answer))
        assert [query] == await queries(device)
