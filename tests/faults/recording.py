"""Writes down what a supervisor does to its store and what it answers, from outside: the product has no hooks for it.

Owns: `RecordingStore` and `RecordingLock`, which are handed to a supervisor in the place of its store, and
`RecordingSupervisor`, which is asked in the place of the supervisor.
Rule: the entries and when they are written are those that `tests.faults.history` says. Between an answer and its
entries nothing waits: what was not written down was not answered.
"""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from typing import Any, TypeVar, cast

import trio
from vodozemac import ExportedSessionKey, GroupSession, InboundGroupSession

from olmstate.actors import Supervisor
from olmstate.messages import (
    CreateAccount,
    DecryptedRoomEvent,
    DecryptedToDevice,
    DecryptionError,
    DecryptRoomEvent,
    DecryptRoomEvents,
    DecryptToDevice,
    DeviceId,
    DeviceIdentity,
    Devices,
    EncryptedRoomEvent,
    EncryptRoomEvent,
    EncryptToDevice,
    IdentityKeys,
    ImportAccount,
    JsonObject,
    Message,
    MissingRoomKey,
    OlmStateError,
    OutboundRoomKey,
    PrepareAccount,
    PrepareOneTimeKeys,
    PrepareRoomKey,
    ReceiveSync,
    RoomId,
    RoomKeysReceived,
    RotateRoomKey,
    ShareRoomKey,
    StoreError,
    StorePoisoned,
    SyncToken,
    ToDeviceOutcome,
    UserId,
)
from olmstate.storage import START, Changes, Fenced, Lock, Row, RowReader, Rows, Store, Table, position_of
from tests.faults import wire
from tests.faults.history import Json, Kind, Log, digest
from tests.faults.wrapped import WrappedLock, WrappedStore
from tests.peer.requests import messages_of

R = TypeVar("R")

WATCHED = (
    Table.ACCOUNT,
    Table.SYNC,
    Table.OLM_SESSIONS,
    Table.INBOUND_GROUP_SESSIONS,
    Table.OUTBOUND_GROUP_SESSIONS,
    Table.DEVICES,
)
"""Tables whose rows are written down."""


# --- rows ---------------------------------------------------------------------------------------------------


def describe(store: RowReader, table: Table, row: Row) -> list[Json]:
    """A row as a history has it."""
    name = [table.value, row.key.hex(), row.partition.hex()]
    if row.value is None:
        return [*name, None, None]
    value: dict[str, Json] = {} if table is Table.OLM_SESSIONS else json.loads(row.value)
    match table:
        case Table.ACCOUNT:
            # those without an id are known by themselves; the history has rows of earlier versions, too
            keys = {key: key for key in value.get("published", ())} | value.get("in_doubt", {})
            upload: dict[str, Json] = value.get("upload") or {}
            keys |= upload.get("keys", {})
            signed = {**value["one_time_keys"], **value["fallback_keys"]}
            return [*name, "account", {"keys": keys | {key_id: key["key"] for key_id, key in signed.items()}}]
        case Table.SYNC:
            return [*name, value["next_batch"] or "", None]
        case Table.INBOUND_GROUP_SESSIONS:
            exported = ExportedSessionKey(value["copies"][0]["session_key"])
            return [*name, InboundGroupSession.import_session(exported).session_id, None]
        case Table.OUTBOUND_GROUP_SESSIONS:
            session = GroupSession.from_pickle(value["pickle"], store.pickle_key)
            return [*name, value["session_id"], {"next": max(session.message_index, value["reserved"])}]
        case Table.DEVICES:
            if value["gone"]:  # of a row that is there no more, as far as anybody is told
                return [*name, None, None]
            return [*name, f"{value['device_id']} {value['ed25519']}", None]
        case _:
            return [*name, "", None]


async def record_stored(store: RowReader, log: Log, generation: int) -> None:
    """Write down all that the store holds, which is at ``generation`` and at rest."""
    rows: list[list[Json]] = []
    for table in WATCHED:
        after = START
        while page := await store.page(table, after, 500):
            rows.extend(describe(store, table, row) for row in page)
            after = position_of(table, page[-1])
    log.write("stored", generation=generation, rows=rows)


# --- the store and its lock ---------------------------------------------------------------------------------


