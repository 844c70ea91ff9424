"""Rooms of olmstate, matrix-nio and matrix-rust-sdk devices on Synapse: every message is read by everyone."""

from __future__ import annotations

import pytest

from olmstate.messages import MegolmSessionId, RotationPeriod
from tests.interop.device import Device
from tests.interop.people import Kind, People, all_say, meet, sync_all, what_they_read

KINDS: tuple[Kind, ...] = ("olmstate", "rust", "nio")


def sessions_of(sender: Device, *, to: Device) -> set[MegolmSessionId]:
    """Those of a user that another device has read."""
    return {heard.session_id for heard in to.ears.heard.values() if heard.sender == sender.session.user_id}


async def test_three_kinds_of_device_read_each_other(people: People) -> None:
    devices = await people.one_of_each()
    room = await meet(devices)
    said = await all_say(devices, room)
    await sync_all(devices)
    assert [said] * 3 == what_they_read(devices, said)


async def test_all_devices_of_everybody_read_also_those_of_another_kind(people: People) -> None:
    devices = await people.one_of_each()
    others: tuple[Kind, ...] = ("rust", "nio", "olmstate")
    devices += [await people.device(kind, mate.session.user_id) for kind, mate in zip(others, devices, strict=True)]
    room = await meet(devices)
    said = await all_say(devices, room)
    await sync_all(devices)
    assert [said] * 6 == what_they_read(devices, said)


@pytest.mark.parametrize("kind", KINDS)
async def test_a_new_login_reads_what_is_sent_after_it(kind: Kind, people: People) -> None:
    devices = await people.one_of_each()
    room = await meet(devices)
    before = await all_say(devices, room)
    await sync_all(devices)
    devices.append(await people.device(kind, devices[0].session.user_id))
    await sync_all(devices)
    after = await all_say(devices, room)
    await sync_all(devices)
    assert [before | after] * 3 == what_they_read(devices[:3], before | after)
    assert [after] == what_they_read(devices[3:], before | after)


@pytest.mark.parametrize("kind", KINDS)
async def test_who_joins_reads_what_is_sent_from_then_on(kind: Kind, people: People) -> None:
    devices = await people.one_of_each()
    room = await meet(devices)
    before = await all_say(devices, room)
    await sync_all(devices)
    guest = await people.device(kind)
    await devices[0].session.invite(room, guest.session.user_id)
    await guest.session.join(room)
    await sync_all([*devices, guest])
    after = await all_say([*devices, guest], room)
    await sync_all([*devices, guest])
    assert [before | after] * 3 == what_they_read(devices, before | after)
    assert [after] == what_they_read([guest], before | after)


@pytest.mark.parametrize("kind", KINDS)
async def test_who_is_invited_reads_what_was_sent_before_the_join(kind: Kind, people: People) -> None:
    sender, guest = await people.olmstate(), await people.device(kind)
    room = await meet([sender])
    await sender.session.invite(room, guest.session.user_id)
    said = await all_say([sender], room)
    await guest.session.join(room)
    await sync_all([guest])
    assert [said] == what_they_read([guest], said)


async def test_every_session_is_replaced_after_as_many_messages_as_the_room_says(people: People) -> None:
    alice, bob, carol = await people.olmstate(), await people.rust(), await people.nio()
    alice.rotation = RotationPeriod(messages=2)
    bob.settings["rotation_messages"] = 2
    devices: list[Device] = [alice, bob, carol]
    room = await meet(devices, encryption={"rotation_period_msgs": 2})
    said = {event_id: body for _ in range(5) for event_id, body in (await all_say(devices, room)).items()}
    await sync_all(devices)
    assert [said] * 3 == what_they_read(devices, said)
    assert [3, 3] == [len(sessions_of(d, to=carol)) for d in (alice, bob)]  # matrix-nio takes a hundred, always


@pytest.mark.parametrize("kind", KINDS)
async def test_a_session_that_was_replaced_by_hand_is_read(kind: Kind, people: People) -> None:
    devices = await people.one_of_each()
    room = await meet(devices)
    sender = devices[KINDS.index(kind)]
    before = await all_say([sender], room)
    await sender.rotate(room)
    said = before | await all_say([sender], room)
    await sync_all(devices)
    assert [said] * 3 == what_they_read(devices, said)
    assert 2 == len(sessions_of(sender, to=devices[0]))


@pytest.mark.parametrize("kind", KINDS)
async def test_who_was_thrown_out_gets_no_more_keys(kind: Kind, people: People) -> None:
    devices = await people.one_of_each()
    guest = await people.device(kind)
    room = await meet([*devices, guest])
    before = await all_say(devices, room)
    await sync_all([*devices, guest])
    await devices[0].session.kick(room, guest.session.user_id)
    await sync_all(devices)
    said = before | await all_say(devices, room)
    await sync_all([*devices, guest])
    await guest.sync()
    assert [said] * 3 == what_they_read(devices, said)
    assert [before] == what_they_read([guest], said)
    assert [2] * 3 == [len(sessions_of(device, to=devices[0])) for device in devices]
