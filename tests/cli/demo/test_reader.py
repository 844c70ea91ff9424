"""The independent reader reads what is good, and says so of what isn't."""

from __future__ import annotations

from typing import Any

import pytest
from canonicaljson import encode_canonical_json
from vodozemac import (
    Ed25519PublicKey,
    Ed25519Signature,
    GroupSession,
    Session,
)

from olmstate.cli.demo._reader import Device, Reader, Unreadable
from olmstate.messages import Json, JsonObject, RoomId
from tests.peer.device import PeerDevice
from tests.peer.encoding import b64, unb64

ROOM = RoomId("!room:example.org")


class Shared:
    """The shared device, on bare vodozemac too."""

    def __init__(self) -> None:
        self.peer = PeerDevice("@alice:example.org", "PHONE")
        self.device = Device(
            user_id=self.peer.user_id,
            device_id=self.peer.device_id,
            curve25519=self.peer.curve25519,
            ed25519=self.peer.ed25519,
        )
        self.reader = Reader("@reader:example.org", "READER", self.device)

    def session(self) -> Session:
        """To the reader, with a one-time key of its."""
        [key] = self.reader.one_time_key().values()
        return self.peer.start_session(self.reader.device, key)

    def to_device(self, session: Session, content: JsonObject, **changes: Json) -> JsonObject:
        """The content of an encrypted room key event; ``changes`` go into its payload."""
        changes["sender_device_keys"] = None
        event = self.peer.event(self.reader.device, "m.room_key", content, session=session, **changes)
        encrypted: JsonObject = event["content"]
        return encrypted


def room_key(group: GroupSession, **changes: Json) -> JsonObject:
    return PeerDevice().room_key(ROOM, group) | changes


def room_event(group: GroupSession, body: str, room_id: RoomId = ROOM) -> JsonObject:
    content: JsonObject = PeerDevice().room_event(room_id, group, {"body": body})["content"]
    return content


def test_a_room_event_is_read_with_the_room_key_that_came_before() -> None:
    shared, group = Shared(), GroupSession()
    session = shared.session()
    shared.reader.receive(shared.to_device(session, room_key(group)))

    assert shared.reader.read(ROOM, room_event(group, "hello"))["content"] == {"body": "hello"}


def test_a_later_copy_of_a_room_key_does_not_replace_an_earlier_one() -> None:
    shared, group = Shared(), GroupSession()
    session = shared.session()
    shared.reader.receive(shared.to_device(session, room_key(group)))
    first = room_event(group, "first")
    shared.reader.receive(shared.to_device(session, room_key(group)))

    assert shared.reader.read(ROOM, first)["content"] == {"body": "first"}


def test_without_the_room_key_nothing_is_read() -> None:
    with pytest.raises(Unreadable, match="never came"):
        Shared().reader.read(ROOM, room_event(GroupSession(), "hello"))


def test_an_event_from_before_the_room_key_is_not_read() -> None:
    shared, group = Shared(), GroupSession()
    early = room_event(group, "early")
    shared.reader.receive(shared.to_device(shared.session(), room_key(group)))

    with pytest.raises(Unreadable):
        shared.reader.read(ROOM, early)


def test_an_event_that_was_encrypted_for_another_room_is_not_read() -> None:
    shared, group = Shared(), GroupSession()
    shared.reader.receive(shared.to_device(shared.session(), room_key(group)))

    with pytest.raises(Unreadable, match="another room"):
        shared.reader.read(ROOM, room_event(group, "hello", RoomId("!other:example.org")))


def test_a_to_device_message_that_was_changed_is_not_read() -> None:
    shared = Shared()
    content = shared.to_device(shared.session(), room_key(GroupSession()))
    ciphertext = content["ciphertext"][shared.reader.device.curve25519]
    body = bytearray(unb64(ciphertext["body"]))
    body[-1] ^= 1
    ciphertext["body"] = b64(bytes(body))

    with pytest.raises(Unreadable):
        shared.reader.receive(content)


def test_a_message_on_a_used_ratchet_step_is_not_read() -> None:
    shared = Shared()
    session = shared.session()
    pickle = session.pickle(bytes(32))
    shared.reader.receive(shared.to_device(session, room_key(GroupSession())))

    with pytest.raises(Unreadable, match="no Olm session"):
        shared.reader.receive(shared.to_device(Session.from_pickle(pickle, bytes(32)), room_key(GroupSession())))


@pytest.mark.parametrize(
    "changes",
    [
        {"sender": "@mallory:example.org"},
        {"recipient": "@mallory:example.org"},
        {"recipient_keys": {"ed25519": "another"}},
        {"keys": {"ed25519": "another"}},
    ],
)
def test_a_payload_that_names_others_is_not_read(changes: dict[str, Any]) -> None:
    shared = Shared()

    with pytest.raises(Unreadable, match="other people"):
        shared.reader.receive(shared.to_device(shared.session(), room_key(GroupSession()), **changes))


@pytest.mark.parametrize("changes", [{"session_id": "another"}, {"algorithm": "another"}, {"session_key": "none"}])
def test_a_room_key_that_is_none_is_not_taken(changes: dict[str, Any]) -> None:
    shared = Shared()

    with pytest.raises(Unreadable):
        shared.reader.receive(shared.to_device(shared.session(), room_key(GroupSession(), **changes)))


def test_it_writes_with_a_one_time_key_and_goes_on_with_the_session_that_was_answered_on() -> None:
    shared = Shared()
    [key] = shared.peer.one_time_key().values()
    shared.reader.start_session(key)

    first = shared.reader.write("test", {"letter": 1})["content"]
    payload = shared.peer.read(first)
    assert payload["content"] == {"letter": 1}
    assert payload["recipient"] == shared.device.user_id

    shared.reader.receive(shared.to_device(shared.peer.sessions[-1], {"letter": 2}, type="test"))
    second = shared.reader.write("test", {"letter": 3})["content"]
    types = [content["ciphertext"][shared.device.curve25519]["type"] for content in (first, second)]
    assert types == [0, 1]


def test_a_one_time_key_that_the_shared_device_did_not_sign_is_not_used() -> None:
    shared = Shared()
    [signed] = shared.peer.one_time_key().values()
    signed["key"] = Shared().device.curve25519

    with pytest.raises(Unreadable):
        shared.reader.start_session(signed)
    assert not shared.reader.has_session


def test_its_device_keys_are_signed_by_itself() -> None:
    reader = Shared().reader
    keys = reader.device_keys()

    unsigned = {name: value for name, value in keys.items() if name != "signatures"}
    signature = keys["signatures"][reader.device.user_id][f"ed25519:{reader.device.device_id}"]
    Ed25519PublicKey.from_base64(reader.device.ed25519).verify_signature(
        encode_canonical_json(unsigned), Ed25519Signature.from_base64(signature)
    )
