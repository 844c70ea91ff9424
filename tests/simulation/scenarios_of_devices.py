"""Scenarios of the account, of other devices, of Olm sessions and of /sync."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from olmstate.messages import (
    AccountExists,
    AddDevices,
    CreateAccount,
    CreateOlmSessions,
    DecryptedToDevice,
    DecryptRoomEvent,
    DecryptToDevice,
    DeviceIdentity,
    DeviceKeys,
    Devices,
    DevicesAdded,
    DeviceTrust,
    EncryptedToDevice,
    EncryptToDevice,
    IdentityKeys,
    ImportAccount,
    JsonObject,
    MarkKeysPublished,
    NoAccount,
    NoTransport,
    OlmSessionPickle,
    OlmSessionsCreated,
    PlainToDevice,
    PrepareAccount,
    PrepareOneTimeKeys,
    PublishAccount,
    ReceiveSync,
    ReplayedToDevice,
    RoomKeyWithheld,
    SetDeviceTrust,
    SignedDeviceKeys,
    Statistics,
    SupervisorStatistics,
    SyncReceived,
    SyncToken,
    UndecryptableToDevice,
    UnpublishedKeys,
)
from tests.operations.peer import Peer, keys_query
from tests.peer.forged import forged_message
from tests.simulation.client import Client
from tests.simulation.scenario import Elsewhere, Prepared, Scenario, add_a_room_key
from tests.simulation.world import FULL, MOST_DUE, PICKLE_KEY, RoomEvent

# --- the account --------------------------------------------------------------------------------------------


async def create_account(client: Client) -> Prepared:
    """A new device."""
    return Prepared(CreateAccount(), _has_keys)


async def create_another_account(client: Client) -> Prepared:
    """There is one."""
    return Prepared(CreateAccount())


async def prepare_account(client: Client) -> Prepared:
    """A new device, or so it thinks."""
    return Prepared(PrepareAccount(), _has_keys)


async def prepare_the_account_that_there_is(client: Client) -> Prepared:
    """One that has started before."""
    own = await client.supervisor.ask(IdentityKeys())
    return Prepared(PrepareAccount(), right=lambda reply: reply == own)


async def publish_the_account_that_is_published(client: Client) -> Prepared:
    """One that has started before, and whose keys the homeserver has."""
    own = await client.supervisor.ask(IdentityKeys())
    keys = await client.supervisor.ask(PrepareOneTimeKeys())
    await client.supervisor.ask(MarkKeysPublished(key_ids=keys.key_ids))
    return Prepared(PublishAccount(), right=lambda reply: reply == own)


async def publish_a_new_account(client: Client) -> Prepared:
    """There is nothing to upload it with; it is made all the same."""
    return Prepared(PublishAccount(), _has_keys)


async def import_account(client: Client) -> Prepared:
    """A device that has known somebody for long."""
    owner, bob = Peer(), client.world.peers[0]
    (key,) = bob.one_time_key().values()
    session = owner.start_session(bob, key)
    pickled = OlmSessionPickle(sender_key=bob.curve25519, pickle=session.pickle(PICKLE_KEY))

    async def write_to_bob(client: Client) -> None:
        await _has_keys(client)
        await client.supervisor.ask(AddDevices(response=keys_query(bob)))
        await _write_to(client, 0)

    def right(reply: DeviceIdentity) -> bool:
        return reply.curve25519 == owner.curve25519

    message = ImportAccount(pickle=owner.account.pickle(PICKLE_KEY), pickle_key=PICKLE_KEY, olm_sessions=(pickled,))
    return Prepared(message, write_to_bob, right)


async def _has_keys(client: Client) -> None:
    await client.supervisor.ask(IdentityKeys())
    # nobody is handed them who asks again, or while another has them
    assert len((await client.supervisor.ask(PrepareOneTimeKeys())).one_time_keys) in {FULL, 0}


async def one_time_keys(client: Client) -> Prepared:
    """The server has too few, and the fallback key is used up."""
    sync: JsonObject = {
        "next_batch": "s1",
        "device_one_time_keys_count": {"signed_curve25519": FULL - MOST_DUE},
        "device_unused_fallback_key_types": [],
    }
    await client.supervisor.ask(ReceiveSync(sync=sync))

    def right(reply: UnpublishedKeys) -> bool:
        # who was handed them before is to ask the server, and others wait
        return (len(reply.one_time_keys), len(reply.fallback_keys)) in {(MOST_DUE, 1), (0, 1), (0, 0)}

    async def come_once(client: Client) -> None:
        before = await client.supervisor.ask(PrepareOneTimeKeys())
        assert right(before)
        for _ in range(2):
            assert not (await client.supervisor.ask(PrepareOneTimeKeys())).one_time_keys

    return Prepared(PrepareOneTimeKeys(), come_once, right)


async def one_time_keys_of_nobody(client: Client) -> Prepared:
    """There is no account."""
    return Prepared(PrepareOneTimeKeys(), elsewhere=Elsewhere(CreateAccount()))


async def mark_keys_published(client: Client) -> Prepared:
    """The server has taken them."""
    await one_time_keys(client)
    keys = await client.supervisor.ask(PrepareOneTimeKeys())

    async def are_gone(client: Client) -> None:
        assert not (await client.supervisor.ask(PrepareOneTimeKeys())).one_time_keys

    counts = {"signed_curve25519": FULL}
    return Prepared(MarkKeysPublished(key_ids=keys.key_ids, one_time_key_counts=counts), are_gone)


async def identity_keys(client: Client) -> Prepared:
    """Of this device."""
    return Prepared(IdentityKeys(), right=lambda reply: reply == client.world.me, elsewhere=add_a_room_key(client))


async def identity_keys_of_nobody(client: Client) -> Prepared:
    """There is no account."""
    return Prepared(IdentityKeys(), elsewhere=Elsewhere(CreateAccount()))


async def signed_device_keys(client: Client) -> Prepared:
    """Of this device."""
    ours = f"curve25519:{client.world.me.device_id}", client.world.me.curve25519

    def right(reply: JsonObject) -> bool:
        return ours in reply["keys"].items()

    return Prepared(SignedDeviceKeys(), right=right, elsewhere=add_a_room_key(client))


async def statistics(client: Client) -> Prepared:
    """Of this supervisor."""

    def right(reply: SupervisorStatistics) -> bool:
        return reply.generation > 0

    return Prepared(Statistics(), right=right, elsewhere=add_a_room_key(client))


# --- devices ------------------------------------------------------------------------------------------------


async def add_devices(client: Client) -> Prepared:
    """One is gone, one is new, one has not signed its keys, and one is said to be this device."""
    gone, other, new = client.world.peers
    unsigned: JsonObject = {**gone.device_keys(device_id="FORGED"), "signatures": {}}
    own = Peer(client.world.me.user_id, client.world.me.device_id)

    def right(reply: DevicesAdded) -> bool:
        return {"FORGED", own.device_id} == {address.device_id for address in reply.rejected}

    async def are_known(client: Client) -> None:
        for peer in (other, new):
            (known,) = await client.supervisor.ask(Devices(user_id=peer.user_id))
            assert known.curve25519 == peer.curve25519

    return Prepared(AddDevices(response=keys_query(other, new, unsigned, own)), are_known, right)


async def devices(client: Client) -> Prepared:
    """Somebody has two."""
    known = sorted(peer.device_id for peer in client.world.known_devices)
    message, elsewhere = (
        Devices(user_id=client.world.peers[0].user_id),
        AddDevices(response=keys_query(client.world.peers[0])),
    )

    def right(reply: Sequence[DeviceKeys]) -> bool:
        return known == [device.device_id for device in reply]

    return Prepared(message, right=right, elsewhere=Elsewhere(elsewhere))


async def set_device_trust(client: Client) -> Prepared:
    """One is blocked."""
    device = client.world.known_devices[0]
    message = SetDeviceTrust(user_id=device.user_id, device_id=device.device_id, trust=DeviceTrust.BLOCKED)

    async def is_blocked(client: Client) -> None:
        known = await client.supervisor.ask(Devices(user_id=device.user_id))
        blocked = [each.device_id for each in known if each.trust is DeviceTrust.BLOCKED]
        assert [device.device_id] == blocked

    return Prepared(message, is_blocked, elsewhere=Elsewhere(message))


# --- Olm ----------------------------------------------------------------------------------------------------


async def _write_to(client: Client, number: int) -> None:
    message = EncryptToDevice(devices=(client.world.peers[number].address,), type="m.test", content={"n": number})
    sent = await client.supervisor.ask(message)
    client.world.receive(sent.messages)
    assert not sent.missing


async def create_olm_sessions(client: Client) -> Prepared:
    """With a device that is known, and one that isn't."""
    known, unknown = (peer.address for peer in client.world.peers[1:])

    def message() -> CreateOlmSessions:
        return CreateOlmSessions(one_time_keys=client.world.claim((known, unknown)))

    def right(reply: OlmSessionsCreated) -> bool:
        return ((known,), {unknown}) == (reply.created, set(reply.rejected))

    async def can_write(client: Client) -> None:
        await _write_to(client, 1)

    return Prepared(message(), can_write, right, message)


