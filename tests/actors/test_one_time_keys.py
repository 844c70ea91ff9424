"""Where one-time keys are once they were handed out, and when a fallback key is due: decided without a store."""

from __future__ import annotations

import random

import pytest
from hypothesis import given
from hypothesis import strategies as st

from olmstate.actors._account.fallback_key import HOUR, WEEK, FallbackKey
from olmstate.actors._account.one_time_keys import (
    FORGOTTEN_AT_ONCE,
    MOST_IN_DOUBT,
    MOST_KEPT,
    PATIENCE,
    Fate,
    OneTimeKeys,
    Upload,
)
from olmstate.messages import Curve25519Key, KeyId

OURS, ANOTHERS = "ours", "another's"


def some(number: int, start: int = 0) -> dict[KeyId, Curve25519Key]:
    """Keys by their ids."""
    return {KeyId(f"id{at}"): Curve25519Key(f"key{at}") for at in range(start, start + number)}


def upload(number: int = 3, *, count: int = 10, owner: str = OURS, start: int = 0) -> Upload:
    return Upload(keys=some(number, start), owner=owner, begun=0, count=count)


# --- an upload


@pytest.mark.parametrize(
    ("highest", "owner", "alive", "now", "fate"),
    [
        (11, ANOTHERS, True, 0, Fate.LANDED),
        (11, OURS, True, 0, Fate.LANDED),
        (10, OURS, True, 0, Fate.IN_DOUBT),
        (0, OURS, True, 0, Fate.IN_DOUBT),
        (None, OURS, True, 0, Fate.UNKNOWN),
        (10, ANOTHERS, True, PATIENCE - 1, Fate.UNDER_WAY),
        (None, ANOTHERS, True, PATIENCE - 1, Fate.UNDER_WAY),
        (None, ANOTHERS, True, -(10**15), Fate.UNDER_WAY),
        (10, ANOTHERS, True, PATIENCE, Fate.IN_DOUBT),
        (None, ANOTHERS, True, PATIENCE, Fate.UNKNOWN),
        (10, ANOTHERS, False, 0, Fate.IN_DOUBT),
        (None, ANOTHERS, False, 0, Fate.UNKNOWN),
    ],
)
def test_what_the_server_says_and_who_lives_decide_what_became_of_an_upload(
    *, highest: int | None, owner: str, alive: bool, now: int, fate: Fate
) -> None:
    begun = upload(count=10, owner=owner)
    assert fate is begun.fate(highest, now=now, asker=OURS, is_alive=lambda token: token == OURS or alive)


def test_an_answered_upload_is_over_and_what_it_does_not_name_is_in_doubt() -> None:
    keys = OneTimeKeys(upload=upload(3))
    assert 2 == keys.mark([KeyId("id0"), KeyId("id2"), KeyId("nobody"), KeyId("id0")])
    assert (None, ["key0", "key2"], ["key1"]) == (keys.upload, keys.published, list(keys.in_doubt.values()))
    assert 0 == keys.mark([KeyId("id1")])
    assert (["key0", "key2", "key1"], {}) == (keys.published, keys.in_doubt)
    assert not keys.names([KeyId("id0"), KeyId("id1")])


@pytest.mark.parametrize("landed", [False, True])
def test_an_upload_that_is_over_leaves_its_keys_in_one_place(*, landed: bool) -> None:
    keys = OneTimeKeys(upload=upload(3))
    assert (3 if landed else 0) == keys.settle(landed=landed)
    assert keys.upload is None
    assert (list(some(3).values()), {}) == (keys.published, keys.in_doubt) or (
        ([], some(3)) == (keys.published, keys.in_doubt) and not landed
    )
    assert 0 == keys.settle(landed=landed)


def test_a_key_that_is_used_was_on_the_server_and_so_were_the_others_of_its_upload() -> None:
    keys = OneTimeKeys(upload=upload(3), in_doubt=some(2, 10), published=[Curve25519Key("key20")])
    assert 2 == keys.use(Curve25519Key("key1"))
    assert (None, ["key20", "key0", "key2"]) == (keys.upload, keys.published)
    assert 0 == keys.use(Curve25519Key("key10"))
    assert -1 == keys.use(Curve25519Key("key20"))
    assert 0 == keys.use(Curve25519Key("a fallback key"))
    assert (["key0", "key2"], some(1, 11)) == (keys.published, keys.in_doubt)


