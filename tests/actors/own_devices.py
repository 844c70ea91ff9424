"""This device, and others of the same user that are made of vodozemac alone."""

from __future__ import annotations

from collections.abc import AsyncGenerator
from contextlib import asynccontextmanager

import attrs
import trio

from olmstate.actors import Supervisor
from olmstate.actors.testing import DEVICE, USER
from olmstate.messages import (
    DeviceId,
    DeviceIdentity,
    DeviceTrust,
    IdentityKeys,
    JsonObject,
    ReceiveSync,
    SetDeviceTrust,
    SyncToken,
    UpdateDevices,
    UserId,
)
from tests.actors.world import Other, World
from tests.peer.session import API

BOB = UserId("@bob:example.org")


@attrs.define
class Own:
    """This device, and another of the same user."""

    world: World
    device: Supervisor
    me: DeviceIdentity
    other: Other

    async def sync(self) -> None:
        since = await self.device.ask(SyncToken())
        await self.device.ask(ReceiveSync(sync=await self.world.session.sync(since), since=since))
        await trio.sleep(5)

    async def send(self, sender: Other, event_type: str, content: JsonObject) -> None:
        """In clear."""
        await sender.session.send_to_device(event_type, {USER: {DEVICE: content}})
        await self.sync()

    async def send_encrypted(self, sender: Other, event_type: str, content: JsonObject) -> None:
        """On an Olm session, which it begins if there is none."""
        if not sender.peer.sessions:
            wanted = {USER: {DEVICE: "signed_curve25519"}}
            answer = await sender.session.request("POST", f"{API}/keys/claim", {"one_time_keys": wanted})
            (key,) = answer["one_time_keys"][USER][DEVICE].values()
            sender.peer.start_session(self.me, key)
        event = sender.peer.event(self.me, event_type, content)
        await self.send(sender, "m.room.encrypted", event["content"])

    async def trust(self, trust: DeviceTrust = DeviceTrust.VERIFIED, *, device_id: str | None = None) -> None:
        """Of the other one, or of another."""
        decided = DeviceId(device_id or self.other.peer.device_id)
        await self.device.ask(SetDeviceTrust(user_id=UserId(USER), device_id=decided, trust=trust))


@asynccontextmanager
async def own(world: World, *, one_time_keys: int = 1) -> AsyncGenerator[Own]:
    other = await world.log_in(USER, "TWO", one_time_keys=one_time_keys)
    async with world.process() as device:
        me = await device.ask(IdentityKeys())
        await device.ask(UpdateDevices(users=(UserId(USER), BOB)))
        await trio.sleep(5)
        yield Own(world, device, me, other)


async def came(other: Other, event_type: str) -> list[JsonObject]:
    """The contents that another device was sent in clear since it last looked."""
    answer = await other.session.sync(other.since)
    other.since = answer["next_batch"]
    return [event["content"] for event in answer["to_device"]["events"] if event["type"] == event_type]
