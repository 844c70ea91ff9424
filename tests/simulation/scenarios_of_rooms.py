"""Scenarios of room keys and of rooms."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import attrs
import trio

from olmstate.messages import (
    CreateOlmSessions,
    DecryptedRoomEvent,
    DecryptRoomEvent,
    DecryptRoomEvents,
    DeviceAddress,
    DiscardRoomKey,
    EncryptedRoomEvent,
    EncryptionInfo,
    EncryptionInfoOf,
    EncryptionSettings,
    EncryptRoomEvent,
    ExportKeyFile,
    ExportRoomKeys,
    ImportKeyFile,
    ImportRoomKeys,
    JsonObject,
    MarkRequestSent,
    MarkRoomKeyShared,
    MegolmSessionId,
    MissingRoomKey,
    MissingSessions,
    OutboundRoomKey,
    PrepareRoomKey,
    ReplayedMessage,
    RoomKeyNotShared,
    RoomKeyReplaced,
    RoomKeyShare,
    RoomKeysImported,
    RoomSettings,
    RotateRoomKey,
    RotationPeriod,
    SessionsMissing,
    SetRoomSettings,
    ShareRoomKey,
    UnknownMessageIndex,
)
from tests.peer.requests import reached_by
from tests.simulation.client import PASSPHRASE, Client
from tests.simulation.scenario import Elsewhere, Prepared, Scenario, add_a_room_key, nothing
from tests.simulation.world import ROOMS, RoomEvent

ROOM = ROOMS[0]

# --- room keys ----------------------------------------------------------------------------------------------


async def _read(client: Client, said: RoomEvent) -> DecryptedRoomEvent:
    return await client.supervisor.ask(DecryptRoomEvent(room_id=said.room_id, event=said.event))


async def add_room_key(client: Client) -> Prepared:
    """It came past everything else."""
    key = client.world.new_room_key(client.world.peers[0])
    message = key.add_room_key()
    said = client.world.say(key)

    async def can_read(client: Client) -> None:
        await _read(client, said)

    return Prepared(message, can_read, lambda reply: reply in ("new", "known"))


async def add_better_room_key(client: Client) -> Prepared:
    """There is one that begins later."""
    key = client.world.new_room_key(client.world.peers[0])
    first, later = client.world.events[-1], key.add_room_key()
    await client.supervisor.ask(later)

    async def can_read(client: Client) -> None:
        await _read(client, first)

    message = attrs.evolve(later, session_key=key.room_key["session_key"])
    return Prepared(message, can_read, lambda reply: reply in ("better", "known"))


async def decrypt_room_event(client: Client) -> Prepared:
    """Its key is there."""
    prepared = await add_better_room_key(client)
    said = client.world.say(client.world.room_keys[-1])

    def right(reply: DecryptedRoomEvent) -> bool:
        return reply.content == {"body": said.event["event_id"]}

    async def again(client: Client) -> None:
        assert right(await _read(client, said))

    message = DecryptRoomEvent(room_id=said.room_id, event=said.event)
    return Prepared(message, again, right, elsewhere=Elsewhere(prepared.message))


async def decrypt_room_event_without_key(client: Client) -> Prepared:
    """Its key has not come."""
    key = client.world.new_room_key(client.world.peers[0])
    message = key.add_room_key()
    said = client.world.say(key)
    return Prepared(DecryptRoomEvent(room_id=said.room_id, event=said.event), elsewhere=Elsewhere(message))


async def encryption_info_of(client: Client) -> Prepared:
    """Its session's key is there."""
    key = client.world.new_room_key(client.world.peers[0])
    await client.supervisor.ask(key.add_room_key())

    def right(reply: EncryptionInfo) -> bool:
        return reply.sender_device == key.maker.identity

    session_id = key.session_id
    message = EncryptionInfoOf(room_id=key.room_id, session_id=session_id, sender=key.maker.user_id)
    return Prepared(message, right=right, elsewhere=add_a_room_key(client))


