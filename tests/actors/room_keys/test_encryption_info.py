"""Who sent an event, as more becomes known, and what is shown beside it."""

from __future__ import annotations

import copy

import pytest
from vodozemac import GroupSession

from olmstate.actors import Supervisor
from olmstate.actors._identities.operations import MarkVerified
from olmstate.actors.testing import USER
from olmstate.messages import (
    AddDevices,
    DecryptedToDevice,
    DecryptRoomEvent,
    DecryptRoomEvents,
    DecryptToDevice,
    DeviceTrust,
    EncryptionInfo,
    EncryptionInfoOf,
    IdentityKeys,
    Inbox,
    JsonObject,
    MegolmSessionId,
    MismatchedSender,
    MissingRoomKey,
    PrepareOneTimeKeys,
    RequiredTrust,
    RoomId,
    SenderState,
    SetDeviceTrust,
    Shield,
    ShieldCode,
    ShieldColor,
    UntrustedSender,
    UserId,
)
from tests.actors.world import World
from tests.operations.peer import Peer, keys_query
from tests.peer.identity import PeerIdentity, merged

ROOM = RoomId("!room:example.org")
BOB = UserId("@bob:example.org")


class Talk:
    """A room key of Bob's, an event, and what becomes known of Bob."""

    def __init__(self, device: Supervisor) -> None:
        self.device = device
        self.bob, self.group = Peer(BOB), GroupSession()
        self.identity, self.own = PeerIdentity(BOB), PeerIdentity(UserId(USER))
        self.unverified = copy.deepcopy(self.identity)
        self.own.verify(self.identity)
        self.key = self.bob.add_room_key(ROOM, self.group)
        self.event = self.bob.room_event(ROOM, self.group)

    async def learn(self, identity: PeerIdentity | None = None, *, signed: bool = False) -> None:
        keys = self.bob.device_keys()
        answers = [keys_query(self.identity.sign_device(keys) if signed else keys), self.own.answer(own=True)]
        if identity is not None:
            answers.append(identity.answer())
        await self.device.ask(AddDevices(response=merged(*answers)))

    async def info(self) -> EncryptionInfo:
        """The same when the event is decrypted, and when its session is asked of."""
        read = await self.device.ask(DecryptRoomEvent(room_id=ROOM, event=self.event))
        asked = EncryptionInfoOf(room_id=ROOM, session_id=read.session_id, sender=BOB)
        info = await self.device.ask(asked)
        assert read.encryption_info == info
        return info

    async def state(self) -> SenderState:
        return (await self.info()).sender_state


async def test_what_is_known_of_a_sender_grows_and_a_violation_is_seen() -> None:
    world = World()
    async with world.process(transport=False) as device, world.process(transport=False) as other:
        talk = Talk(device)
        await device.ask(talk.key)
        assert SenderState.UNKNOWN_DEVICE is await talk.state()
        await talk.learn()
        assert SenderState.DEVICE is await talk.state()
        await talk.learn(talk.unverified)
        assert SenderState.DEVICE is await talk.state()
        await talk.learn(talk.unverified, signed=True)
        assert SenderState.CROSS_SIGNED is await talk.state()
        await talk.learn(talk.identity, signed=True)
        assert SenderState.CROSS_SIGNED is await talk.state()
        await other.ask(MarkVerified(user_id=UserId(USER), master_key=talk.own.public_key("master")))
        assert SenderState.VERIFIED is await talk.state()
        await talk.learn(talk.unverified, signed=True)
        assert SenderState.VIOLATION is await talk.state()


async def test_a_to_device_message_is_told_with_what_is_known_of_its_sender() -> None:
    """When it is decrypted; and in the inbox, with what is known now."""
    world = World()
    async with world.process(transport=False) as device:
        talk, me = Talk(device), await device.ask(IdentityKeys())
        keys = await device.ask(PrepareOneTimeKeys())
        talk.bob.start_session(me, next(iter(keys.one_time_keys.values())))

        async def states() -> tuple[SenderState, SenderState]:
            event = talk.bob.event(me, "org.example.letter", {})
            (outcome,) = await device.ask(DecryptToDevice(events=(event,)))
            assert isinstance(outcome, DecryptedToDevice)
            kept = [letter.event for letter in (await device.ask(Inbox())).events]
            (in_inbox,) = {letter.sender_state for letter in kept if isinstance(letter, DecryptedToDevice)}
            return outcome.sender_state, in_inbox

        await talk.learn()
        assert (SenderState.DEVICE,) * 2 == await states()
        await talk.learn(talk.identity, signed=True)
        assert (SenderState.CROSS_SIGNED,) * 2 == await states()
        await device.ask(MarkVerified(user_id=UserId(USER), master_key=talk.own.public_key("master")))
        assert (SenderState.VERIFIED,) * 2 == await states()
        await talk.learn(talk.unverified, signed=True)
        assert (SenderState.VIOLATION,) * 2 == await states()


