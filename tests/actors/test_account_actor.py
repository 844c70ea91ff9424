"""The account actor: keys are stored before anybody sees them, used once, and the same for everybody."""

from __future__ import annotations

from collections.abc import AsyncIterator

import msgspec
import pytest

from olmstate.actors._account.actor import (
    PUBLISHED_KEYS,
    AccountActor,
    Create,
    CreateInboundSessions,
    CreateOutboundSessions,
    InboundSession,
    KeysPublished,
    LookUpOwnDevice,
    MakeKeys,
    StoreSync,
)
from olmstate.actors._account.fallback_key import WEEK
from olmstate.actors._wire.olm_message import OlmMessage, parse_olm_message
from olmstate.actors._wire.signatures import check_device_keys
from olmstate.actors._wire.steps import at_once
from olmstate.actors.testing import DEVICE, USER, ActorsUnderTest, MemoryDisk, MemoryStore, run_actor
from olmstate.messages import (
    AccountExists,
    Curve25519Key,
    DeviceIdentity,
    IdentityKeys,
    JsonObject,
    KeyId,
    MalformedMessage,
    NoAccount,
    SignedDeviceKeys,
    SyncToken,
    UnknownOlmSession,
    UnpublishedKeys,
)
from olmstate.storage import Table
from tests.operations.peer import Peer


def sync(token: str, *, since: str | None = None, count: int = 0, unused: bool | None = None) -> StoreSync:
    return StoreSync(next_batch=token, since=since, one_time_key_count=count, fallback_key_unused=unused, now=0)


@pytest.fixture
def disk() -> MemoryDisk:
    return MemoryDisk()


@pytest.fixture
def actors(disk: MemoryDisk) -> ActorsUnderTest:
    return ActorsUnderTest(MemoryStore(disk))


@pytest.fixture
async def account(actors: ActorsUnderTest) -> AsyncIterator[AccountActor]:
    """An actor with a committed account."""
    async with run_actor(actors.account) as account:
        await account.ask(Create())
        await actors.commit()
        yield account


async def identity_elsewhere(disk: MemoryDisk) -> DeviceIdentity:
    """What another process says of this device."""
    async with run_actor(ActorsUnderTest(MemoryStore(disk)).account) as another:
        return await another.ask(IdentityKeys())


# --- the device ---------------------------------------------------------------------------------------------


async def test_an_empty_store_has_no_account(actors: ActorsUnderTest) -> None:
    async with run_actor(actors.account) as account:
        with pytest.raises(NoAccount):
            await account.ask(IdentityKeys())
        with pytest.raises(NoAccount):
            await account.ask(SignedDeviceKeys())
        with pytest.raises(NoAccount):
            await account.ask(LookUpOwnDevice())
        with pytest.raises(NoAccount):
            await account.ask(MakeKeys(now=0))


async def test_the_turn_that_makes_the_account_sees_it_and_nobody_else_does_before_its_commit(
    actors: ActorsUnderTest, disk: MemoryDisk
) -> None:
    async with run_actor(actors.account) as account:
        made = await account.ask(Create())
        assert made == (await account.ask(LookUpOwnDevice())).identity
        with pytest.raises(NoAccount):
            await account.ask(IdentityKeys())
        assert account.own_device is None
        await actors.commit()
        assert made == await account.ask(IdentityKeys())
    assert made == await identity_elsewhere(disk)
    assert (made.user_id, made.device_id) == (USER, DEVICE)


async def test_a_turn_that_makes_the_account_and_fails_leaves_none(actors: ActorsUnderTest, disk: MemoryDisk) -> None:
    async with run_actor(actors.account) as account:
        lost = await account.ask(Create())
        actors.roll_back()
        with pytest.raises(NoAccount):
            await account.ask(IdentityKeys())
        made = await account.ask(Create())
        await actors.commit()
        assert made == await account.ask(IdentityKeys())
    assert made != lost
    assert made == await identity_elsewhere(disk)