async def decrypt_replayed_room_event(client: Client) -> Prepared:
    """Another event has had its message index."""
    prepared = await decrypt_room_event(client)
    await prepared.follow(client)
    await trio.sleep(1)  # until it is written down: see decision 0007
    said = client.world.events[-1]
    message = DecryptRoomEvent(room_id=said.room_id, event={**said.event, "event_id": "$another"})
    return attrs.evolve(prepared, message=message, follow=nothing)


async def decrypt_room_events(client: Client) -> Prepared:
    """One of them can be read, one is from before its key, one has none."""
    await client.supervisor.ask((await add_room_key(client)).message)
    key = client.world.new_room_key(client.world.peers[1])
    elsewhere = attrs.evolve(key.add_room_key(), session_key=key.room_key["session_key"])
    kinds = (UnknownMessageIndex, DecryptedRoomEvent, MissingRoomKey)

    def right(reply: Sequence[object]) -> bool:
        return all(isinstance(outcome, kind) for outcome, kind in zip(reply, kinds, strict=True))

    events = tuple((said.room_id, said.event) for said in client.world.events)
    return Prepared(DecryptRoomEvents(events=events), right=right, elsewhere=Elsewhere(elsewhere))


async def import_room_keys(client: Client) -> Prepared:
    """From somebody else's export."""
    keys = [client.world.new_room_key(peer) for peer in client.world.peers]
    events = list(client.world.events)

    async def can_read(client: Client) -> None:
        for said in events:
            await _read(client, said)

    message = ImportRoomKeys(keys=tuple(key.export() for key in keys))
    return Prepared(message, can_read, _imported(len(keys)))


def _imported(total: int) -> Any:  # noqa: ANN401 - as `Prepared.right`
    def right(reply: RoomKeysImported) -> bool:
        return (total, 0) == (reply.total, reply.rejected)

    return right


async def export_room_keys(client: Client) -> Prepared:
    """There are some."""
    await client.supervisor.ask((await import_room_keys(client)).message)
    sessions = {key.session_id for key in client.world.room_keys}

    def right(reply: Sequence[JsonObject]) -> bool:
        return sessions <= {key["session_id"] for key in reply}

    return Prepared(ExportRoomKeys(), right=right, elsewhere=add_a_room_key(client))


async def export_key_file(client: Client) -> Prepared:
    """There are some."""
    await client.supervisor.ask((await import_room_keys(client)).message)

    def right(reply: str) -> bool:
        return reply.startswith("-----BEGIN MEGOLM SESSION DATA-----")

    message = ExportKeyFile(passphrase=PASSPHRASE, rounds=1)
    return Prepared(message, right=right, elsewhere=add_a_room_key(client))


async def import_key_file(client: Client) -> Prepared:
    """Of keys that were exported, and then some came."""
    await client.supervisor.ask((await import_room_keys(client)).message)
    right = _imported(len(client.world.room_keys))
    file = await client.supervisor.ask(ExportKeyFile(passphrase=PASSPHRASE, rounds=1))
    return Prepared(ImportKeyFile(file=file, passphrase=PASSPHRASE), right=right)


# --- rooms --------------------------------------------------------------------------------------------------


async def _send(client: Client) -> None:
    await client.send_in(ROOM)


async def _ready(client: Client) -> MegolmSessionId:
    """Make a room with nobody else in it."""
    key = await client.supervisor.ask(PrepareRoomKey(room_id=ROOM))
    await client.supervisor.ask(MarkRoomKeyShared(room_id=ROOM, session_id=key.session_id, devices=()))
    return key.session_id


async def first_room_key(client: Client) -> Prepared:
    """There is none yet."""
    return Prepared(PrepareRoomKey(room_id=ROOM), _send)


async def room_key(client: Client) -> Prepared:
    """Of a session that was used: whoever gets it now reads what follows."""
    session_id = await _ready(client)
    await client.send_in(ROOM)

    def right(reply: OutboundRoomKey) -> bool:
        return reply.session_id == session_id and reply.message_index > 0

    return Prepared(PrepareRoomKey(room_id=ROOM), _send, right)


async def rotate_room_key(client: Client) -> Prepared:
    """In the midst of a session."""
    before = await _ready(client)
    await client.send_in(ROOM)

    def right(reply: OutboundRoomKey) -> bool:
        return reply.session_id != before and reply.message_index == 0

    return Prepared(RotateRoomKey(room_id=ROOM), _send_on_another(before), right)


