"""The Olm sessions actor: each message on the session that it is for, and no ratchet step that isn't stored."""

from __future__ import annotations

import json
from collections.abc import AsyncIterator
from contextlib import nullcontext

import msgspec
import pytest
from vodozemac import AnyOlmMessage, Session

from olmstate.actors._account.actor import NewSession
from olmstate.actors._engine.actor import Invalidate
from olmstate.actors._to_device.actor import (
    PRE_KEY_REMEMBERED,
    REMEMBERED,
    SESSIONS_A_DEVICE,
    AddSessions,
    Decrypt,
    DecryptOutcome,
    Encrypt,
    NeedsSession,
    OlmSessionsActor,
    Remember,
    WereDecrypted,
)
from olmstate.actors._wire.base64 import decode
from olmstate.actors._wire.olm_message import DIGEST_BYTES, OlmMessage, parse_olm_message
from olmstate.actors._wire.steps import at_once
from olmstate.actors.testing import ActorsUnderTest, Faults, MemoryDisk, MemoryStore, run_actor
from olmstate.messages import Curve25519Key, MalformedMessage, ReplayedMessage, UnknownOlmSession, UserId
from olmstate.storage import Row, Table
from tests.operations.peer import Peer

MALLORY = Peer("@mallory:example.org").user_id


class Ours(Peer):
    """Our side's account, which another actor would own."""

    def session_to(self, peer: Peer) -> Session:
        """A session that we start."""
        (key,) = peer.one_time_key().values()
        return self.start_session(peer, key)

    def session_from(self, peer: Peer, text: bytes = b"first") -> Session:
        """A session that the peer starts; its first message is used up for that."""
        (key,) = self.one_time_key().values()
        message = peer.start_session(self, key).encrypt(text).to_pre_key()
        assert message is not None
        session, _ = self.account.create_inbound_session(peer.account.curve25519_key, message)
        return session

    def parts(self, peer: Peer, text: bytes) -> tuple[int, bytes]:
        """Type and body of the peer's next message on its last session with us."""
        return peer.sessions[-1].encrypt(text).to_parts()

    def normal_messages(self, peer: Peer, number: int) -> tuple[Session, list[OlmMessage]]:
        """A session that both have, and messages of the peer's on it."""
        session = self.session_from(peer)
        peer.sessions[-1].decrypt(session.encrypt(b"answer"))
        messages = [self.message(peer, b"%d" % at) for at in range(number)]
        assert {None} == {message.pre_key for message in messages}
        return session, messages

    def message(self, peer: Peer, text: bytes) -> OlmMessage:
        """The peer's next message on its session with us."""
        return parse_olm_message(peer.user_id, peer.curve25519, *self.parts(peer, text))


def read(peer: Peer, ours: Ours, encrypted: tuple[int, str] | None) -> bytes:
    """What the peer reads of what it was sent."""
    assert encrypted is not None
    return peer.decrypt(ours.curve25519, encrypted[0], decode(encrypted[1], "body"))


@pytest.fixture
def disk() -> MemoryDisk:
    return MemoryDisk()


@pytest.fixture
def faults() -> Faults:
    return Faults()


@pytest.fixture
def actors(disk: MemoryDisk, faults: Faults) -> ActorsUnderTest:
    return ActorsUnderTest(MemoryStore(disk, faults=faults))


@pytest.fixture
def ours() -> Ours:
    return Ours()


@pytest.fixture
def bob() -> Peer:
    return Peer()


@pytest.fixture
async def olm(actors: ActorsUnderTest) -> AsyncIterator[OlmSessionsActor]:
    async with run_actor(actors.olm_sessions) as olm:
        yield olm


def added(peer: Peer, *sessions: Session) -> AddSessions:
    return AddSessions(
        sessions=tuple(
            NewSession(sender_key=peer.curve25519, session=session, owner=peer.user_id) for session in sessions
        )
    )


