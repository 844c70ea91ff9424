"""Any number of these may run at once, beside the bot or without it."""

from __future__ import annotations

import trio

import olmstate.messages as m
from olmstate.actors import open_supervisor


async def main() -> None:
    user, room = "@bot:example.org", m.RoomId("!room:example.org")
    async with open_supervisor(
        "store", user_id=user, device_id="BOT", key="secret"
    ) as device:
        hello = {"msgtype": "m.text", "body": "hello again"}
        sent = await device.ask(
            m.EncryptRoomEvent(room_id=room, type="m.room.message", content=hello)
        )
        print(sent.message_index)


trio.run(main)
