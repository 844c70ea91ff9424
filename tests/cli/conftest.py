"""A store to run commands on, and how to run them."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path

import click.testing
import pytest
import trio

from olmstate.actors import open_supervisor
from olmstate.cli import main
from olmstate.messages import CreateAccount, JsonObject, PrepareRoomKey, RoomId

KEY = bytes(range(32))
ALICE, PHONE = "@alice:example.org", "PHONE"
ROOMS = (RoomId("!one:example.org"), RoomId("!two:example.org"))


def make_store(folder: Path, key: bytes | str | None, rooms: tuple[RoomId, ...] = ROOMS) -> None:
    """A store with an account and a room key for each room."""

    async def make() -> None:
        async with open_supervisor(folder, user_id=ALICE, device_id=PHONE, key=key) as supervisor:
            await supervisor.ask(CreateAccount())
            for room_id in rooms:
                await supervisor.ask(PrepareRoomKey(room_id=room_id))

    trio.run(make)


@pytest.fixture(autouse=True)
def no_passphrases(monkeypatch: pytest.MonkeyPatch) -> None:
    """Whoever runs the tests may have some."""
    for variable in ("OLMSTATE_PASSPHRASE", "OLMSTATE_NEW_PASSPHRASE", "OLMSTATE_EXPORT_PASSPHRASE"):
        monkeypatch.delenv(variable, raising=False)


@pytest.fixture
def key_file(tmp_path: Path) -> Path:
    path = tmp_path / "key"
    path.write_bytes(KEY)
    return path


@pytest.fixture
def store(tmp_path: Path) -> Path:
    """Sealed with the key in `key_file`; two room keys."""
    folder = tmp_path / "store"
    make_store(folder, KEY)
    return folder


Olmstate = Callable[..., click.testing.Result]


@pytest.fixture
def olmstate() -> Olmstate:
    """Run the program with arguments, and what is typed at its prompts."""

    def run(*arguments: str | Path, typed: str | None = None) -> click.testing.Result:
        runner = click.testing.CliRunner()
        return runner.invoke(main, [str(argument) for argument in arguments], input=typed, prog_name="olmstate")

    return run


def last_json(result: click.testing.Result) -> JsonObject:
    """What the program said to programs."""
    assert result.exit_code == 0, result.output
    answer: JsonObject = json.loads(result.stdout.splitlines()[-1])
    return answer


def complaint(result: click.testing.Result) -> str:
    """The one line that a program that failed has said."""
    assert result.exit_code == 1, result.output
    assert isinstance(result.exception, SystemExit), result.exception
    assert result.stdout == ""
    *_, line = result.stderr.splitlines()
    assert line.startswith("Error: ")
    return line
