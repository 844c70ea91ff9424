"""A key that somebody may have claimed is never offered again, whatever becomes of its upload.

The homeserver here does what homeservers do: it forgets the keys that were claimed, takes them anew, and gives them to
somebody else.
"""

from __future__ import annotations

import json

import attrs
import pytest

from olmstate.actors import Supervisor
from olmstate.messages import (
    CreateAccount,
    DecryptedToDevice,
    DecryptToDevice,
    DeviceIdentity,
    JsonObject,
    KeyId,
    MarkKeysPublished,
    PrepareOneTimeKeys,
    ReceiveSync,
    UnpublishedKeys,
    UserId,
)
from olmstate.storage import START, Row, Table, open_store
from tests.operations.conftest import Device
from tests.operations.device import DAY, KEY, Clock
from tests.operations.peer import Peer
from tests.peer.key_server import PublishedKeys

HOUR = DAY // 24


@attrs.define
class Homeserver(PublishedKeys):
    """Forgets what was claimed, and writes down what was offered."""

    uploads: int = 0
    tells: bool = True
    """Whether its /sync responses say how many keys it has."""
    offered: list[KeyId] = attrs.field(factory=list[KeyId])
    """Ids of one-time keys, as often as they came."""

    def upload(self, keys: UnpublishedKeys) -> JsonObject:
        """``/keys/upload``; the answer."""
        self.uploads += 1
        self.offered += keys.one_time_keys
        return self.take(attrs.asdict(keys))

    async def sync(self, supervisor: Supervisor, *events: JsonObject) -> None:
        """Have the device sync."""
        response: JsonObject = {"next_batch": "s", "to_device": {"events": list(events)}}
        if self.tells:
            response["device_one_time_keys_count"] = self.counts
            response["device_unused_fallback_key_types"] = self.unused_fallback_key_types
        await supervisor.ask(ReceiveSync(sync=response))


@pytest.fixture
def homeserver() -> Homeserver:
    return Homeserver()


async def upload(supervisor: Supervisor, homeserver: Homeserver) -> UnpublishedKeys:
    """What a client does after each sync; what was uploaded."""
    keys = await supervisor.ask(PrepareOneTimeKeys())
    if keys.is_due:
        answer = homeserver.upload(keys)
        await supervisor.ask(MarkKeysPublished(key_ids=keys.key_ids, one_time_key_counts=answer))
    return keys


def first_message(me: DeviceIdentity, key: JsonObject, number: int = 0) -> JsonObject:
    """Of somebody new, with a key that they have claimed."""
    peer = Peer(UserId(f"@peer{number}:example.org"))
    peer.start_session(me, key)
    return peer.event(me, content={"n": number})


async def all_can_be_read(supervisor: Supervisor, me: DeviceIdentity, keys: list[JsonObject]) -> None:
    """Each of these keys was claimed by somebody else, and all write."""
    events = tuple(first_message(me, key, number) for number, key in enumerate(keys))
    outcomes = await supervisor.ask(DecryptToDevice(events=events))
    unreadable = [outcome for outcome in outcomes if not isinstance(outcome, DecryptedToDevice)]
    assert [] == unreadable


# --- the two that were seen


async def test_an_answer_that_is_late_while_another_process_syncs_and_uploads_costs_nobody_a_message(
    alice: Supervisor, other: Supervisor, me: DeviceIdentity, homeserver: Homeserver
) -> None:
    """Once, 8 of 52 later first messages were unreadable."""
    keys = await alice.ask(PrepareOneTimeKeys())
    answer = homeserver.upload(keys)
    claimed = [homeserver.claim_key() for _ in range(8)]

    await homeserver.sync(other)
    await upload(other, homeserver)
    await alice.ask(MarkKeysPublished(key_ids=keys.key_ids, one_time_key_counts=answer))

    claimed += [homeserver.claim_key() for _ in range(52)]
    await all_can_be_read(other, me, claimed)
    assert len(homeserver.offered) == len(set(homeserver.offered))


@pytest.mark.parametrize("claims", [0, 1, 10, 50])
@pytest.mark.parametrize("landed", [False, True])
@pytest.mark.parametrize("synced", [False, True])
async def test_a_process_that_is_killed_between_upload_and_mark_costs_nobody_a_message(
    device: Device, homeserver: Homeserver, *, claims: int, landed: bool, synced: bool
) -> None:
    """Once, ten claims and a SIGKILL made as many later first messages unreadable."""
    async with device.open() as killed:
        me = await killed.ask(CreateAccount())
        keys = await killed.ask(PrepareOneTimeKeys())
    if landed:
        homeserver.upload(keys)
    claimed = [homeserver.claim_key() for _ in range(claims if landed else 0)]

    async with device.open() as next_one:
        if synced:
            await homeserver.sync(next_one)
        for _ in range(2):
            await upload(next_one, homeserver)

        assert 50 == len(homeserver.one_time_keys)
        claimed += [homeserver.claim_key() for _ in range(52)]
        await all_can_be_read(next_one, me, claimed)
    assert len(homeserver.offered) == len(set(homeserver.offered))