def test_a_copy_is_another() -> None:
    keys = OneTimeKeys(upload=upload(1), in_doubt=some(1, 10), published=[Curve25519Key("key20")])
    copy = keys.copy()
    assert copy == keys
    copy.settle(landed=True)
    copy.use(Curve25519Key("key10"))
    assert keys == OneTimeKeys(upload=upload(1), in_doubt=some(1, 10), published=[Curve25519Key("key20")])


@given(st.randoms(use_true_random=False))
def test_whatever_becomes_of_uploads_so_many_keys_are_kept_and_the_last_published_ones_go_last(
    rng: random.Random,
) -> None:
    keys = OneTimeKeys()
    made = 0
    for _ in range(60):
        new = keys.room(rng.choice((1, 10, 50)))
        assert new > 0
        before = keys.kept
        gone = keys.forget(new)
        assert len(gone) == before - keys.kept <= FORGOTTEN_AT_ONCE
        assert keys.kept + new <= MOST_KEPT
        keys.upload = upload(new, start=made)
        made += new
        fate = rng.random()
        if fate < 0.4:
            keys.mark(list(keys.upload.keys))
            assert keys.published[-new:] == [f"key{at}" for at in range(made - new, made)]
        else:
            keys.settle(landed=fate < 0.5)
    assert len(set(keys.published) | set(keys.in_doubt.values())) == keys.kept


def test_keys_in_doubt_go_before_those_that_the_server_has() -> None:
    keys = OneTimeKeys(
        in_doubt=some(MOST_IN_DOUBT + 3), published=list(some(MOST_KEPT - MOST_IN_DOUBT - 3, 1000).values())
    )
    assert ["key0", "key1", "key2", "key1000"] == keys.forget(4)
    assert [] == keys.forget(0)


def test_nothing_is_made_where_nothing_is_wanted() -> None:
    assert 0 == OneTimeKeys().room(-5)
    assert 50 == OneTimeKeys().room(50)
    full = OneTimeKeys(published=list(some(MOST_KEPT).values()))
    assert FORGOTTEN_AT_ONCE == full.room(50)
    assert 3 == full.room(3)


# --- the fallback key


@pytest.mark.parametrize(
    ("key", "unused", "now", "due"),
    [
        (FallbackKey(), None, 0, True),
        (FallbackKey(number=1), None, 0, True),
        (FallbackKey(made=0, number=1, waiting={KeyId("id"): {}}), False, 2 * WEEK, False),
        (FallbackKey(made=0, published=0, number=1), True, WEEK - 1, False),
        (FallbackKey(made=0, published=0, number=1), True, WEEK, True),
        (FallbackKey(made=0, published=0, number=1), None, 0, False),
        (FallbackKey(made=0, published=0, number=1), False, 0, True),
        (FallbackKey(made=0, published=0, number=1, in_doubt=True), True, 0, True),
        (FallbackKey(made=0, published=5, number=2), False, 5 + HOUR - 1, False),
        (FallbackKey(made=0, published=5, number=2), False, 5 + HOUR, True),
        (FallbackKey(made=0, published=5, number=2, in_doubt=True), True, 5 + HOUR - 1, False),
        (FallbackKey(made=0, published=5, number=2, in_doubt=True), True, 5 + HOUR, True),
        (FallbackKey(made=0, number=2), False, HOUR - 1, False),
        (FallbackKey(made=0, number=2), False, HOUR, True),
        (FallbackKey(made=9 * WEEK, published=9 * WEEK, number=2), False, 0, True),
    ],
)
def test_a_fallback_key_is_due_when_it_is_used_or_old_or_in_doubt_and_the_one_before_may_go(
    *, key: FallbackKey, unused: bool | None, now: int, due: bool
) -> None:
    assert due == key.is_due(unused=unused, now=now)


@pytest.mark.parametrize("was_unused", [None, False, True])
@pytest.mark.parametrize("unused", [None, False, True])
def test_a_fallback_key_has_landed_where_there_is_an_unused_one_and_was_none(
    *, was_unused: bool | None, unused: bool | None
) -> None:
    key = FallbackKey(made=0, number=2, waiting={KeyId("id"): {}}, was_unused=was_unused)
    assert ((was_unused, unused) == (False, True)) == key.has_landed(unused=unused)
    key.publish(7)
    assert (7, False) == (key.published, key.has_landed(unused=unused))
