"""What happens when a device's one-time keys have run out: the fallback key, for as many senders as come."""

from __future__ import annotations

from tests.interop.claims import claim_from, keys_left, use_up
from tests.interop.device import Device
from tests.interop.people import People, all_say, meet, sync_all, what_they_read


async def test_two_senders_use_the_fallback_key_of_an_olmstate_device(people: People) -> None:
    reader = await people.olmstate()
    await reader.sync()
    senders: list[Device] = [await people.rust(), await people.nio()]
    room = await meet([reader, *senders])
    thief = await people.homeserver.register()
    await use_up(reader.session, thief)
    said = await all_say(senders, room)
    await sync_all([reader, *senders])
    assert [said] * 3 == what_they_read([reader, *senders], said)
    assert 50 == await keys_left(reader.session)


async def test_olmstate_and_another_use_the_fallback_key_of_an_olmmachine(people: People) -> None:
    reader = await people.rust()
    await reader.sync()
    senders: list[Device] = [await people.olmstate(), await people.nio()]
    room = await meet([reader, *senders])
    await use_up(reader.session, await people.homeserver.register())
    said = await all_say(senders, room)
    await sync_all([reader, *senders])
    assert [said] * 3 == what_they_read([reader, *senders], said)


async def test_a_fallback_key_that_was_replaced_meanwhile_still_opens_what_was_sent_to_it(people: People) -> None:
    reader, sender = await people.olmstate(), await people.rust()
    await reader.sync()
    room = await meet([reader, sender])
    await use_up(reader.session, await people.homeserver.register())
    await claim_from(sender, reader.session)
    for _ in range(2):  # sees that it was used, and publishes another
        await reader.sync()
    assert ["signed_curve25519"] == (await reader.session.sync(None, timeout_ms=1))["device_unused_fallback_key_types"]
    said = await all_say([sender], room)
    await reader.sync()
    assert [said] == what_they_read([reader], said)
