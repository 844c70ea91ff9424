"""olmstate as a device: the one place in these tests where a client is built on it.

Owns: `OlmstateDevice`, a supervisor with a session. Whatever the library doesn't do by itself yet is here: learning
    devices, claiming, delivering, uploading.
Rule: a test asks `device` for what the library promises, and this class for what a client does.
"""

from __future__ import annotations

from collections.abc import AsyncGenerator
from contextlib import asynccontextmanager, suppress
from pathlib import Path

import attrs

import olmstate.messages as m
from olmstate.actors import Supervisor, open_supervisor
from tests.interop.device import Ears, Heard, text
from tests.peer.session import Session, encrypted_events


@attrs.define(eq=False, kw_only=True)
class OlmstateDevice:
    """One olmstate device on a homeserver, real or in memory."""

    session: Session
    device: Supervisor
    rotation: m.RotationPeriod = attrs.field(factory=m.RotationPeriod)
    ears: Ears = attrs.field(factory=Ears)
    taken: list[m.ToDeviceOutcome] = attrs.field(factory=list[m.ToDeviceOutcome])
    """What became of the to-device events of all syncs."""
    _encrypted: dict[m.EventId, tuple[m.RoomId, m.JsonObject]] = attrs.field(
        factory=dict[m.EventId, tuple[m.RoomId, m.JsonObject]]
    )

    async def upload_keys(self) -> None:
        """Publish what the server lacks."""
        keys = await self.device.ask(m.PrepareOneTimeKeys())
        if not keys.is_due:
            return
        body: m.JsonObject = {
            "device_keys": await self.device.ask(m.SignedDeviceKeys()),
            "one_time_keys": keys.one_time_keys,
            "fallback_keys": keys.fallback_keys,
        }
        answer = await self.session.request("POST", "/_matrix/client/v3/keys/upload", body)
        await self.device.ask(m.MarkKeysPublished(key_ids=keys.key_ids, one_time_key_counts=answer))

    async def sync(self) -> None:
        """Take in a sync's answer, and read the rooms."""
        since = await self.device.ask(m.SyncToken())
        answer = await self.session.sync(since)
        received = await self.device.ask(m.ReceiveSync(sync=answer, since=since))
        self.taken.extend(received.to_device)
        await self.upload_keys()
        for room_id, event in encrypted_events(answer):
            self._encrypted[event["event_id"]] = room_id, event
        waiting = tuple(self._encrypted.items())
        outcomes = await self.device.ask(m.DecryptRoomEvents(events=tuple(event for _, event in waiting)))
        for (event_id, (room_id, event)), read in zip(waiting, outcomes, strict=True):
            if isinstance(read, m.DecryptedRoomEvent):
                del self._encrypted[event_id]
                heard = Heard(
                    room_id=room_id,
                    sender=event["sender"],
                    type=read.type,
                    content=read.content,
                    session_id=read.session_id,
                )
                self.ears.hear(event_id, heard)
            else:
                self.ears.unread[event_id] = type(read).__name__

    async def learn_devices(self, room_id: m.RoomId) -> tuple[m.DeviceAddress, ...]:
        """All devices of a room's members but this one."""
        members = await self.session.members(room_id)
        await self.device.ask(m.AddDevices(response=await self.session.query_keys(members)))
        known = [device for user in members for device in await self.device.ask(m.Devices(user_id=user))]
        me = (self.session.user_id, self.session.device_id)
        return tuple(
            m.DeviceAddress(user_id=device.user_id, device_id=device.device_id)
            for device in known
            if (device.user_id, device.device_id) != me
        )

    async def share_room_key(self, room_id: m.RoomId) -> None:
        """Give the room's key to all devices in it that don't have it."""
        share = m.ShareRoomKey(room_id=room_id, devices=await self.learn_devices(room_id), rotation=self.rotation)
        shared = await self.device.ask(share)
        if shared.missing:
            claimed = await self.session.claim_keys((device.user_id, device.device_id) for device in shared.missing)
            await self.device.ask(m.CreateOlmSessions(one_time_keys=claimed["one_time_keys"]))
            await self._deliver(room_id, shared)
            shared = await self.device.ask(share)
        await self._deliver(room_id, shared)

    async def _deliver(self, room_id: m.RoomId, share: m.RoomKeyShare) -> None:
        for messages in share.requests:
            await self.session.send_to_device("m.room.encrypted", messages)
        done = m.MarkRoomKeyShared(room_id=room_id, session_id=share.session_id, devices=share.recipients)
        await self.device.ask(done)

    async def send(self, room_id: m.RoomId, body: str) -> m.EventId:
        """Send a text that everybody's devices in the room can read."""
        message = m.EncryptRoomEvent(room_id=room_id, type="m.room.message", content=text(body))
        while True:
            try:
                await self.share_room_key(room_id)
                encrypted = await self.device.ask(message)
                break
            except (m.RoomKeyNotShared, m.RoomKeyReplaced):
                continue  # used up, or replaced by another process, in between
        return await self.session.send(room_id, "m.room.encrypted", encrypted.content)

    async def rotate(self, room_id: m.RoomId) -> None:
        """Use a new session from now on."""
        await self.device.ask(m.DiscardRoomKey(room_id=room_id))


@asynccontextmanager
async def open_olmstate_device(session: Session, store: Path) -> AsyncGenerator[OlmstateDevice]:
    """Open a store, or make it, with the device's keys uploaded."""
    async with open_supervisor(store, user_id=session.user_id, device_id=session.device_id, key="key") as supervisor:
        with suppress(m.AccountExists):
            await supervisor.ask(m.CreateAccount())
        device = OlmstateDevice(session=session, device=supervisor)
        await device.sync()
        yield device
