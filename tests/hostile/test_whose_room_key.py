"""Who sent a room event is worked out when it is read, and nobody changes that by claiming, before or after."""

from __future__ import annotations

import pytest

from olmstate.actors import Supervisor
from olmstate.actors._room_keys.claims import CLAIMS_A_USER, EXPORTED_CLAIMS, USERS_A_SESSION
from olmstate.messages import (
    AddDevices,
    DecryptedRoomEvent,
    DecryptedToDevice,
    DecryptToDevice,
    DeviceAddress,
    DeviceId,
    DeviceKeyChanged,
    EventsReadable,
    ExportRoomKeys,
    ImportRoomKeys,
    JsonObject,
    MismatchedSender,
    ParkEvents,
    SenderState,
    UserId,
)
from tests.hostile.people import Us, conversation, error_of, read, told
from tests.operations.conftest import Device
from tests.operations.device import ROOM, claimed_sender
from tests.operations.peer import Peer, exported, keys_query
from tests.peer.identity import PeerIdentity, merged


@pytest.fixture
def unknown_bob() -> Peer:
    """A device whose keys nobody has told of yet."""
    return Peer()


async def state_of(supervisor: Supervisor, event: JsonObject) -> SenderState:
    """How well founded it is who sent an event."""
    decrypted = await read(supervisor, event)
    assert isinstance(decrypted, DecryptedRoomEvent), decrypted
    return decrypted.encryption_info.sender_state


def gone(peer: Peer) -> AddDevices:
    """The server lists the user's devices without it."""
    return AddDevices(response={"device_keys": {peer.user_id: {}}})


# --- what is known, is known for now


async def test_a_key_that_came_before_its_device_was_known_gets_its_name_when_it_is(
    us: Us, other: Supervisor, unknown_bob: Peer
) -> None:
    room = conversation(unknown_bob)
    await us.give(unknown_bob, room)
    for supervisor in (us.supervisor, other):
        assert SenderState.UNKNOWN_DEVICE == await state_of(supervisor, room.events[0])

    await other.ask(AddDevices(response=keys_query(unknown_bob)))

    for supervisor in (us.supervisor, other):
        decrypted = await read(supervisor, room.events[0])
        assert unknown_bob.identity == told(decrypted)
        assert SenderState.DEVICE == await state_of(supervisor, room.events[1])


async def test_it_loses_its_name_when_the_device_is_gone_and_gets_it_back(us: Us, other: Supervisor, bob: Peer) -> None:
    room = conversation(bob)
    await us.give(bob, room)
    assert bob.identity == told(await read(other, room.events[0]))

    await us.supervisor.ask(gone(bob))

    for supervisor in (us.supervisor, other):
        assert told(await read(supervisor, room.events[0])) is None
        assert SenderState.UNKNOWN_DEVICE == await state_of(supervisor, room.events[1])
    await other.ask(AddDevices(response=keys_query(bob)))
    for supervisor in (us.supervisor, other):
        assert bob.identity == told(await read(supervisor, room.events[0]))


async def test_a_device_that_was_left_out_cannot_come_back_as_another(
    us: Us, other: Supervisor, device: Device, bob: Peer
) -> None:
    impostor = Peer(bob.user_id, bob.device_id)
    await us.supervisor.ask(gone(bob))

    async with device.open() as third:
        for supervisor in (us.supervisor, other, third):
            added = await supervisor.ask(AddDevices(response=keys_query(impostor)))
            error = added.rejected[bob.address]
            assert isinstance(error, DeviceKeyChanged)
            assert bob.ed25519 == error.ed25519
    assert (bob.address,) == (await other.ask(AddDevices(response=keys_query(bob)))).added