async def encrypt_to_device(client: Client) -> Prepared:
    """To a device with a session, and one without."""
    there, missing = (peer.address for peer in client.world.peers[:2])

    def right(reply: EncryptedToDevice) -> bool:
        reached = [(user_id, [*messages]) for user_id, messages in reply.messages.items()]
        return ([(there.user_id, [there.device_id])], (missing,)) == (reached, reply.missing)

    async def write_on(client: Client) -> None:
        await _write_to(client, 0)

    return Prepared(
        EncryptToDevice(devices=(there, missing), type="m.test", content={"body": "hello"}), write_on, right
    )


async def decrypt_to_device(client: Client) -> Prepared:
    """All that can come: on a session, on a new one, once more, a room key, a notice, in clear, and broken."""
    world = client.world
    bob, other, _ = world.peers
    world.meet(other)
    key, withheld = world.new_room_key(bob), world.new_room_key(bob)
    events: Sequence[JsonObject] = (
        bob.event(world.me),
        new := other.event(world.me),
        new,
        bob.event(world.me, "m.room_key", key.room_key),
        {
            "type": "m.room_key.withheld",
            "sender": bob.user_id,
            "content": {**withheld.room_key, "code": "m.blacklisted"},
        },
        {"type": "m.room.encrypted", "sender": bob.user_id, "content": {}},
    )
    kinds: Sequence[Any] = (*(OLM,) * 4, PlainToDevice, UndecryptableToDevice)
    said = world.say(key)

    def right(reply: Sequence[object]) -> bool:
        return all(isinstance(outcome, kind) for outcome, kind in zip(reply, kinds, strict=True))

    async def can_read_and_answer(client: Client) -> None:
        await client.supervisor.ask(DecryptRoomEvent(room_id=said.room_id, event=said.event))
        try:
            await client.supervisor.ask(DecryptRoomEvent(room_id=withheld.room_id, event=world.say(withheld).event))
        except RoomKeyWithheld:
            pass
        else:
            raise AssertionError("the notice is lost")
        await _write_to(client, 1)

    return Prepared(DecryptToDevice(events=tuple(events)), can_read_and_answer, right)