async def test_an_upload_that_lands_long_after_it_was_given_up_does_no_harm(
    alice: Supervisor, me: DeviceIdentity, homeserver: Homeserver
) -> None:
    late = await alice.ask(PrepareOneTimeKeys())
    await homeserver.sync(alice)
    await upload(alice, homeserver)
    first = [homeserver.claim_key() for _ in range(20)]

    homeserver.upload(late)

    await homeserver.sync(alice)
    assert {} == (await alice.ask(PrepareOneTimeKeys())).one_time_keys
    await all_can_be_read(alice, me, first + [homeserver.claim_key() for _ in range(80)])


# --- who is handed keys


async def test_keys_are_handed_out_once_whoever_asks(alice: Supervisor, other: Supervisor, device: Device) -> None:
    first = await alice.ask(PrepareOneTimeKeys())
    assert 50 == len(first.one_time_keys)

    async with device.open() as third:
        for supervisor in (alice, other, third):
            assert {} == (await supervisor.ask(PrepareOneTimeKeys())).one_time_keys


async def test_who_was_handed_them_is_to_ask_for_the_count_and_others_wait(
    alice: Supervisor, other: Supervisor, homeserver: Homeserver
) -> None:
    await alice.ask(PrepareOneTimeKeys())

    assert UnpublishedKeys(one_time_keys={}, fallback_keys={}) == await other.ask(PrepareOneTimeKeys())
    assert (await alice.ask(PrepareOneTimeKeys())).count_wanted

    await homeserver.sync(other)
    assert not (await other.ask(PrepareOneTimeKeys())).is_due


async def test_others_need_not_wait_once_the_upload_has_landed_evidently(
    alice: Supervisor, other: Supervisor, homeserver: Homeserver
) -> None:
    homeserver.upload(await alice.ask(PrepareOneTimeKeys()))
    for _ in range(49):
        homeserver.claim_key()
    await homeserver.sync(other)

    assert 49 == len((await other.ask(PrepareOneTimeKeys())).one_time_keys)


async def test_others_need_not_wait_once_somebody_has_used_one_of_the_keys(
    alice: Supervisor, other: Supervisor, me: DeviceIdentity, homeserver: Homeserver
) -> None:
    homeserver.tells = False
    homeserver.upload(await alice.ask(PrepareOneTimeKeys()))
    await homeserver.sync(other, first_message(me, homeserver.claim_key()))

    assert 1 == len((await other.ask(PrepareOneTimeKeys())).one_time_keys)


async def test_one_that_lives_and_never_uploads_holds_up_the_others_for_ten_minutes(
    alice: Supervisor, other: Supervisor, homeserver: Homeserver, clock: Clock
) -> None:
    await alice.ask(PrepareOneTimeKeys())
    await homeserver.sync(other)
    clock.now += 10 * 60_000 - 1
    assert not (await other.ask(PrepareOneTimeKeys())).is_due

    clock.now += 1

    assert 50 == len((await other.ask(PrepareOneTimeKeys())).one_time_keys)


async def test_an_upload_of_nothing_tells_what_a_sync_would(alice: Supervisor, homeserver: Homeserver) -> None:
    homeserver.upload(await alice.ask(PrepareOneTimeKeys()))
    for _ in range(20):
        homeserver.claim_key()

    nothing = await upload(alice, homeserver)

    assert ({}, True, True) == (nothing.one_time_keys, nothing.count_wanted, nothing.is_due)
    assert 20 == len((await upload(alice, homeserver)).one_time_keys)
    assert not (await alice.ask(PrepareOneTimeKeys())).is_due


async def test_an_answer_that_comes_after_the_keys_were_given_up_still_counts(
    alice: Supervisor, other: Supervisor, homeserver: Homeserver
) -> None:
    late = await alice.ask(PrepareOneTimeKeys())
    await homeserver.sync(alice)
    await upload(alice, homeserver)

    answer = homeserver.upload(late)
    await other.ask(MarkKeysPublished(key_ids=late.key_ids, one_time_key_counts=answer))

    keys = await other.ask(PrepareOneTimeKeys())
    assert ({}, False) == (keys.one_time_keys, keys.count_wanted)


# --- nothing grows


async def kept(device: Device) -> int:
    """Bytes of the account's row."""
    store = await open_store(device.folder, key=KEY)
    (row,) = await store.page(Table.ACCOUNT, START, 10)
    await store.aclose()
    return len(row.value or b"")


async def test_a_server_that_never_says_how_many_keys_it_has_is_given_no_more(
    alice: Supervisor, homeserver: Homeserver
) -> None:
    """Once, it was given 50 at each sync."""
    homeserver.tells = False
    for _ in range(20):
        await homeserver.sync(alice)
        await upload(alice, homeserver)

    assert (50, 1) == (len(homeserver.offered), homeserver.uploads)


