"""One device's processes at a homeserver in memory, and other people's devices there, made of vodozemac alone."""

from __future__ import annotations

from collections.abc import AsyncGenerator
from contextlib import asynccontextmanager

import attrs
import trio
from vodozemac import InboundGroupSession, SessionKey

from olmstate.actors import Options, Supervisor, run_supervisor
from olmstate.actors.testing import DEVICE, USER, MemoryDisk, MemoryStore
from olmstate.messages import (
    DeviceId,
    EncryptedRoomEvent,
    JsonObject,
    PrepareAccount,
    Request,
    Response,
    UserId,
)
from tests.operations.peer import Peer, read_room_event
from tests.operations.transport import transport_of
from tests.peer.homeserver import Homeserver
from tests.peer.session import API, Session


@attrs.define
class Other:
    """Somebody's device."""

    peer: Peer
    session: Session
    room_keys: dict[str, InboundGroupSession] = attrs.field(factory=dict[str, InboundGroupSession])
    contents: dict[str, JsonObject] = attrs.field(factory=dict[str, JsonObject])
    """Of each session's last ``m.room_key``."""
    withheld: list[JsonObject] = attrs.field(factory=list[JsonObject])
    """Notices so far."""
    since: str | None = None
    received: int = 0
    """Room keys so far."""

    async def publish(self, one_time_keys: int = 0, *, fallback: bool = False) -> None:
        """Upload the device's keys, and some to start sessions with."""
        body: JsonObject = {"device_keys": self.peer.device_keys(), "one_time_keys": {}, "fallback_keys": {}}
        for _ in range(one_time_keys):
            body["one_time_keys"].update(self.peer.one_time_key())
        if fallback:
            body["fallback_keys"].update(self.peer.one_time_key(fallback=True))
        await self.session.request("POST", f"{API}/keys/upload", body)

    async def sync(self) -> None:
        """Take in what has come."""
        answer = await self.session.sync(self.since)
        self.since = answer["next_batch"]
        for event in answer["to_device"]["events"]:
            if event["type"] == "m.room_key.withheld":
                self.withheld.append(event["content"])
                continue
            payload = self.peer.read(event["content"])
            if payload["type"] == "m.room_key":
                session = InboundGroupSession(SessionKey(payload["content"]["session_key"]))
                self.contents[session.session_id] = payload["content"]
                self.received += 1
                known = self.room_keys.setdefault(session.session_id, session)
                if session.first_known_index < known.first_known_index:
                    self.room_keys[session.session_id] = session

    async def read(self, event: EncryptedRoomEvent) -> JsonObject:
        """A room event's content, once what has come was taken in. Fails if the device lacks the key."""
        await self.sync()
        _, payload = read_room_event(self.room_keys[event.session_id], event.content)
        content: JsonObject = payload["content"]
        return content


@attrs.define(slots=False)
class World:
    """A homeserver, a device's store, and what the device's processes have asked."""

    homeserver: Homeserver = attrs.field(factory=Homeserver)
    disk: MemoryDisk = attrs.field(factory=MemoryDisk)
    asked: list[Request] = attrs.field(factory=list[Request])
    fail: bool = False

    def __attrs_post_init__(self) -> None:
        self.session = self.homeserver.log_in(USER, DEVICE)
        self._send = transport_of(self.session)

    async def send(self, request: Request) -> Response:
        """The transport of all processes; an answer takes a tenth of a second."""
        self.asked.append(request)
        await trio.sleep(0.1)
        if self.fail:
            raise ConnectionResetError
        return await self._send(request)

    async def log_in(
        self, user_id: str, device_id: str = "DEV", *, one_time_keys: int = 0, fallback: bool = False
    ) -> Other:
        """Another's device, which publishes its keys."""
        peer = Peer(user_id=UserId(user_id), device_id=DeviceId(device_id))
        other = Other(peer, self.homeserver.log_in(user_id, device_id))
        await other.publish(one_time_keys, fallback=fallback)
        return other

    @asynccontextmanager
    async def process(self, *, transport: bool = True, account: bool = True) -> AsyncGenerator[Supervisor]:
        """One of the device's processes, which makes the account if there is none, or not."""
        store = MemoryStore(self.disk)
        try:
            async with run_supervisor(
                store,
                user_id=USER,
                device_id=DEVICE,
                options=Options(wall_clock=lambda: round(trio.current_time() * 1000)),
                transport=self.send if transport else None,
            ) as supervisor:
                if account:
                    await supervisor.ask(PrepareAccount())
                yield supervisor
        finally:
            store.presence.close()

    def asked_for(self, target: str) -> list[JsonObject]:
        """The bodies of all requests to a target that ends like this."""
        return [each.body or {} for each in self.homeserver.asked if target in each.target]

    @property
    def queries(self) -> list[set[str]]:
        """The users of each ``/keys/query``."""
        return [set(body["device_keys"]) for body in self.asked_for("/keys/query")]
