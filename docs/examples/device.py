"""The device, and an HTTP client that is logged in: for daemon.py and send.py."""

from __future__ import annotations

from collections.abc import AsyncGenerator
from contextlib import asynccontextmanager

import httpx2
from account import account, client_of

from olmstate.actors import Supervisor, open_supervisor
from olmstate.http import open_transport


@asynccontextmanager
async def open_device() -> AsyncGenerator[tuple[Supervisor, httpx2.AsyncClient]]:
    """Both, while the block runs."""
    me = account()
    async with (
        client_of(me) as client,
        open_transport(me["homeserver"], me["access_token"]) as transport,
        open_supervisor(
            "store",
            user_id=me["user_id"],
            device_id=me["device_id"],
            key=bytes.fromhex(me["key"]),
            transport=transport,
        ) as device,
    ):
        yield device, client