def claimed(peer: Peer, session: Session, user_id: UserId) -> NewSession:
    """A session with a one-time key of somebody who says that the peer's key is his."""
    return NewSession(sender_key=peer.curve25519, session=session, claimed_from=user_id)


def to(peer: Peer, text: bytes = b"hello") -> Encrypt:
    return Encrypt(plaintexts=((peer.user_id, peer.curve25519, text),))


async def was_decrypted(olm: OlmSessionsActor, message: OlmMessage) -> bool:
    (known,) = await olm.ask(WereDecrypted(messages=(message,)))
    return known


async def decrypt(olm: OlmSessionsActor, *messages: OlmMessage) -> list[DecryptOutcome]:
    tried = await olm.ask(Decrypt(messages=messages))
    return list(tried.outcomes)


def rows(actor: OlmSessionsActor, table: Table) -> int:
    return len(at_once(actor.changed_rows()).get(table, []))


# --- decrypting ---------------------------------------------------------------------------------------------


async def test_messages_of_a_session_are_decrypted_in_their_order(olm: OlmSessionsActor, ours: Ours, bob: Peer) -> None:
    await olm.ask(added(bob, ours.session_from(bob)))
    messages = [ours.message(bob, text) for text in (b"1", b"2", b"3")]
    assert [b"1", b"2", b"3"] == await decrypt(olm, *messages)


async def test_the_same_message_is_not_decrypted_twice(
    olm: OlmSessionsActor, actors: ActorsUnderTest, ours: Ours, bob: Peer
) -> None:
    await olm.ask(added(bob, ours.session_from(bob)))
    message = ours.message(bob, b"once")
    first, second = await decrypt(olm, message, message)
    assert first == b"once"
    assert isinstance(second, UnknownOlmSession)  # whether it is a replay depends on whether it was believed
    await olm.ask(Remember(messages=(message,)))
    assert await was_decrypted(olm, message)
    await actors.commit()
    assert await was_decrypted(olm, message)


async def test_a_replay_is_known_to_every_process_and_only_once_it_is_committed(
    olm: OlmSessionsActor, actors: ActorsUnderTest, ours: Ours, bob: Peer, disk: MemoryDisk
) -> None:
    await olm.ask(added(bob, ours.session_from(bob)))
    await actors.commit()
    message = ours.message(bob, b"once")
    assert [b"once"] == await decrypt(olm, message)
    await olm.ask(Remember(messages=(message,)))
    actors.roll_back()
    assert [b"once"] == await decrypt(olm, message)  # the failed turn's step is undone with it
    await olm.ask(Remember(messages=(message,)))
    await actors.commit()
    async with run_actor(ActorsUnderTest(MemoryStore(disk)).olm_sessions) as another:
        assert await was_decrypted(another, message)


async def test_a_replay_of_a_normal_message_is_known_with_its_session(
    olm: OlmSessionsActor, actors: ActorsUnderTest, ours: Ours, bob: Peer, disk: MemoryDisk
) -> None:
    session, messages = ours.normal_messages(bob, 2)
    await olm.ask(added(bob, session))
    await actors.commit()
    assert [b"0", b"1"] == await decrypt(olm, *messages)
    await olm.ask(Remember(messages=tuple(messages)))
    assert rows(olm, Table.OLM_MESSAGES) == 0
    actors.roll_back()
    assert not await was_decrypted(olm, messages[0])
    assert [b"0", b"1"] == await decrypt(olm, *messages)
    await olm.ask(Remember(messages=(messages[1],)))
    assert [False, True] == [await was_decrypted(olm, message) for message in messages]
    await actors.commit()
    async with run_actor(ActorsUnderTest(MemoryStore(disk)).olm_sessions) as another:
        assert [False, True] == [await was_decrypted(another, message) for message in messages]


async def test_of_normal_messages_the_last_ones_are_known(olm: OlmSessionsActor, ours: Ours, bob: Peer) -> None:
    session, messages = ours.normal_messages(bob, REMEMBERED + 2)
    await olm.ask(added(bob, session))
    for message in messages:
        await decrypt(olm, message)
        await olm.ask(Remember(messages=(message,)))
    assert [False, False, True, True] == [await was_decrypted(olm, messages[at]) for at in (0, 1, 2, -1)]