class RecordingLock(WrappedLock):
    """A lock that tells when it is taken, and when it is about to be let go."""

    def __init__(self, inner: Lock, log: Log) -> None:
        """Over a lock."""
        super().__init__(inner)
        self._log = log

    async def acquire(self, timeout: float) -> object:  # noqa: ASYNC109 - the protocol's
        """Wait for it."""
        acquired = await super().acquire(timeout)
        self._log.write("locked")
        return acquired

    def acquire_nowait(self) -> bool:
        """Try it."""
        acquired = super().acquire_nowait()
        if acquired:
            self._log.write("locked")
        return acquired

    def release(self) -> None:
        """Let it go."""
        self._log.write("unlocked")
        super().release()


class RecordingStore(WrappedStore):
    """A store that tells what was seen in it and committed to it."""

    def __init__(self, inner: Store, log: Log) -> None:
        """Over a store."""
        super().__init__(inner, RecordingLock(inner.lock, log))
        self._log = log
        self.generation = 0
        """The newest that its user was told."""

    async def look(self, since: int | None) -> Changes | None:
        """What was committed."""
        begun = self._log.now()
        changes = await super().look(since)
        if changes is not None:
            self.generation = changes.generation
            self._log.write("seen", generation=changes.generation, begun=begun)
        return changes

    async def commit(self, rows: Rows, seen: int) -> int:
        """Write rows."""
        described = [describe(self, table, row) for table in WATCHED for row in rows.get(table, ())]
        self._log.write("committing", seen=seen, rows=described)
        try:
            generation = await super().commit(rows, seen)
        except StorePoisoned as error:
            self._log.write("unknown", error=str(error))
            raise
        except (Fenced, StoreError) as error:
            self._log.write("refused", error=type(error).__name__)
            raise
        except BaseException as error:
            self._log.write("unknown", error=repr(error))
            raise
        self.generation = max(self.generation, generation)  # another's commit behind it may have been seen already
        self._log.write("committed", generation=generation)
        return generation


# --- what is asked ------------------------------------------------------------------------------------------


class RecordingSupervisor:
    """A supervisor, as its users see it."""

    def __init__(self, supervisor: Supervisor, store: RecordingStore, log: Log) -> None:
        """Over a supervisor that runs on ``store``."""
        self._supervisor = supervisor
        self._store = store
        self._log = log
        self._asked = 0

    async def ask(self, message: Message[R]) -> R:
        """Ask it."""
        self._asked += 1
        note = _Note(self._log, self._store, self._asked)
        self._log.write("asked", ask=self._asked, message=type(message).__name__)
        try:
            reply = await self._supervisor.ask(message)
        except OlmStateError as error:
            note.failed(message, error)
            raise
        except trio.Cancelled:
            self._log.write("cancelled", ask=note.ask)
            raise
        note.replied(message, reply)
        return reply

    async def listen(self, *, task_status: trio.TaskStatus[None] = trio.TASK_STATUS_IGNORED) -> None:
        """Write down which room keys it announces, until it stops."""
        with self._supervisor.subscribe(RoomKeysReceived) as events:
            task_status.started()
            async for event in events:
                self._log.write("announced", sessions=[session_id for _, session_id in event.room_keys])


