"""Sign the bot's device in with the account's recovery key: once, before it starts."""

from __future__ import annotations

from getpass import getpass

import trio
from device import open_device

import olmstate.messages as m


async def main() -> None:
    async with open_device() as (device, _):
        await device.ask(m.PublishAccount())
        try:
            await device.ask(m.RecoverFromSecretStorage(key=getpass("recovery key: ")))
        except (m.SecretError, m.UnknownIdentity) as error:
            print(f"not signed in: {error}")
        else:
            print("signed in: others see this device as its user's")


if __name__ == "__main__":
    trio.run(main)