async def test_a_normal_message_is_known_by_its_whole_digest(olm: OlmSessionsActor, ours: Ours, bob: Peer) -> None:
    session, messages = ours.normal_messages(bob, 2)
    await olm.ask(added(bob, session))
    await decrypt(olm, *messages)
    await olm.ask(Remember(messages=tuple(messages)))
    across = messages[0].digest[1:DIGEST_BYTES] + messages[1].digest[:1]
    assert not await was_decrypted(olm, msgspec.structs.replace(messages[0], digest=across))


async def test_a_pre_key_message_goes_to_its_own_session_only(olm: OlmSessionsActor, ours: Ours, bob: Peer) -> None:
    await olm.ask(added(bob, ours.session_from(bob)))
    (old,) = bob.sessions
    ours.session_from(bob)  # which the actor doesn't have
    unknown = ours.message(bob, b"other session")
    bob.sessions.append(old)
    known = ours.message(bob, b"same session")
    outcomes = await decrypt(olm, known, unknown)
    assert [b"same session", NeedsSession()] == outcomes


async def test_behind_a_message_that_needs_a_session_the_same_device_waits_and_others_do_not(
    olm: OlmSessionsActor, ours: Ours, bob: Peer
) -> None:
    carol = Peer("@carol:example.org", "CAROL")
    await olm.ask(added(carol, ours.session_from(carol)))
    ours.session_from(bob)
    messages = [ours.message(bob, b"1"), ours.message(carol, b"2"), ours.message(bob, b"3")]
    assert [NeedsSession(), b"2"] == await decrypt(olm, *messages)


async def test_a_pre_key_message_is_known_by_its_devices_sessions_and_the_set_is_not_asked(
    olm: OlmSessionsActor, actors: ActorsUnderTest, ours: Ours, bob: Peer, disk: MemoryDisk
) -> None:
    faults = Faults()
    await olm.ask(added(bob, ours.session_from(bob)))
    messages = [ours.message(bob, b"%d" % at) for at in range(PRE_KEY_REMEMBERED)]
    await decrypt(olm, *messages)
    await olm.ask(Remember(messages=tuple(messages)))
    await actors.commit()
    assert not disk.rows(Table.OLM_MESSAGES)
    async with run_actor(ActorsUnderTest(MemoryStore(disk, faults=faults)).olm_sessions) as another:
        assert {True} == {await was_decrypted(another, message) for message in messages}
    assert [step.table for step in faults.steps] == [Table.OLM_SESSIONS]


async def test_a_device_that_is_not_answered_may_send_more_pre_key_messages_than_a_row_knows(
    olm: OlmSessionsActor, actors: ActorsUnderTest, ours: Ours, bob: Peer, disk: MemoryDisk
) -> None:
    await olm.ask(added(bob, ours.session_from(bob)))
    messages = [ours.message(bob, b"%d" % at) for at in range(PRE_KEY_REMEMBERED + 2)]
    await decrypt(olm, *messages)
    for message in messages:
        await olm.ask(Remember(messages=(message,)))
    await actors.commit()
    assert len(disk.rows(Table.OLM_MESSAGES)) == 2
    async with run_actor(ActorsUnderTest(MemoryStore(disk)).olm_sessions) as another:
        assert {True} == {await was_decrypted(another, message) for message in messages}
        assert not await was_decrypted(another, ours.message(bob, b"another"))