async def test_a_device_that_our_user_has_verified_needs_no_identity() -> None:
    async with World().process(transport=False) as device:
        talk = Talk(device)
        await device.ask(talk.key)
        await talk.learn()
        trust = SetDeviceTrust(user_id=BOB, device_id=talk.bob.device_id, trust=DeviceTrust.VERIFIED)
        await device.ask(trust)
        assert SenderState.VERIFIED is await talk.state()


async def test_a_signature_of_another_key_than_the_present_one_is_none() -> None:
    async with World().process(transport=False) as device:
        talk = Talk(device)
        await device.ask(talk.key)
        await talk.learn(talk.unverified, signed=True)
        await talk.learn(PeerIdentity(BOB), signed=True)
        assert SenderState.DEVICE is await talk.state()


async def test_a_session_of_nobody_or_of_somebody_else_has_no_sender() -> None:
    async with World().process(transport=False) as device:
        talk = Talk(device)
        await device.ask(talk.key)
        session_id = MegolmSessionId(talk.group.session_id)
        with pytest.raises(MissingRoomKey):
            await device.ask(EncryptionInfoOf(room_id=ROOM, session_id=MegolmSessionId("none"), sender=BOB))
        with pytest.raises(MismatchedSender):
            await device.ask(EncryptionInfoOf(room_id=ROOM, session_id=session_id, sender=UserId("@mallory:x")))


async def test_events_of_who_is_not_trusted_as_far_as_required_are_not_decrypted() -> None:
    async with World().process(transport=False) as device:
        talk = Talk(device)
        await device.ask(talk.key)
        await talk.learn()
        required = RequiredTrust.CROSS_SIGNED
        with pytest.raises(UntrustedSender) as refused:
            await device.ask(DecryptRoomEvent(room_id=ROOM, event=talk.event, required_trust=required))
        assert "DEVICE" == refused.value.state
        many: tuple[tuple[RoomId, JsonObject], ...] = ((ROOM, talk.event),)
        (outcome,) = await device.ask(DecryptRoomEvents(events=many, required_trust=required))
        assert isinstance(outcome, UntrustedSender)
        # which used no message index up
        await talk.learn(talk.unverified, signed=True)
        renamed = {**talk.event, "event_id": "$again"}
        read = await device.ask(DecryptRoomEvent(room_id=ROOM, event=renamed, required_trust=required))
        assert SenderState.CROSS_SIGNED is read.encryption_info.sender_state


RED, GREY, NONE = ShieldColor.RED, ShieldColor.GREY, Shield(ShieldColor.NONE)


@pytest.mark.parametrize(
    ("state", "strict", "lax"),
    [
        (SenderState.VERIFIED, NONE, NONE),
        (SenderState.THIS_DEVICE, NONE, NONE),
        (SenderState.CROSS_SIGNED, Shield(RED, ShieldCode.UNVERIFIED_IDENTITY), NONE),
        (
            SenderState.VIOLATION,
            Shield(RED, ShieldCode.UNVERIFIED_IDENTITY),
            Shield(RED, ShieldCode.VERIFICATION_VIOLATION),
        ),
        (SenderState.DEVICE, Shield(RED, ShieldCode.UNVERIFIED_IDENTITY), Shield(RED, ShieldCode.UNSIGNED_DEVICE)),
        (SenderState.UNKNOWN_DEVICE, Shield(RED, ShieldCode.UNKNOWN_DEVICE), Shield(RED, ShieldCode.UNKNOWN_DEVICE)),
        (
            SenderState.INSECURE_SOURCE,
            Shield(RED, ShieldCode.AUTHENTICITY_NOT_GUARANTEED),
            Shield(GREY, ShieldCode.AUTHENTICITY_NOT_GUARANTEED),
        ),
    ],
)
def test_what_is_shown_follows_from_the_state(state: SenderState, strict: Shield, lax: Shield) -> None:
    bob = Peer()
    info = EncryptionInfo(
        sender_state=state,
        sender_device=None,
        claimed_sender=BOB,
        claimed_device=None,
        claimed_curve25519=bob.curve25519,
        claimed_ed25519=bob.ed25519,
        imported=False,
    )
    assert (strict, lax) == (info.strict_shield, info.lax_shield)
