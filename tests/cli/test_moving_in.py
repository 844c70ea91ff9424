"""`olmstate import-nio`, `import-mautrix` and `import-libolm`: a device moves in, once, and goes on.

The stores are written by matrix-nio, mautrix and libolm themselves; see `tests.cli.moving_in`.
"""

from __future__ import annotations

import base64
import importlib.util
import json
import os
import re
import shutil
import signal
import sqlite3
import subprocess
import sys
from contextlib import closing
from pathlib import Path

import attrs
import click.testing
import pytest
import trio
import vodozemac

from olmstate.actors import Supervisor, open_supervisor
from olmstate.messages import (
    DecryptRoomEvent,
    DeviceAddress,
    DeviceId,
    Devices,
    EncryptToDevice,
    IdentityKeys,
    Json,
    JsonObject,
    RoomId,
    SyncToken,
    UserId,
)
from olmstate.storage import inspect_store
from tests.cli.conftest import KEY, Olmstate, complaint, last_json
from tests.cli.moving_in import (
    BOT,
    DEVICE,
    PICKLE_KEY,
    ROOM,
    Friend,
    friends,
    write_libolm_file,
    write_mautrix_store,
    write_nio_store,
)
from tests.operations.wrong_values import spoiled

TRUST = {"ANN": "verified", "BOB": "blocked", "CLEO": "ignored"}
WHEELS = sys.version_info < (3, 13) and sys.platform == "linux"
"""Whether libolm and mautrix can be installed."""
LIBOLM = json.loads((Path(__file__).parents[1] / "operations" / "recorded_libolm.json").read_text())


def need(*modules: str) -> None:
    """Skip where a library isn't installed; in CI it must be."""
    for module in modules:
        if importlib.util.find_spec(module) is None:
            reason = f"{module} is not installed: `make counterparts` installs it, where there are wheels"
            if os.environ.get("CI") and (module == "nio" or WHEELS):
                pytest.fail(reason)
            pytest.skip(reason)


@pytest.fixture
def nio() -> None:
    need("nio", "peewee")


@pytest.fixture
def mautrix() -> None:
    need("mautrix", "olm", "aiosqlite", "asyncpg", "base58")


@pytest.fixture
def libolm() -> None:
    need("olm")


