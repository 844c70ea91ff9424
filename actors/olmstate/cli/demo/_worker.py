"""One of the demo's processes: a program that embeds a supervisor and does what it is told.

    python -m olmstate.cli.demo._worker

The first line on its standard input says which store; all others are calls (`_calls`). It ends when that input ends, so
it never outlives the demo. It may be killed at any moment: whatever it had not answered then may or may not have been
done.
"""

from __future__ import annotations

import base64
import json
import os
from collections.abc import AsyncGenerator, Awaitable, Callable
from contextlib import asynccontextmanager
from pathlib import Path

import attrs
import trio

from olmstate.actors import Options, Supervisor, open_supervisor, run_supervisor
from olmstate.messages import (
    AddDevices,
    CreateOlmSessions,
    DecryptedRoomEvent,
    DecryptedToDevice,
    DecryptionError,
    DecryptRoomEvent,
    DecryptRoomEvents,
    DeviceAddress,
    DeviceId,
    EncryptedRoomEvent,
    EncryptRoomEvent,
    EncryptToDevice,
    ImportAccount,
    ImportKeyFile,
    ImportRoomKeys,
    Json,
    JsonObject,
    MalformedMessage,
    MarkKeysPublished,
    MarkRequestSent,
    MismatchedRoom,
    MissingRoomKey,
    OlmSessionPickle,
    PlainToDevice,
    PrepareOneTimeKeys,
    ReceiveSync,
    ReplayedToDevice,
    RoomId,
    RoomKeyNotShared,
    RoomKeyWithheld,
    RotationPeriod,
    ShareRoomKey,
    Statistics,
    SyncToken,
    ToDeviceOutcome,
    UndecryptableToDevice,
    UnknownMessageIndex,
    UserId,
)
from olmstate.storage import open_store

from ._calls import Calls, Lines
from ._settings import Settings
from ._unsafe import UnsafeStore

MOST_SHARES = 100
"""Times that a message waits for a room key that others replace again before it is sent."""
SHARED_ELSEWHERE = 0.01
"""Seconds to wait for another process that delivers the key."""
OPTIONS = Options(lock_timeout=60.0)
"""A demo on a busy machine must not give up on a lock that is merely slow in coming."""


@asynccontextmanager
async def opened(settings: Settings) -> AsyncGenerator[Supervisor]:
    """The supervisor; for the control, over a store that doesn't keep its promises."""
    user_id, device_id, key = UserId(settings.user_id), DeviceId(settings.device_id), bytes.fromhex(settings.key)
    if not settings.unsafe:
        async with open_supervisor(
            settings.folder, user_id=user_id, device_id=device_id, key=key, options=OPTIONS
        ) as supervisor:
            yield supervisor
        return
    store = await open_store(
        Path(settings.folder), user_id=user_id, device_id=device_id, key=key, lock_timeout=OPTIONS.lock_timeout
    )
    try:
        async with run_supervisor(
            UnsafeStore(store), user_id=user_id, device_id=device_id, options=OPTIONS
        ) as supervisor:
            yield supervisor
    finally:
        await store.aclose()


