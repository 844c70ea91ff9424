"""The client of the quickstart, against what Synapse answers and another's client sends."""

from __future__ import annotations

from pathlib import Path
from urllib.parse import quote

from olmstate.actors import open_supervisor
from olmstate.messages import CreateAccount, RotationPeriod
from tests.docs.pages import example
from tests.interop.people import People, meet
from tests.peer.session import API

KEY = bytes(range(32))


async def test_it_reads_what_a_person_says_and_is_read_on_synapse(people: People, tmp_path: Path) -> None:
    client, human = example("client"), await people.rust()
    session = await people.homeserver.register("bot")
    request = session.request
    async with open_supervisor(tmp_path, user_id=session.user_id, device_id=session.device_id, key=KEY) as bot:
        await bot.ask(CreateAccount())
        await client.upload_keys(bot, request)
        room = await meet([human])
        before = await human.send(room, "said before the bot came")
        await human.session.invite(room, session.user_id)
        await session.join(room)
        await human.sync()

        first = await client.sync(bot, request, 0)
        assert [(room, RotationPeriod())] == list(first.rotation)
        assert [before] == [event["event_id"] for _, event, _ in first.unread]

        said = await human.send(room, "hello")
        taken_back = await human.send(room, "never mind")
        redact = f"{API}/rooms/{quote(room)}/redact/{quote(taken_back)}/1"
        await human.session.request("PUT", redact, {"reason": "a slip"})
        await human.session.request("PUT", f"{API}/rooms/{quote(room)}/state/m.room.topic", {"topic": "plain"})
        second = await client.sync(bot, request, 0)
        assert [said] == [event.event_id for event in second.read]
        assert ((), ()) == (second.unread, second.rotation)
        await client.upload_keys(bot, request)  # one key was claimed
        assert client.Synced() == await client.sync(bot, request, 0)

        devices = await client.learn_devices(bot, request, list(await session.members(room)))
        (rotation,) = [rotation for _, rotation in first.rotation]
        answer = {"msgtype": "m.text", "body": "hello to you"}
        event_id = await client.send(bot, request, room, answer, devices, rotation=rotation)
        await human.sync()
        assert "hello to you" == human.ears.bodies[event_id]