OLM = (DecryptedToDevice, ReplayedToDevice)
"""What an Olm message can be, by whether anybody has decrypted it before."""


# --- sync ---------------------------------------------------------------------------------------------------


async def receive_sync(client: Client) -> Prepared:
    """Room keys on a session and on a new one, and the token."""
    return _new_room_keys(client, token="s2", token_stored=None)


async def receive_a_flood(client: Client) -> Prepared:
    """Messages that no session decrypts, and more of them than one turn tries."""
    world = client.world
    bob, *_ = world.peers
    events = [bob.envelope(world.me, 1, forged_message(number)) for number in range(FLOOD)]

    def right(reply: SyncReceived) -> bool:
        return [UndecryptableToDevice] * FLOOD == [type(outcome) for outcome in reply.to_device]

    async def the_token_is_stored(client: Client) -> None:
        assert await client.supervisor.ask(SyncToken()) == "s2"

    sync: JsonObject = {
        "next_batch": "s2",
        "to_device": {"events": events},
        "device_one_time_keys_count": {"signed_curve25519": 9},
    }
    return Prepared(ReceiveSync(sync=sync), the_token_is_stored, right)


FLOOD = 40
"""A device's messages that are more work than a turn does for one."""


async def receive_sync_behind_another(client: Client) -> Prepared:
    """Of a request that was made before another process has moved the token: the events count, the token stays."""
    await client.supervisor.ask(ReceiveSync(sync={"next_batch": "another"}))
    return _new_room_keys(client, token="another", token_stored=False)