async def discard_room_key(client: Client) -> Prepared:
    """In the midst of a session."""
    before = await _ready(client)
    await client.send_in(ROOM)
    return Prepared(DiscardRoomKey(room_id=ROOM), _send_on_another(before))


def _send_on_another(before: MegolmSessionId) -> Any:  # noqa: ANN401 - as `Prepared.follow`
    async def send(client: Client) -> None:
        await client.send_in(ROOM)
        assert client.world.events[-1].event["content"]["session_id"] != before

    return send


def _share(client: Client) -> ShareRoomKey:
    return ShareRoomKey(room_id=ROOM, devices=tuple(peer.address for peer in client.world.peers[:2]))


async def share_new_room_key(client: Client) -> Prepared:
    """With a device that has a session, and one that has none."""
    share = _share(client)

    def right(reply: RoomKeyShare) -> bool:
        return set(share.devices) >= {*reached(reply), *reply.missing}

    return Prepared(share, _send, right)


def reached(share: RoomKeyShare) -> tuple[DeviceAddress, ...]:
    """Whom a share's requests reach."""
    return tuple(DeviceAddress(user_id=user, device_id=device) for user, device in reached_by(share.requests))


async def missing_sessions(client: Client) -> Prepared:
    """One device has a session, one has none, and one isn't known."""
    _, without, _ = (peer.address for peer in client.world.peers)
    query = MissingSessions(devices=tuple(peer.address for peer in client.world.peers))

    def right(reply: SessionsMissing) -> bool:
        return reply.claim is not None and reply.devices == (without,)

    return Prepared(query, right=right, elsewhere=add_a_room_key(client))


async def _shared(client: Client, number: int) -> MegolmSessionId:
    """Share with so many devices, all of which have a session, and send something."""
    share = _share(client)
    await client.supervisor.ask(CreateOlmSessions(one_time_keys=client.world.claim(share.devices[1:])))
    shared = await client.supervisor.ask(attrs.evolve(share, devices=share.devices[:number]))
    for request in shared.requests:
        client.world.take(request)
        await client.supervisor.ask(MarkRequestSent(request_id=request.request_id, response={}))
    await client.send_in(ROOM)
    return shared.session_id


async def share_room_key(client: Client) -> Prepared:
    """With one more device, in the midst of a session."""
    session_id, share = await _shared(client, 1), _share(client)

    def right(reply: RoomKeyShare) -> bool:
        return (session_id, share.devices[1:], ()) == (reply.session_id, reached(reply), reply.missing)

    return Prepared(share, _send, right)


async def share_room_key_with_fewer(client: Client) -> Prepared:
    """One that has the key has left the room, and must not read what follows."""
    before = await _shared(client, 2)
    share = _share(client)

    def right(reply: RoomKeyShare) -> bool:
        return reply.session_id != before

    return Prepared(attrs.evolve(share, devices=share.devices[:1]), _send_on_another(before), right)


async def mark_room_key_shared(client: Client) -> Prepared:
    """The server has taken it."""
    shared = await client.supervisor.ask(_share(client))
    for request in shared.requests:
        client.world.take(request)

    async def can_send(client: Client) -> None:
        await client.supervisor.ask(EncryptRoomEvent(room_id=ROOM, type="m.test", content={}))

    message = MarkRoomKeyShared(room_id=ROOM, session_id=shared.session_id, devices=reached(shared))
    return Prepared(message, can_send)


async def mark_replaced_room_key_shared(client: Client) -> Prepared:
    """The room has another one by now."""
    session_id = await _ready(client)
    await client.supervisor.ask(RotateRoomKey(room_id=ROOM))
    return Prepared(MarkRoomKeyShared(room_id=ROOM, session_id=session_id, devices=()))


HELLO = EncryptRoomEvent(room_id=ROOM, type="m.room.message", content={"body": "hello"})


async def _say_hello(client: Client, before: int) -> Prepared:
    """Encrypt a message behind some others on a session."""
    session_id = await _ready(client)
    for _ in range(before):
        await client.send_in(ROOM)

    def right(reply: EncryptedRoomEvent) -> bool:
        return reply.session_id == session_id

    return Prepared(HELLO, _send, right)


