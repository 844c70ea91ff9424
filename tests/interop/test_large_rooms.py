"""A room with a hundred devices."""

from __future__ import annotations

from tests.interop.device import Device
from tests.interop.people import People, all_say, meet, sync_all, what_they_read

USERS = 20
DEVICES_EACH = 5


async def test_a_hundred_devices_read_a_message_of_each_kind_of_device(people: People) -> None:
    senders = await people.one_of_each()
    others: list[Device] = []
    for _ in range(USERS):
        first = await people.rust()
        others.append(first)
        others += [await people.device("rust", first.session.user_id) for _ in range(DEVICES_EACH - 1)]
    room = await meet([*senders, *others])
    said = await all_say(senders, room)
    await sync_all([*senders, *others])
    assert [said] * 103 == what_they_read([*senders, *others], said)
