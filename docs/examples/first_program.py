"""A new device: what it uploads so that others can write to it."""

from __future__ import annotations

import trio

import olmstate.messages as m
from olmstate.actors import open_supervisor


async def main() -> None:
    async with open_supervisor(
        "store", user_id="@bot:example.org", device_id="BOT", key="secret"
    ) as device:
        await device.ask(m.PrepareAccount())
        device_keys = await device.ask(m.SignedDeviceKeys())
        unpublished = await device.ask(m.PrepareOneTimeKeys())
        print({"device_keys": device_keys, "one_time_keys": unpublished.one_time_keys})


trio.run(main)
