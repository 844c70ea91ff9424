"""The device encrypts an event to a room, and reads it."""

from __future__ import annotations

import trio

import olmstate.messages as m
from olmstate.actors import open_supervisor


async def main() -> None:
    user, room = "@bot:example.org", m.RoomId("!room:example.org")
    async with open_supervisor(
        "store", user_id=user, device_id="BOT", key="secret"
    ) as device:
        key = await device.ask(m.PrepareRoomKey(room_id=room))
        await device.ask(
            m.MarkRoomKeyShared(room_id=room, session_id=key.session_id, devices=())
        )
        hello = {"msgtype": "m.text", "body": "hello"}
        sent = await device.ask(
            m.EncryptRoomEvent(room_id=room, type="m.room.message", content=hello)
        )
        event = {"event_id": "$1", "sender": user, "content": sent.content}
        read = await device.ask(m.DecryptRoomEvent(room_id=room, event=event))
        print(read.content["body"])


trio.run(main)
