"""What can be asked with an input of any size: one list for the tests, which count calls, and for the benchmark.

Owns: how a device is made ready for an ask of a size, and how a store is filled with what the ask doesn't touch.
Rule: whatever ``prepare`` does isn't counted. What it returns is asked once.
"""

from __future__ import annotations

import itertools
import json
from collections.abc import Awaitable, Callable, Mapping
from typing import Any, TypeAlias

from olmstate.actors import Supervisor
from olmstate.messages import (
    CreateOlmSessions,
    DecryptRoomEvent,
    DecryptRoomEvents,
    DecryptToDevice,
    Devices,
    EncryptRoomEvent,
    EncryptToDevice,
    ExportKeyFile,
    ExportRoomKeys,
    IdentityKeys,
    ImportKeyFile,
    ImportRoomKeys,
    JsonObject,
    MarkRoomKeyShared,
    Message,
    ReceiveSync,
    RoomId,
    ShareRoomKey,
    UserId,
)
from tests.bench.device import exported_sessions, published_keys, share
from tests.bench.people import Senders, people
from tests.cost.room_keys import exported_keys
from tests.operations.peer import Peer, Room, add_devices, claimed, peers
from tests.peer.forged import forged_message

Prepare: TypeAlias = Callable[[Supervisor, int], Awaitable[Message[Any]]]
"""Has the device ready for a message of a size; the message."""

_numbers = itertools.count()
_first = itertools.count(0, 1_000_000)


def _room() -> RoomId:
    return RoomId(f"!{next(_numbers)}:example.org")


def _people(count: int) -> list[Peer]:
    return people(count, next(_first))


async def _known(supervisor: Supervisor, count: int) -> list[Peer]:
    known = _people(count)
    await supervisor.ask(add_devices(*known))
    return known


async def _met(supervisor: Supervisor, count: int) -> list[Peer]:
    known = await _known(supervisor, count)
    await supervisor.ask(CreateOlmSessions(one_time_keys=claimed(known)))
    return known


# --- devices ------------------------------------------------------------------------------------------------


async def _devices_of_many(_: Supervisor, size: int) -> Message[Any]:
    return add_devices(*_people(size))


async def _devices_of_one(_: Supervisor, size: int) -> Message[Any]:
    return _with_devices(f"@one{next(_numbers)}:example.org", size)


def _with_devices(user_id: str, count: int) -> Message[Any]:
    return add_devices(*peers(count, user_id))


async def _looking_up_devices(supervisor: Supervisor, size: int) -> Message[Any]:
    user_id = UserId(f"@one{next(_numbers)}:example.org")
    await supervisor.ask(_with_devices(user_id, size))
    return Devices(user_id=user_id)


async def _claimed(supervisor: Supervisor, size: int) -> Message[Any]:
    return CreateOlmSessions(one_time_keys=claimed(await _known(supervisor, size)))


async def _to_devices(supervisor: Supervisor, size: int) -> Message[Any]:
    known = await _met(supervisor, size)
    return EncryptToDevice(devices=tuple(person.address for person in known), type="m.test", content={})


# --- rooms --------------------------------------------------------------------------------------------------


async def _sharing(supervisor: Supervisor, size: int) -> Message[Any]:
    known = await _met(supervisor, size)
    return ShareRoomKey(room_id=_room(), devices=tuple(person.address for person in known))


async def _marking(supervisor: Supervisor, size: int) -> Message[Any]:
    command = await _sharing(supervisor, size)
    assert isinstance(command, ShareRoomKey)
    shared = await supervisor.ask(command)
    return MarkRoomKeyShared(room_id=command.room_id, session_id=shared.session_id, devices=command.devices)


async def _sharing_again(supervisor: Supervisor, size: int) -> Message[Any]:
    command = await _marking(supervisor, size)
    assert isinstance(command, MarkRoomKeyShared)
    await supervisor.ask(command)
    return ShareRoomKey(room_id=command.room_id, devices=command.devices)