@pytest.fixture(autouse=True)
def pickle_key(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("OLMSTATE_PICKLE_KEY", PICKLE_KEY)


@attrs.frozen(kw_only=True)
class Move:
    """A place for the old store, and one for the new."""

    folder: Path
    olmstate: Olmstate = attrs.field(repr=False)
    key_file: Path

    @property
    def old(self) -> Path:
        """Where the other library keeps things."""
        return self.folder / "old"

    @property
    def new(self) -> Path:
        """Where olmstate is to keep them."""
        return self.folder / "new"

    def __call__(self, command: str, file: Path, *options: str) -> click.testing.Result:
        """Run a command."""
        return self.olmstate(command, self.new, file, "--key-file", self.key_file, *options)

    def has_made(self, *names: str) -> bool:
        """Whether this is what there is now, and nothing else."""
        return {"key", "old", *names} == {path.name for path in self.folder.iterdir()}


@pytest.fixture
def move(tmp_path: Path, olmstate: Olmstate, key_file: Path) -> Move:
    (tmp_path / "old").mkdir()
    return Move(folder=tmp_path, olmstate=olmstate, key_file=key_file)


def contents(folder: Path) -> dict[str, tuple[bytes, int]]:
    """All files there, and when they were written."""
    return {path.name: (path.read_bytes(), path.stat().st_mtime_ns) for path in folder.iterdir()}


async def goes_on(device: Supervisor, known: list[Friend], trust: dict[str, str]) -> None:
    """Check that everybody is read and written to on what there was before."""
    own = await device.ask(IdentityKeys())
    users = tuple(UserId(friend.user_id) for friend in known)
    assert trust == {each.device_id: each.trust.value for each in await device.ask(Devices(users=users))}
    for friend in known:
        payload = {"type": "m.room.message", "content": {"body": "on the old key"}, "room_id": ROOM}
        ciphertext = friend.group_session.encrypt(json.dumps(payload).encode()).to_base64()
        content = {
            "algorithm": "m.megolm.v1.aes-sha2",
            "session_id": friend.group_session.session_id,
            "ciphertext": ciphertext,
        }
        event: JsonObject = {
            "type": "m.room.encrypted",
            "event_id": f"${friend.device_id}",
            "sender": friend.user_id,
            "content": content,
        }
        read = await device.ask(DecryptRoomEvent(room_id=RoomId(ROOM), event=event))
        assert "on the old key" == read.content["body"]
        at = DeviceAddress(user_id=UserId(friend.user_id), device_id=DeviceId(friend.device_id))
        sent = await device.ask(EncryptToDevice(devices=(at,), type="org.example.hello", content={"n": 1}))
        assert () == sent.missing
        content = sent.messages[at.user_id][at.device_id]["ciphertext"][friend.curve25519]
        assert 0 == content["type"]  # the old session, which nothing has come on yet
        message = vodozemac.AnyOlmMessage.from_parts(0, _bytes(content["body"])).to_pre_key()
        assert message is not None
        _, plaintext = friend.account.create_inbound_session(
            vodozemac.Curve25519PublicKey.from_base64(own.curve25519), message
        )
        assert {"n": 1} == json.loads(plaintext)["content"]


def _bytes(text: str) -> bytes:
    return base64.b64decode(text + "=" * (-len(text) % 4))


def check_moved(folder: Path, known: list[Friend], trust: dict[str, str]) -> None:
    """Check that a new store is the old device."""

    async def check() -> None:
        async with open_supervisor(folder, user_id=BOT, device_id=DEVICE, key=KEY) as device:
            assert "s1_2_3" == await device.ask(SyncToken())
            await goes_on(device, known, trust)

    trio.run(check)


@pytest.mark.usefixtures("nio")
@pytest.mark.parametrize("store", ["DefaultStore", "SqliteStore"])
def test_a_device_of_matrix_nio_moves_in_and_goes_on(move: Move, store: str) -> None:
    known = friends()
    file = write_nio_store(move.old, known, store=store)
    before = contents(move.old)

    moved = last_json(move("import-nio", file, "--json"))

    assert before == contents(move.old)
    assert move.has_made("new")
    assert {
        "store": str(move.new),
        "source": str(file),
        "user_id": BOT,
        "device_id": DEVICE,
        "accounts": 1,
        "olm_sessions": 3,
        "room_keys": 3,
        "devices": 3,
        "verified": 1,
        "blocked": 1,
        "ignored": 1,
        "sync_token": True,
        "refused": [],
    } == moved
    check_moved(move.new, known, TRUST)


@pytest.mark.usefixtures("mautrix")
@pytest.mark.parametrize("account_id", [BOT, ""], ids=["maubot", "bridge"])
def test_a_device_of_mautrix_moves_in_and_goes_on(move: Move, account_id: str) -> None:
    known = friends()
    file = write_mautrix_store(move.old, known, account_id=account_id)
    before = contents(move.old)
    assert len(before[f"{file.name}-wal"][0]) > 0, "what mautrix has written is in the log"

    moved = last_json(move("import-mautrix", file, "--user", BOT, "--json"))

    assert before == contents(move.old)
    assert move.has_made("new")
    counted = ("olm_sessions", "room_keys", "devices", "verified", "blocked", "ignored", "refused")
    assert [3, 3, 3, 1, 1, 0, []] == [moved[name] for name in counted]
    check_moved(move.new, known, {**TRUST, "CLEO": "unset"})


@pytest.mark.usefixtures("libolm")
def test_a_device_of_libolm_moves_in_and_goes_on(move: Move) -> None:
    known = friends()
    file = write_libolm_file(move.old / "device.json", known)
    before = contents(move.old)

    moved = last_json(move("import-libolm", file, "--json"))

    assert before == contents(move.old)
    assert move.has_made("new")
    assert [3, 3, 3, []] == [moved[name] for name in ("olm_sessions", "room_keys", "devices", "refused")]
    check_moved(move.new, known, TRUST)


@pytest.mark.usefixtures("libolm")
@pytest.mark.parametrize("key", ["words", "words\n"], ids=["a line", "any bytes"])
def test_what_encrypts_pickles_may_stand_in_a_file(move: Move, key: str) -> None:
    file = write_libolm_file(move.old / "device.json", friends(), key=key)
    (move.old / "pickle key").write_bytes(b"words\n")

    moved = last_json(move("import-libolm", file, "--pickle-key-file", str(move.old / "pickle key"), "--json"))

    assert 3 == moved["room_keys"]


@pytest.mark.usefixtures("nio")
def test_libolms_pickles_in_an_old_store_of_matrix_nio_are_read_too(
    move: Move, monkeypatch: pytest.MonkeyPatch
) -> None:
    # an early 0.2x has written everything with libolm; a later one has rewritten what it has used since
    file = write_nio_store(move.old, friends(), key=LIBOLM["pickle_key"])
    monkeypatch.setenv("OLMSTATE_PICKLE_KEY", LIBOLM["pickle_key"])
    with closing(sqlite3.connect(file)) as database, database:
        database.execute("UPDATE accounts SET account = ?", (LIBOLM["account"].encode(),))
        (session,) = LIBOLM["sessions"]
        then = "2020-01-01 00:00:00.000000"
        row = ("old", then, then, session["sender_key"], session["pickle"].encode())
        database.execute(
            "INSERT INTO olmsessions (session_id, creation_time, last_usage_date, sender_key, account_id, session) "
            "VALUES (?, ?, ?, ?, 1, ?)",
            row,
        )

    moved = last_json(move("import-nio", file, "--json"))

    assert (4, 3, []) == (moved["olm_sessions"], moved["room_keys"], moved["refused"])


@pytest.mark.usefixtures("nio")
def test_a_clients_default_needs_no_pickle_key(move: Move, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("OLMSTATE_PICKLE_KEY")
    file = write_nio_store(move.old, friends(), key="DEFAULT_KEY")
    assert 3 == last_json(move("import-nio", file, "--json"))["room_keys"]


@pytest.mark.usefixtures("nio")
def test_a_device_moves_in_once(move: Move) -> None:
    file = write_nio_store(move.old, friends())
    assert 0 == move("import-nio", file).exit_code
    before = inspect_store(move.new)

    again = complaint(move("import-nio", file))

    assert f"is a store already, of {BOT} {DEVICE}, and was left as it is" in again
    assert before == inspect_store(move.new)
    assert move.has_made("new")


@pytest.mark.usefixtures("nio")
def test_another_pickle_key_is_told_and_nothing_is_made(move: Move) -> None:
    file = write_nio_store(move.old, friends(), key="another")
    before = contents(move.old)

    said = complaint(move("import-nio", file))

    assert "can't be read: another pickle key is wanted" in said
    assert PICKLE_KEY not in said
    assert before == contents(move.old)
    assert move.has_made()


@pytest.mark.parametrize("command", ["import-nio", "import-mautrix", "import-libolm"])
@pytest.mark.parametrize("content", [b"", b"no store at all" * 100, None], ids=["empty", "text", "another database"])
def test_what_is_no_store_of_that_library_is_told(move: Move, command: str, content: bytes | None) -> None:
    file = move.old / "file"
    if content is None:
        with closing(sqlite3.connect(file)) as database, database:
            database.execute("CREATE TABLE accounts (id INTEGER)")
    else:
        file.write_bytes(b"words\n")
    before = contents(move.old)

    said = complaint(move(command, file))

    assert str(file) in said
    assert before == contents(move.old)
    assert move.has_made()


@pytest.mark.parametrize("command", ["import-nio", "import-mautrix", "import-libolm"])
def test_what_has_no_end_is_not_read_to_it(move: Move, command: str, monkeypatch: pytest.MonkeyPatch) -> None:
    # it filled the disk, or the memory
    monkeypatch.setattr("olmstate.cli._moving_in._libolm.MOST_BYTES", 1000)
    said = complaint(move(command, Path("/dev/zero")))
    assert re.match(r"Error: /dev/zero is (no file|too large)", said)
    assert move.has_made()


def test_any_bytes_may_encrypt_pickles_also_those_that_are_no_text(move: Move, monkeypatch: pytest.MonkeyPatch) -> None:
    # it was a traceback; and a file without an end was read for ever
    file = move.old / "device.json"
    file.write_text(json.dumps({"user_id": BOT, "device_id": DEVICE, "account": "no pickle"}))
    monkeypatch.setenv("OLMSTATE_PICKLE_KEY", os.fsdecode(b"\xff"))
    assert "another pickle key is wanted, or it is damaged" in complaint(move("import-libolm", file))
    assert "is too large" in complaint(move("import-libolm", file, "--pickle-key-file", "/dev/zero"))


@pytest.mark.usefixtures("nio")
def test_rows_that_can_not_be_read_are_named_with_the_reason_and_the_others_taken(move: Move) -> None:
    file = write_nio_store(move.old, friends())
    with closing(sqlite3.connect(file)) as database, database:
        database.execute("UPDATE olmsessions SET session = x'00' WHERE rowid = 1")
        database.execute("UPDATE megolminboundsessions SET session = x'00' WHERE rowid = 1")
        database.execute("UPDATE keys SET key = 'none' WHERE key_type = 'curve25519' AND device_id = 1")
        database.execute("PRAGMA foreign_keys = OFF")
        database.execute("UPDATE megolminboundsessions SET session_id = 'another' WHERE rowid = 2")

    moved = last_json(move("import-nio", file, "--json"))

    assert (2, 1, 2) == (moved["olm_sessions"], moved["room_keys"], moved["devices"])
    assert ["device", "Olm session", "room key", "room key"] == [each["what"] for each in moved["refused"]]
    assert all(each["name"] and each["reason"] for each in moved["refused"])
    said = move.olmstate("import-nio", move.new.with_name("again"), file, "--key-file", move.key_file).stdout
    assert "refused: room key another: it isn't the session that it should be" in said


@pytest.mark.usefixtures("nio")
def test_a_room_key_that_the_store_rejects_is_named_too(move: Move) -> None:
    file = write_nio_store(move.old, friends())
    with closing(sqlite3.connect(file)) as database, database:
        database.execute("UPDATE megolminboundsessions SET sender_key = 'none' WHERE rowid = 1")
        ((session_id,),) = database.execute("SELECT session_id FROM megolminboundsessions WHERE rowid = 1")

    moved = last_json(move("import-nio", file, "--json"))

    assert moved["room_keys"] == 2
    assert [("room key", session_id)] == [(each["what"], each["name"]) for each in moved["refused"]]


@pytest.mark.usefixtures("nio")
def test_a_file_that_is_damaged_half_way_leaves_nothing_behind(move: Move) -> None:
    file = write_nio_store(
        move.old, friends() + [Friend(user_id=f"@n{n}:example.org", device_id=f"N{n}") for n in range(60)]
    )
    with closing(sqlite3.connect(file)) as database:
        (page_size,) = database.execute("PRAGMA page_size").fetchone()
        (last,) = database.execute(
            "SELECT max(pageno) FROM dbstat WHERE name = 'megolminboundsessions' AND pagetype = 'leaf'"
        ).fetchone()
    with file.open("r+b") as damaged:
        damaged.seek((last - 1) * page_size)
        damaged.write(b"\xff" * page_size)

    said = complaint(move("import-nio", file))

    assert "damaged" in said
    assert move.has_made()


@pytest.mark.usefixtures("nio")
def test_of_several_accounts_one_must_be_named(move: Move) -> None:
    file = write_nio_store(move.old, friends())
    with closing(sqlite3.connect(file)) as database, database:
        database.execute("INSERT INTO accounts SELECT 2, account, user_id, 'SECOND', shared FROM accounts")

    said = complaint(move("import-nio", file))
    assert f"name one with --user and --device; accounts in {file}: {BOT} {DEVICE}, {BOT} SECOND" in said
    said = complaint(move("import-nio", file, "--device", "THIRD"))
    assert "no such account is there" in said
    moved = last_json(move("import-nio", file, "--device", "SECOND", "--json"))
    assert ("SECOND", 2, 0) == (moved["device_id"], moved["accounts"], moved["room_keys"])


@pytest.mark.usefixtures("mautrix")
def test_a_bridges_store_does_not_say_whose_it_is(move: Move) -> None:
    file = write_mautrix_store(move.old, friends(), account_id="")
    assert "--user" in complaint(move("import-mautrix", file))
    assert move.has_made()


@pytest.mark.usefixtures("nio")
@pytest.mark.parametrize("there", ["file", "folder with something in it"])
def test_what_is_no_store_and_stands_in_the_way_stays(move: Move, there: str) -> None:
    file = write_nio_store(move.old, friends())
    if there == "file":
        move.new.write_text("mine")
        assert 2 == move("import-nio", file).exit_code
        assert "mine" == move.new.read_text()
    else:
        move.new.mkdir()
        (move.new / "mine").touch()
        assert "no store: name a new folder" in complaint(move("import-nio", file))
        assert [move.new / "mine"] == list(move.new.iterdir())


@pytest.mark.usefixtures("nio")
def test_secrets_can_be_typed_the_new_stores_twice(move: Move, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("OLMSTATE_PICKLE_KEY")
    file = write_nio_store(move.old, friends())

    moved = move.olmstate("import-nio", move.new, file, typed=f"{PICKLE_KEY}\nof the store\nof the store\n")

    assert 0 == moved.exit_code, moved.output
    assert PICKLE_KEY not in moved.output
    assert "passphrase" == inspect_store(move.new).info.sealed


@pytest.mark.usefixtures("nio")
def test_a_store_that_somebody_writes_is_not_moved(move: Move, monkeypatch: pytest.MonkeyPatch) -> None:
    file = write_nio_store(move.old, friends())
    copyfile = shutil.copyfile

    def copy_and_write(source: Path, target: Path) -> None:
        copyfile(source, target)
        with closing(sqlite3.connect(source)) as database, database:
            database.execute("UPDATE synctokens SET token = 's2'")

    monkeypatch.setattr(shutil, "copyfile", copy_and_write)

    assert "somebody is writing" in complaint(move("import-nio", file))
    assert move.has_made()


WRONG: tuple[Json, ...] = (None, True, -1, 1e300, "", "\ud800", "x" * 10_000, [], [None], {}, {"": [None]})


@pytest.mark.parametrize("wrong", WRONG, ids=lambda value: json.dumps(value)[:20])
def test_whatever_stands_in_a_file_it_is_moved_or_refused_in_one_line(move: Move, wrong: Json) -> None:
    device = {"user_id": "@a:b", "device_id": "A", "curve25519": "k", "ed25519": "k", "trust": "verified"}
    session = {"session_id": "s", "sender_key": "k", "pickle": "p"}
    room_key = {**session, "room_id": "!r", "sender_claimed_keys": {"ed25519": "k"}}
    told: JsonObject = {
        "user_id": BOT,
        "device_id": DEVICE,
        "account": LIBOLM["account"],
        "sync_token": "s1",
        "olm_sessions": [session],
        "inbound_group_sessions": [{**room_key, "forwarding_curve25519_key_chain": ["k"]}],
        "devices": [device],
    }
    (move.old / "pickle key").write_text(LIBOLM["pickle_key"])
    file = move.old / "device.json"
    spoilt = list(spoiled(told, wrong))
    assert len(spoilt) > 15
    for each in spoilt:
        file.write_text(json.dumps(each))
        result = move("import-libolm", file, "--pickle-key-file", str(move.old / "pickle key"), "--json")
        if result.exit_code == 0:
            shutil.rmtree(move.new)
        else:
            complaint(result)
        assert move.has_made()


@pytest.mark.usefixtures("libolm")
def test_one_that_is_killed_leaves_no_store_and_the_next_one_moves_all(move: Move) -> None:
    known = friends()
    file = write_libolm_file(move.old / "device.json", known)
    told = json.loads(file.read_text())
    file.write_text(json.dumps({**told, "inbound_group_sessions": told["inbound_group_sessions"] * 3000}))
    arguments = ["import-libolm", str(move.new), str(file), "--key-file", str(move.key_file)]
    environment = {**os.environ, "PYTHONPATH": os.pathsep.join(sys.path)}
    process = subprocess.Popen([sys.executable, "-m", "olmstate", *arguments], env=environment)
    while not list(move.folder.glob(".new.*/store/olmstate.sqlite")):
        assert process.poll() is None
    process.kill()
    assert -signal.SIGKILL == process.wait()
    assert not move.new.exists()

    moved = last_json(move("import-libolm", file, "--json"))

    assert (3, 9000) == (moved["olm_sessions"], moved["room_keys"])
    check_moved(move.new, known, TRUST)
