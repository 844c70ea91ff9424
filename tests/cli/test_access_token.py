"""Commands that talk to the homeserver, with an access token that it doesn't take, or that is another device's."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import click
import pytest
import trio

from olmstate.cli._device import NOT_TAKEN, Device
from olmstate.http import open_transport
from olmstate.messages import UpdateDevices, UserId
from tests.cli.conftest import ALICE, KEY, PHONE
from tests.cli.served import serving
from tests.peer.homeserver import Homeserver

COMMANDS = {
    "bootstrap": ["bootstrap"],
    "recover": ["recover", "--recovery-key-file", "token"],
    "verify": ["verify"],
    "verify, and sync": ["verify", "--sync"],
    "verify somebody": ["verify", "--user", "@bob:example.org"],
}
PATIENCE = 60
"""Seconds until a test gives up."""


def command_line(name: str, url: str, store: Path, key_file: Path) -> list[str]:
    (store.parent / "token").write_text("syt_token\n")
    command, *options = COMMANDS[name]
    secrets = ("--key-file", str(key_file), "--token-file", "token")
    return [sys.executable, "-m", "olmstate", command, str(store), "--homeserver", url, *secrets, *options]


async def ended(command: list[str], folder: Path) -> subprocess.CompletedProcess[bytes]:
    with trio.fail_after(PATIENCE):
        return await trio.run_process(
            command, cwd=folder, env=environment(), capture_stdout=True, capture_stderr=True, check=False
        )


def environment() -> dict[str, str]:
    return {**os.environ, "PYTHONPATH": os.pathsep.join(sys.path)}


@pytest.mark.parametrize("name", COMMANDS)
async def test_a_token_that_is_not_taken_ends_it_at_once(name: str, store: Path, key_file: Path) -> None:
    # `verify` waited without a word, and so would have for ever
    async with serving({}) as url:
        ran = await ended(command_line(name, url, store, key_file), store.parent)
    assert (1, b"", f"Error: {NOT_TAKEN}\n") == (ran.returncode, ran.stdout, ran.stderr.decode())


def device_of(store: Path, url: str) -> Device:
    transport = open_transport(url, "syt_token")
    return Device(
        store=store, user_id=ALICE, device_id=PHONE, key=KEY, homeserver=url, token="syt_token", transport=transport
    )


@pytest.mark.parametrize(
    ("user_id", "device_id", "told"),
    [
        (ALICE, "TABLET", "the access token is of 'TABLET', and the store is of 'PHONE'"),
        (
            "@eve:example.org",
            PHONE,
            "the access token is of '@eve:example.org', and the store is of '@alice:example.org'",
        ),
    ],
)
async def test_another_devices_token_is_told(store: Path, user_id: str, device_id: str, told: str) -> None:
    async with serving({"syt_token": Homeserver(lambda: 0).log_in(user_id, device_id)}) as url:
        with pytest.raises(click.ClickException) as caught:
            async with device_of(store, url).opened():
                pass
    assert told == caught.value.message


async def test_a_token_that_is_taken_no_more_ends_a_wait(store: Path, key_file: Path) -> None:
    server = Homeserver(lambda: 0)
    session = server.log_in(ALICE, PHONE)
    async with serving({"syt_token": session}) as url:
        program = await trio.lowlevel.open_process(
            command_line("verify, and sync", url, store, key_file),
            cwd=store.parent,
            env=environment(),
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
        )
        assert program.stdout is not None
        with trio.fail_after(PATIENCE):
            while not server.keys.devices[ALICE, PHONE].device_keys:  # noqa: ASYNC110 - another process publishes them
                await trio.sleep(0.05)
            server.log_out(session)
            said = b"".join([each async for each in program.stdout]).decode()
            assert 1 == await program.wait()
    assert said.endswith(f"Error: {NOT_TAKEN}\n")


async def test_any_request_may_find_that_the_token_is_taken_no_more(store: Path) -> None:
    server = Homeserver(lambda: 0)
    session = server.log_in(ALICE, PHONE)
    async with serving({"syt_token": session}) as url:
        with pytest.RaisesGroup(click.ClickException, allow_unwrapped=True, flatten_subgroups=True):
            async with device_of(store, url).opened() as supervisor:
                await supervisor.ask(UpdateDevices(users=(UserId("@bob:example.org"),)))
                server.log_out(session)
                with trio.fail_after(PATIENCE):
                    await supervisor.ask(UpdateDevices(users=(UserId("@carol:example.org"),)))
                    await trio.sleep_forever()