async def _long_content(supervisor: Supervisor, size: int) -> Message[Any]:
    await share(supervisor)
    content: JsonObject = {"body": [{"text": "x" * 100} for _ in range(size)]}
    return EncryptRoomEvent(room_id=RoomId("!bench:example.org"), type="m.room.message", content=content)


async def _events_of_one_session(supervisor: Supervisor, size: int) -> Message[Any]:
    return DecryptRoomEvents(events=tuple(await _conversation(supervisor, range(size))))


async def _events_far_apart(supervisor: Supervisor, size: int) -> Message[Any]:
    return DecryptRoomEvents(events=tuple(await _conversation(supervisor, range(0, 257 * size, 257))))


async def _event_of_a_long_session(supervisor: Supervisor, size: int) -> Message[Any]:
    """One more event of a session of which so many blocks of 256 indices have been used."""
    *events, (room_id, event) = await _conversation(supervisor, range(0, 257 * (size + 1), 257))
    await supervisor.ask(DecryptRoomEvents(events=tuple(events)))
    await supervisor.ask(add_devices(*_people(1)))  # a turn, that writes what was decrypted
    return DecryptRoomEvent(room_id=room_id, event=event)


async def _conversation(supervisor: Supervisor, indices: range) -> list[tuple[RoomId, JsonObject]]:
    """A session that the device has, and an event at each of some message indices."""
    room = Room(Peer("@talker:example.org"), _room())
    await supervisor.ask(room.add_room_key())
    events = [room.send() for _ in range(indices.stop)]
    return [(room.room_id, events[index]) for index in indices]


async def _events_of_many_sessions(supervisor: Supervisor, size: int) -> Message[Any]:
    keys, events = exported_sessions(size)
    await supervisor.ask(ImportRoomKeys(keys=tuple(keys)))
    return DecryptRoomEvents(events=tuple((RoomId("!bench:example.org"), event) for event in events))


# --- room keys ----------------------------------------------------------------------------------------------


async def _importing(_: Supervisor, size: int) -> Message[Any]:
    return ImportRoomKeys(keys=exported_keys(size, _room()))


async def _exporting_a_room(supervisor: Supervisor, size: int) -> Message[Any]:
    room_id = _room()
    await supervisor.ask(ImportRoomKeys(keys=exported_keys(size, room_id)))
    return ExportRoomKeys(room_id=room_id)


async def _exporting_a_file(supervisor: Supervisor, size: int) -> Message[Any]:
    exporting = await _exporting_a_room(supervisor, size)
    assert isinstance(exporting, ExportRoomKeys)
    return ExportKeyFile(room_id=exporting.room_id, passphrase="passphrase", rounds=1)


async def _importing_a_file(supervisor: Supervisor, size: int) -> Message[Any]:
    file = await supervisor.ask(await _exporting_a_file(supervisor, size))
    return ImportKeyFile(file=file, passphrase="passphrase")


# --- to-device events ---------------------------------------------------------------------------------------


async def _of_one_session(supervisor: Supervisor, size: int) -> Message[Any]:
    return DecryptToDevice(events=tuple(await letters(supervisor, size, senders=1)))


async def _of_many_devices(supervisor: Supervisor, size: int) -> Message[Any]:
    return DecryptToDevice(events=tuple(await letters(supervisor, size, senders=size)))


async def letters(supervisor: Supervisor, size: int, *, senders: int) -> list[JsonObject]:
    """So many room keys, sent on new sessions of so many devices."""
    known = await _known(supervisor, senders)
    sending = Senders(known, await supervisor.ask(IdentityKeys()))
    sending.start(await published_keys(supervisor, senders))
    return sending.room_keys(_room(), size)


