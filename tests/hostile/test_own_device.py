"""Nobody is this very device but itself, whatever the homeserver says before or after."""

from __future__ import annotations

import pytest

from olmstate.actors import Supervisor
from olmstate.actors._room_keys.claims import CLAIMS_A_USER
from olmstate.messages import (
    AddDevices,
    AddRoomKey,
    CreateAccount,
    DecryptedRoomEvent,
    DecryptedToDevice,
    DeviceAddress,
    DeviceId,
    DeviceIdentity,
    DeviceKeyChanged,
    Devices,
    EncryptRoomEvent,
    JsonObject,
    MegolmSessionId,
    MismatchedSender,
    MissingRoomKey,
    OwnDeviceReplaced,
    RejectedRoomKey,
    SenderState,
    SignedDeviceKeys,
)
from tests.hostile.people import Us, conversation, error_of, read, told
from tests.operations.device import ALICE, ALICE_DEVICE, ROOM, ready_room
from tests.operations.peer import Peer, keys_query

TYPES = ["m.room_key", "m.test", "m.dummy", "m.secret.send"]


@pytest.fixture
def double(me: DeviceIdentity) -> Peer:
    """Another device that the homeserver has made, under this one's name."""
    return Peer(me.user_id, me.device_id)


async def own_event(us: Us) -> JsonObject:
    """Something that the device has sent to the room itself."""
    await ready_room(us.supervisor)
    sent = await us.supervisor.ask(EncryptRoomEvent(room_id=ROOM, type="m.test", content={"n": 1}))
    return {"event_id": "$own", "sender": us.me.user_id, "content": sent.content}


def responses(me: DeviceIdentity, double: Peer, genuine: JsonObject) -> dict[str, JsonObject | None]:
    """What the homeserver says of this device."""
    return {
        "nothing": None,
        "the-truth": {"device_keys": {me.user_id: {me.device_id: genuine}}},
        "the-lie": keys_query(double),
        "no-device": {"device_keys": {me.user_id: {}}},
    }


@pytest.mark.parametrize("event_type", TYPES)
@pytest.mark.parametrize("said", ["nothing", "the-truth", "the-lie", "no-device"])
async def test_nobody_sends_as_this_very_device(said: str, event_type: str, us: Us, double: Peer) -> None:
    room = conversation(double)
    response = responses(us.me, double, await us.supervisor.ask(SignedDeviceKeys()))[said]
    if response is not None:
        await us.supervisor.ask(AddDevices(response=response))

    outcome = await us.send(double, event_type, room.room_key)

    assert MismatchedSender is error_of(outcome)
    assert isinstance(await us.read(room.events[0]), MissingRoomKey)


async def test_what_comes_in_this_users_name_from_another_device_is_not_this_devices(us: Us, double: Peer) -> None:
    """Without ``sender_device_keys`` it names no device, and may be from another one of this user's."""
    room = conversation(double)

    outcome = await us.give(double, room, sender_device_keys=None)
    decrypted = await us.read(room.events[0])

    assert told(outcome) is None
    assert isinstance(decrypted, DecryptedRoomEvent)
    info = decrypted.encryption_info
    assert (SenderState.UNKNOWN_DEVICE, None) == (info.sender_state, info.sender_device)
    await us.know(double)
    assert told(await us.read(room.events[0])) is None


@pytest.mark.parametrize("event_type", TYPES)
async def test_nobody_takes_this_devices_fingerprint(event_type: str, us: Us, double: Peer, mallory: Peer) -> None:
    for liar in (double, mallory):
        keys = {"keys": {"ed25519": us.me.ed25519}, "sender_device_keys": None}
        outcome = await us.send(liar, event_type, conversation(liar).room_key, **keys)
        assert MismatchedSender is error_of(outcome)


