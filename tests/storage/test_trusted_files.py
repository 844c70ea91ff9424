"""What somebody who can write to the files, and has no key, can have a store believe of itself: nothing."""

from __future__ import annotations

import sqlite3
from contextlib import closing
from pathlib import Path
from typing import Any

import pytest
import trio

from olmstate.messages import DeviceId, StoreCorrupt, StoreUnavailable, UserId, WrongKey
from olmstate.storage import Fenced, Row, Table, backup, open_store
from tests.recordings.stores.recorded import RECORDED, unpack
from tests.storage.handles import ALICE, DEVICE, KEY, PARTITION, Handles, device, put, session, values


def edit(database: Path, statement: str, *parameters: object) -> None:
    """Write to a store's database as somebody without its key."""
    with closing(sqlite3.connect(database, isolation_level=None)) as connection:
        connection.execute(statement, parameters)


def column(database: Path, name: str, table: str = "meta") -> Any:  # noqa: ANN401 - whatever is in it
    with closing(sqlite3.connect(database)) as connection:
        return connection.execute(f"SELECT {name} FROM {table}").fetchone()[0]  # noqa: S608 - our own names


@pytest.fixture
async def restored(stores: Handles, tmp_path: Path) -> Path:
    """The database of a backup, closed; that of the original is `stores`."""
    store = await stores.open()
    await put(store, device(1, b"a ratchet"))
    await backup(store, tmp_path / "backup")
    await stores.aclose()
    return tmp_path / "backup" / "olmstate.sqlite"


# --- what it says of itself ---------------------------------------------------------------------------------


async def test_a_backup_can_not_pass_for_the_original(restored: Path) -> None:
    # it would encrypt on the original's Olm sessions, with the same steps
    edit(restored, "UPDATE meta SET restored_generation = 0")
    with pytest.raises(StoreCorrupt, match="of itself"):
        await open_store(restored.parent, key=KEY)


async def test_a_row_of_a_backup_can_not_pass_for_a_later_one(restored: Path) -> None:
    edit(restored, "UPDATE devices SET generation = 2")
    edit(restored, "UPDATE meta SET generation = 2")
    store = await open_store(restored.parent, key=KEY)
    with pytest.raises(StoreCorrupt, match="integrity"):
        await store.read(Table.DEVICES, [PARTITION])
    await store.aclose()


@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("store_id", bytes(16)),
        ("user_id", "@mallory:example.org"),
        ("device_id", "MALLORY"),
        ("restored_generation", 1),
        ("facts", None),
        ("facts", b""),
        ("facts", bytes(100)),
    ],
    ids=["store", "user", "device", "restored", "no facts", "empty facts", "other facts"],
)
async def test_nothing_that_a_store_says_of_itself_can_be_changed(stores: Handles, name: str, value: object) -> None:
    await put(await stores.open(), device(1))
    await stores.aclose()
    edit(stores.database, f"UPDATE meta SET {name} = ?", value)  # noqa: S608 - our own names

    with pytest.raises(StoreCorrupt):
        await open_store(stores.folder, key=KEY)


async def test_the_facts_of_the_original_are_no_facts_of_its_backup(stores: Handles, restored: Path) -> None:
    edit(restored, "UPDATE meta SET restored_generation = 0, facts = ?", column(stores.database, "facts"))
    with pytest.raises(StoreCorrupt):
        await open_store(restored.parent, key=KEY)


# --- what it has for life -----------------------------------------------------------------------------------

ACCOUNT = Row(b"the account", b"the account", b"an account")


async def test_what_a_store_has_for_life_can_not_be_taken_from_it_unseen(stores: Handles) -> None:
    # a device that had an account would make itself another one under the same name
    store, opened_before = await stores.open(), await stores.open()
    for handle in (store, opened_before):
        assert {ACCOUNT.key: []} == await handle.read(Table.ACCOUNT, [ACCOUNT.key])
    await put(store, ACCOUNT, table=Table.ACCOUNT)
    for handle in (store, opened_before):
        assert [b"an account"] == await values(handle, Table.ACCOUNT, ACCOUNT.key)

    for statement in ("UPDATE account SET value = NULL", "DELETE FROM account"):
        stores.edit(statement)
        for handle in (store, opened_before, await stores.open()):
            with pytest.raises(StoreCorrupt, match="account is gone"):
                await handle.read(Table.ACCOUNT, [ACCOUNT.key])