def _new_room_keys(client: Client, *, token: str, token_stored: bool | None) -> Prepared:
    """A response to a request since s0; None: it moves the token, unless it was taken in before."""
    world = client.world
    keys = [world.new_room_key(peer) for peer in world.peers[:2]]
    world.meet(keys[1].maker)
    said: list[RoomEvent] = []
    for key in keys:
        world.post(key.maker.event(world.me, "m.room_key", key.room_key), key.session_id)
        said.append(world.say(key))
    sync = world.last_sync("s0")

    def right(reply: SyncReceived) -> bool:
        if token_stored is not None and reply.token_stored != token_stored:
            return False
        return len(reply.to_device) == len(keys) and all(isinstance(outcome, OLM) for outcome in reply.to_device)

    async def can_read(client: Client) -> None:
        assert token == await client.supervisor.ask(SyncToken())
        for event in said:
            await client.supervisor.ask(DecryptRoomEvent(room_id=event.room_id, event=event.event))

    return Prepared(ReceiveSync(sync=sync, since="s0"), can_read, right)


async def sync_token(client: Client) -> Prepared:
    """There is one."""
    elsewhere = Elsewhere(ReceiveSync(sync={"next_batch": "s9"}))
    return Prepared(SyncToken(), right=lambda reply: reply == "s0", elsewhere=elsewhere)


async def sync_token_of_nobody(client: Client) -> Prepared:
    """There is none."""
    return Prepared(SyncToken(), right=lambda reply: reply is None, elsewhere=Elsewhere(CreateAccount()))


SCENARIOS = (
    Scenario(prepare=create_account, empty=True, again=(AccountExists,)),
    Scenario(prepare=create_another_account, refused=(AccountExists,)),
    Scenario(prepare=prepare_account, empty=True),
    Scenario(prepare=prepare_the_account_that_there_is),
    Scenario(prepare=publish_the_account_that_is_published),
    Scenario(prepare=publish_a_new_account, empty=True, refused=(NoTransport,)),
    Scenario(prepare=import_account, empty=True, again=(AccountExists,)),
    Scenario(prepare=one_time_keys),
    Scenario(prepare=one_time_keys_of_nobody, empty=True, refused=(NoAccount,)),
    Scenario(prepare=mark_keys_published),
    Scenario(prepare=identity_keys),
    Scenario(prepare=identity_keys_of_nobody, empty=True, refused=(NoAccount,)),
    Scenario(prepare=signed_device_keys),
    Scenario(prepare=statistics),
    Scenario(prepare=add_devices),
    Scenario(prepare=devices),
    Scenario(prepare=set_device_trust),
    Scenario(prepare=create_olm_sessions),
    Scenario(prepare=encrypt_to_device),
    Scenario(prepare=decrypt_to_device),
    Scenario(prepare=receive_sync),
    Scenario(prepare=receive_sync_behind_another),
    Scenario(prepare=receive_a_flood),
    Scenario(prepare=sync_token),
    Scenario(prepare=sync_token_of_nobody, empty=True),
)
