"""A bot that answers !ping in encrypted rooms. Stop and start it whenever you like."""

from __future__ import annotations

from typing import Any
from urllib.parse import quote

import httpx2
import trio
from account import account
from send import send

import olmstate.messages as m
from olmstate.actors import Supervisor, open_supervisor
from olmstate.http import open_transport

API = "/_matrix/client/v3"


async def answer(
    device: Supervisor, client: httpx2.AsyncClient, room: m.RoomId, event: m.JsonObject
) -> None:
    """Answer one event of a room, if it says !ping."""
    try:
        read = await device.ask(m.DecryptRoomEvent(room_id=room, event=event))
    except m.DecryptionError as error:
        print(f"can't read {event['event_id']} in {room}: {error}", flush=True)
        return
    if read.type == "m.room.message" and read.content.get("body") == "!ping":
        await send(device, client, room, "pong")


async def sync(device: Supervisor, client: httpx2.AsyncClient, timeout_ms: int) -> None:
    """One sync: take in what came for the device, join where it was invited, answer."""
    async with device.sync_turn() as turn:
        since = turn.since
        query = {"timeout": str(timeout_ms)} | ({"since": since} if since else {})
        response = await client.get(f"{API}/sync", params=query, timeout=90)
        found: dict[str, Any] = response.raise_for_status().json()
        received = await turn.receive(found)
    rooms = found.get("rooms", {})
    for room_id in rooms.get("invite", {}):
        await client.post(f"{API}/rooms/{quote(room_id)}/join", json={})
    if not since or not received.token_stored:
        return  # it was said before this bot began, or another process has it
    for room_id, room in rooms.get("join", {}).items():
        for event in room.get("timeline", {}).get("events", []):
            # a redacted one has nothing left to decrypt
            if event["type"] == "m.room.encrypted" and event["content"]:
                await answer(device, client, m.RoomId(room_id), event)


async def main() -> None:
    """Sync for ever."""
    me = account()
    headers = {"Authorization": f"Bearer {me['access_token']}"}
    async with (
        httpx2.AsyncClient(base_url=me["homeserver"], headers=headers) as client,
        open_transport(me["homeserver"], me["access_token"]) as transport,
        open_supervisor(
            "store",
            user_id=me["user_id"],
            device_id=me["device_id"],
            key=bytes.fromhex(me["key"]),
            transport=transport,
        ) as device,
    ):
        await device.ask(m.PublishAccount())
        print("syncing", flush=True)
        while True:
            try:
                await sync(device, client, timeout_ms=30_000)
            except httpx2.HTTPError:
                await trio.sleep(5)


if __name__ == "__main__":
    trio.run(main)