@pytest.mark.parametrize("reopened", [False, True])
async def test_a_pre_key_message_is_known_though_its_session_was_dropped_and_whoever_knew_of_that_too(
    olm: OlmSessionsActor, actors: ActorsUnderTest, ours: Ours, bob: Peer, disk: MemoryDisk, *, reopened: bool
) -> None:
    await olm.ask(added(bob, ours.session_from(bob)))
    message = ours.message(bob, b"with a fallback key")
    assert [b"with a fallback key"] == await decrypt(olm, message)
    await olm.ask(Remember(messages=(message,)))
    for _ in range(2 * SESSIONS_A_DEVICE + 1):  # also the one for which it had to go has gone
        await olm.ask(added(bob, ours.session_from(bob)))
        await actors.commit()
    known = ours.message(bob, b"on the newest session")
    ours.session_from(bob)
    new = ours.message(bob, b"on none")
    other = ActorsUnderTest(MemoryStore(disk)) if reopened else actors
    async with run_actor(other.olm_sessions) if reopened else nullcontext(olm) as actor:
        replay, *others = await decrypt(actor, message, known, new)
    assert isinstance(replay, ReplayedMessage)
    assert [b"on the newest session", NeedsSession()] == others


async def test_of_a_row_that_does_not_say_so_the_set_may_know_more(
    olm: OlmSessionsActor, actors: ActorsUnderTest, ours: Ours, bob: Peer, disk: MemoryDisk
) -> None:
    """Earlier versions had all pre-key messages in the set."""
    await olm.ask(added(bob, ours.session_from(bob)))
    await actors.commit()
    (row,) = disk.rows(Table.OLM_SESSIONS)
    record = json.loads(row.value or b"")
    del record["in_set"]
    ours.session_from(bob)
    message = ours.message(bob, b"on a session that was dropped")
    in_set = MemoryStore(disk).key(Table.OLM_MESSAGES, message.digest.hex())
    disk.write_from_elsewhere(
        {
            Table.OLM_SESSIONS: [msgspec.structs.replace(row, value=json.dumps(record).encode())],
            Table.OLM_MESSAGES: [Row(in_set, in_set, b"")],
        }
    )
    async with run_actor(ActorsUnderTest(MemoryStore(disk)).olm_sessions) as another:
        (replay,) = await decrypt(another, message)
    assert isinstance(replay, ReplayedMessage)


async def test_a_normal_message_is_tried_on_all_sessions_of_its_device(
    olm: OlmSessionsActor, ours: Ours, bob: Peer
) -> None:
    sessions = [ours.session_to(bob) for _ in range(3)]
    for session in sessions:
        message_type, body = session.encrypt(b"from us").to_parts()
        bob.decrypt(ours.curve25519, message_type, body)
    await olm.ask(added(bob, *sessions))
    for end in bob.sessions:
        message_type, body = end.encrypt(b"answer").to_parts()
        assert [b"answer"] == await decrypt(olm, parse_olm_message(bob.user_id, bob.curve25519, message_type, body))


async def test_a_message_under_another_devices_key_is_not_decrypted_and_changes_nothing(
    olm: OlmSessionsActor, actors: ActorsUnderTest, ours: Ours, bob: Peer
) -> None:
    carol, session = Peer("@carol:example.org", "CAROL"), ours.session_to(bob)
    await olm.ask(added(bob, session))
    (sent,) = await olm.ask(to(bob))
    await actors.commit()
    read(bob, ours, sent)
    message_type, body = bob.sessions[0].encrypt(b"answer").to_parts()
    ours.session_from(bob)
    pre_key = ours.parts(bob, b"hello")
    refused, needs = await decrypt(
        olm,
        parse_olm_message(carol.user_id, carol.curve25519, message_type, body),
        parse_olm_message(carol.user_id, carol.curve25519, *pre_key),
    )
    assert isinstance(refused, UnknownOlmSession)
    assert needs == NeedsSession()
    assert at_once(olm.changed_rows()) == {}
    assert [b"answer"] == await decrypt(olm, parse_olm_message(bob.user_id, bob.curve25519, message_type, body))


def test_what_is_no_olm_message_is_malformed() -> None:
    for message_type in (0, 1):
        with pytest.raises(MalformedMessage):
            parse_olm_message(UserId("@a:b"), Curve25519Key("key"), message_type, b"\xff\xff")