async def encrypt_room_event(client: Client) -> Prepared:
    """The first message on a session: it reserves indices."""
    elsewhere = Elsewhere(RotateRoomKey(room_id=ROOM), refused=(RoomKeyNotShared,))
    return attrs.evolve(await _say_hello(client, 0), elsewhere=elsewhere)


async def encrypt_another_room_event(client: Client) -> Prepared:
    """A message with a reserved index; for a process that has reserved none, one behind another's."""
    return await _say_hello(client, 1)


async def encrypt_the_last_reserved_room_event(client: Client) -> Prepared:
    """A message for which indices must be reserved again."""
    elsewhere = Elsewhere(DiscardRoomKey(room_id=ROOM), refused=(RoomKeyNotShared,))
    return attrs.evolve(await _say_hello(client, 8), elsewhere=elsewhere)


async def encrypt_room_event_without_key(client: Client) -> Prepared:
    """The room has no session."""
    return Prepared(HELLO, elsewhere=Elsewhere(PrepareRoomKey(room_id=ROOM)))


async def encrypt_room_event_of_old_key(client: Client) -> Prepared:
    """Its session is due for rotation."""
    key = await client.supervisor.ask(PrepareRoomKey(room_id=ROOM, rotation=RotationPeriod(messages=1)))
    await client.supervisor.ask(MarkRoomKeyShared(room_id=ROOM, session_id=key.session_id, devices=()))
    await client.send_in(ROOM)
    return Prepared(HELLO)


_SETTINGS = EncryptionSettings(rotation=RotationPeriod(messages=7), shared_history=True)


async def set_room_settings(client: Client) -> Prepared:
    """Nothing was known."""

    async def are_known(client: Client) -> None:
        assert _SETTINGS == await client.supervisor.ask(RoomSettings(room_id=ROOMS[0]))

    message = SetRoomSettings(room_id=ROOMS[0], settings=_SETTINGS)
    return Prepared(message, are_known, elsewhere=Elsewhere(message))


async def room_settings(client: Client) -> Prepared:
    """They are known."""
    await client.supervisor.ask(SetRoomSettings(room_id=ROOMS[0], settings=_SETTINGS))
    message = RoomSettings(room_id=ROOMS[0])
    return Prepared(message, right=lambda reply: reply == _SETTINGS, elsewhere=add_a_room_key(client))


SCENARIOS = (
    Scenario(prepare=set_room_settings),
    Scenario(prepare=room_settings),
    Scenario(prepare=add_room_key),
    Scenario(prepare=add_better_room_key),
    Scenario(prepare=decrypt_room_event),
    Scenario(prepare=decrypt_room_event_without_key, refused=(MissingRoomKey,)),
    Scenario(prepare=decrypt_replayed_room_event, refused=(ReplayedMessage,)),
    Scenario(prepare=decrypt_room_events),
    Scenario(prepare=encryption_info_of),
    Scenario(prepare=import_room_keys),
    Scenario(prepare=export_room_keys),
    Scenario(prepare=export_key_file),
    Scenario(prepare=import_key_file),
    Scenario(prepare=first_room_key),
    Scenario(prepare=room_key),
    Scenario(prepare=rotate_room_key),
    Scenario(prepare=discard_room_key),
    Scenario(prepare=missing_sessions),
    Scenario(prepare=share_new_room_key),
    Scenario(prepare=share_room_key),
    Scenario(prepare=share_room_key_with_fewer),
    Scenario(prepare=mark_room_key_shared),
    Scenario(prepare=mark_replaced_room_key_shared, refused=(RoomKeyReplaced,)),
    Scenario(prepare=encrypt_room_event),
    Scenario(prepare=encrypt_another_room_event),
    Scenario(prepare=encrypt_the_last_reserved_room_event),
    Scenario(prepare=encrypt_room_event_without_key, refused=(RoomKeyNotShared,)),
    Scenario(prepare=encrypt_room_event_of_old_key, refused=(RoomKeyNotShared,)),
)