class Worker:
    """What the parent may call, over one supervisor."""

    def __init__(self, supervisor: Supervisor, settings: Settings, stdin: Lines, stdout: trio.abc.SendStream) -> None:
        """Over open streams; `calls` must be run."""
        self._supervisor = supervisor
        self._ask = supervisor.ask
        self._reader = DeviceAddress(user_id=UserId(settings.reader[0]), device_id=DeviceId(settings.reader[1]))
        self._rotation = RotationPeriod(messages=settings.rotation)
        self.calls = Calls(stdout, stdin, self._serve)
        self._methods: dict[str, Callable[..., Awaitable[Json]]] = {
            "ping": self._ping,
            "import_account": self._import_account,
            "add_devices": self._add_devices,
            "receive_sync": self._receive_sync,
            "sync_token": self._sync_token,
            "decrypt": self._decrypt,
            "import_keys": self._import_keys,
            "import_key_file": self._import_key_file,
            "send": self._send,
            "send_to_device": self._send_to_device,
            "upload_keys": self._upload_keys,
            "statistics": self._statistics,
        }

    async def _serve(self, method: str, arguments: JsonObject) -> Json:
        return await self._methods[method](**arguments)

    async def _ping(self) -> int:
        await trio.lowlevel.checkpoint()
        return os.getpid()

    async def _statistics(self) -> JsonObject:
        statistics = await self._ask(Statistics())
        return attrs.asdict(statistics)

    # --- receiving ------------------------------------------------------------------------------------------

    async def _import_account(self, *, pickle: str, pickle_key: str, olm_sessions: list[JsonObject]) -> JsonObject:
        sessions = tuple(OlmSessionPickle(**session) for session in olm_sessions)
        command = ImportAccount(pickle=pickle, pickle_key=base64.b64decode(pickle_key), olm_sessions=sessions)
        identity = await self._ask(command)
        return attrs.asdict(identity)

    async def _add_devices(self, *, response: JsonObject) -> int:
        return len((await self._ask(AddDevices(response=response))).rejected)

    async def _receive_sync(self, *, sync: JsonObject, since: str | None) -> JsonObject:
        received = await self._ask(ReceiveSync(sync=sync, since=since))
        return {"to_device": [_outcome(each) for each in received.to_device], "token_stored": received.token_stored}

    async def _sync_token(self) -> str | None:
        return await self._ask(SyncToken())

    async def _import_keys(self, *, keys: list[JsonObject]) -> int:
        return (await self._ask(ImportRoomKeys(keys=tuple(keys)))).total

    async def _import_key_file(self, *, file: str, passphrase: str) -> int:
        return (await self._ask(ImportKeyFile(file=file, passphrase=passphrase))).total

    async def _decrypt(self, *, events: list[tuple[str, JsonObject]]) -> list[JsonObject]:
        if len(events) == 1:
            [(room_id, event)] = events
            try:
                decrypted = await self._ask(DecryptRoomEvent(room_id=RoomId(room_id), event=event))
            except DecryptionError as error:
                return [_in_clear(error)]
            return [_in_clear(decrypted)]
        query = DecryptRoomEvents(events=tuple((RoomId(room_id), event) for room_id, event in events))
        return [_in_clear(each) for each in await self._ask(query)]

    # --- sending --------------------------------------------------------------------------------------------

    async def _send(self, *, room_id: str, body: str) -> JsonObject:
        """Encrypt a message, and share the room key before if that is due."""
        encrypted = await self._encrypt(RoomId(room_id), body)
        return attrs.asdict(encrypted)

    async def _encrypt(self, room_id: RoomId, body: str) -> EncryptedRoomEvent:
        command = EncryptRoomEvent(room_id=room_id, type="m.room.message", content={"msgtype": "m.text", "body": body})
        for _ in range(MOST_SHARES):
            try:
                return await self._ask(command)
            except RoomKeyNotShared:
                await self._share(room_id)
        return await self._ask(command)

    async def _share(self, room_id: RoomId) -> None:
        share = await self._ask(ShareRoomKey(room_id=room_id, devices=(self._reader,), rotation=self._rotation))
        if share.missing:
            claimed = await self.calls.call("claim_keys")
            await self._ask(CreateOlmSessions(one_time_keys=claimed))
            return
        for request in share.requests:
            messages = json.loads(request.body)["messages"]
            await self.calls.call("put_to_device", messages=messages, transaction_id=request.request_id)
            await self._ask(MarkRequestSent(request_id=request.request_id, response={}))
        if share.elsewhere:
            await trio.sleep(SHARED_ELSEWHERE)

    async def _send_to_device(
        self, *, user_id: str, device_id: str, event_type: str, content: JsonObject
    ) -> JsonObject:
        address = DeviceAddress(user_id=UserId(user_id), device_id=DeviceId(device_id))
        encrypted = await self._ask(EncryptToDevice(devices=(address,), type=event_type, content=content))
        return {"messages": encrypted.messages, "missing": len(encrypted.missing)}

    async def _upload_keys(self) -> int:
        """Upload what the server should have and has not."""
        due = await self._ask(PrepareOneTimeKeys())
        counts = await self.calls.call("put_keys", one_time_keys=due.one_time_keys, fallback_keys=due.fallback_keys)
        await self._ask(MarkKeysPublished(key_ids=due.key_ids, one_time_key_counts=counts))
        return len(due.key_ids)


def _outcome(outcome: ToDeviceOutcome) -> JsonObject:
    """As recordings name it; the type is that of the payload."""
    match outcome:
        case DecryptedToDevice():
            return {"outcome": "decrypted", "type": outcome.type, "sender": outcome.claimed_sender}
        case PlainToDevice():
            return {"outcome": "plain", "sender": outcome.event.get("sender")}
        case ReplayedToDevice():
            return {"outcome": "replay", "sender": outcome.claimed_sender}
        case UndecryptableToDevice():
            return {"outcome": "undecryptable", "sender": outcome.claimed_sender, "error": str(outcome.error)}


def _in_clear(result: DecryptedRoomEvent | DecryptionError) -> JsonObject:
    """A room event's clear form, or the reason, named as recordings do."""
    match result:
        case DecryptedRoomEvent():
            device = result.encryption_info.claimed_device  # of imported keys, too
            sender = (None, None) if device is None else (device.user_id, device.device_id)
            return {"clear": attrs.asdict(result) | dict(zip(("sender", "sender_device"), sender, strict=True))}
        case MissingRoomKey():
            return {"reason": "missing_room_key"}
        case RoomKeyWithheld():
            return {"reason": f"withheld:{result.code}"}
        case UnknownMessageIndex():
            return {"reason": "unknown_message_index"}
        case MismatchedRoom():
            return {"reason": "room_id_mismatch"}
        case MalformedMessage():
            return {"reason": "malformed"}
        case _:
            return {"reason": type(result).__name__}


async def work() -> None:
    """Serve the parent until it hangs up."""
    stdin, stdout = Lines(trio.lowlevel.FdStream(os.dup(0))), trio.lowlevel.FdStream(os.dup(1))
    os.dup2(2, 1)  # whatever prints must not garble the calls
    line = await stdin.read()
    if line is None:
        return
    settings = Settings.parse(line)
    async with opened(settings) as supervisor:
        await Worker(supervisor, settings, stdin, stdout).calls.run()


if __name__ == "__main__":
    trio.run(work)