def test_a_message_is_the_same_again_by_sender_type_and_body(ours: Ours, bob: Peer) -> None:
    ours.session_from(bob)
    parts = ours.parts(bob, b"hello")
    message, same = (parse_olm_message(bob.user_id, bob.curve25519, *parts) for _ in range(2))
    other_sender = parse_olm_message(bob.user_id, Peer().curve25519, *parts)
    assert same.digest == message.digest
    assert other_sender.digest != message.digest


# --- encrypting ---------------------------------------------------------------------------------------------


async def test_without_a_session_there_is_no_ciphertext(olm: OlmSessionsActor, bob: Peer) -> None:
    assert (None,) == await olm.ask(to(bob))
    assert at_once(olm.changed_rows()) == {}


async def test_a_step_is_undone_with_its_turn(
    olm: OlmSessionsActor, actors: ActorsUnderTest, ours: Ours, bob: Peer
) -> None:
    await olm.ask(added(bob, ours.session_to(bob)))
    await actors.commit()
    (lost,) = await olm.ask(to(bob, b"lost"))
    actors.roll_back()
    (sent,) = await olm.ask(to(bob, b"sent"))
    await actors.commit()
    (next_one,) = await olm.ask(to(bob, b"next"))
    assert lost is not None
    assert [b"sent", b"next"] == [read(bob, ours, message) for message in (sent, next_one)]


async def test_two_processes_take_turns_on_one_session(
    olm: OlmSessionsActor, actors: ActorsUnderTest, ours: Ours, bob: Peer, disk: MemoryDisk
) -> None:
    others = ActorsUnderTest(MemoryStore(disk))
    await olm.ask(added(bob, ours.session_to(bob)))
    await actors.commit()
    async with run_actor(others.olm_sessions) as other:
        for number in range(4):
            process, side = ((olm, actors), (other, others))[number % 2]
            side.refresh()
            (message,) = await process.ask(to(bob, b"%d" % number))
            await side.commit()
            assert b"%d" % number == read(bob, ours, message)
    assert len(bob.sessions) == 1


async def test_we_encrypt_on_the_session_that_was_last_decrypted_with(
    olm: OlmSessionsActor, ours: Ours, bob: Peer
) -> None:
    old = ours.session_from(bob)
    (bobs_old,) = bob.sessions
    new = ours.session_from(bob)
    await olm.ask(added(bob, old, new))
    (first,) = await olm.ask(to(bob))
    assert first is not None
    bob.sessions[-1].decrypt(AnyOlmMessage.from_parts(first[0], decode(first[1], "body")))  # the newest
    bob.sessions.append(bobs_old)
    await decrypt(olm, ours.message(bob, b"on the old one"))
    (second,) = await olm.ask(to(bob))
    assert second is not None
    assert b"hello" == bobs_old.decrypt(AnyOlmMessage.from_parts(second[0], decode(second[1], "body")))


async def test_a_session_that_came_from_a_backup_decrypts_and_never_encrypts(
    olm: OlmSessionsActor, actors: ActorsUnderTest, ours: Ours, bob: Peer, disk: MemoryDisk
) -> None:
    await olm.ask(added(bob, ours.session_from(bob)))
    await actors.commit()
    disk.restored_generation = disk.generation
    restored = ActorsUnderTest(MemoryStore(disk))
    async with run_actor(restored.olm_sessions) as copy:
        restored.refresh()
        assert (None,) == await copy.ask(to(bob))
        assert [b"late"] == await decrypt(copy, ours.message(bob, b"late"))
        await restored.commit()
        assert (None,) == await copy.ask(to(bob))  # though its row is newer than the backup now
    reopened = ActorsUnderTest(MemoryStore(disk))
    async with run_actor(reopened.olm_sessions) as copy:
        assert (None,) == await copy.ask(to(bob))