@pytest.mark.parametrize("others", [1, USERS_A_SESSION + 1])
@pytest.mark.parametrize("imported", [False, True])
async def test_an_event_waits_until_its_own_senders_key_is_there(
    us: Us, other: Supervisor, bob: Peer, others: int, *, imported: bool
) -> None:
    """Whoever was given the key sends it on as theirs, before it comes from its maker, or before the event does.

    The event then was said to be readable, so that it wasn't parked, or was told of too early; it was not, and when its
    key came, nobody heard of it.
    """
    room = conversation(bob)
    before, after = (ROOM, room.events[0]), (ROOM, room.events[1])
    await us.supervisor.ask(ParkEvents(events=(before,)))
    with us.supervisor.subscribe(EventsReadable) as readable:
        for number in range(others):
            await us.give(Peer(f"@mallory{number}:elsewhere.example"), room)
        parked = await other.ask(ParkEvents(events=(after,)))
        assert () == parked.readable
        assert 0 == readable.statistics().current_buffer_used
        if imported:
            await us.supervisor.ask(ImportRoomKeys(keys=(room.export(),)))
        else:
            await us.give(bob, room)
        heard = readable.receive_nowait().events
    assert {"$0", "$1"} == {event_id for _, event_id in heard}
    assert isinstance(await read(other, room.events[0]), DecryptedRoomEvent)


# --- the homeserver


async def test_whoever_takes_the_name_of_a_device_that_is_not_known_yet_does_not_have_it(
    us: Us, unknown_bob: Peer
) -> None:
    squatter = Peer(unknown_bob.user_id, unknown_bob.device_id)
    room = conversation(squatter)
    assert told(await us.give(squatter, room)) is None
    assert told(await us.read(room.events[0])) is None

    await us.know(unknown_bob)

    assert told(await us.read(room.events[0])) is None
    assert SenderState.UNKNOWN_DEVICE == await state_of(us.supervisor, room.events[1])
    assert MismatchedSender is error_of(await us.give(squatter, room))


@pytest.mark.parametrize(
    ("known", "claims"),
    [
        ("known-before", 1),
        ("known-before", CLAIMS_A_USER),
        ("known-before", 3 * CLAIMS_A_USER),
        ("known-after", 1),
        ("known-after", CLAIMS_A_USER - 1),
    ],
)
async def test_a_claim_in_the_owners_name_that_comes_first_does_not_keep_the_owner_out(
    known: str, claims: int, us: Us
) -> None:
    """Somebody in the room has given the homeserver the key.

    Once it has filled up the room for what nobody knows anything of, an owner that is not known comes too late. It
    could as well have kept the owner's message back.
    """
    bob = Peer()
    room = conversation(bob)
    if known == "known-before":
        await us.know(bob)
    for number in range(claims):
        await us.give(Peer(bob.user_id, DeviceId(f"SQUATTER{number}")), room)
    assert told(await us.read(room.events[0])) is None

    await us.give(bob, room)
    await us.know(bob)

    assert bob.identity == told(await us.read(room.events[0]))


async def test_a_claim_in_the_owners_name_that_comes_later_changes_nothing(us: Us, bob: Peer) -> None:
    room, invented = conversation(bob), Peer(bob.user_id, DeviceId("INVENTED"))
    await us.give(bob, room)
    await us.know(bob, invented)

    await us.give(invented, room)

    assert bob.identity == told(await us.read(room.events[0]))


# --- the better founded counts


@pytest.mark.parametrize("claims", [1, CLAIMS_A_USER, 3 * CLAIMS_A_USER])
async def test_a_device_that_its_user_has_signed_is_told_whatever_unsigned_ones_came_first(
    claims: int, us: Us, other: Supervisor
) -> None:
    """The homeserver has added devices to bob's, and somebody in the room has given it the key."""
    bob, identity = Peer(), PeerIdentity(Peer().user_id)
    invented = [Peer(bob.user_id, DeviceId(f"INVENTED{number}")) for number in range(claims)]
    signed = identity.sign_device(bob.device_keys())
    await us.supervisor.ask(AddDevices(response=merged(keys_query(signed, *invented), identity.answer())))
    room = conversation(bob)
    for each in (*invented, bob):
        await us.give(each, room)

    for supervisor in (us.supervisor, other):
        decrypted = await read(supervisor, room.events[0])
        assert bob.identity == told(decrypted)
        assert SenderState.CROSS_SIGNED == await state_of(supervisor, room.events[0])


