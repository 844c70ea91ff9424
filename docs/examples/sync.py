"""One sync of the device: for daemon.py."""

from __future__ import annotations

from urllib.parse import quote

import httpx2

import olmstate.messages as m
from olmstate.actors import Supervisor, encrypted_events


async def sync(
    device: Supervisor, client: httpx2.AsyncClient
) -> tuple[tuple[m.RoomId, m.JsonObject], ...]:
    """Take in what came for the device, join where it is invited.

    Returns:
        The new encrypted events of its rooms, each with its room.
    """
    async with device.sync_turn() as turn:  # one process at a time
        query = {"timeout": "30000"} | ({"since": turn.since} if turn.since else {})
        response = await client.get("/sync", params=query)
        received = await turn.receive(found := response.raise_for_status().json())
    for room_id in found.get("rooms", {}).get("invite", {}):
        await client.post(f"/join/{quote(room_id)}", json={})
    if not turn.since or not received.token_stored:
        return ()  # it was said before the first sync, or another process has it
    return encrypted_events(found)
