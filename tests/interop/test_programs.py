"""The examples that are whole programs: a bot that syncs, and a command that sends beside it, on one store."""

from __future__ import annotations

import json
import os
import stat
import subprocess
import sys
import tempfile
from collections.abc import AsyncGenerator, Awaitable, Callable
from contextlib import asynccontextmanager
from functools import partial
from pathlib import Path

import pytest
import trio

from olmstate.messages import RoomId
from tests.interop.device import Device
from tests.interop.fault_proxy import FaultProxy, open_fault_proxy
from tests.interop.homeserver import HttpSession
from tests.interop.people import People, meet
from tests.peer.secret_storage import description, encrypt, recovery_key
from tests.peer.session import API

PROGRAMS = Path(__file__).parents[2] / "docs" / "examples"
BYTECODE = {"PYTHONDONTWRITEBYTECODE": "", "PYTHONPYCACHEPREFIX": str(Path(tempfile.gettempdir(), "olmstate-bytecode"))}
"""As installed programs have it. Fifty at once that compile all they import have the homeserver wait for minutes."""
ENVIRONMENT = {**os.environ, **BYTECODE, "PYTHONPATH": os.pathsep.join(sys.path)}
PATIENCE = 120
"""Seconds until a test gives up: everything here is real, and the machine may be slow."""


@pytest.fixture
async def bot(people: People, tmp_path: Path) -> HttpSession:
    """A device whose account the programs find in ``tmp_path``."""
    session = await people.homeserver.register("bot")
    account = {
        "homeserver": session.url,
        "user_id": session.user_id,
        "device_id": session.device_id,
        "access_token": session.token,
        "key": bytes(range(32)).hex(),
    }
    (tmp_path / "account.json").write_text(json.dumps(account))
    return session


def command(program: str, *arguments: str) -> list[str]:
    return [sys.executable, str(PROGRAMS / program), *arguments]


def send_through(proxy: FaultProxy, folder: Path) -> None:
    """Have the programs ask the proxy instead of the homeserver."""
    file = folder / "account.json"
    file.write_text(json.dumps({**json.loads(file.read_text()), "homeserver": proxy.url}))


@asynccontextmanager
async def daemon(folder: Path, program: str = "daemon.py", *, typed: bytes = b"") -> AsyncGenerator[trio.Process]:
    """A bot, from when it syncs on, until it is killed."""
    async with trio.open_nursery() as nursery:
        start = partial(
            trio.run_process,
            command(program),
            cwd=folder,
            env=ENVIRONMENT,
            stdin=typed,
            start_new_session=True,  # without a terminal, a password comes from stdin
            stdout=subprocess.PIPE,
            capture_stdout=False,
            check=False,
        )
        process: trio.Process = await nursery.start(start)
        assert process.stdout is not None
        said = b""
        while b"syncing" not in said:
            chunk = await process.stdout.receive_some()
            assert chunk, "the daemon has ended"
            said += chunk
        yield process
        process.kill()


async def until(true: Callable[[], Awaitable[bool]], what: str) -> None:
    """Wait for something that real programs do."""
    with trio.move_on_after(PATIENCE):
        while not await true():  # noqa: ASYNC110 - nothing tells when
            await trio.sleep(0.1)
        return
    pytest.fail(f"waited in vain: {what}")


async def joined(reader: Device, room: RoomId, bot: HttpSession) -> None:
    async def is_in() -> bool:
        return bot.user_id in await reader.session.members(room, ["join"])

    await until(is_in, "the bot joins")


async def reads(reader: Device, bodies: set[str]) -> None:
    async def has_read() -> bool:
        await reader.sync()
        return bodies <= set(reader.ears.bodies.values())

    await until(has_read, f"{bodies} are read")


async def send_all(folder: Path, room: RoomId, texts: list[str]) -> None:
    """Run send.py for each text, all at once."""

    async def send(text: str) -> None:
        ran = await trio.run_process(
            command("send.py", room, text),
            cwd=folder,
            env=ENVIRONMENT,
            capture_stdout=True,
            capture_stderr=True,
            check=False,
        )
        assert (0, b"") == (ran.returncode, ran.stderr), ran.stderr.decode()

    async with trio.open_nursery() as nursery:
        for text in texts:
            nursery.start_soon(send, text)


@pytest.mark.parametrize("program", ["daemon.py", "asyncio_bot.py"])
async def test_a_bot_answers_and_goes_on_after_it_was_killed(
    people: People, bot: HttpSession, tmp_path: Path, program: str
) -> None:
    human = await people.rust()
    room = await meet([human])
    async with daemon(tmp_path, program):
        await human.session.invite(room, bot.user_id)
        await joined(human, room, bot)
        await human.sync()
        await human.send(room, "!ping")
        await reads(human, {"pong"})
    human.ears.heard.clear()
    async with daemon(tmp_path, program):
        await human.send(room, "!ping")
        await reads(human, {"pong"})