async def test_a_new_identity_takes_no_message_from_a_device_that_was_there(us: Us, bob: Peer) -> None:
    """The homeserver gives bob another identity, which signs a device of its own."""
    false, invented, room = PeerIdentity(bob.user_id), Peer(bob.user_id, DeviceId("INVENTED")), conversation(bob)
    await us.supervisor.ask(AddDevices(response=merged(keys_query(bob), PeerIdentity(bob.user_id).answer())))
    await us.give(bob, room)
    signed = false.sign_device(invented.device_keys())
    await us.supervisor.ask(AddDevices(response=merged(keys_query(bob, signed), false.answer())))

    await us.give(invented, room)

    assert bob.identity == told(await us.read(room.events[0]))


# --- another member


@pytest.mark.parametrize("published", ["before", "after"])
@pytest.mark.parametrize("came", ["import-first", "claim-first"])
async def test_nobody_takes_away_whose_an_imported_key_is(
    came: str, published: str, us: Us, other: Supervisor, bob: Peer
) -> None:
    room, mallory = conversation(bob), Peer(UserId("@mallory:elsewhere.example"), DeviceId("MALLORYDEV"))
    stolen = {f"curve25519:{mallory.device_id}": bob.curve25519, f"ed25519:{mallory.device_id}": mallory.ed25519}
    double = mallory.device_keys(keys=stolen, device_id=mallory.device_id)
    publish = AddDevices(response=keys_query(double))
    if published == "before":
        await us.supervisor.ask(publish)
    for step in ("import", "claim") if came == "import-first" else ("claim", "import"):
        if step == "import":
            await us.supervisor.ask(ImportRoomKeys(keys=(room.export(),)))
        else:
            await us.give(mallory, room)
    if published == "after":
        await us.supervisor.ask(publish)

    for supervisor in (us.supervisor, other):
        decrypted = await read(supervisor, room.events[0])
        assert isinstance(decrypted, DecryptedRoomEvent), decrypted
        assert bob.address == claimed_sender(decrypted)
        assert SenderState.INSECURE_SOURCE == decrypted.encryption_info.sender_state


def member(number: int) -> Peer:
    """One of Mallory's many users."""
    return Peer(UserId(f"@m{number}:elsewhere.example"), DeviceId(f"M{number}"))


@pytest.mark.parametrize("known", ["members-known", "members-unknown"])
@pytest.mark.parametrize("claims", [1, USERS_A_SESSION - 1, USERS_A_SESSION, USERS_A_SESSION + 1, 30])
async def test_however_many_members_claim_a_session_its_owner_gets_in(
    *,
    claims: int,
    known: str,
    us: Us,
    other: Supervisor,
    device: Device,
    bob: Peer,
) -> None:
    room, members = conversation(bob), [member(number) for number in range(claims)]
    if known == "members-known":
        await us.know(*members)
    for each in members:
        await us.give(each, room)

    assert isinstance(await us.give(bob, room), DecryptedToDevice)

    async with device.open() as third:
        for supervisor in (us.supervisor, other, third):
            assert bob.identity == told(await read(supervisor, room.events[0]))
            for each in (members[0], members[-1]):  # read as theirs, or not at all
                decrypted = await read(supervisor, {**room.events[1], "event_id": each.user_id}, sender=each.user_id)
                assert (each.identity if known == "members-known" else None) == told(decrypted)
            stranger = await read(supervisor, room.events[2], sender="@stranger:example.org")
            assert isinstance(stranger, MismatchedSender)


