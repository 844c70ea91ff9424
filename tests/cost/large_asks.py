"""Asks of many things that are large, as whoever sends them may make them, and others that are dear by what is in them.

Owns: the same as `asks`, for what a size alone doesn't show.
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Mapping
from typing import Any, TypeAlias

from vodozemac import Account, Curve25519PublicKey

from olmstate.actors import Supervisor
from olmstate.actors._wire.key_file import Derivation, FileKeys, finish, write_key_file
from olmstate.messages import (
    AddDevices,
    CreateOlmSessions,
    Curve25519Key,
    DecryptRoomEvents,
    DecryptToDevice,
    DeviceAddress,
    DeviceId,
    Devices,
    EncryptForRoom,
    EncryptToDevice,
    ImportAccount,
    ImportedDevice,
    ImportKeyFile,
    ImportRoomKeys,
    JsonObject,
    MarkRoomKeyShared,
    Message,
    OlmSessionPickle,
    PrepareRoomKey,
    ReceiveSync,
    RoomId,
    ShareRoomKey,
    UserId,
)
from tests.bench.people import people
from tests.cost.asks import ASKS, Prepare, conversation
from tests.cost.room_keys import exported_keys
from tests.operations.peer import Peer, add_devices, claimed, keys_query
from tests.peer.identity import PeerIdentity, merged

LARGE = 44_000
"""Characters of what a stranger may write: less than the spec's 64 KiB with all that is around it."""
PrepareLarge: TypeAlias = Callable[[Supervisor, int, list[str]], Awaitable[Message[Any]]]
"""Has the device ready for a message of so many things, in each of which there is a text, in parts; the message."""


