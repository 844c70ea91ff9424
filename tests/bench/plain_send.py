"""What docs/examples/send.py does, without encryption: python plain_send.py ROOM_ID TEXT."""

from __future__ import annotations

import json
import sys
from pathlib import Path
from urllib.parse import quote
from uuid import uuid4

import httpx2
import trio


async def main() -> None:
    """Send a text."""
    me = json.loads(Path("account.json").read_text())
    headers = {"Authorization": f"Bearer {me['access_token']}"}
    async with httpx2.AsyncClient(base_url=f"{me['homeserver']}/_matrix/client/v3", headers=headers) as client:
        where = f"/rooms/{quote(sys.argv[1])}"
        response = await client.get(f"{where}/members", params={"not_membership": "leave"})
        response.raise_for_status()
        content = {"msgtype": "m.text", "body": sys.argv[2]}
        (await client.put(f"{where}/send/m.room.message/{uuid4()}", json=content)).raise_for_status()


if __name__ == "__main__":
    trio.run(main)
