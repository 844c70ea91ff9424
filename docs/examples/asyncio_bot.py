"""The same bot on asyncio: one file, beside account.py."""

from __future__ import annotations

import asyncio
from urllib.parse import quote

import httpx2
from account import account, client_of

import olmstate.messages as m
from olmstate.actors import encrypted_events
from olmstate.asyncio import Supervisor, open_supervisor
from olmstate.http import open_transport


async def answer(
    device: Supervisor, client: httpx2.AsyncClient, room: m.RoomId, event: m.JsonObject
) -> None:
    try:
        read = await device.ask(m.DecryptRoomEvent(room_id=room, event=event))
    except m.DecryptionError as error:
        print(f"{event['event_id']} can't be read: {error}", flush=True)
        return
    if read.content.get("body") == "!ping":
        path, pong = f"/rooms/{quote(room)}", {"msgtype": "m.text", "body": "pong"}
        found = (await client.get(f"{path}/members?not_membership=leave")).json()
        members = tuple(m.UserId(member["state_key"]) for member in found["chunk"])
        message = m.EncryptForRoom(
            room_id=room, members=members, type="m.room.message", content=pong
        )
        path += f"/send/m.room.encrypted/{quote(event['event_id'])}"
        await client.put(path, json=(await device.ask(message)).content)


async def main() -> None:
    me = account()
    who = {name: me[name] for name in ("user_id", "device_id")}
    key = bytes.fromhex(me["key"])
    async with (
        client_of(me) as client,
        open_transport(me["homeserver"], me["access_token"]) as send,
        open_supervisor("store", **who, key=key, transport=send) as device,
        asyncio.TaskGroup() as group,
    ):
        await device.ask(m.PublishAccount())
        print("syncing", flush=True)
        while True:
            async with device.sync_turn() as turn:
                since = {"since": turn.since} if turn.since else {}
                found = await client.get("/sync", params={"timeout": "30000", **since})
                await turn.receive(news := found.raise_for_status().json())
            for room in news.get("rooms", {}).get("invite", {}):
                await client.post(f"/join/{quote(room)}", json={})
            for room, event in encrypted_events(news) if since else ():
                group.create_task(answer(device, client, room, event))


asyncio.run(main())