async def test_a_turn_that_makes_the_account_and_is_overtaken_by_another_process_leaves_that_ones(
    actors: ActorsUnderTest, disk: MemoryDisk
) -> None:
    # an invalidation in the turn made its uncommitted identity pass for a committed one, for good
    others = ActorsUnderTest(MemoryStore(disk))
    async with run_actor(actors.account) as account, run_actor(others.account) as other:
        await account.ask(Create())
        theirs = await other.ask(Create())
        await others.commit()
        actors.refresh()
        assert theirs == await account.ask(IdentityKeys())
        actors.roll_back()
        assert theirs == await account.ask(IdentityKeys())


async def test_a_turn_that_makes_the_account_while_something_else_is_invalidated_is_still_no_commit(
    actors: ActorsUnderTest, disk: MemoryDisk
) -> None:
    async with run_actor(actors.account) as account:
        await account.ask(Create())
        disk.write_from_elsewhere()
        actors.refresh()
        await account.ask(LookUpOwnDevice())
        with pytest.raises(NoAccount):
            await account.ask(IdentityKeys())
        actors.roll_back()
        with pytest.raises(NoAccount):
            await account.ask(LookUpOwnDevice())


async def test_an_account_is_made_once(account: AccountActor) -> None:
    with pytest.raises(AccountExists):
        await account.ask(Create())


async def test_the_device_is_described_as_it_signs(account: AccountActor) -> None:
    signed = await account.ask(SignedDeviceKeys())
    identity = await account.ask(IdentityKeys())
    checked = check_device_keys(USER, DEVICE, signed)
    assert (checked.curve25519, checked.ed25519) == (identity.curve25519, identity.ed25519)


async def test_the_identity_survives_every_invalidation_without_a_read(
    account: AccountActor, actors: ActorsUnderTest, disk: MemoryDisk
) -> None:
    identity = await account.ask(IdentityKeys())
    loaded = account.statistics()["account"].loaded
    disk.write_from_elsewhere(keys_known=False)
    actors.refresh()
    assert identity == await account.ask(IdentityKeys())
    assert account.statistics()["account"].loaded == loaded


async def test_what_is_handed_out_is_a_copy(account: AccountActor) -> None:
    keys = await account.ask(SignedDeviceKeys())
    keys["keys"].clear()
    assert (await account.ask(SignedDeviceKeys()))["keys"]


# --- keys for upload ----------------------------------------------------------------------------------------


async def test_one_time_keys_are_handed_out_once_and_no_more_are_made_before_the_server_was_heard(
    account: AccountActor, actors: ActorsUnderTest, disk: MemoryDisk
) -> None:
    made = await account.ask(MakeKeys(now=0))
    assert (len(made.one_time_keys), len(made.fallback_keys)) == (PUBLISHED_KEYS, 1)
    await actors.commit()
    again = await account.ask(MakeKeys(now=0))
    assert again == UnpublishedKeys(one_time_keys={}, fallback_keys=made.fallback_keys, count_wanted=True)
    async with run_actor(ActorsUnderTest(MemoryStore(disk)).account) as another:
        assert not (await another.ask(MakeKeys(now=0))).is_due
    await account.ask(sync("s1", count=0))
    keys = (await account.ask(MakeKeys(now=0))).one_time_keys
    assert (len(keys), keys.keys() & made.one_time_keys.keys()) == (PUBLISHED_KEYS, set())


async def test_keys_of_a_turn_that_failed_are_never_handed_out_again(
    account: AccountActor, actors: ActorsUnderTest
) -> None:
    lost = await account.ask(MakeKeys(now=0))
    actors.roll_back()
    made = await account.ask(MakeKeys(now=0))
    lost_keys = {key["key"] for key in lost.one_time_keys.values()}
    assert not lost_keys & {key["key"] for key in made.one_time_keys.values()}


async def test_as_many_keys_are_made_as_the_server_lacks(account: AccountActor) -> None:
    await account.ask(sync("s1", count=PUBLISHED_KEYS - 3, unused=True))
    assert len((await account.ask(MakeKeys(now=0))).one_time_keys) == 3


async def test_published_keys_no_longer_wait(account: AccountActor, actors: ActorsUnderTest) -> None:
    made = await account.ask(MakeKeys(now=0))
    ids = (*made.key_ids, KeyId("signed_curve25519:nobody"))
    await account.ask(KeysPublished(key_ids=ids, one_time_key_count=50, now=0))
    await actors.commit()
    assert () == (await account.ask(MakeKeys(now=0))).key_ids


