"""What tests do with the device under test more than once."""

from __future__ import annotations

import json
from collections.abc import AsyncGenerator, Callable
from contextlib import asynccontextmanager

import attrs
import pytest

from olmstate.actors import Supervisor
from olmstate.messages import (
    CreateOlmSessions,
    DecryptedRoomEvent,
    DecryptedToDevice,
    DecryptToDevice,
    DeviceAddress,
    DeviceId,
    EncryptToDevice,
    IdentityKeys,
    JsonObject,
    MarkKeysPublished,
    MarkRoomKeyShared,
    OlmStateError,
    OutboundRoomKey,
    PrepareOneTimeKeys,
    PrepareRoomKey,
    RoomId,
    Statistics,
    UserId,
)
from tests.operations.peer import Peer, claimed
from tests.peer.key_server import PublishedKeys

ALICE = UserId("@alice:example.org")
ALICE_DEVICE = DeviceId("ALICEDEV")
ALICE_ADDRESS = DeviceAddress(user_id=ALICE, device_id=ALICE_DEVICE)
KEY = bytes(range(32))
ROOM = RoomId("!room:example.org")
DAY = 24 * 3600 * 1000
"""Milliseconds."""


@attrs.define
class Clock:
    """A wall clock that a test moves."""

    now: int = 1_700_000_000_000

    def __call__(self) -> int:
        """Milliseconds since 1970."""
        return self.now


class KeyServer(PublishedKeys):
    """The keys of the device under test, as its homeserver has them."""

    async def upload(self, supervisor: Supervisor) -> None:
        """Have the device upload what is due."""
        keys = await supervisor.ask(PrepareOneTimeKeys())
        self.take(attrs.asdict(keys))
        await supervisor.ask(MarkKeysPublished(key_ids=keys.key_ids, one_time_key_counts=self.counts))


def parsed(answer: JsonObject) -> JsonObject:
    """An answer as an HTTP library parses it."""
    return answer


def text(answer: JsonObject) -> str:
    """An answer as text."""
    return json.dumps(answer)


def octets(answer: JsonObject) -> bytes:
    """An answer as it came."""
    return json.dumps(answer).encode()


Form = Callable[[JsonObject], JsonObject | str | bytes]
FORMS: tuple[Form, ...] = (parsed, text, octets)
"""In which a homeserver's answer may be handed in."""


def known_sender(decrypted: DecryptedRoomEvent | DecryptedToDevice) -> DeviceAddress | None:
    """Who is told to have sent it; for certain, and not as a claim."""
    info = decrypted.encryption_info if isinstance(decrypted, DecryptedRoomEvent) else decrypted
    device = info.sender_device
    return None if device is None else DeviceAddress(user_id=device.user_id, device_id=device.device_id)


def claimed_sender(decrypted: DecryptedRoomEvent) -> DeviceAddress | None:
    """Whose the room key is if what an export says is true."""
    device = decrypted.encryption_info.claimed_device
    return None if device is None else DeviceAddress(user_id=device.user_id, device_id=device.device_id)


async def decrypt(supervisor: Supervisor, event: JsonObject) -> DecryptedToDevice:
    """Decrypt an event that can be decrypted."""
    (outcome,) = await supervisor.ask(DecryptToDevice(events=(event,)))
    assert isinstance(outcome, DecryptedToDevice), outcome
    return outcome


async def send(supervisor: Supervisor, peer: Peer, body: str) -> JsonObject:
    """What ``peer`` reads of what it is sent."""
    message = EncryptToDevice(devices=(peer.address,), type="m.test", content={"body": body})
    encrypted = await supervisor.ask(message)
    return peer.read(encrypted.messages[peer.user_id][peer.device_id])


async def meet(supervisor: Supervisor, peer: Peer, server: KeyServer) -> None:
    """Give both an Olm session that both have used."""
    if not server.one_time_keys:
        await server.upload(supervisor)
    me = await supervisor.ask(IdentityKeys())
    peer.start_session(me, server.claim_key())
    await decrypt(supervisor, peer.event(me))
    await send(supervisor, peer, "hello")


async def claim(supervisor: Supervisor, *peers: Peer) -> None:
    """Have the device start a session with each of ``peers``."""
    created = await supervisor.ask(CreateOlmSessions(one_time_keys=claimed(peers)))
    assert tuple(peer.address for peer in peers) == created.created


async def ready_room(supervisor: Supervisor, room_id: RoomId = ROOM) -> OutboundRoomKey:
    """A room with nobody else in it, in which the device may send."""
    room_key = await supervisor.ask(PrepareRoomKey(room_id=room_id))
    await supervisor.ask(MarkRoomKeyShared(room_id=room_id, session_id=room_key.session_id, devices=()))
    return room_key


async def generation(supervisor: Supervisor) -> int:
    """How often anything was written."""
    return (await supervisor.ask(Statistics())).generation


@asynccontextmanager
async def unchanged(supervisor: Supervisor) -> AsyncGenerator[None, None]:
    """Nothing may be written in this block."""
    before = await generation(supervisor)
    yield
    assert before == await generation(supervisor)


@asynccontextmanager
async def refused(
    supervisor: Supervisor, error: type[OlmStateError]
) -> AsyncGenerator[pytest.ExceptionInfo[OlmStateError], None]:
    """What is asked in this block must be refused with ``error``, and nothing may be written."""
    async with unchanged(supervisor):
        with pytest.raises(error) as caught:
            yield caught