def _text(characters: int) -> list[str]:
    return ["x" * 20] * (characters // 22)


async def _known(supervisor: Supervisor, number: int) -> list[Peer]:
    known = people(number)
    await supervisor.ask(add_devices(*known))
    return known


# --- what is large ------------------------------------------------------------------------------------------


async def _devices(_: Supervisor, number: int, text: list[str]) -> Message[Any]:
    return add_devices(*(person.device_keys(text=text) for person in people(number)))


async def _identities(_: Supervisor, number: int, text: list[str]) -> Message[Any]:
    known = people(number)
    identities = [PeerIdentity(person.user_id) for person in known]
    for identity in identities:
        others = {f"ed25519:{place}": each for place, each in enumerate(text)}
        identity.objects["master"].setdefault("signatures", {})[identity.user_id] = others
    answers = [identity.answer() for identity in identities]
    return AddDevices(response=merged(keys_query(*known), *answers))


async def _claimed_keys(supervisor: Supervisor, number: int, text: list[str]) -> Message[Any]:
    keys: JsonObject = {}
    for person in await _known(supervisor, number):
        ((name, key),) = person.one_time_key().items()
        keys[person.user_id] = {person.device_id: {name: person.signed({"key": key["key"], "text": text})}}
    return CreateOlmSessions(one_time_keys=keys)


async def _letters(_: Supervisor, number: int, text: list[str]) -> Message[Any]:
    event: JsonObject = {"type": "org.example.letter", "sender": "@b:example.org", "content": {"text": text}}
    return DecryptToDevice(events=(event,) * number)


async def _to_devices(supervisor: Supervisor, number: int, text: list[str]) -> Message[Any]:
    known = await _known(supervisor, number)
    await supervisor.ask(CreateOlmSessions(one_time_keys=claimed(known)))
    addresses = tuple(person.address for person in known)
    return EncryptToDevice(devices=addresses, type="m.test", content={"text": text})


async def _room_keys(_: Supervisor, number: int, text: list[str]) -> Message[Any]:
    return ImportRoomKeys(keys=tuple({**key, "forwarding_curve25519_key_chain": text} for key in exported_keys(number)))


async def _account_data(_: Supervisor, number: int, text: list[str]) -> Message[Any]:
    events: list[JsonObject] = [
        {"type": f"m.secret_storage.key.{place}", "content": {"name": text}} for place in range(number)
    ]
    return ReceiveSync(sync={"next_batch": "s", "account_data": {"events": events}})


OF_LARGE: Mapping[str, PrepareLarge] = {
    "AddDevices, large": _devices,
    "AddDevices, large identities": _identities,
    "CreateOlmSessions, large keys": _claimed_keys,
    "DecryptToDevice, large": _letters,
    "EncryptToDevice, large": _to_devices,
    "ImportRoomKeys, large": _room_keys,
    "ReceiveSync, large account data": _account_data,
}


async def prepare_large(name: str, supervisor: Supervisor, number: int, *, large: bool) -> Message[Any]:
    """A message of so many things, which are large, or as small as they may be."""
    return await OF_LARGE[name](supervisor, number, _text(LARGE if large else 0))


# --- what is many, or dear ----------------------------------------------------------------------------------


async def _backwards(supervisor: Supervisor, size: int) -> Message[Any]:
    """For each event the ratchet goes all the way from where it begins: some hundred steps."""
    in_order = await conversation(supervisor, range(255, 256 * size, 256))
    return DecryptRoomEvents(events=tuple(reversed(in_order)))


async def _devices_of_many(supervisor: Supervisor, size: int) -> Message[Any]:
    return Devices(users=tuple(person.user_id for person in await _known(supervisor, size)))


async def _to_a_new_room(supervisor: Supervisor, size: int) -> Message[Any]:
    """Its key is made and encrypted for all; there is no transport that takes it to them."""
    again = await ASKS["EncryptForRoom"](supervisor, size)
    assert isinstance(again, EncryptForRoom)
    return EncryptForRoom(room_id=RoomId("!new:example.org"), members=again.members, type=again.type, content={})


async def _sharing_with_all_who_have_it(supervisor: Supervisor, size: int) -> Message[Any]:
    """Who they are needn't be known for that."""
    room_id = RoomId("!large:example.org")
    devices = tuple(
        DeviceAddress(user_id=UserId(f"@u{number}:example.org"), device_id=DeviceId("A")) for number in range(size)
    )
    key = await supervisor.ask(PrepareRoomKey(room_id=room_id))
    await supervisor.ask(MarkRoomKeyShared(room_id=room_id, session_id=key.session_id, devices=devices))
    return ShareRoomKey(room_id=room_id, devices=devices)


async def _importing_a_large_file(_: Supervisor, size: int) -> Message[Any]:
    """So many keys, a thousand of which differ."""
    some = exported_keys(min(size, 1_000))
    derivation = Derivation.new(1)
    writer = write_key_file(derivation, FileKeys.derive("passphrase", derivation))
    next(writer)
    for _each in range(size // len(some)):
        writer.send(some)
    return ImportKeyFile(file=finish(writer), passphrase="passphrase")


async def moving_in(_: Supervisor, size: int) -> Message[Any]:
    """An account with so many sessions and devices; the store has none."""
    account, key = Account(), bytes(32)
    sessions: list[OlmSessionPickle] = []
    devices: list[ImportedDevice] = []
    for person in people(size):
        (one_time_key,) = person.one_time_key().values()
        session = account.create_outbound_session(
            Curve25519PublicKey.from_base64(person.curve25519), Curve25519PublicKey.from_base64(one_time_key["key"])
        )
        sender_key = Curve25519Key(person.curve25519)
        sessions.append(OlmSessionPickle(sender_key=sender_key, user_id=person.user_id, pickle=session.pickle(key)))
        devices.append(
            ImportedDevice(
                user_id=person.user_id,
                device_id=person.device_id,
                curve25519=sender_key,
                ed25519=person.ed25519,
            )
        )
    return ImportAccount(
        pickle=account.pickle(key), pickle_key=key, olm_sessions=tuple(sessions), devices=tuple(devices)
    )


def _large(name: str) -> Prepare:
    async def prepare(supervisor: Supervisor, size: int) -> Message[Any]:
        return await prepare_large(name, supervisor, size, large=True)

    return prepare


MOVING_IN = "ImportAccount"
"""The one that an empty store is asked."""

LONG_ASKS: Mapping[str, Prepare] = {
    **ASKS,
    **{name: _large(name) for name in OF_LARGE},
    MOVING_IN: moving_in,
    "DecryptRoomEvents, backwards": _backwards,
    "Devices, of many users": _devices_of_many,
    "EncryptForRoom, with a new key": _to_a_new_room,
    "ImportKeyFile, large": _importing_a_large_file,
    "ShareRoomKey, with all who have it": _sharing_with_all_who_have_it,
}
"""All, by what is asked, and which of its inputs if it has several."""
