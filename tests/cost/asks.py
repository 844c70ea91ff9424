"""What can be asked with an input of any size: one list for the tests, which count calls, and for the benchmark.

Owns: how a device is made ready for an ask of a size, and how a store is filled with what the ask doesn't touch.
Rule: whatever ``prepare`` does isn't counted. What it returns is asked once.
"""

from __future__ import annotations

import itertools
import json
from collections.abc import Awaitable, Callable, Collection, Mapping, Sequence
from typing import Any, TypeAlias

from vodozemac import GroupSession

from olmstate.actors import Supervisor
from olmstate.messages import (
    AcceptVerification,
    AcknowledgeInbox,
    AcknowledgeSecrets,
    AddRoomKey,
    BootstrapCrossSigning,
    CancelRoomKeyRequests,
    CancelSecretRequests,
    CancelVerification,
    ConfirmVerification,
    CreateAccount,
    CreateOlmSessions,
    CreateSecretStorage,
    CrossSigningStatus,
    DecryptRoomEvent,
    DecryptRoomEvents,
    DecryptToDevice,
    DeleteSecrets,
    DescribeSecretStorage,
    DeviceId,
    Devices,
    DeviceTrust,
    DiscardRoomKey,
    EncryptForRoom,
    EncryptionInfoOf,
    EncryptRoomEvent,
    EncryptToDevice,
    ExportCrossSigningKeys,
    ExportKeyFile,
    ExportRoomKeys,
    ForgetParkedEvents,
    Identity,
    IdentityKeys,
    ImportAccount,
    ImportCrossSigningKeys,
    ImportKeyFile,
    ImportRoomKeys,
    Inbox,
    JsonObject,
    KeepInInbox,
    MarkKeysPublished,
    MarkRequestFailed,
    MarkRequestSent,
    MarkRoomKeyShared,
    MarkVerificationMessageRefused,
    MarkVerificationMessageSent,
    MegolmSessionId,
    Message,
    MissingSessions,
    OpenSecretStorage,
    OutdatedUsers,
    OutgoingRequests,
    ParkedEvents,
    ParkEvents,
    PinIdentity,
    PrepareAccount,
    PrepareOneTimeKeys,
    PrepareRoomKey,
    PublishAccount,
    ReadSecret,
    ReceiveSync,
    ReceiveVerificationEvent,
    RecoverFromSecretStorage,
    RemoveSecretStorageKey,
    Request,
    RequestKind,
    RequestRoomKeys,
    RequestSecrets,
    RequestVerification,
    ResetCrossSigning,
    RoomId,
    RoomKeyRequests,
    RoomSettings,
    RotateRoomKey,
    ScanQrCode,
    SecretInbox,
    SecretRequests,
    SendToDevice,
    SetBackupWanted,
    SetDefaultSecretStorageKey,
    SetDeviceTrust,
    SetRoomSettings,
    ShareRoomKey,
    ShowQrCode,
    SignDevice,
    SignedDeviceKeys,
    StartSas,
    Statistics,
    SyncToken,
    TrackUsers,
    UpdateDevices,
    UserId,
    VerificationMessages,
    Verifications,
    VerifyUser,
    WithdrawVerification,
    WriteSecret,
)
from tests.bench.device import exported_sessions, published_keys, share
from tests.bench.people import Senders, people
from tests.cost.room_keys import exported_keys
from tests.operations.peer import MEGOLM, Peer, Room, add_devices, claimed, peers
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
    return DecryptRoomEvents(events=tuple(await conversation(supervisor, range(size))))


async def _events_far_apart(supervisor: Supervisor, size: int) -> Message[Any]:
    return DecryptRoomEvents(events=tuple(await conversation(supervisor, range(0, 257 * size, 257))))


async def _event_of_a_long_session(supervisor: Supervisor, size: int) -> Message[Any]:
    """One more event of a session of which so many blocks of 256 indices have been used."""
    *events, (room_id, event) = await conversation(supervisor, range(0, 257 * (size + 1), 257))
    await supervisor.ask(DecryptRoomEvents(events=tuple(events)))
    await supervisor.ask(add_devices(*_people(1)))  # a turn, that writes what was decrypted
    return DecryptRoomEvent(room_id=room_id, event=event)


async def conversation(supervisor: Supervisor, indices: range) -> list[tuple[RoomId, JsonObject]]:
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


async def forged_events(supervisor: Supervisor, size: int, of: Senders | None = None) -> list[JsonObject]:
    """So many messages that none of a device's sessions decrypts, and each has to go far to see it."""
    of = await with_many_sessions(supervisor) if of is None else of
    return [of.known[0].envelope(of.to, 1, forged_message(number)) for number in range(size)]


