"""A bot that answers !ping in encrypted rooms. Stop and start it whenever you like."""

from __future__ import annotations

import httpx2
import trio
from device import open_device
from send import send
from sync import sync

import olmstate.messages as m
from olmstate.actors import Supervisor


async def text_of(device: Supervisor, room: m.RoomId, event: m.JsonObject) -> str:
    """What an encrypted event says, if it can be read and is a text."""
    try:
        read = await device.ask(m.DecryptRoomEvent(room_id=room, event=event))
    except m.DecryptionError as error:
        print(f"{event['event_id']} can't be read: {error}", flush=True)
        return ""
    return str(read.content.get("body", ""))


async def main() -> None:
    async with open_device() as (device, client):
        await device.ask(m.PublishAccount())
        print("syncing", flush=True)
        while True:
            try:
                for room, event in await sync(device, client):
                    if await text_of(device, room, event) == "!ping":
                        await send(device, client, room, "pong")
            except httpx2.HTTPError as error:
                print(f"trying again in 5 seconds: {error!r}", flush=True)
                await trio.sleep(5)


if __name__ == "__main__":
    trio.run(main)
