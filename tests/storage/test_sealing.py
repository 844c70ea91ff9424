"""Encryption at rest: what is stored says nothing, stays where it was put, and opens with the right key only."""

from __future__ import annotations

import sqlite3
from contextlib import closing
from typing import Any

import attrs
import pytest
from cryptography.exceptions import UnsupportedAlgorithm
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.ciphers.aead import AESGCMSIV
from cryptography.hazmat.primitives.kdf.hkdf import HKDF
from hypothesis import given
from hypothesis import strategies as st

from olmstate.messages import StoreCorrupt, StoreUnavailable, WrongKey
from olmstate.storage import START, Row, SqliteStore, Table, sealing
from olmstate.storage.sealing import (
    KEY_BYTES,
    MAX_ITERATIONS,
    MAX_LANES,
    MAX_MEMORY_KIB,
    NONCE_BYTES,
    Seal,
    Wrapping,
    as_secret,
)
from olmstate.storage.tables import PARTITIONED
from tests.storage.handles import PARTITION, Handles, device, put, session, values

DATA_KEY = bytes(range(KEY_BYTES))
SEAL = Seal(DATA_KEY, plain=False)
WRITTEN = 7
"""The generation of a commit."""

texts = st.text(st.characters(codec=None) | st.characters(categories=["Cs"]))


def _as_kept(table: Table, key: bytes, partition: bytes) -> tuple[Table, bytes, bytes]:
    return table, key, partition if table in PARTITIONED else key


places = st.builds(_as_kept, st.sampled_from(Table), st.binary(), st.binary())


def seal(
    table: Table, key: bytes, partition: bytes, value: bytes, generation: int = WRITTEN, *, by: Seal = SEAL
) -> bytes:
    (sealed,) = by.seal_all(table, [Row(key, partition, value)], generation)
    assert sealed is not None
    return sealed


# --- values -----------------------------------------------------------------------------------------------


@given(places, st.binary())
def test_a_value_comes_back_at_its_place(place: tuple[Table, bytes, bytes], value: bytes) -> None:
    sealed = seal(*place, value)

    assert value == SEAL.unseal(*place, sealed, WRITTEN)
    assert value == Seal(DATA_KEY, plain=False).unseal(*place, sealed, WRITTEN)
    assert len(value) < 8 or value not in sealed


@given(places, places)
def test_a_value_does_not_open_at_another_place(
    place: tuple[Table, bytes, bytes], other: tuple[Table, bytes, bytes]
) -> None:
    if place != other:
        with pytest.raises(StoreCorrupt, match="integrity"):
            SEAL.unseal(*other, seal(*place, b"value"), WRITTEN)


@pytest.mark.parametrize("other", [0, WRITTEN - 1, WRITTEN + 1, 2**63 - 1, -1])
def test_a_value_does_not_open_as_one_of_another_commit(other: int) -> None:
    sealed = seal(Table.DEVICES, b"key", b"partition", b"value")
    with pytest.raises(StoreCorrupt):
        SEAL.unseal(Table.DEVICES, b"key", b"partition", sealed, other)


def test_what_an_earlier_version_has_sealed_opens_as_of_its_time_only() -> None:
    before = Seal(DATA_KEY, plain=False)
    nonce = bytes(NONCE_BYTES)
    cipher = AESGCMSIV(
        HKDF(algorithm=hashes.SHA256(), length=KEY_BYTES, salt=None, info=b"olmstate values").derive(DATA_KEY)
    )
    sealed = nonce + cipher.encrypt(nonce, b"\0value", b"devices\0003\0keypartition")
    before.bound_since = WRITTEN
    assert b"value" == before.unseal(Table.DEVICES, b"key", b"partition", sealed, WRITTEN)
    with pytest.raises(StoreCorrupt):
        before.unseal(Table.DEVICES, b"key", b"partition", sealed, WRITTEN + 1)
    with pytest.raises(StoreCorrupt):
        SEAL.unseal(Table.DEVICES, b"key", b"partition", sealed, WRITTEN)


def test_what_is_sealed_apart_is_for_its_purpose_only() -> None:
    sealed = SEAL.seal_apart(b"facts", b"value")
    assert b"value" == SEAL.unseal_apart(b"facts", sealed)
    for purpose, changed in ((b"other", sealed), (b"facts", sealed[:-1]), (b"facts", b""), (b"facts", b"x" + sealed)):
        with pytest.raises(StoreCorrupt):
            SEAL.unseal_apart(purpose, changed)
    plain = Seal(DATA_KEY, plain=True)
    assert b"value" == plain.unseal_apart(b"facts", plain.seal_apart(b"facts", b"value")) == b"value"


def test_key_and_partition_do_not_run_into_each_other() -> None:
    with pytest.raises(StoreCorrupt):
        SEAL.unseal(Table.DEVICES, b"a", b"bc", seal(Table.DEVICES, b"ab", b"c", b"value"), WRITTEN)


