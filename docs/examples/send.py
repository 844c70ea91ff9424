"""Send one encrypted message: python send.py ROOM_ID TEXT. The daemon may run."""

from __future__ import annotations

import sys
from urllib.parse import quote
from uuid import uuid4

import httpx2
import trio
from device import open_device

import olmstate.messages as m
from olmstate.actors import Supervisor


async def send(
    device: Supervisor, client: httpx2.AsyncClient, room: m.RoomId, text: str
) -> None:
    """Send a text that all members' devices can read."""
    where = f"/rooms/{quote(room)}"
    response = await client.get(f"{where}/members", params={"not_membership": "leave"})
    events = response.raise_for_status().json()["chunk"]
    members = tuple(m.UserId(event["state_key"]) for event in events)
    content = {"msgtype": "m.text", "body": text}
    message = m.EncryptForRoom(
        room_id=room, members=members, type="m.room.message", content=content
    )
    encrypted = await device.ask(message)
    path = f"{where}/send/m.room.encrypted/{uuid4()}"
    (await client.put(path, json=encrypted.content)).raise_for_status()


async def main() -> None:
    async with open_device() as (device, client):
        await send(device, client, m.RoomId(sys.argv[1]), sys.argv[2])


if __name__ == "__main__":
    trio.run(main)