async def with_many_sessions(supervisor: Supervisor) -> Senders:
    """A device that has started as many sessions as are kept."""
    sending = Senders(await _known(supervisor, 1), await supervisor.ask(IdentityKeys()))
    for key in await published_keys(supervisor, SESSIONS):
        sending.start([key])
        await supervisor.ask(DecryptToDevice(events=tuple(sending.room_keys(RoomId("!room:example.org"), 1))))
    return sending


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


async def _sync_of_device_lists(supervisor: Supervisor, size: int) -> Message[Any]:
    known = await _up_to_date(supervisor, size)
    changed: JsonObject = {"changed": [person.user_id for person in known]}
    return ReceiveSync(sync={"next_batch": f"s{next(_numbers)}", "device_lists": changed})


async def _sync_of_account_data(_: Supervisor, size: int) -> Message[Any]:
    events: list[JsonObject] = [
        {"type": f"m.secret_storage.key.{number}", "content": {"name": "x" * 100}} for number in range(size)
    ]
    return ReceiveSync(sync={"next_batch": f"s{next(_numbers)}", "account_data": {"events": events}})


async def _sync_of_many_rooms(_: Supervisor, size: int) -> Message[Any]:
    """Rooms that say that they are encrypted, and that somebody has left."""
    events: list[JsonObject] = [
        {"type": "m.room.encryption", "state_key": "", "content": {"algorithm": MEGOLM}},
        {"type": "m.room.member", "state_key": "@b:example.org", "content": {"membership": "leave"}},
    ]
    rooms: JsonObject = {_room(): {"state": {"events": events}} for _ in range(size)}
    return ReceiveSync(sync={"next_batch": f"s{next(_numbers)}", "rooms": {"join": rooms}})


# --- tracked users and requests -----------------------------------------------------------------------------


async def _up_to_date(supervisor: Supervisor, size: int) -> list[Peer]:
    """So many tracked users whose devices were asked for."""
    known = _people(size)
    await supervisor.ask(TrackUsers(users=tuple(person.user_id for person in known)))
    await answer_queries(supervisor, {person.user_id: [person] for person in known})
    return known


async def answer_queries(supervisor: Supervisor, devices: Mapping[UserId, Sequence[Peer]]) -> None:
    """Say of each user who is asked for which devices there are."""
    for request in await queries(supervisor):
        await supervisor.ask(MarkRequestSent(request_id=request.request_id, response=answer_of(request, devices)))


async def queries(supervisor: Supervisor) -> list[Request]:
    """Those for users' devices that are due."""
    return [each for each in await supervisor.ask(OutgoingRequests()) if each.kind is RequestKind.KEYS_QUERY]


def answer_of(query: Request, devices: Mapping[UserId, Sequence[Peer]]) -> JsonObject:
    """The homeserver's, which knows these devices."""
    wanted = json.loads(query.body)["device_keys"]
    return {
        "device_keys": {
            user_id: {person.device_id: person.device_keys() for person in devices.get(user_id, ())}
            for user_id in wanted
        }
    }


async def _tracking(_: Supervisor, size: int) -> Message[Any]:
    return TrackUsers(users=tuple(person.user_id for person in _people(size)))


async def _outdated(supervisor: Supervisor, size: int) -> Message[Any]:
    await supervisor.ask(await _tracking(supervisor, size))
    return OutdatedUsers()


async def _requests(supervisor: Supervisor, size: int) -> Message[Any]:
    await supervisor.ask(await _tracking(supervisor, size))
    return OutgoingRequests()


async def _updating(supervisor: Supervisor, size: int) -> Message[Any]:
    return UpdateDevices(users=tuple(person.user_id for person in await _up_to_date(supervisor, size)))


