"""Send one encrypted message and exit: python send.py ROOM_ID TEXT. The daemon may be running meanwhile."""

from __future__ import annotations

import sys
from urllib.parse import quote
from uuid import uuid4

import httpx2
import trio
from account import account

import olmstate.messages as m
from olmstate.actors import Supervisor, open_supervisor
from olmstate.http import open_transport

API = "/_matrix/client/v3"


async def send(device: Supervisor, client: httpx2.AsyncClient, room: m.RoomId, text: str) -> None:
    """Send a text that all members' devices can read."""
    where = f"{API}/rooms/{quote(room)}"
    response = await client.get(f"{where}/members", params={"not_membership": "leave"})
    members = tuple(m.UserId(event["state_key"]) for event in response.raise_for_status().json()["chunk"])
    content = {"msgtype": "m.text", "body": text}
    message = m.EncryptForRoom(room_id=room, members=members, type="m.room.message", content=content)
    encrypted = await device.ask(message)
    sent = await client.put(f"{where}/send/m.room.encrypted/{uuid4()}", json=encrypted.content)
    sent.raise_for_status()


async def main() -> None:
    """Open the device, send, and close it."""
    me = account()
    headers = {"Authorization": f"Bearer {me['access_token']}"}
    async with (
        httpx2.AsyncClient(base_url=me["homeserver"], headers=headers, timeout=60) as client,
        open_transport(me["homeserver"], me["access_token"]) as transport,
        open_supervisor(
            "store",
            user_id=me["user_id"],
            device_id=me["device_id"],
            key=bytes.fromhex(me["key"]),
            transport=transport,
        ) as device,
    ):
        await send(device, client, m.RoomId(sys.argv[1]), sys.argv[2])


if __name__ == "__main__":
    trio.run(main)