async def test_a_bot_asks_for_its_account_and_logs_in_the_first_time(people: People, tmp_path: Path) -> None:
    homeserver = people.homeserver
    registered = await homeserver.register("bot")
    typed = f"{registered.url}\n{registered.user_id}\n{homeserver.password(registered.user_id)}\n"
    async with daemon(tmp_path, typed=typed.encode()):
        account = json.loads((tmp_path / "account.json").read_text())
    assert registered.user_id == account["user_id"]
    assert registered.device_id != account["device_id"]
    assert 0o600 == stat.S_IMODE((tmp_path / "account.json").stat().st_mode)


async def test_a_bot_signs_itself_in_with_the_recovery_key_of_its_account(
    people: People, bot: HttpSession, tmp_path: Path
) -> None:
    human, key = await people.rust(), bytes(range(32))
    owner = await people.rust(await people.homeserver.log_in(bot.user_id))
    await owner.do("bootstrap_cross_signing")
    stored = await owner.ask("export_cross_signing")
    path = f"{API}/user/{bot.user_id}/account_data"
    await bot.request("PUT", f"{path}/m.secret_storage.default_key", {"key": "owners"})
    await bot.request("PUT", f"{path}/m.secret_storage.key.owners", description(key))
    for usage, seed in stored.items():
        name = f"m.cross_signing.{usage}"
        await bot.request("PUT", f"{path}/{name}", {"encrypted": {"owners": encrypt(key, name, seed, bytes(16))}})

    async def sign_in(typed: str) -> str:
        ran = await trio.run_process(
            command("sign_in.py"),
            cwd=tmp_path,
            env=ENVIRONMENT,
            stdin=typed.encode(),
            capture_stdout=True,
            capture_stderr=True,
            start_new_session=True,
        )
        return ran.stdout.decode()

    async def is_signed() -> bool:
        await human.send_request(await human.ask("query_keys_for_users", users=[bot.user_id]))
        known = await human.ask("get_device", user_id=bot.user_id, device_id=bot.device_id)
        return bool(known["cross_signed_by_owner"])

    assert "not signed in: not the key of secret storage" in await sign_in(f"{recovery_key(bytes(32))}\n")
    assert not await is_signed()
    for _ in range(2):  # asked again, it is done already
        assert "others see this device as its user's" in await sign_in(f"{recovery_key(key)}\n")
        assert await is_signed()


async def test_what_a_bot_can_not_read_is_told(people: People, bot: HttpSession, tmp_path: Path) -> None:
    human = await people.rust()
    room = await meet([human])
    async with daemon(tmp_path) as process:
        await human.session.invite(room, bot.user_id)
        await joined(human, room, bot)
        content = {"algorithm": "m.megolm.v1.aes-sha2", "session_id": "s", "ciphertext": "AAAA"}
        await human.session.send(room, "m.room.encrypted", content)
        assert process.stdout is not None
        said = b""
        while b"can't be read" not in said:
            said += await process.stdout.receive_some()


async def test_a_new_bot_is_not_seen_before_it_can_be_written_to(
    people: People, bot: HttpSession, tmp_path: Path
) -> None:
    # it joined before its keys were uploaded: whoever wrote at once found no device of it, and it could not read that
    human = await people.rust()
    room = await meet([human])
    await human.session.invite(room, bot.user_id)
    async with open_fault_proxy(bot.url, people.homeserver.client) as proxy, trio.open_nursery() as nursery:
        send_through(proxy, tmp_path)
        upload = proxy.add("hold", "/keys/upload")

        async def let_it_wait() -> None:
            await upload.arrived.wait()
            assert [] == proxy.asked("/sync")
            upload.release()

        nursery.start_soon(let_it_wait)
        async with daemon(tmp_path):
            await joined(human, room, bot)
            await human.sync()
            await human.send(room, "!ping")
            await reads(human, {"pong"})


@pytest.mark.parametrize("senders", [10, pytest.param(50, marks=pytest.mark.full)])
async def test_many_send_beside_the_bot_and_it_still_reads_and_answers(
    people: People, bot: HttpSession, tmp_path: Path, senders: int
) -> None:
    human, other = await people.rust(), await people.nio()
    room = await meet([human, other])
    texts = [f"message {number}" for number in range(senders)]
    async with daemon(tmp_path):
        await human.session.invite(room, bot.user_id)
        await joined(human, room, bot)
        await send_all(tmp_path, room, texts)
        for reader in (human, other):
            await reads(reader, set(texts))
        await human.send(room, "!ping")
        await reads(human, {"pong"})
    sessions = {heard.session_id for heard in human.ears.heard.values() if heard.content["body"] in texts}
    assert len(sessions) <= 2, "one session, or two if the first was about to be used up"


async def test_a_push_helper_reads_an_event_and_the_bot_answers_it_all_the_same(
    people: People, bot: HttpSession, tmp_path: Path
) -> None:
    human = await people.rust()
    room = await meet([human])
    async with daemon(tmp_path):
        await human.session.invite(room, bot.user_id)
        await joined(human, room, bot)
        await human.sync()
        await human.send(room, "!ping")
        await reads(human, {"pong"})
    await human.rotate(room)
    event_id = await human.send(room, "!ping")
    ran = await trio.run_process(
        command("push_helper.py", room, event_id), cwd=tmp_path, env=ENVIRONMENT, capture_stdout=True
    )
    assert b"!ping\n" == ran.stdout
    human.ears.heard.clear()
    async with daemon(tmp_path):
        await reads(human, {"pong"})