async def test_other_keys_under_this_devices_id_are_refused_and_told(us: Us, other: Supervisor, double: Peer) -> None:
    own = DeviceAddress(user_id=us.me.user_id, device_id=us.me.device_id)
    event = await own_event(us)
    with us.supervisor.subscribe(OwnDeviceReplaced) as events:
        added = await us.know(double)
        unsigned: JsonObject = {**double.device_keys(), "signatures": {}}
        worse = await us.supervisor.ask(
            AddDevices(response={"device_keys": {us.me.user_id: {us.me.device_id: unsigned}}})
        )

        expected = OwnDeviceReplaced(user_id=us.me.user_id, device_id=us.me.device_id, claimed_ed25519=double.ed25519)
        assert expected == await events.receive()
        assert (await events.receive()).claimed_ed25519 is None
    error = added.rejected[own]
    assert isinstance(error, DeviceKeyChanged)
    assert us.me.ed25519 == error.ed25519
    assert [own] == list(worse.rejected)
    assert () == await other.ask(Devices(user_id=us.me.user_id))

    genuine = {"device_keys": {us.me.user_id: {us.me.device_id: await us.supervisor.ask(SignedDeviceKeys())}}}
    assert (own,) == (await other.ask(AddDevices(response=genuine))).added
    for supervisor in (us.supervisor, other):
        (known,) = await supervisor.ask(Devices(user_id=us.me.user_id))
        assert (us.me.curve25519, us.me.ed25519) == (known.curve25519, known.ed25519)
        decrypted = await read(supervisor, event)
        assert isinstance(decrypted, DecryptedRoomEvent)
        assert SenderState.THIS_DEVICE == decrypted.encryption_info.sender_state
        assert us.me == told(decrypted)


async def test_a_double_that_was_told_of_before_there_was_an_account_gives_way(empty: Supervisor) -> None:
    """Or one that a version before this one has believed."""
    double = Peer(ALICE, ALICE_DEVICE)
    await empty.ask(AddDevices(response=keys_query(double)))
    me = await empty.ask(CreateAccount())
    genuine = {"device_keys": {me.user_id: {me.device_id: await empty.ask(SignedDeviceKeys())}}}

    await empty.ask(AddDevices(response=genuine))

    (known,) = await empty.ask(Devices(user_id=me.user_id))
    assert (me.curve25519, me.ed25519) == (known.curve25519, known.ed25519)


async def test_however_many_devices_of_this_user_are_invented_and_claim_its_session_it_has_sent_it(
    us: Us, other: Supervisor
) -> None:
    """Somebody in the room has given the homeserver the key. Claims of known devices had this one's own dropped."""
    room_key = await ready_room(us.supervisor)
    sent = await us.supervisor.ask(EncryptRoomEvent(room_id=ROOM, type="m.test", content={}))
    invented = [Peer(us.me.user_id, DeviceId(f"INVENTED{number}")) for number in range(3 * CLAIMS_A_USER)]
    await us.know(*invented)
    for each in invented:
        assert isinstance(await us.send(each, "m.room_key", room_key.content), DecryptedToDevice)

    for supervisor in (us.supervisor, other):
        decrypted = await read(supervisor, {"event_id": "$own", "sender": us.me.user_id, "content": sent.content})
        assert us.me == told(decrypted)
        assert isinstance(decrypted, DecryptedRoomEvent)
        assert SenderState.THIS_DEVICE == decrypted.encryption_info.sender_state


async def test_a_room_key_is_not_added_in_this_devices_name(us: Us, mallory: Peer) -> None:
    room = conversation(mallory)
    for curve25519, ed25519 in ((us.me.curve25519, mallory.ed25519), (mallory.curve25519, us.me.ed25519)):
        message = AddRoomKey(
            room_id=ROOM,
            session_id=MegolmSessionId(room.session_id),
            session_key=room.room_key["session_key"],
            sender_key=curve25519,
            sender_ed25519=ed25519,
            sender=us.me.user_id,
        )
        with pytest.raises(RejectedRoomKey):
            await us.supervisor.ask(message)
