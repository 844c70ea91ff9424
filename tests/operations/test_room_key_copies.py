"""Several copies of one room key: which one counts, and when they become one.

A copy is *signed* if it came as ``m.room_key`` (`AddRoomKey`), unsigned if it came from an export.
"""

from __future__ import annotations

from pathlib import Path

import attrs
import pytest
from vodozemac import GroupSession, InboundGroupSession, SessionKey

from olmstate.actors import Supervisor
from olmstate.messages import (
    AddDevices,
    AddRoomKey,
    DecryptedRoomEvent,
    DecryptRoomEvent,
    DeviceId,
    ExportRoomKeys,
    ImportRoomKeys,
    JsonObject,
    MalformedMessage,
    MismatchedSender,
    ReplayedMessage,
    SenderState,
    UnknownMessageIndex,
    UserId,
)
from tests.operations.conftest import Device
from tests.operations.device import ROOM, claimed_sender, known_sender, unchanged
from tests.operations.peer import Peer, exported, keys_query
from tests.peer.encoding import b64, unb64


class Session:
    """A session of a peer's, with an event for each index, and its key from any index on."""

    def __init__(self, peer: Peer, length: int = 8) -> None:
        self.peer = peer
        group = GroupSession()
        self.inbound = InboundGroupSession(SessionKey(group.session_key.to_base64()))
        self.signed: list[AddRoomKey] = []
        self.events: list[JsonObject] = []
        for index in range(length):
            self.signed.append(peer.add_room_key(ROOM, group))
            self.events.append(peer.room_event(ROOM, group, {"n": index}, event_id=f"${index}"))

    def export(self, index: int) -> JsonObject:
        """The key from ``index`` on as a key file has it."""
        return exported(self.peer, ROOM, self.inbound, index)

    def forged_export(self, index: int, seed: int = 1) -> JsonObject:
        """The same with another ratchet."""
        genuine = self.export(index)
        octets = bytearray(unb64(genuine["session_key"]))  # version, index, ratchet, public key
        octets[5:9] = seed.to_bytes(4, "big")
        return {**genuine, "session_key": b64(bytes(octets))}


@pytest.fixture
def session(bob: Peer) -> Session:
    """Of a known device."""
    return Session(bob)


async def readable(supervisor: Supervisor, session: Session) -> list[int]:
    """The indices whose events can be read."""
    found: list[int] = []
    for index, event in enumerate(session.events):
        try:
            decrypted = await supervisor.ask(DecryptRoomEvent(room_id=ROOM, event=event))
        except UnknownMessageIndex:
            continue
        assert {"n": index} == decrypted.content
        found.append(index)
    return found


async def read(supervisor: Supervisor, session: Session, index: int) -> DecryptedRoomEvent:
    """Decrypt one of its events."""
    return await supervisor.ask(DecryptRoomEvent(room_id=ROOM, event=session.events[index]))


async def take_in(supervisor: Supervisor, *keys: JsonObject) -> int:
    """Import exported keys; how many were new or better."""
    return (await supervisor.ask(ImportRoomKeys(keys=keys))).imported


# --- signed copies


async def test_a_copy_that_starts_earlier_is_better_and_one_that_starts_later_changes_nothing(
    alice: Supervisor, other: Supervisor, session: Session
) -> None:
    assert "new" == await alice.ask(session.signed[5])
    assert [5, 6, 7] == await readable(alice, session)

    async with unchanged(other):
        assert "known" == await other.ask(session.signed[6])
        assert "known" == await other.ask(session.signed[5])
    assert [5, 6, 7] == await readable(other, session)

    assert "better" == await other.ask(session.signed[2])
    for supervisor in (alice, other):
        assert [2, 3, 4, 5, 6, 7] == await readable(supervisor, session)


# --- signed and unsigned ones


