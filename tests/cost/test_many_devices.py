"""Hundreds of devices at once: no step of the work is longer than with a few."""

from __future__ import annotations

from pathlib import Path

import pytest

from olmstate.actors import Supervisor
from olmstate.actors._withheld.actor import MOST_TOLD
from olmstate.messages import (
    AddDevices,
    CreateAccount,
    CreateOlmSessions,
    DeviceAddress,
    Devices,
    EncryptToDevice,
    MarkRequestSent,
    MarkRoomKeyShared,
    PrepareRoomKey,
    ShareRoomKey,
    UserId,
)
from tests.bench.people import people
from tests.bench.work import know
from tests.cost.conftest import opened
from tests.cost.longest_step import MOST_CALLS, LongestStep, longest_step
from tests.operations.device import ROOM
from tests.operations.peer import Peer, claimed, keys_query, peers
from tests.peer.requests import messages_of, reached_by

MANY = 400


@pytest.fixture
async def known(alice: Supervisor) -> list[Peer]:
    """People with whom the device has Olm sessions."""
    known = people(MANY)
    await know(alice, known)
    return known


def assert_short_steps(counted: LongestStep) -> None:
    """Much was done, and never much at a time."""
    assert counted.calls < MOST_CALLS
    assert counted.total > 4 * MOST_CALLS


def addresses_of(known: list[Peer]) -> tuple[DeviceAddress, ...]:
    return tuple(person.address for person in known)


async def test_sessions_are_started_a_few_at_a_time(alice: Supervisor, known: list[Peer]) -> None:
    keys = claimed(known)
    async with longest_step() as counted:
        created = await alice.ask(CreateOlmSessions(one_time_keys=keys))
    assert MANY == len(created.created)
    assert_short_steps(counted)


async def test_an_event_is_encrypted_for_a_few_at_a_time(alice: Supervisor, known: list[Peer]) -> None:
    command = EncryptToDevice(devices=addresses_of(known), type="m.test", content={})
    async with longest_step() as counted:
        encrypted = await alice.ask(command)
    assert MANY == len(encrypted.messages)
    assert_short_steps(counted)


async def test_a_room_key_is_shared_with_a_few_at_a_time(alice: Supervisor, known: list[Peer]) -> None:
    addresses = addresses_of(known)
    async with longest_step() as sharing:
        shared = await alice.ask(ShareRoomKey(room_id=ROOM, devices=addresses))
    assert {(each.user_id, each.device_id) for each in addresses} == set(reached_by(shared.requests))
    assert [250, MANY - 250] == [len(messages_of(request)) for request in shared.requests]
    assert_short_steps(sharing)

    for request in shared.requests:
        async with longest_step() as marking:
            await alice.ask(MarkRequestSent(request_id=request.request_id, response={}))
        assert marking.calls < MOST_CALLS
    async with longest_step() as marking:
        await alice.ask(MarkRoomKeyShared(room_id=ROOM, session_id=shared.session_id, devices=addresses))
    assert marking.calls < MOST_CALLS

    async with longest_step() as sharing_again:
        again = await alice.ask(ShareRoomKey(room_id=ROOM, devices=addresses))
    assert () == again.requests
    assert sharing_again.calls < MOST_CALLS


async def test_who_has_a_room_key_is_loaded_a_few_at_a_time(tmp_path: Path) -> None:
    many = [DeviceAddress(user_id=person.user_id, device_id=person.device_id) for person in people(5_000)]
    async with opened(tmp_path) as alice:
        await alice.ask(CreateAccount())
        key = await alice.ask(PrepareRoomKey(room_id=ROOM))
        await alice.ask(MarkRoomKeyShared(room_id=ROOM, session_id=key.session_id, devices=tuple(many)))
    async with opened(tmp_path) as alice:
        await alice.ask(ShareRoomKey(room_id=ROOM, devices=()))  # how a row is read is learned once a process
    async with opened(tmp_path) as alice, longest_step() as counted:
        again = await alice.ask(ShareRoomKey(room_id=ROOM, devices=tuple(many)))
    assert () == again.requests
    assert_short_steps(counted)


@pytest.mark.parametrize("of_one_user", [True, False])
async def test_devices_are_taken_in_loaded_and_removed_a_few_at_a_time(tmp_path: Path, of_one_user: bool) -> None:  # noqa: FBT001
    user_id = UserId("@many:example.org")
    told = keys_query(*(peers(MANY, user_id) if of_one_user else people(MANY)))
    async with opened(tmp_path) as alice:
        await alice.ask(CreateAccount())
        async with longest_step() as adding:
            added = await alice.ask(AddDevices(response=told))
    async with opened(tmp_path) as alice, longest_step() as loading:
        await alice.ask(Devices(user_id=user_id))
        again = await alice.ask(AddDevices(response=told))
    async with opened(tmp_path) as alice, longest_step() as removing:
        nobody = await alice.ask(AddDevices(response={"device_keys": {user: {} for user in told["device_keys"]}}))
    assert (MANY, 0, MANY) == (len(added.added), len(again.added), len(nobody.removed))
    for counted in (adding, loading, removing):
        assert_short_steps(counted)


async def test_who_has_no_session_is_looked_up_a_few_at_a_time(alice: Supervisor) -> None:
    """Anybody can publish as many devices as they like with whom there can't be one, all to be told of it."""
    mute = peers(MOST_TOLD + MANY)
    await alice.ask(AddDevices(response=keys_query(*mute)))
    share = ShareRoomKey(room_id=ROOM, devices=addresses_of(mute))
    async with longest_step() as counted:
        assert len(mute) == len((await alice.ask(share)).missing)
    assert_short_steps(counted)