@given(st.binary(min_size=1), st.data())
def test_a_flipped_bit_is_seen(value: bytes, data: st.DataObject) -> None:
    sealed = bytearray(seal(Table.DEVICES, b"key", b"partition", value))
    bit = data.draw(st.integers(0, 8 * len(sealed) - 1))
    sealed[bit // 8] ^= 1 << bit % 8

    with pytest.raises(StoreCorrupt):
        SEAL.unseal(Table.DEVICES, b"key", b"partition", bytes(sealed), WRITTEN)


@pytest.mark.parametrize("length", range(30))
def test_what_is_cut_off_is_seen(length: int) -> None:
    sealed = seal(Table.DEVICES, b"key", b"partition", b"value")

    with pytest.raises(StoreCorrupt):
        SEAL.unseal(Table.DEVICES, b"key", b"partition", sealed[:length], WRITTEN)


def test_another_data_key_opens_nothing() -> None:
    with pytest.raises(StoreCorrupt):
        Seal(bytes(KEY_BYTES), plain=False).unseal(
            Table.DEVICES, b"key", b"partition", seal(Table.DEVICES, b"key", b"partition", b"value"), WRITTEN
        )


def test_equal_values_do_not_look_equal_sealed_together_or_apart() -> None:
    row = Row(b"key", b"", b"value")
    together = SEAL.seal_all(Table.DEVICES, [row] * 100, WRITTEN)
    apart = [SEAL.seal_all(Table.DEVICES, [row], WRITTEN)[0] for _ in range(100)]

    assert 200 == len({*together, *apart})


def test_what_is_sealed_together_keeps_its_order_and_what_is_to_be_deleted() -> None:
    rows = [Row(b"%d" % number, b"", None if number % 3 else b"value %d" % number) for number in range(10)]

    sealed = SEAL.seal_all(Table.DEVICES, rows, WRITTEN)

    opened = [
        None if one is None else SEAL.unseal(Table.DEVICES, b"%d" % at, b"", one, WRITTEN)
        for at, one in enumerate(sealed)
    ]
    assert [row.value for row in rows] == opened


def test_a_store_without_a_key_keeps_values_as_they_are() -> None:
    plain = Seal(DATA_KEY, plain=True)

    assert b"value" == seal(Table.DEVICES, b"key", b"partition", b"value", by=plain)
    assert b"value" == plain.unseal(Table.DEVICES, b"key", b"partition", b"value", WRITTEN)
    assert SEAL.pickle_key == plain.pickle_key


# --- lookup columns ---------------------------------------------------------------------------------------


@given(st.sampled_from(Table), st.lists(texts), st.sampled_from(Table), st.lists(texts))
def test_keys_are_equal_only_for_what_is_equal(
    table: Table, parts: list[str], other_table: Table, others: list[str]
) -> None:
    assert 16 == len(SEAL.key(table, *parts))
    assert ((table, parts) == (other_table, others)) == (SEAL.key(table, *parts) == SEAL.key(other_table, *others))
    assert Seal(DATA_KEY, plain=True).key(table, *parts) == SEAL.key(table, *parts)
    assert Seal(bytes(KEY_BYTES), plain=False).key(table, *parts) != SEAL.key(table, *parts)


def test_the_keys_that_come_of_the_data_key_differ() -> None:
    assert 32 == len(SEAL.pickle_key)
    assert len({DATA_KEY, SEAL.pickle_key, Seal(bytes(KEY_BYTES), plain=False).pickle_key}) == 3


def test_what_a_seal_and_a_wrapping_show_is_no_key() -> None:
    wrapping = Wrapping.new(None).wrap(DATA_KEY, b"")

    assert "data_key" not in repr(wrapping)
    assert repr(DATA_KEY)[2:-1] not in repr(wrapping) + repr(SEAL)


# --- the data key -----------------------------------------------------------------------------------------


@pytest.mark.parametrize("secret", [None, bytes(KEY_BYTES), "passphrase", "späße 🗝", "\ud800"], ids=repr)
@pytest.mark.usefixtures("cheap_argon2")
def test_what_wrapped_the_data_key_unwraps_it(secret: bytes | str | None) -> None:
    new = Wrapping.new(secret)

    wrapped = new.wrap(DATA_KEY, new.derive(secret))

    assert (DATA_KEY, True) == wrapped.unwrap(wrapped.derive(secret))
    assert (DATA_KEY in wrapped.data_key) == (secret is None)


@pytest.mark.parametrize("secret", [None, bytes(KEY_BYTES)], ids=repr)
def test_what_an_earlier_version_wrapped_is_told_from_what_has_facts(secret: bytes | None) -> None:
    new = Wrapping.new(secret)
    if secret is None:
        wrapped = attrs.evolve(new, data_key=DATA_KEY)
    else:
        nonce = bytes(NONCE_BYTES)
        associated = b"olmstate data key key 0 0 0 "
        wrapped = attrs.evolve(new, data_key=nonce + AESGCMSIV(secret).encrypt(nonce, DATA_KEY, associated))
    assert (DATA_KEY, False) == wrapped.unwrap(wrapped.derive(secret))


@pytest.mark.parametrize(
    ("kind", "secret", "reason"),
    [
        ("key", b"short", "a key has 32 bytes, this one 5; a passphrase is a str"),
        ("passphrase", "", "a passphrase can't be empty"),
        ("none", "passphrase", "the store is not sealed, and a passphrase was given"),
        ("key", None, "the store is sealed with a key of 32 bytes, and no key was given"),
        ("passphrase", bytes(32), "the store is sealed with a passphrase, and a key was given"),
    ],
)
def test_a_secret_that_can_not_be_right_says_why(kind: str, secret: bytes | str | None, reason: str) -> None:
    with pytest.raises(WrongKey) as caught:
        Wrapping(kind=kind).derive(secret)
    assert reason == str(caught.value)


@pytest.mark.parametrize(
    "secret", [bytes(32), bytearray(32), memoryview(bytes(32))], ids=lambda each: type(each).__name__
)
def test_a_key_is_any_32_bytes(secret: object) -> None:
    assert bytes(32) == as_secret(secret)


@pytest.mark.parametrize("secret", [1, True, 1.5, [0] * 32, ("a", "b"), object])
def test_what_can_be_no_key_is_a_type_error_that_does_not_show_it(secret: object) -> None:
    with pytest.raises(TypeError, match=f"not {type(secret).__name__}$"):
        as_secret(secret)


def test_argon2id_takes_what_rfc_9106_recommends_for_64_mib() -> None:
    new = Wrapping.new("passphrase")

    assert (3, 4, 64 * 1024, 16) == (new.iterations, new.lanes, new.memory_kib, len(new.salt))
    assert 32 == len(new.derive("passphrase"))
    assert new.salt != Wrapping.new("passphrase").salt


@pytest.mark.usefixtures("cheap_argon2")
def test_another_passphrase_does_not_unwrap_it() -> None:
    new = Wrapping.new("passphrase")
    wrapped = new.wrap(DATA_KEY, new.derive("passphrase"))

    for other in ("Passphrase", "passphrase ", "p"):
        with pytest.raises(WrongKey):
            wrapped.unwrap(wrapped.derive(other))


@pytest.mark.parametrize("kind", ["none", "key", "passphrase"])
def test_a_secret_of_another_kind_is_wrong(kind: str) -> None:
    wrapping = attrs.evolve(Wrapping.new("passphrase"), kind=kind)

    for secret, of_kind in ((None, "none"), (bytes(32), "key"), ("passphrase", "passphrase")):
        if of_kind != kind:
            with pytest.raises(WrongKey):
                wrapping.derive(secret)


@pytest.mark.usefixtures("cheap_argon2")
@pytest.mark.parametrize(
    "change",
    [
        {"iterations": 0},
        {"iterations": -1},
        {"iterations": MAX_ITERATIONS + 1},
        {"iterations": 2**62},
        {"lanes": 0},
        {"lanes": -1},
        {"lanes": 2},
        {"lanes": MAX_LANES + 1},
        {"lanes": 2**40},
        {"memory_kib": 0},
        {"memory_kib": -1},
        {"memory_kib": 7},
        {"memory_kib": MAX_MEMORY_KIB + 1},
        {"memory_kib": 2**62},
        {"salt": b""},
        {"salt": bytes(7)},
        {"salt": bytes(10_000_000)},
    ],
    ids=lambda change: " ".join(f"{name}={value!s:.20}" for name, value in change.items()),
)
def test_parameters_that_were_never_ours_are_refused_before_they_cost_anything(change: dict[str, Any]) -> None:
    wrapping = Wrapping.new("passphrase")

    with pytest.raises(StoreCorrupt, match="out of bounds"):
        attrs.evolve(wrapping, **change).derive("passphrase")


@pytest.mark.usefixtures("cheap_argon2")
@pytest.mark.parametrize("change", [{"iterations": 2}, {"memory_kib": 16}, {"salt": bytes(16)}, {"kind": "key"}])
def test_an_edited_wrapping_opens_nothing(change: dict[str, Any]) -> None:
    new = Wrapping.new("passphrase")
    wrapped = new.wrap(DATA_KEY, key := new.derive("passphrase"))

    with pytest.raises(WrongKey):
        attrs.evolve(wrapped, **change).unwrap(key)


@pytest.mark.parametrize(
    ("kind", "length"), [("none", 0), ("none", 31), ("none", 34), ("none", 60), ("key", 0), ("key", 11)]
)
def test_what_can_be_no_data_key_is_corrupt(kind: str, length: int) -> None:
    with pytest.raises(StoreCorrupt, match="data key"):
        Wrapping(kind=kind, data_key=bytes(length)).unwrap(bytes(KEY_BYTES))


def test_a_kind_that_never_was_is_corrupt() -> None:
    for secret in (None, bytes(32), "passphrase"):
        with pytest.raises(StoreCorrupt):
            Wrapping(kind="rot13").derive(secret)


@pytest.mark.parametrize("error", [UnsupportedAlgorithm("no"), MemoryError("no")])
@pytest.mark.usefixtures("cheap_argon2")
def test_a_machine_that_can_not_do_the_cryptography_makes_the_store_unavailable(
    error: Exception, monkeypatch: pytest.MonkeyPatch
) -> None:
    def refuse(*_: object, **__: object) -> object:
        raise error

    monkeypatch.setattr(sealing, "Argon2id", refuse)
    with pytest.raises(StoreUnavailable, match="Argon2id"):
        Wrapping.new("passphrase").derive("passphrase")
    if isinstance(error, UnsupportedAlgorithm):
        monkeypatch.setattr(sealing, "AESGCMSIV", refuse)
        with pytest.raises(StoreUnavailable, match="AES-GCM-SIV"):
            Seal(DATA_KEY, plain=False)


# --- in the database --------------------------------------------------------------------------------------

MOVES = {
    "to another row": "UPDATE devices SET value = (SELECT value FROM devices WHERE key = :other) WHERE key = :key",
    "to another partition": "UPDATE devices SET partition = CAST('elsewhere' AS BLOB) WHERE key = :key",
    "to another table": "UPDATE account SET value = (SELECT value FROM devices WHERE key = :key)",
    "to another key": "UPDATE devices SET key = x'00' WHERE key = :key",
    "with a byte more": "UPDATE devices SET value = CAST(value || x'00' AS BLOB) WHERE key = :key",
    "cut off": "UPDATE devices SET value = substr(value, 1, 20) WHERE key = :key",
    "emptied": "UPDATE devices SET value = x'' WHERE key = :key",
}


async def read_all(store: SqliteStore) -> None:
    await store.read(Table.DEVICES, [PARTITION, b"elsewhere"])
    await store.read(Table.ACCOUNT, [session(1).key])


async def page_all(store: SqliteStore) -> None:
    await store.page(Table.DEVICES, START, 10)
    await store.page(Table.ACCOUNT, START, 10)


@pytest.mark.parametrize("move", MOVES.values(), ids=MOVES)
async def test_a_value_that_was_moved_or_changed_in_the_file_is_corrupt(stores: Handles, move: str) -> None:
    store = await stores.open()
    await put(store, device(1, b"a value"), device(2, b"another"))
    await put(store, session(1), table=Table.ACCOUNT)
    with closing(sqlite3.connect(stores.database, isolation_level=None)) as connection:
        assert 1 == connection.execute(move, {"key": device(1).key, "other": device(2).key}).rowcount

    with pytest.raises(StoreCorrupt, match="integrity"):
        await read_all(store)
    with pytest.raises(StoreCorrupt, match="integrity"):
        await page_all(store)
    assert not store._reader.in_transaction  # pyright: ignore[reportPrivateUsage]


async def test_a_store_without_a_key_works_and_hides_its_lookup_columns_all_the_same(stores: Handles) -> None:
    store = await stores.open(None)
    key = store.key(Table.DEVICES, "@bob:example.org")
    await put(store, session(1, b"a value"), table=Table.ACCOUNT)
    assert [b"a value"] == await values(store, Table.ACCOUNT, session(1).key)
    assert "none" == store.info().sealed
    await stores.aclose()

    store = await stores.open(None)
    assert [b"a value"] == await values(store, Table.ACCOUNT, session(1).key)
    assert key == store.key(Table.DEVICES, "@bob:example.org")


@pytest.mark.usefixtures("cheap_argon2")
async def test_a_store_whose_passphrase_s_parameters_were_edited_is_corrupt(stores: Handles) -> None:
    await stores.open("passphrase")
    await stores.aclose()
    stores.edit("UPDATE wrapping SET memory_kib = 1099511627776")

    with pytest.raises(StoreCorrupt, match="out of bounds"):
        await stores.open("passphrase")


async def test_a_store_that_is_told_that_it_is_not_sealed_does_not_open_without_the_key(stores: Handles) -> None:
    await put(await stores.open(), device(1))
    await stores.aclose()
    stores.edit("UPDATE wrapping SET kind = 'none', data_key = zeroblob(32)")

    with pytest.raises(WrongKey):
        await stores.open()
