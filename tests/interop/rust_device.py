"""matrix-rust-sdk's OlmMachine as a device: its requests are sent for it, as a client does that is built on it.

Owns: `RustDevice`, a machine with a session. Several live in one program, which may be shared.
Rule: nothing is decided here. `ask` gives all commands of `node/*.mjs`, whose answers' requests `send_request` sends.
"""

from __future__ import annotations

from typing import Any

import attrs

from olmstate.messages import EventId, Json, JsonObject, RoomId, UserId
from tests.interop.device import Ears, Heard, text
from tests.interop.program import Program, ProgramError
from tests.peer.session import Session, encrypted_events


@attrs.define(eq=False, kw_only=True)
class RustDevice:
    """One OlmMachine on a homeserver, real or in memory."""

    session: Session
    identity: JsonObject
    """``curve25519`` and ``ed25519``."""
    ears: Ears = attrs.field(factory=Ears)
    settings: dict[str, Any] = attrs.field(factory=dict[str, Any])
    """For sharing: ``rotation_messages``, ``rotation_ms``, ``history_visibility``, ``strategy``."""
    _program: Program = attrs.field(alias="program")
    _since: str | None = None
    _encrypted: dict[EventId, tuple[RoomId, JsonObject]] = attrs.field(factory=dict[EventId, tuple[RoomId, JsonObject]])

    async def ask(self, command: str, **arguments: object) -> Json:
        """Any command of the program, for this machine."""
        return await self._program.ask(command, m=self._name, **arguments)

    @property
    def _name(self) -> str:
        return f"{self.session.user_id} {self.session.device_id}"

    # --- requests ---------------------------------------------------------------------------------------------------

    async def do(self, command: str, **arguments: object) -> Json:
        """A command whose answer has a ``request``, or ``requests``, which are sent."""
        answer = await self.ask(command, **arguments)
        for request in (answer.get("request"), *answer.get("requests", ())):
            await self.send_request(request)
        return answer

    async def send_request(self, request: JsonObject | None) -> None:
        """Send a request that a command gave, and tell the machine the answer."""
        if request is None:
            return
        if request["type"] == "room_message":
            answer = await self._send_encrypted(request["room_id"], request["event_type"], request["body"])
        else:
            answer = await self.session.request(request["method"], request["path"], request["body"])
        if request["id"] is not None:
            await self.ask("mark_request_sent", request_id=request["id"], type=request["type"], response=answer)

    async def keep_house(self) -> None:
        """Send what is waiting: uploads, queries, and what verifications and gossip have to say."""
        while requests := await self.ask("outgoing_requests"):
            for request in requests:
                await self.send_request(request)

    # --- what a client does -----------------------------------------------------------------------------------------

    async def sync(self) -> None:
        """Take in a sync's answer, and read the rooms."""
        answer = await self.session.sync(self._since)
        await self.ask("receive_full_sync", sync=answer)
        self._since = answer["next_batch"]
        await self.keep_house()
        for room_id, event in encrypted_events(answer):
            self._encrypted[event["event_id"]] = room_id, event
        for event_id, (room_id, event) in list(self._encrypted.items()):
            try:
                read = (await self.ask("decrypt", room_id=room_id, event=event))["event"]
            except ProgramError as error:
                self.ears.unread[event_id] = error.code or str(error)
                continue
            del self._encrypted[event_id]
            heard = Heard(
                room_id=room_id,
                sender=event["sender"],
                type=read["type"],
                content=read["content"],
                session_id=event["content"]["session_id"],
            )
            self.ears.hear(event_id, heard)
            if _verifies(heard):
                await self.ask("receive_in_room", room_id=room_id, event=read)
                await self.keep_house()

    async def share_room_key(self, room_id: RoomId) -> None:
        """Give the room's key to all devices of its members that don't have it."""
        members = await self.session.members(room_id)
        await self.track(*members)
        await self.send_request(await self.ask("get_missing_sessions", users=members))
        for request in await self.ask("share_room_key", room_id=room_id, users=members, settings=self.settings):
            await self.send_request(request)

    async def track(self, *users: UserId) -> None:
        """Learn these users' devices, and keep them up to date."""
        await self.ask("update_tracked_users", users=users)
        for request in await self.ask("outgoing_requests"):
            if request["type"] != "room_message":  # sending one of those begins with this
                await self.send_request(request)

    async def send(self, room_id: RoomId, body: str) -> EventId:
        """Send a text that everybody's devices in the room can read."""
        return await self.send_content(room_id, text(body))

    async def send_content(self, room_id: RoomId, content: JsonObject) -> EventId:
        """Send an ``m.room.message``."""
        return EventId((await self._send_encrypted(room_id, "m.room.message", content))["event_id"])

    async def _send_encrypted(self, room_id: RoomId, event_type: str, content: JsonObject) -> JsonObject:
        await self.share_room_key(room_id)
        encrypted = await self.ask("encrypt", room_id=room_id, type=event_type, content=content)
        return {"event_id": await self.session.send(room_id, "m.room.encrypted", encrypted)}

    async def rotate(self, room_id: RoomId) -> None:
        """Use a new session from now on."""
        await self.ask("discard_room_key", room_id=room_id)


async def rust_device(program: Program, session: Session) -> RustDevice:
    """A new device, with its keys uploaded."""
    name = f"{session.user_id} {session.device_id}"
    identity = await program.ask("init", m=name, user_id=session.user_id, device_id=session.device_id)
    device = RustDevice(session=session, identity=identity, program=program)
    await device.sync()
    return device


def _verifies(heard: Heard) -> bool:
    """Whether it is a step of a verification in a room."""
    kinds = (heard.type, heard.content.get("msgtype", ""))
    return any(kind.startswith("m.key.verification.") for kind in kinds)
