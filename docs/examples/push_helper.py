"""Read one event that a push tells of: python push_helper.py ROOM_ID EVENT_ID.

The daemon may run and sync: nothing is taken away from it.
"""

from __future__ import annotations

import json
import sys
from urllib.parse import quote

import httpx2
import trio
from device import open_device

import olmstate.messages as m
from olmstate.actors import Supervisor

ONLY_TO_DEVICE = json.dumps(
    {
        "room": {"rooms": []},
        "presence": {"types": []},
        "account_data": {"types": []},
    }
)


async def read(
    device: Supervisor, client: httpx2.AsyncClient, room: m.RoomId, event_id: str
) -> m.DecryptedRoomEvent:
    """Read the event; look for its key among the to-device events that wait."""
    path = f"/rooms/{quote(room)}/event/{quote(event_id)}"
    event = (await client.get(path)).raise_for_status().json()
    since = await device.ask(m.SyncToken())
    while True:
        try:
            return await device.ask(m.DecryptRoomEvent(room_id=room, event=event))
        except m.DecryptionError:
            query = {"timeout": "0", "filter": ONLY_TO_DEVICE}
            query |= {"since": since} if since else {}
            response = await client.get("/sync", params=query, timeout=90)
            found = response.raise_for_status().json()
            came = found.get("to_device", {}).get("events", [])
            if not came:
                raise
            await device.ask(m.DecryptToDevice(events=tuple(came)))
            since = found["next_batch"]  # for what is behind them; it isn't stored


async def main() -> None:
    async with open_device() as (device, client):
        event = await read(device, client, m.RoomId(sys.argv[1]), sys.argv[2])
        print(event.content.get("body"))


if __name__ == "__main__":
    trio.run(main)