@pytest.mark.parametrize("known", ["owner-known-before", "owner-known-after"])
@pytest.mark.parametrize("claims", [1, EXPORTED_CLAIMS, 3 * EXPORTED_CLAIMS])
async def test_the_owner_goes_along_into_an_export_however_many_claim_it(
    claims: int, known: str, us: Us, device: Device, bob: Peer
) -> None:
    """With more than 64 claims before it, the owner's was dropped where the export was imported.

    A member could then send the owner's messages as theirs, which the owner's were refused for, as repetitions.
    """
    room, members = conversation(bob), [member(number) for number in range(claims)]
    for each in (*members, bob):
        await us.give(each, room)

    keys: tuple[JsonObject, ...] = await us.supervisor.ask(ExportRoomKeys())

    for generation in ("imported", "imported-from-the-import"):
        assert {each.curve25519 for each in (*members, bob)} == {key["sender_key"] for key in keys}
        async with device.open(device.folder / generation) as elsewhere:
            if known == "owner-known-before":
                await elsewhere.ask(AddDevices(response=keys_query(bob, *members)))
            for order in (keys, keys[::-1]):  # the second time, there is nothing new
                await elsewhere.ask(ImportRoomKeys(keys=order))
            await elsewhere.ask(AddDevices(response=keys_query(bob, *members)))
            taken = await read(elsewhere, {**room.events[0], "event_id": "$taken"}, sender=members[-1].user_id)
            assert isinstance(taken, DecryptedRoomEvent)
            assert members[-1].address == claimed_sender(taken)
            decrypted = await read(elsewhere, room.events[0])
            assert isinstance(decrypted, DecryptedRoomEvent)
            assert bob.address == claimed_sender(decrypted)
            keys = await elsewhere.ask(ExportRoomKeys())


async def test_who_claims_what_an_export_has_named_them_for_takes_nothing_from_its_other_claims(
    us: Us, device: Device, bob: Peer
) -> None:
    """What an export claims is dropped where the device says it itself, and those that are kept apart stay."""
    room, members = conversation(bob), [member(number) for number in range(EXPORTED_CLAIMS)]
    keys = tuple(exported(each, ROOM, room.inbound) for each in (*members, bob))
    await us.supervisor.ask(ImportRoomKeys(keys=keys))
    for each in members:
        await us.give(each, room)

    async with device.open() as third:
        for supervisor in (us.supervisor, third):
            decrypted = await read(supervisor, room.events[0])
            assert isinstance(decrypted, DecryptedRoomEvent), decrypted
            assert bob.address == claimed_sender(decrypted)


async def test_one_claimants_claims_do_not_grow_without_bound(us: Us, bob: Peer, mallory: Peer) -> None:
    room = conversation(bob)
    await us.give(bob, room)
    for number in range(3 * CLAIMS_A_USER):
        await us.give(Peer(mallory.user_id, DeviceId(f"M{number}")), room)

    keys = await us.supervisor.ask(ExportRoomKeys())
    assert 1 + CLAIMS_A_USER == len(keys)
    assert bob.identity == told(await us.read(room.events[0]))


async def test_many_claims_in_one_sync_are_taken_in_as_one_by_one(us: Us, bob: Peer) -> None:
    room = conversation(bob)
    claimants = [member(number % 7) for number in range(7)] + [
        Peer(bob.user_id, DeviceId(f"SQUATTER{number}")) for number in range(2 * CLAIMS_A_USER)
    ]
    events: list[JsonObject] = []
    for peer in (*claimants, bob):
        await us.ensure_session(peer)
        events.append(peer.event(us.me, "m.room_key", room.room_key))

    outcomes = await us.supervisor.ask(DecryptToDevice(events=tuple(events)))

    assert {DecryptedToDevice} == {type(outcome) for outcome in outcomes}
    assert bob.identity == told(await us.read(room.events[0]))


# --- exports lie as they like


async def test_an_export_vouches_for_nothing(us: Us, bob: Peer, mallory: Peer) -> None:
    """Mallory has written a file, in which her session is bob's."""
    room = conversation(mallory)
    lying = {**exported(bob, ROOM, room.inbound)}
    await us.supervisor.ask(ImportRoomKeys(keys=(lying,)))

    decrypted = await us.read(room.events[0], sender=bob.user_id)

    assert isinstance(decrypted, DecryptedRoomEvent)
    info = decrypted.encryption_info
    assert (SenderState.INSECURE_SOURCE, None, True) == (info.sender_state, info.sender_device, info.imported)
    assert DeviceAddress(user_id=bob.user_id, device_id=bob.device_id) == claimed_sender(decrypted)
