"""An olmstate device as a program, to be killed: newline-delimited JSON on stdin and stdout, as the others speak it.

Rule: it is `OlmstateDevice`, and nothing more. Commands run one after another.
"""

from __future__ import annotations

import json
import os
import sys
from collections.abc import AsyncGenerator
from contextlib import asynccontextmanager
from pathlib import Path

import attrs
import httpx2
import trio

from olmstate.messages import (
    AcknowledgeInbox,
    DeviceAddress,
    DeviceId,
    Json,
    JsonObject,
    OlmStateError,
    SendToDevice,
    UserId,
)
from tests.interop.homeserver import NoAnswer, http_session
from tests.interop.olmstate_device import LETTER, OlmstateDevice, open_olmstate_device
from tests.peer.session import RequestRefused


async def answer(device: OlmstateDevice, cmd: str, arguments: JsonObject) -> Json:
    """Run one command."""
    match cmd:
        case "sync":
            await device.sync()
            heard = {event_id: attrs.asdict(message) for event_id, message in device.ears.heard.items()}
            device.ears.heard.clear()
            return {"heard": heard, "unread": device.ears.unread, "trouble": device.trouble}
        case "look":
            return {**attrs.asdict(await device.look(**arguments)), "trouble": device.trouble}
        case "post":
            address = DeviceAddress(user_id=arguments["user_id"], device_id=arguments["device_id"])
            content = {"number": arguments["number"]}
            sent = await device.device.ask(SendToDevice(devices=(address,), type=LETTER, content=content))
            return sent.delivered
        case "letters":
            return [[number, place] for number, place in (await device.letters()).items()]
        case "acknowledge":
            return await device.device.ask(AcknowledgeInbox(numbers=tuple(arguments["numbers"])))
        case "send":
            return await device.send(**arguments)
        case "rotate":
            return await device.rotate(**arguments)
        case "forget":
            return None
        case _:
            raise LookupError(cmd)


@asynccontextmanager
async def opened(asked: JsonObject) -> AsyncGenerator[OlmstateDevice]:
    """The device that the first line names."""
    async with httpx2.AsyncClient(verify=False, trust_env=False) as client:
        user_id, device_id = UserId(asked["user_id"]), DeviceId(asked["device_id"])
        session = http_session(client, asked["url"], user_id, device_id, asked["token"])
        async with open_olmstate_device(session, Path(asked["store"]), helper=asked["helper"]) as device:
            yield device


async def lines() -> AsyncGenerator[JsonObject]:
    """What comes on stdin, until it ends."""
    buffer = bytearray()
    async with trio.lowlevel.FdStream(os.dup(sys.stdin.fileno())) as stdin:
        async for chunk in stdin:
            buffer += chunk
            while (end := buffer.find(b"\n")) >= 0:
                yield json.loads(buffer[:end])
                del buffer[: end + 1]


def say(**what: Json) -> None:
    """One line."""
    print(json.dumps(what), flush=True)


async def main() -> None:
    """Answer until stdin ends."""
    say(ready=True)
    asked = lines()
    first = await anext(asked)
    async with opened(first) as device:
        say(id=first["id"], ok=True, result=None)
        async for arguments in asked:
            number, cmd = arguments.pop("id"), arguments.pop("cmd")
            try:
                result = await answer(device, cmd, arguments)
            except (NoAnswer, OlmStateError, RequestRefused) as error:
                say(id=number, ok=False, error=str(error), code=type(error).__name__)
            else:
                say(id=number, ok=True, result=result)


if __name__ == "__main__":
    trio.run(main)