async def _sessions_of_one_device(supervisor: Supervisor, size: int) -> Message[Any]:
    """So many pre-key messages of one device, each on a session of its own."""
    (person,) = await _known(supervisor, 1)
    me = await supervisor.ask(IdentityKeys())
    events: list[JsonObject] = []
    for key in await published_keys(supervisor, size):
        sending = Senders([person], me)
        sending.start([key])
        events += sending.room_keys(RoomId("!room:example.org"), 1)
    return DecryptToDevice(events=tuple(events))


SESSIONS = 10


async def _forged(supervisor: Supervisor, size: int) -> Message[Any]:
    return DecryptToDevice(events=tuple(await forged_events(supervisor, size)))


async def forged_events(supervisor: Supervisor, size: int) -> list[JsonObject]:
    """So many messages that none of a device's sessions decrypts, and each has to go far to see it."""
    (person,) = await _known(supervisor, 1)
    me = await supervisor.ask(IdentityKeys())
    sendings = [Senders([person], me) for _ in range(SESSIONS)]
    for sending, key in zip(sendings, await published_keys(supervisor, SESSIONS), strict=True):
        sending.start([key])
        await supervisor.ask(DecryptToDevice(events=tuple(sending.room_keys(RoomId("!room:example.org"), 1))))
    return [person.envelope(me, 1, forged_message(number)) for number in range(size)]


async def _sync(supervisor: Supervisor, size: int) -> Message[Any]:
    events = await letters(supervisor, size, senders=size)
    return ReceiveSync(sync={"next_batch": f"s{next(_numbers)}", "to_device": {"events": events}})


async def _sync_of_rooms(_: Supervisor, size: int) -> Message[Any]:
    """As it came, with so many events of rooms, which are none of ours."""
    event = {"type": "m.room.message", "content": {"body": "x" * 400, "msgtype": "m.text"}, "sender": "@b:example.org"}
    room = {"timeline": {"events": [event] * size}}
    return ReceiveSync(
        sync=json.dumps({"rooms": {"join": {"!r:example.org": room}}, "next_batch": f"s{next(_numbers)}"}).encode()
    )


# --- all of them --------------------------------------------------------------------------------------------

ASKS: Mapping[str, Prepare] = {
    "AddDevices, of many users": _devices_of_many,
    "AddDevices, of one user": _devices_of_one,
    "CreateOlmSessions": _claimed,
    "DecryptRoomEvent, of a long session": _event_of_a_long_session,
    "DecryptRoomEvents, of one session": _events_of_one_session,
    "DecryptRoomEvents, far apart": _events_far_apart,
    "DecryptRoomEvents, of many sessions": _events_of_many_sessions,
    "DecryptToDevice, on one session": _of_one_session,
    "DecryptToDevice, of many devices": _of_many_devices,
    "DecryptToDevice, sessions of one device": _sessions_of_one_device,
    "DecryptToDevice, forged": _forged,
    "Devices": _looking_up_devices,
    "EncryptRoomEvent": _long_content,
    "EncryptToDevice": _to_devices,
    "ExportKeyFile": _exporting_a_file,
    "ExportRoomKeys": _exporting_a_room,
    "ImportKeyFile": _importing_a_file,
    "ImportRoomKeys": _importing,
    "MarkRoomKeyShared": _marking,
    "ReceiveSync, to-device events": _sync,
    "ReceiveSync, rooms": _sync_of_rooms,
    "ShareRoomKey": _sharing,
    "ShareRoomKey, again": _sharing_again,
}


async def fill(supervisor: Supervisor, size: int) -> None:
    """Have the store hold so many of what the asks don't touch: devices, sessions with them, room keys, and indices."""
    known = await _met(supervisor, size)
    await supervisor.ask(ImportRoomKeys(keys=exported_keys(size, _room())))
    shared = await _sharing_again(supervisor, size)
    assert isinstance(shared, ShareRoomKey)
    await supervisor.ask(await _events_of_many_sessions(supervisor, size))
    await supervisor.ask(EncryptToDevice(devices=(known[0].address,), type="m.test", content={}))
