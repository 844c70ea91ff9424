"""A fingerprint is told only of a known device that has both keys. What somebody says that theirs is, is nobody's."""

from __future__ import annotations

import string

import pytest

from olmstate.messages import (
    AddDevices,
    DecryptedRoomEvent,
    DecryptedToDevice,
    DecryptionError,
    DeviceId,
    Json,
    MalformedMessage,
    MismatchedSender,
    UnknownSender,
)
from tests.hostile.people import Us, conversation, error_of, told
from tests.operations.peer import Peer

TYPES = [
    "m.room_key",
    "m.forwarded_room_key",
    "m.secret.send",
    "m.secret.request",
    "m.room_key_request",
    "m.room_key.withheld",
    "m.key.verification.request",
    "m.dummy",
    "m.test",
]


@pytest.mark.parametrize("event_type", TYPES)
@pytest.mark.parametrize("known", ["mallory-known", "mallory-unknown"])
@pytest.mark.parametrize("in_whose_name", ["bob", "mallory"])
async def test_nobody_sends_with_a_known_devices_fingerprint(
    *,
    in_whose_name: str,
    known: str,
    event_type: str,
    us: Us,
    bob: Peer,
    mallory: Peer,
) -> None:
    if known == "mallory-known":
        await us.know(mallory)
    sender = Peer(bob.user_id, DeviceId("NEW"), mallory.account) if in_whose_name == "bob" else mallory

    keys = {"keys": {"ed25519": bob.ed25519}, "sender_device_keys": None}
    outcome = await us.send(sender, event_type, conversation(sender).room_key, **keys)

    refused: set[type[DecryptionError] | None] = {MismatchedSender, UnknownSender}
    assert error_of(outcome) in refused
    assert bob.ed25519 not in repr(outcome)


@pytest.mark.parametrize("event_type", TYPES)
@pytest.mark.parametrize("claimed", ["hello", "a-strangers"])
@pytest.mark.parametrize("in_whose_name", ["bob", "mallory"])
async def test_what_an_unknown_device_says_that_its_fingerprint_is_is_told_by_nobody(
    *,
    in_whose_name: str,
    claimed: str,
    event_type: str,
    us: Us,
    bob: Peer,
    mallory: Peer,
) -> None:
    sender = Peer(bob.user_id, DeviceId("NEW"), mallory.account) if in_whose_name == "bob" else mallory
    fingerprint = "hello" if claimed == "hello" else Peer().ed25519
    room = conversation(sender)

    keys = {"keys": {"ed25519": fingerprint}, "sender_device_keys": None}
    outcome = await us.send(sender, event_type, room.room_key, **keys)

    assert told(outcome) is None
    assert fingerprint not in repr(outcome)
    if claimed == "hello":
        assert MalformedMessage is error_of(outcome)
    elif event_type == "m.room_key":
        assert isinstance(outcome, DecryptedToDevice)
        for devices in ((sender,), (bob, sender)):
            assert told(await us.read(room.events[0])) is None
            await us.know(*devices)
    else:
        assert UnknownSender is error_of(outcome)


def respelt(key: str) -> list[str]:
    """Other texts that some reader of base64 may take for the same key."""
    digits = string.ascii_uppercase + string.ascii_lowercase + string.digits + "+/"
    last = digits.index(key[-1])
    unused_bits = [key[:-1] + digits[last ^ bits] for bits in (1, 2, 3)]
    return [f"{key}=", f"{key}==", f"{key}\n", f" {key}", f"{key[:20]}\n{key[20:]}", *unused_bits]


@pytest.mark.parametrize("event_type", TYPES)
@pytest.mark.parametrize("whose", ["bobs", "our-own"])
@pytest.mark.parametrize("spelling", range(8))
async def test_nobody_sends_with_another_spelling_of_a_known_fingerprint(
    *, spelling: int, whose: str, event_type: str, us: Us, bob: Peer, mallory: Peer
) -> None:
    """With one "=" behind it, it was compared with none, and told as what the sender claims."""
    fingerprint = respelt(bob.ed25519 if whose == "bobs" else us.me.ed25519)[spelling]

    keys = {"keys": {"ed25519": fingerprint}, "sender_device_keys": None}
    outcome = await us.send(mallory, event_type, conversation(mallory).room_key, **keys)

    refused: set[type[DecryptionError] | None] = {MismatchedSender, UnknownSender, MalformedMessage}
    assert error_of(outcome) in refused


async def test_what_is_claimed_is_told_as_a_claim(us: Us, mallory: Peer) -> None:
    room, claimed = conversation(mallory), Peer().ed25519
    await us.give(mallory, room, keys={"ed25519": claimed}, sender_device_keys=None)

    decrypted = await us.read(room.events[0])

    assert isinstance(decrypted, DecryptedRoomEvent)
    info = decrypted.encryption_info
    assert (None, None) == (info.sender_device, info.claimed_device)
    assert (mallory.user_id, claimed) == (info.claimed_sender, info.claimed_ed25519)
    assert mallory.curve25519 == info.claimed_curve25519  # what it was encrypted with, whatever they claim


async def test_who_spells_their_own_key_with_padding_is_who_they_are(us: Us, bob: Peer) -> None:
    keys = {"keys": {"ed25519": f"{bob.ed25519}="}, "sender_device_keys": None}
    assert bob.identity == told(await us.send(bob, "m.test", {}, **keys))


async def test_what_waited_for_a_query_is_read_after_it(us: Us, mallory: Peer) -> None:
    await us.ensure_session(mallory)
    event = mallory.event(us.me, "m.test", {"n": 1}, sender_device_keys=None)
    assert UnknownSender is error_of(await us.hand(event))

    await us.know(mallory)

    outcome = await us.hand(event)
    assert isinstance(outcome, DecryptedToDevice)
    assert {"n": 1} == outcome.content
    assert mallory.identity == told(outcome)


CARRIED: dict[str, Json] = {"m.test": {"n": 1}, "m.room_key": None}


@pytest.mark.parametrize("event_type", CARRIED)
async def test_keys_that_are_sent_along_name_nobody(event_type: str, us: Us, bob: Peer) -> None:
    """The homeserver has made a device of bob's, and nobody has been told of it but in this message."""
    invented = Peer(bob.user_id, DeviceId("INVENTED"))
    content = CARRIED[event_type] or conversation(invented).room_key

    outcome = await us.send(invented, event_type, content)

    assert isinstance(outcome, DecryptedToDevice)
    assert told(outcome) is None
    assert invented.ed25519 not in repr(outcome)


async def test_a_device_that_is_gone_has_its_fingerprint_for_itself(us: Us, bob: Peer, mallory: Peer) -> None:
    await us.supervisor.ask(AddDevices(response={"device_keys": {bob.user_id: {}}}))

    for sender in (mallory, Peer(bob.user_id, DeviceId("NEW"))):
        keys = {"keys": {"ed25519": bob.ed25519}, "sender_device_keys": None}
        assert MismatchedSender is error_of(await us.give(sender, conversation(sender), **keys))
    room = conversation(bob)
    assert isinstance(await us.give(bob, room, sender_device_keys=None), DecryptedToDevice)
    assert told(await us.read(room.events[0])) is None