async def test_a_backup_has_for_life_what_the_original_had(stores: Handles, tmp_path: Path) -> None:
    store = await stores.open()
    await put(store, ACCOUNT, table=Table.ACCOUNT)
    await backup(store, tmp_path / "backup")
    edit(tmp_path / "backup" / "olmstate.sqlite", "DELETE FROM account")
    restored = await open_store(tmp_path / "backup", key=KEY)
    with pytest.raises(StoreCorrupt, match="account is gone"):
        await restored.read(Table.ACCOUNT, [ACCOUNT.key])
    await restored.aclose()


async def test_a_commit_that_fails_leaves_the_facts_as_they_were(stores: Handles) -> None:
    store, other = await stores.open(), await stores.open()
    await put(other, device(1))
    await store.lock.acquire(5)
    with pytest.raises(Fenced):
        await store.commit({Table.ACCOUNT: [ACCOUNT]}, 0)
    store.lock.release()
    assert {ACCOUNT.key: []} == await store.read(Table.ACCOUNT, [ACCOUNT.key])
    await put(store, session(1), table=Table.INBOUND_GROUP_SESSIONS)
    assert {ACCOUNT.key: []} == await other.read(Table.ACCOUNT, [ACCOUNT.key])


# --- stores of earlier versions -----------------------------------------------------------------------------


@pytest.mark.parametrize("version", RECORDED)
async def test_a_store_of_an_earlier_version_is_as_safe_once_it_was_opened(tmp_path: Path, version: int) -> None:
    folder = tmp_path / "store"
    facts = unpack(version, folder)
    async with trio.open_nursery() as nursery:  # several at once, of which one is the first
        for _ in range(3):
            nursery.start_soon(_open_and_read, folder, facts["rows"]["devices"])
    wrapped = column(folder / "olmstate.sqlite", "data_key", "wrapping")
    sealed = column(folder / "olmstate.sqlite", "facts")
    await _open_and_read(folder, facts["rows"]["devices"])
    assert (wrapped, sealed) == (
        column(folder / "olmstate.sqlite", "data_key", "wrapping"),
        column(folder / "olmstate.sqlite", "facts"),
    )

    # its old rows can't pass for new ones
    edit(folder / "olmstate.sqlite", "UPDATE devices SET generation = 1 + (SELECT generation FROM meta)")
    store = await open_store(folder, key=KEY)
    with pytest.raises(StoreCorrupt, match="integrity"):
        await store.page(Table.DEVICES, (b"", b""), 10)
    edit(folder / "olmstate.sqlite", "DELETE FROM account")
    with pytest.raises(StoreCorrupt, match="account is gone"):
        await store.read(Table.ACCOUNT, [b"anything"])
    await store.aclose()
    # and nobody can have it pass for one of an earlier version
    edit(folder / "olmstate.sqlite", "UPDATE meta SET facts = NULL")
    with pytest.raises(StoreCorrupt):
        await open_store(folder, key=KEY)


async def _open_and_read(folder: Path, devices: int) -> None:
    store = await open_store(folder, key=KEY)
    assert devices == len(await store.page(Table.DEVICES, (b"", b""), 100))
    await store.aclose()


# --- other names --------------------------------------------------------------------------------------------


async def test_a_database_with_another_name_is_refused(stores: Handles, tmp_path: Path) -> None:
    # two folders with one database have two locks: both would use the same steps
    await put(await stores.open(), device(1))
    await stores.aclose()
    other = tmp_path / "other"
    other.mkdir()
    (other / "olmstate.sqlite").hardlink_to(stores.database)
    for folder in (other, stores.folder):
        with pytest.raises(StoreUnavailable, match="hard link"):
            await open_store(folder, key=KEY)
    (other / "olmstate.sqlite").unlink()
    assert [b"value"] == await values(await stores.open())