async def test_publishing_counts_what_the_server_has_by_now(account: AccountActor) -> None:
    made = await account.ask(MakeKeys(now=0))
    await account.ask(KeysPublished(key_ids=made.key_ids, one_time_key_count=None, now=0))
    assert () == (await account.ask(MakeKeys(now=0))).key_ids  # 50 are there
    await account.ask(KeysPublished(key_ids=(), one_time_key_count=48, now=0))
    assert len((await account.ask(MakeKeys(now=0))).key_ids) == 2


async def test_publishing_nothing_new_writes_nothing(account: AccountActor, actors: ActorsUnderTest) -> None:
    await account.ask(KeysPublished(key_ids=(), one_time_key_count=None, now=0))
    await actors.commit()
    await account.ask(KeysPublished(key_ids=(), one_time_key_count=None, now=0))
    assert at_once(account.changed_rows()) == {}


@pytest.mark.parametrize(
    ("now", "unused", "made"),
    [
        (0, True, False),
        (0, None, False),
        (0, False, True),
        (WEEK - 1, True, False),
        (WEEK, True, True),
        (-1, True, True),
    ],
)
async def test_a_fallback_key_is_replaced_when_it_was_used_or_is_a_week_old(
    account: AccountActor,
    now: int,
    unused: bool | None,  # noqa: FBT001 - as the server says it
    made: bool,  # noqa: FBT001 - what is expected
) -> None:
    first = await account.ask(MakeKeys(now=0))
    await account.ask(KeysPublished(key_ids=first.key_ids, one_time_key_count=50, now=0))
    await account.ask(sync("s1", count=50, unused=unused))
    second = await account.ask(MakeKeys(now=now))
    assert bool(second.fallback_keys) == made
    assert not second.fallback_keys.keys() & first.fallback_keys.keys()


# --- sessions -----------------------------------------------------------------------------------------------


def pre_key_message(peer: Peer, own: DeviceIdentity, key: JsonObject, text: bytes) -> OlmMessage:
    return parse_olm_message(peer.user_id, peer.curve25519, *peer.start_session(own, key).encrypt(text).to_parts())


async def test_a_one_time_key_is_used_up_in_the_commit_that_stores_its_session(
    account: AccountActor, actors: ActorsUnderTest
) -> None:
    identity, peer = await account.ask(IdentityKeys()), Peer()
    keys = await account.ask(MakeKeys(now=0))
    await actors.commit()
    key_id, key = next(iter(keys.one_time_keys.items()))
    message = pre_key_message(peer, identity, key, b"hello")
    (made,) = await account.ask(CreateInboundSessions(messages=(message,)))
    assert isinstance(made, InboundSession)
    assert (made.plaintext, message.one_time_key) == (b"hello", key["key"])
    actors.roll_back()
    (again,) = await account.ask(CreateInboundSessions(messages=(message,)))
    assert isinstance(again, InboundSession)  # the turn failed, so the key is there still
    await actors.commit()
    (refused,) = await account.ask(CreateInboundSessions(messages=(message,)))
    assert isinstance(refused, UnknownOlmSession)
    assert key_id not in (await account.ask(MakeKeys(now=0))).one_time_keys  # and is never uploaded


async def test_of_two_messages_with_one_key_the_first_gets_it_and_a_bad_one_harms_none(
    account: AccountActor,
) -> None:
    identity, keys = await account.ask(IdentityKeys()), await account.ask(MakeKeys(now=0))
    one, two = list(keys.one_time_keys.values())[:2]
    messages = [
        pre_key_message(Peer(), identity, one, b"first"),
        pre_key_message(Peer(), identity, one, b"second"),
        msgspec.structs.replace(pre_key_message(Peer(), identity, two, b""), sender_key=Curve25519Key("no key")),
        pre_key_message(Peer(), identity, two, b"third"),
    ]
    first, second, third, fourth = await account.ask(CreateInboundSessions(messages=tuple(messages)))
    assert isinstance(first, InboundSession)
    assert isinstance(second, UnknownOlmSession)
    assert isinstance(third, MalformedMessage)
    assert isinstance(fourth, InboundSession)


