"""What happens when a device's one-time keys have run out: the fallback key, for as many senders as come."""

from __future__ import annotations

from tests.interop.device import Device
from tests.interop.people import People, all_say, meet, sync_all, what_they_read
from tests.interop.rust_device import RustDevice
from tests.peer.session import Session


async def use_up(keys_of: Session, thief: Session) -> None:
    """Claim all one-time keys of a device, and none of its fallback key."""
    while (await keys_left(keys_of)) > 0:
        await thief.claim_keys([(keys_of.user_id, keys_of.device_id)])


async def keys_left(session: Session) -> int:
    """As an upload of nothing tells."""
    answer = await session.request("POST", "/_matrix/client/v3/keys/upload", {})
    counts: dict[str, int] = answer["one_time_key_counts"]
    return counts.get("signed_curve25519", 0)


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


async def claim_from(sender: RustDevice, reader: Session) -> None:
    await sender.track(reader.user_id)
    await sender.send_request(await sender.ask("get_missing_sessions", users=[reader.user_id]))