async def test_an_export_that_connects_brings_earlier_messages_and_the_signature_stays(
    alice: Supervisor, other: Supervisor, session: Session
) -> None:
    await alice.ask(session.signed[5])

    assert 1 == await take_in(other, session.export(1))

    assert [1, 2, 3, 4, 5, 6, 7] == await readable(alice, session)
    assert not (await read(alice, session, 1)).encryption_info.imported
    assert session.peer.address == known_sender(await read(alice, session, 1))


async def test_a_signed_copy_makes_an_export_that_it_connects_to_as_good_as_itself(
    alice: Supervisor, other: Supervisor, device: Device, session: Session
) -> None:
    await take_in(alice, session.export(1))
    assert (await read(alice, session, 2)).encryption_info.imported

    assert "known" == await other.ask(session.signed[4])

    async with device.open() as third:
        for supervisor in (alice, other, third):
            assert [1, 2, 3, 4, 5, 6, 7] == await readable(supervisor, session)
            assert not (await read(supervisor, session, 2)).encryption_info.imported


async def test_an_export_that_starts_later_is_no_gain(alice: Supervisor, session: Session) -> None:
    await alice.ask(session.signed[2])

    async with unchanged(alice):
        assert 0 == await take_in(alice, session.export(2), session.export(6))


async def test_a_forgery_that_starts_earlier_is_kept_apart_and_harms_nothing(
    alice: Supervisor, other: Supervisor, session: Session
) -> None:
    await alice.ask(session.signed[5])

    await take_in(alice, session.forged_export(0))

    for index in (5, 6, 7):
        assert {"n": index} == (await read(other, session, index)).content
    with pytest.raises(MalformedMessage):
        await read(other, session, 3)  # only the forgery claims to know it


async def test_the_genuine_copy_connects_however_many_forgeries_came_before(
    alice: Supervisor, other: Supervisor, session: Session
) -> None:
    await alice.ask(session.signed[5])
    await take_in(alice, *(session.forged_export(0, seed) for seed in range(20)))

    assert 1 == await take_in(other, session.export(2))

    for index in range(2, 8):
        assert {"n": index} == (await read(alice, session, index)).content


async def test_a_signed_copy_comes_through_any_number_of_forgeries(
    alice: Supervisor, other: Supervisor, session: Session
) -> None:
    await take_in(alice, *(session.forged_export(0, seed) for seed in range(20)))
    with pytest.raises(MalformedMessage):
        await read(alice, session, 5)

    assert "unconnected" == await other.ask(session.signed[4])

    for index in (4, 5, 6, 7):
        decrypted = await read(alice, session, index)
        assert ({"n": index}, False) == (decrypted.content, decrypted.encryption_info.imported)
    (key,) = await alice.ask(ExportRoomKeys())
    assert session.export(4)["session_key"] == key["session_key"]


async def test_an_unsigned_copy_is_read_beside_a_forgery(alice: Supervisor, session: Session) -> None:
    """Once, two copies of one origin passed for the same, and the one went when the other came again."""
    await take_in(alice, session.forged_export(0), session.export(3))

    for again in (None, session.forged_export(0), session.export(3), session.forged_export(1)):
        if again is not None:
            await take_in(alice, again)
        for index in range(3, 8):
            assert {"n": index} == (await read(alice, session, index)).content


async def test_copies_and_their_order_survive_reopening(alice: Supervisor, device: Device, session: Session) -> None:
    await take_in(alice, session.forged_export(0))
    await alice.ask(session.signed[4])

    async with device.open() as third:
        assert not (await read(third, session, 4)).encryption_info.imported
        assert 0 == await take_in(third, session.forged_export(0))


# --- who it is from