async def _answered(supervisor: Supervisor, size: int) -> Message[Any]:
    """Four devices of each user, as long as one query is for all of them."""
    users = max(1, size // 4)
    known = _people(min(users, MOST_USERS))
    await supervisor.ask(TrackUsers(users=tuple(person.user_id for person in known)))
    query, *_ = await queries(supervisor)
    each = size // len(known)
    devices = {
        person.user_id: [Peer(person.user_id, device_id=DeviceId(f"D{number}")) for number in range(each)]
        for person in known
    }
    return MarkRequestSent(request_id=query.request_id, response=answer_of(query, devices))


MOST_USERS = 250
"""Of a query."""


async def _in_a_room(supervisor: Supervisor, size: int) -> Message[Any]:
    """So many members, whose devices all have the room's key."""
    known = await _up_to_date(supervisor, size)
    await supervisor.ask(CreateOlmSessions(one_time_keys=claimed(known)))
    room_id, addresses = _room(), tuple(person.address for person in known)
    shared = await supervisor.ask(ShareRoomKey(room_id=room_id, devices=addresses))
    for request in shared.requests:
        await supervisor.ask(MarkRequestSent(request_id=request.request_id, response={}))
    members = tuple(person.user_id for person in known)
    return EncryptForRoom(room_id=room_id, members=members, type="m.room.message", content={"body": "hello"})


# --- what waits ---------------------------------------------------------------------------------------------


async def _parking(_: Supervisor, size: int) -> Message[Any]:
    group = GroupSession()
    content = {"algorithm": MEGOLM, "session_id": group.session_id, "ciphertext": group.encrypt(b"{}").to_base64()}
    room_id = _room()
    event = {"type": "m.room.encrypted", "sender": "@b:example.org", "content": content}
    return ParkEvents(events=tuple((room_id, {**event, "event_id": f"${number}"}) for number in range(size)))


async def _parked(supervisor: Supervisor, size: int) -> Message[Any]:
    parking = await _parking(supervisor, size)
    assert isinstance(parking, ParkEvents)
    assert size == len((await supervisor.ask(parking)).parked)
    return ParkedEvents(room_id=parking.events[0][0])


async def _forgetting(supervisor: Supervisor, size: int) -> Message[Any]:
    parked = await supervisor.ask(await _parking(supervisor, size))
    return ForgetParkedEvents(events=parked.parked)


async def _waiting(supervisor: Supervisor, size: int) -> Message[Any]:
    event: JsonObject = {"type": "org.example.event", "sender": "@b:example.org", "content": {}}
    await supervisor.ask(DecryptToDevice(events=(event,) * size))
    return Inbox()


async def _dealt_with(supervisor: Supervisor, size: int) -> Message[Any]:
    await _waiting(supervisor, size)
    first = (await supervisor.ask(Inbox(limit=1))).events[0].number
    return AcknowledgeInbox(numbers=tuple(range(first, first + size)))


async def _not_wanted(_: Supervisor, size: int) -> Message[Any]:
    return KeepInInbox(types=tuple(f"org.example.{number}" for number in range(size)), keep=False)


async def _without_sessions(supervisor: Supervisor, size: int) -> Message[Any]:
    people = _people(size)
    await supervisor.ask(add_devices(*people))
    return MissingSessions(devices=tuple(person.address for person in people))


async def _with_another_of_ours(supervisor: Supervisor) -> None:
    """One other device of our user's is verified."""
    me = await supervisor.ask(IdentityKeys())
    other = Peer(me.user_id, device_id=DeviceId("OTHER"))
    await supervisor.ask(add_devices(other))
    await supervisor.ask(SetDeviceTrust(user_id=other.user_id, device_id=other.device_id, trust=DeviceTrust.VERIFIED))


async def _asking_for_secrets(supervisor: Supervisor, size: int) -> Message[Any]:
    await _with_another_of_ours(supervisor)
    return RequestSecrets(names=tuple(f"org.example.{number}" for number in range(size)))


async def _asked_for_secrets(supervisor: Supervisor, size: int) -> Message[Any]:
    await supervisor.ask(await _asking_for_secrets(supervisor, size))
    return SecretRequests()


async def _asking_for_no_secrets(supervisor: Supervisor, size: int) -> Message[Any]:
    asking = await _asking_for_secrets(supervisor, size)
    assert isinstance(asking, RequestSecrets)
    assert asking.names is not None
    await supervisor.ask(asking)
    return CancelSecretRequests(names=asking.names)


async def _asking_for_keys(supervisor: Supervisor, size: int) -> Message[Any]:
    await _with_another_of_ours(supervisor)
    return RequestRoomKeys(sessions=tuple((_room(), MegolmSessionId(f"s{number}")) for number in range(size)))


async def _asked_for_keys(supervisor: Supervisor, size: int) -> Message[Any]:
    await supervisor.ask(await _asking_for_keys(supervisor, size))
    return RoomKeyRequests()


async def _asking_no_more(supervisor: Supervisor, size: int) -> Message[Any]:
    asking = await _asking_for_keys(supervisor, size)
    assert isinstance(asking, RequestRoomKeys)
    await supervisor.ask(asking)
    return CancelRoomKeyRequests(sessions=asking.sessions)


# --- all of them --------------------------------------------------------------------------------------------

ASKS: Mapping[str, Prepare] = {
    "AcknowledgeInbox": _dealt_with,
    "AddDevices, of many users": _devices_of_many,
    "AddDevices, of one user": _devices_of_one,
    "CancelRoomKeyRequests": _asking_no_more,
    "CancelSecretRequests": _asking_for_no_secrets,
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
    "EncryptForRoom": _in_a_room,
    "EncryptRoomEvent": _long_content,
    "EncryptToDevice": _to_devices,
    "ExportKeyFile": _exporting_a_file,
    "ExportRoomKeys": _exporting_a_room,
    "ForgetParkedEvents": _forgetting,
    "Inbox": _waiting,
    "ImportKeyFile": _importing_a_file,
    "ImportRoomKeys": _importing,
    "KeepInInbox": _not_wanted,
    "MarkRequestSent": _answered,
    "MarkRoomKeyShared": _marking,
    "MissingSessions": _without_sessions,
    "OutdatedUsers": _outdated,
    "OutgoingRequests": _requests,
    "ParkEvents": _parking,
    "ParkedEvents": _parked,
    "ReceiveSync, account data": _sync_of_account_data,
    "ReceiveSync, device lists": _sync_of_device_lists,
    "ReceiveSync, many rooms": _sync_of_many_rooms,
    "ReceiveSync, to-device events": _sync,
    "ReceiveSync, rooms": _sync_of_rooms,
    "RequestRoomKeys": _asking_for_keys,
    "RequestSecrets": _asking_for_secrets,
    "RoomKeyRequests": _asked_for_keys,
    "SecretRequests": _asked_for_secrets,
    "ShareRoomKey": _sharing,
    "ShareRoomKey, again": _sharing_again,
    "TrackUsers": _tracking,
    "UpdateDevices": _updating,
}
"""A message, and which of its inputs if it has several."""

OF_ONE_SIZE: Collection[type[Message[Any]]] = (
    AcceptVerification,
    AcknowledgeSecrets,  # a few, as all that is asked of secrets
    AddRoomKey,
    BootstrapCrossSigning,
    CancelVerification,
    ConfirmVerification,
    CreateAccount,
    CreateSecretStorage,
    CrossSigningStatus,
    DeleteSecrets,
    DescribeSecretStorage,
    DiscardRoomKey,
    EncryptionInfoOf,
    ExportCrossSigningKeys,
    Identity,
    IdentityKeys,
    ImportAccount,  # with the sessions of another library, once in a device's life
    ImportCrossSigningKeys,
    MarkKeysPublished,  # of at most a hundred keys
    MarkRequestFailed,
    MarkVerificationMessageRefused,
    MarkVerificationMessageSent,
    OpenSecretStorage,
    PinIdentity,
    PrepareAccount,
    PrepareOneTimeKeys,
    PrepareRoomKey,
    PublishAccount,
    ReadSecret,
    ReceiveVerificationEvent,
    RecoverFromSecretStorage,
    RemoveSecretStorageKey,
    RequestVerification,
    ResetCrossSigning,
    RoomSettings,
    RotateRoomKey,
    ScanQrCode,
    SecretInbox,
    SendToDevice,  # the work is that of EncryptToDevice, and a transport's
    SetBackupWanted,
    SetDefaultSecretStorageKey,
    SetDeviceTrust,
    SetRoomSettings,
    ShowQrCode,
    SignDevice,
    SignedDeviceKeys,
    StartSas,
    Statistics,
    SyncToken,
    VerificationMessages,
    Verifications,  # of at most some hundreds
    VerifyUser,
    WithdrawVerification,
    WriteSecret,
)
"""Messages that are never asked with much."""


async def fill(supervisor: Supervisor, size: int) -> None:
    """Have the store hold so many of what the asks don't touch.

    Devices, sessions with them, room keys, indices, rooms' settings, and account data. Not what is bounded and loaded
    as a whole, such as parked events.
    """
    known = await _met(supervisor, size)
    await supervisor.ask(ImportRoomKeys(keys=exported_keys(size, _room())))
    shared = await _sharing_again(supervisor, size)
    assert isinstance(shared, ShareRoomKey)
    await supervisor.ask(await _events_of_many_sessions(supervisor, size))
    for message in (_sync_of_many_rooms, _sync_of_account_data):
        await supervisor.ask(await message(supervisor, size))
    await supervisor.ask(EncryptToDevice(devices=(known[0].address,), type="m.test", content={}))