async def test_a_server_that_never_says_is_asked_each_hour_and_given_what_was_used(
    alice: Supervisor, me: DeviceIdentity, homeserver: Homeserver, clock: Clock
) -> None:
    homeserver.tells = False
    await upload(alice, homeserver)
    await homeserver.sync(alice, *(first_message(me, homeserver.claim_key(), number) for number in range(3)))
    assert 3 == len((await upload(alice, homeserver)).one_time_keys)

    for _ in range(7):
        homeserver.claim_key()  # of people who never write
    await homeserver.sync(alice)
    assert not (await upload(alice, homeserver)).is_due
    clock.now += HOUR
    assert (await upload(alice, homeserver)).count_wanted

    assert 7 == len((await upload(alice, homeserver)).one_time_keys)


async def test_a_server_that_leaves_out_a_count_of_none_is_asked_at_once_and_then_each_hour(
    alice: Supervisor, homeserver: Homeserver, clock: Clock
) -> None:
    """Some have no count of what they have none of. For an hour there was nothing but the fallback key."""
    await upload(alice, homeserver)
    await homeserver.sync(alice)
    homeserver.one_time_keys.clear()
    homeserver.tells = False
    await homeserver.sync(alice)

    assert (await upload(alice, homeserver)).count_wanted
    assert 50 == len((await upload(alice, homeserver)).one_time_keys)
    for _ in range(3):
        await homeserver.sync(alice)
        assert not (await alice.ask(PrepareOneTimeKeys())).is_due
    clock.now += HOUR
    assert (await upload(alice, homeserver)).count_wanted
    await homeserver.sync(alice)
    assert not (await alice.ask(PrepareOneTimeKeys())).is_due


async def test_a_server_that_not_even_answers_with_a_count_is_asked_each_hour(
    alice: Supervisor, homeserver: Homeserver, clock: Clock
) -> None:
    """Each answer was asked for again at once."""
    homeserver.tells = False
    keys = await alice.ask(PrepareOneTimeKeys())
    await alice.ask(MarkKeysPublished(key_ids=keys.key_ids))
    await homeserver.sync(alice)
    clock.now += HOUR
    for _ in range(2):
        assert (await alice.ask(PrepareOneTimeKeys())).count_wanted
        await alice.ask(MarkKeysPublished(key_ids=()))
        assert not (await alice.ask(PrepareOneTimeKeys())).is_due
        clock.now += HOUR


async def test_answers_that_are_always_lost_on_a_server_that_never_says_fill_no_account(
    alice: Supervisor, device: Device, homeserver: Homeserver
) -> None:
    homeserver.tells = False
    sizes: list[int] = []
    for _ in range(40):
        await homeserver.sync(alice)
        homeserver.upload(await alice.ask(PrepareOneTimeKeys()))
        sizes.append(await kept(device))

    assert max(sizes) < 6 * sizes[0]
    assert len(homeserver.offered) == len(set(homeserver.offered))


async def test_whoever_claims_all_keys_and_never_writes_fills_no_account_and_leaves_keys_for_others(
    alice: Supervisor, me: DeviceIdentity, device: Device, homeserver: Homeserver
) -> None:
    await upload(alice, homeserver)
    first = await kept(device)
    for _ in range(40):
        homeserver.one_time_keys.clear()
        await homeserver.sync(alice)
        await upload(alice, homeserver)

    assert await kept(device) < 6 * first
    assert homeserver.one_time_keys
    await all_can_be_read(alice, me, [homeserver.claim_key() for _ in range(len(homeserver.one_time_keys))])


async def test_while_uploads_fail_what_the_server_has_stays_readable(
    alice: Supervisor, me: DeviceIdentity, homeserver: Homeserver
) -> None:
    """The server takes no uploads for a while, and people go on claiming what is there."""
    await upload(alice, homeserver)
    claimed = [homeserver.claim_key() for _ in range(20)]
    for _ in range(40):
        await homeserver.sync(alice)
        await alice.ask(PrepareOneTimeKeys())

    await all_can_be_read(alice, me, claimed + [homeserver.claim_key() for _ in range(30)])


# --- accounts that were elsewhere before


async def test_keys_that_an_earlier_version_has_handed_out_are_never_offered_again(
    alice: Supervisor, me: DeviceIdentity, device: Device, homeserver: Homeserver
) -> None:
    keys = await alice.ask(PrepareOneTimeKeys())
    await _as_an_earlier_version(device, keys)
    homeserver.upload(keys)
    claimed = [homeserver.claim_key() for _ in range(10)]

    await homeserver.sync(alice)
    assert 10 == len((await upload(alice, homeserver)).one_time_keys)

    await all_can_be_read(alice, me, claimed + [homeserver.claim_key() for _ in range(50)])
    assert len(homeserver.offered) == len(set(homeserver.offered))


async def _as_an_earlier_version(device: Device, keys: UnpublishedKeys) -> None:
    """Store the account as it was stored while these keys waited to be marked."""
    store = await open_store(device.folder, key=KEY)
    assert store.lock.acquire_nowait()
    (row,) = await store.page(Table.ACCOUNT, START, 10)
    record = json.loads(row.value or b"")
    for field in ("upload", "in_doubt", "published", "fallback"):
        del record[field]
    record["one_time_keys"] = keys.one_time_keys
    old = Row(row.key, row.partition, json.dumps(record).encode())
    await store.commit({Table.ACCOUNT: [old]}, seen=store.changes(None).generation)
    store.lock.release()
    await store.aclose()