class _Note:
    """The entries of one ask's outcome."""

    def __init__(self, log: Log, store: RecordingStore, ask: int) -> None:
        self._log = log
        self._store = store
        self.ask = ask

    def failed(self, message: Message[Any], error: OlmStateError) -> None:
        """A typed error came."""
        if isinstance(message, DecryptRoomEvent) and isinstance(error, MissingRoomKey):
            self._room_key(message.room_id, error.session_id, found=False)
        self._log.write("failed", ask=self.ask, error=type(error).__name__, text=str(error))

    def replied(self, message: Message[Any], reply: Json) -> None:  # noqa: C901, PLR0912 - one case a kind of message
        """A reply came."""
        match message:
            case EncryptRoomEvent():
                self._sent_to_room(message, cast("EncryptedRoomEvent", reply))
            case EncryptToDevice():
                self._sent_to_devices(reply.messages, digest(message.content))
            case ShareRoomKey():
                for request in reply.requests:
                    self._sent_to_devices(messages_of(request), None)
            case PrepareRoomKey() | RotateRoomKey():
                self._made_room_key(cast("OutboundRoomKey", reply))
            case PrepareOneTimeKeys():
                for fallback, keys in ((False, reply.one_time_keys), (True, reply.fallback_keys)):
                    for key_id, key in keys.items():
                        self._write("uploaded", key_id=key_id, key=key["key"], fallback=fallback)
            case DecryptToDevice():
                self._received(message.events, reply)
            case ReceiveSync():
                sync: JsonObject = json.loads(message.sync) if isinstance(message.sync, str | bytes) else message.sync
                self._received(sync.get("to_device", {}).get("events", ()), reply.to_device)
            case DecryptRoomEvent():
                self._decrypted(message.room_id, message.event, reply)
            case DecryptRoomEvents():
                for (room_id, event), outcome in zip(message.events, reply, strict=True):
                    self._decrypted(room_id, event, outcome)
            case CreateAccount() | ImportAccount() | PrepareAccount() | IdentityKeys():
                identity = cast("DeviceIdentity", reply)
                self._write("identity", curve25519=identity.curve25519, ed25519=identity.ed25519)
            case SyncToken():
                self._answer(Table.SYNC, "sync", values=[] if reply is None else [reply])
            case Devices():
                for user in message.named:
                    of_user = [device for device in reply if device.user_id == user]
                    values = [f"{device.device_id} {device.ed25519}" for device in of_user]
                    self._answer(Table.DEVICES, user, values=values)
            case _:
                pass
        self._write("replied", generation=self._store.generation)

    def _write(self, kind: Kind, **data: Json) -> None:
        self._log.write(kind, ask=self.ask, **data)

    def _answer(self, table: Table, *names: str, values: Sequence[str]) -> None:
        partition = self._store.key(table, *names).hex()
        self._write("answer", table=table.value, partition=partition, values=sorted(values))

    def _room_key(self, room_id: RoomId, session_id: str, *, found: bool) -> None:
        values = [session_id] if found else []
        self._answer(Table.INBOUND_GROUP_SESSIONS, room_id, session_id, values=values)

    def _made_room_key(self, room_key: OutboundRoomKey) -> None:
        self._write(
            "room_key",
            session=room_key.session_id,
            index=room_key.message_index,
            session_key=room_key.session_key,
            reader=f"{self._log.process} {self.ask}",
        )

    def _sent_to_room(self, message: EncryptRoomEvent, reply: EncryptedRoomEvent) -> None:
        self._answer(Table.OUTBOUND_GROUP_SESSIONS, message.room_id, values=[reply.session_id])
        ciphertext = reply.content["ciphertext"]
        self._write(
            "sent",
            protocol="megolm",
            digest=digest(message.content),
            session=reply.session_id,
            index=wire.megolm_index(ciphertext),
            ciphertext=ciphertext,
        )

    def _sent_to_devices(self, messages: Mapping[UserId, Mapping[DeviceId, JsonObject]], content: str | None) -> None:
        for devices in messages.values():
            for encrypted in devices.values():
                message_type, body = _olm(encrypted)
                step = wire.olm_step(message_type, body)
                self._write(
                    "sent",
                    protocol="olm",
                    digest=content,
                    ratchet_key=step.ratchet_key,
                    counter=step.counter,
                    hash=digest(body),
                )

    def _received(self, events: Sequence[JsonObject], outcomes: Sequence[ToDeviceOutcome]) -> None:
        for event, outcome in zip(events, outcomes, strict=True):
            if isinstance(outcome, DecryptedToDevice):
                message_type, body = _olm(event["content"])
                self._write("decrypted", protocol="olm", hash=digest(body))
                if message_type == wire.PRE_KEY:
                    keys = wire.pre_keys(body)
                    self._write("one_time_key", key=keys.one_time_key, session=keys.session)

    def _decrypted(self, room_id: RoomId, event: JsonObject, outcome: DecryptedRoomEvent | DecryptionError) -> None:
        if isinstance(outcome, MissingRoomKey):
            self._room_key(room_id, outcome.session_id, found=False)
        elif isinstance(outcome, DecryptedRoomEvent):
            self._room_key(room_id, outcome.session_id, found=True)
            index = wire.megolm_index(event["content"]["ciphertext"])
            self._write("decrypted", protocol="megolm", session=outcome.session_id, index=index, event=outcome.event_id)


def _olm(content: JsonObject) -> tuple[int, bytes]:
    """Type and body of an encrypted to-device event, which is for one device."""
    (ciphertext,) = content["ciphertext"].values()
    return ciphertext["type"], wire.decode(ciphertext["body"])