async def test_an_export_names_whose_device_has_both_keys_and_vouches_for_nothing(alice: Supervisor, bob: Peer) -> None:
    stranger = Peer(user_id=UserId("@carol:example.org"))
    known, unknown = Session(bob), Session(stranger)
    await take_in(alice, known.export(0), unknown.export(0))

    for session, device in ((known, bob.identity), (unknown, None)):
        info = (await read(alice, session, 0)).encryption_info
        assert (SenderState.INSECURE_SOURCE, None) == (info.sender_state, info.sender_device)
        assert (device, True) == (info.claimed_device, info.imported)
        assert (session.peer.curve25519, session.peer.ed25519) == (info.claimed_curve25519, info.claimed_ed25519)

    await alice.ask(AddDevices(response=keys_query(stranger)))
    assert stranger.address == claimed_sender(await read(alice, unknown, 0))


async def test_an_export_whose_claimed_key_is_not_the_devices_names_nobody(alice: Supervisor, session: Session) -> None:
    lying = {**session.export(0), "sender_claimed_keys": {"ed25519": Peer().ed25519}}
    await take_in(alice, lying)

    assert claimed_sender(await read(alice, session, 0)) is None


@pytest.mark.parametrize("order", ["before", "after"])
async def test_nobody_takes_what_an_export_says_away_by_publishing_the_owners_identity_key(
    order: str, alice: Supervisor, session: Session
) -> None:
    mallory = Peer(user_id=UserId("@mallory:example.org"))
    keys = {f"curve25519:{mallory.device_id}": session.peer.curve25519, f"ed25519:{mallory.device_id}": mallory.ed25519}
    theirs = AddDevices(response=keys_query(mallory.device_keys(keys=keys)))
    if order == "before":
        await alice.ask(theirs)
    await take_in(alice, session.export(0))
    if order == "after":
        await alice.ask(theirs)

    assert session.peer.address == claimed_sender(await read(alice, session, 0))


async def test_a_key_from_the_device_itself_names_it_whatever_an_export_said(
    alice: Supervisor, session: Session
) -> None:
    await take_in(alice, {**session.export(2), "sender_key": Peer().curve25519})
    assert claimed_sender(await read(alice, session, 2)) is None

    await alice.ask(session.signed[4])

    assert session.peer.address == known_sender(await read(alice, session, 2))


def passed_on(session: Session, index: int) -> AddRoomKey:
    """The key as somebody sends it who was given it, and claims to have made it."""
    mallory = Peer(user_id=UserId("@mallory:example.org"), device_id=DeviceId("MALLORYDEV"))
    return attrs.evolve(
        session.signed[index],
        sender_key=mallory.curve25519,
        sender_ed25519=mallory.ed25519,
        sender=mallory.user_id,
    )


@pytest.mark.parametrize("order", ["thief-first", "owner-first"])
@pytest.mark.parametrize("start", [1, 3, 5])
async def test_who_passes_on_a_key_as_his_own_cannot_keep_its_owners_messages_from_being_read(
    order: str, start: int, alice: Supervisor, other: Supervisor, session: Session
) -> None:
    messages = [passed_on(session, start), session.signed[3]]
    for message in messages if order == "thief-first" else reversed(messages):
        await alice.ask(message)

    for supervisor in (alice, other):
        for index in (4, 6):
            decrypted = await read(supervisor, session, index)
            assert session.peer.address == known_sender(decrypted)


async def test_whoever_passes_on_a_key_cannot_make_its_owners_messages_his_own(
    alice: Supervisor, session: Session
) -> None:
    stolen = passed_on(session, 0)
    await alice.ask(stolen)

    with pytest.raises(MismatchedSender):
        await read(alice, session, 1)

    await alice.ask(session.signed[0])
    assert session.peer.address == known_sender(await read(alice, session, 1))