async def test_a_link_to_a_database_is_refused(stores: Handles, tmp_path: Path) -> None:
    await put(await stores.open(), device(1))
    await stores.aclose()
    other = tmp_path / "other"
    other.mkdir()
    (other / "olmstate.sqlite").symlink_to(stores.database)
    with pytest.raises(StoreUnavailable, match="is a link"):
        await open_store(other, key=KEY)
    linked = tmp_path / "linked"
    linked.symlink_to(stores.folder)
    store = await open_store(linked, key=KEY)  # the folder as a whole may have other names
    assert [b"value"] == await values(store)
    await store.aclose()


# --- whose it is --------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("user_id", "device_id"),
    [
        ("bot", "BOT"),
        ("", "BOT"),
        ("@bot", "BOT"),
        ("bot:example.org", "BOT"),
        ("@bot:", "BOT"),
        ("@bot:exa mple.org", "BOT"),
        ("@bot:example.org/x", "BOT"),
        ("@b\0t:example.org", "BOT"),
        (f"@{'b' * 250}:example.org", "BOT"),
        ("@\ud800:example.org", "BOT"),
        ("@bot:example.org", ""),
        ("@bot:example.org", "B\0T"),
        ("@bot:example.org", "\ud800"),
    ],
)
async def test_no_store_is_made_for_names_that_no_device_has(tmp_path: Path, user_id: str, device_id: str) -> None:
    # a device would have had them for life
    with pytest.raises(ValueError, match=r"^(user|device)_id "):
        await open_store(tmp_path / "new", user_id=UserId(user_id), device_id=DeviceId(device_id), key=KEY)
    assert not (tmp_path / "new").exists()


@pytest.mark.parametrize("user_id", [b"@bot:example.org", 5, ["@bot:example.org"]])
async def test_a_name_is_text(tmp_path: Path, user_id: Any) -> None:  # noqa: ANN401 - the wrong types
    with pytest.raises(TypeError, match=f"user_id must be a str, not {type(user_id).__name__}"):
        await open_store(tmp_path / "new", user_id=user_id, device_id=DEVICE, key=KEY)


@pytest.mark.parametrize(
    "user_id",
    [
        "@bot:example.org",
        "@bot:example.org:8448",
        "@bot:[::1]:8448",
        "@bot:127.0.0.1",
        "@:example.org",
        "@Ünder Score/\N{SNOWMAN}:example.org",
        f"@{'b' * 242}:example.org",
    ],
)
async def test_old_user_ids_are_names_too(tmp_path: Path, user_id: str) -> None:
    store = await open_store(tmp_path / "new", user_id=UserId(user_id), device_id=DeviceId("a device"), key=KEY)
    assert user_id == store.info().user_id
    await store.aclose()


async def test_a_store_that_was_made_for_an_odd_name_goes_on(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def anything_goes(_user_id: str, _device_id: str) -> None: ...

    with monkeypatch.context() as earlier:
        earlier.setattr("olmstate.storage.sqlite.open.require_owner", anything_goes)
        await (await open_store(tmp_path, user_id=UserId("bot"), device_id=DeviceId(""), key=KEY)).aclose()
    await (await open_store(tmp_path, user_id=UserId("bot"), device_id=DeviceId(""), key=KEY)).aclose()


# --- keys ---------------------------------------------------------------------------------------------------


async def test_a_key_that_is_none_says_so_and_makes_nothing(stores: Handles) -> None:
    with pytest.raises(WrongKey, match="a key has 32 bytes, this one 5; a passphrase is a str"):
        await stores.open(b"short")
    assert not stores.database.exists()


async def test_a_key_is_any_32_bytes(stores: Handles) -> None:
    await put(await stores.open(KEY), device(1))
    store = await open_store(stores.folder, user_id=ALICE, device_id=DEVICE, key=bytearray(KEY))
    assert [b"value"] == await values(store)
    await store.change_secret(memoryview(bytes(32)))
    await store.aclose()
    assert [b"value"] == await values(await stores.open(bytes(32)))


async def test_what_can_be_no_key_is_a_type_error_before_anything_is_made(tmp_path: Path) -> None:
    wrong: Any = Path("key")
    with pytest.raises(TypeError, match="key must be 32 bytes, a passphrase"):
        await open_store(tmp_path / "new", user_id=ALICE, device_id=DEVICE, key=wrong)
    assert not (tmp_path / "new").exists()