async def test_an_outbound_session_is_made_with_a_good_key_and_leaves_the_account_as_it_is(
    account: AccountActor,
) -> None:
    peer = Peer()
    (key,) = peer.one_time_key().values()
    session, nothing = await account.ask(
        CreateOutboundSessions(keys=((peer.curve25519, key["key"]), (peer.curve25519, Curve25519Key("no key"))))
    )
    assert session is not None
    assert nothing is None
    assert at_once(account.changed_rows()) == {}


# --- sync ---------------------------------------------------------------------------------------------------


async def test_the_token_is_the_last_one_committed(account: AccountActor, actors: ActorsUnderTest) -> None:
    assert None is await account.ask(SyncToken())
    assert (await account.ask(sync("s1"))).token_stored
    assert None is await account.ask(SyncToken())
    await actors.commit()
    assert "s1" == await account.ask(SyncToken())


async def test_a_token_does_not_move_from_where_somebody_else_has_brought_it(account: AccountActor) -> None:
    assert (await account.ask(sync("s1", since=None))).token_stored
    assert (await account.ask(sync("s2", since="s1"))).token_stored
    assert not (await account.ask(sync("s2b", since="s1", count=49, unused=True))).token_stored
    assert len((await account.ask(MakeKeys(now=0))).one_time_keys) == 1  # the counts are news all the same
    assert (await account.ask(sync("s3", since="s2"))).token_stored


async def test_a_response_to_a_request_that_went_on_elsewhere_tells_of_keys_where_there_is_no_token(
    account: AccountActor,
) -> None:
    """As of a client that has moved in with a token of its own, and keeps that itself."""
    made = await account.ask(MakeKeys(now=0))
    await account.ask(KeysPublished(key_ids=made.key_ids, one_time_key_count=50, now=0))
    assert not (await account.ask(sync("s8", since="s7", count=48, unused=False))).token_stored
    due = await account.ask(MakeKeys(now=0))
    assert (len(due.one_time_keys), len(due.fallback_keys)) == (2, 1)


async def test_what_an_older_response_says_of_the_fallback_key_is_older_too(account: AccountActor) -> None:
    """Or the fallback key that a faster process has replaced would be replaced again, and the one before forgotten."""
    await account.ask(sync("s1", since=None))
    made = await account.ask(MakeKeys(now=0))
    await account.ask(sync("s2", since="s1", count=50, unused=False))
    await account.ask(KeysPublished(key_ids=made.key_ids, one_time_key_count=50, now=0))
    assert not (await account.ask(sync("s2b", since="s1", count=50, unused=False))).token_stored
    assert not (await account.ask(MakeKeys(now=0))).fallback_keys


async def test_a_sync_that_says_nothing_new_writes_nothing(account: AccountActor, actors: ActorsUnderTest) -> None:
    await account.ask(sync("s1"))
    await actors.commit()
    await account.ask(sync("s1"))
    assert at_once(account.changed_rows()) == {}


async def test_a_token_that_another_process_has_moved_is_read_again(
    account: AccountActor, actors: ActorsUnderTest, disk: MemoryDisk
) -> None:
    await account.ask(SyncToken())
    others = ActorsUnderTest(MemoryStore(disk))
    async with run_actor(others.account) as other:
        others.refresh()
        await other.ask(sync("s9"))
        await others.commit()
    actors.refresh()
    assert "s9" == await account.ask(SyncToken())
    assert account.statistics()["account"].loaded == 1  # only the sync state was dropped


async def test_the_account_is_stored_as_one_row(
    account: AccountActor, actors: ActorsUnderTest, disk: MemoryDisk
) -> None:
    await account.ask(MakeKeys(now=0))
    await actors.commit()
    assert len(disk.rows(Table.ACCOUNT)) == 1


@pytest.mark.parametrize(
    ("counts", "low"),
    [
        ((50, 24, 23), (False, True, False)),
        ((24,), (True,)),
        ((25, None, 10, 50, 0), (False, False, True, False, True)),
    ],
)
async def test_it_is_told_once_that_few_one_time_keys_are_left(
    account: AccountActor, counts: tuple[int | None, ...], low: tuple[bool, ...]
) -> None:
    asked = [msgspec.structs.replace(sync(f"s{at}"), one_time_key_count=count) for at, count in enumerate(counts)]
    assert low == tuple([(await account.ask(each)).ran_low for each in asked])