async def test_who_sends_anothers_message_on_as_his_own_cannot_have_it_taken_for_a_replay(
    alice: Supervisor, other: Supervisor, session: Session
) -> None:
    stolen = passed_on(session, 0)
    await alice.ask(session.signed[0])
    await alice.ask(stolen)

    as_his_own = {**session.events[4], "event_id": "$mine", "sender": stolen.sender}
    decrypted = await alice.ask(DecryptRoomEvent(room_id=ROOM, event=as_his_own))
    assert stolen.sender == decrypted.encryption_info.claimed_sender
    await alice.ask(session.signed[0])  # a turn, with which the guard is written

    for supervisor in (alice, other):
        assert session.peer.address == known_sender(await read(supervisor, session, 4))
        for sender in (session.peer.user_id, stolen.sender):
            again = {**session.events[4], "event_id": "$again", "sender": sender}
            with pytest.raises(ReplayedMessage):
                await supervisor.ask(DecryptRoomEvent(room_id=ROOM, event=again))
        await alice.ask(session.signed[0])


async def test_a_message_on_a_key_that_is_nobodys_is_a_replay_whoever_sends_it_again(
    alice: Supervisor, session: Session
) -> None:
    await take_in(alice, {**session.export(0), "sender_key": Peer().curve25519})
    assert claimed_sender(await read(alice, session, 4)) is None
    again = {**session.events[4], "event_id": "$again"}

    for sender in (session.peer.user_id, passed_on(session, 0).sender):
        with pytest.raises(ReplayedMessage):
            await alice.ask(DecryptRoomEvent(room_id=ROOM, event={**again, "sender": sender}))

    await alice.ask(session.signed[0])  # now it is known whose it is
    assert session.peer.address == known_sender(await read(alice, session, 4))
    with pytest.raises(ReplayedMessage):
        await alice.ask(DecryptRoomEvent(room_id=ROOM, event=again))


async def test_an_export_of_a_key_that_two_say_is_theirs_leaves_its_owner_readable_wherever_it_goes(
    alice: Supervisor, device: Device, session: Session, tmp_path: Path
) -> None:
    stolen = passed_on(session, 0)
    mallory = Peer(user_id=UserId("@mallory:example.org"), device_id=DeviceId("MALLORYDEV"))
    keys: tuple[JsonObject, ...] = (exported(mallory, ROOM, session.inbound, 0), session.export(0))
    for generation in range(3):
        async with device.open(tmp_path / f"elsewhere{generation}") as elsewhere:
            await elsewhere.ask(AddDevices(response=keys_query(session.peer, mallory)))
            await take_in(elsewhere, *keys)
            assert session.peer.address == claimed_sender(await read(elsewhere, session, 4))
            keys = await elsewhere.ask(ExportRoomKeys())
            assert {session.peer.curve25519, mallory.curve25519} == {key["sender_key"] for key in keys}
            assert 2 == len(keys)
            keys = keys[::-1]
    await alice.ask(stolen)
    await alice.ask(session.signed[0])
    ours = await alice.ask(ExportRoomKeys())
    assert 2 == len(ours)


async def test_whoever_passes_on_a_key_that_was_imported_cannot_keep_its_owners_messages_from_being_read(
    alice: Supervisor, other: Supervisor, session: Session
) -> None:
    await take_in(alice, session.export(0))

    assert "unconnected" == await alice.ask(passed_on(session, 0))

    for supervisor in (alice, other):
        decrypted = await read(supervisor, session, 4)
        assert (session.peer.address, True) == (claimed_sender(decrypted), decrypted.encryption_info.imported)
    (_, imported) = await alice.ask(ExportRoomKeys())
    assert session.peer.curve25519 == imported["sender_key"]
    await other.ask(session.signed[0])  # the owner's own claim takes the import's place
    assert not (await read(alice, session, 4)).encryption_info.imported


async def test_an_export_that_connects_to_two_claims_helps_both(
    alice: Supervisor, device: Device, session: Session
) -> None:
    await alice.ask(passed_on(session, 5))
    await alice.ask(session.signed[4])

    assert 1 == await take_in(alice, session.export(1))

    async with device.open() as third:
        for supervisor in (alice, third):
            assert [1, 2, 3, 4, 5, 6, 7] == await readable(supervisor, session)
            assert session.peer.address == known_sender(await read(supervisor, session, 1))