async def test_a_session_started_with_a_key_that_a_thief_published_serves_the_thief_only(
    olm: OlmSessionsActor, ours: Ours, bob: Peer
) -> None:
    thiefs = NewSession(sender_key=bob.curve25519, session=ours.session_to(bob), claimed_from=MALLORY)
    await olm.ask(AddSessions(sessions=(thiefs,)))
    assert (None,) == await olm.ask(to(bob))
    (message,) = await olm.ask(Encrypt(plaintexts=((MALLORY, bob.curve25519, b"hello"),)))
    assert message is not None


# --- keeping ------------------------------------------------------------------------------------------------


async def test_the_least_recently_used_session_goes_when_there_are_too_many(
    olm: OlmSessionsActor, actors: ActorsUnderTest, ours: Ours, bob: Peer, disk: MemoryDisk
) -> None:
    await olm.ask(added(bob, *(ours.session_to(bob) for _ in range(SESSIONS_A_DEVICE))))
    await actors.commit()
    oldest = {row.key for row in disk.rows(Table.OLM_SESSIONS)}
    await olm.ask(added(bob, ours.session_to(bob), ours.session_to(bob)))
    await actors.commit()
    kept = {row.key for row in disk.rows(Table.OLM_SESSIONS)}
    assert len(kept) == SESSIONS_A_DEVICE
    assert len(oldest - kept) == 2
    actors.refresh()


async def test_who_publishes_anothers_identity_key_has_only_his_own_sessions_dropped(
    olm: OlmSessionsActor, actors: ActorsUnderTest, ours: Ours, bob: Peer, disk: MemoryDisk
) -> None:
    await olm.ask(AddSessions(sessions=(claimed(bob, ours.session_to(bob), bob.user_id),)))
    await actors.commit()
    (genuine,) = disk.rows(Table.OLM_SESSIONS)
    for _ in range(SESSIONS_A_DEVICE + 1):
        await olm.ask(AddSessions(sessions=(claimed(bob, ours.session_to(bob), MALLORY),)))
    await actors.commit()
    assert len(disk.rows(Table.OLM_SESSIONS)) == 1 + SESSIONS_A_DEVICE
    assert genuine.key in {row.key for row in disk.rows(Table.OLM_SESSIONS)}


async def test_what_was_decrypted_on_a_session_that_was_invalidated_since_is_no_bug(
    olm: OlmSessionsActor, actors: ActorsUnderTest, ours: Ours, bob: Peer
) -> None:
    """Another process has written while the turn ran: the fence turns it back."""
    session, (message, *_) = ours.normal_messages(bob, 1)
    await olm.ask(added(bob, session))
    await olm.ask(Decrypt(messages=(message,)))
    olm.notify(Invalidate(generation=1, partitions=None))
    await olm.ask(Remember(messages=(message,)))
    actors.roll_back()


async def test_only_sessions_that_changed_are_written(
    olm: OlmSessionsActor, actors: ActorsUnderTest, ours: Ours, bob: Peer
) -> None:
    await olm.ask(added(bob, *(ours.session_to(bob) for _ in range(5))))
    assert rows(olm, Table.OLM_SESSIONS) == 5
    actors.roll_back()
    await olm.ask(added(bob, *(ours.session_to(bob) for _ in range(5))))
    await actors.commit()
    await olm.ask(to(bob))
    assert rows(olm, Table.OLM_SESSIONS) == 1


async def test_all_sessions_of_a_device_are_one_read_and_those_of_others_none(
    olm: OlmSessionsActor, actors: ActorsUnderTest, disk: MemoryDisk, faults: Faults
) -> None:
    ours, bob = Ours(), Peer()
    carol = Peer("@carol:example.org", "CAROL")
    await olm.ask(added(bob, *(ours.session_to(bob) for _ in range(5))))
    await olm.ask(added(carol, ours.session_to(carol)))
    await actors.commit()
    disk.write_from_elsewhere(keys_known=False)
    actors.refresh()
    faults.steps.clear()
    await olm.ask(to(bob))
    await olm.ask(to(bob))
    assert [step.table for step in faults.steps] == [Table.OLM_SESSIONS]
