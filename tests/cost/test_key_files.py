"""Key files of any size: read and written in time that grows with them, in short steps, and given up at once."""

from __future__ import annotations

import json
import threading
from collections.abc import Awaitable, Callable, Iterator, Mapping
from functools import partial

import pytest
import trio

from olmstate.actors import Supervisor
from olmstate.actors._room_keys import operations
from olmstate.actors._secret_storage import procedures
from olmstate.actors._secret_storage.ssss import KeyDescription, Passphrase
from olmstate.actors._wire.json_array import LONGEST_ELEMENT, elements
from olmstate.actors._wire.key_file import STEP, Derivation, FileKeys, SealedFile, finish, read_sessions, write_key_file
from olmstate.actors._wire.steps import at_once
from olmstate.messages import ExportKeyFile, ImportKeyFile, ImportRoomKeys, Json, JsonObject, MalformedMessage
from tests.cost.longest_step import MOST_CALLS, calls_of, longest_step
from tests.cost.room_keys import exported_keys

DERIVATION = Derivation.new(1)
KEYS = FileKeys.derive("passphrase", DERIVATION)
SESSION: JsonObject = {"room_id": "!room:example.org", "session_key": "A" * 220, "forwarding_curve25519_key_chain": []}


def written(number: int) -> str:
    """A file of so many keys."""
    writer = write_key_file(DERIVATION, KEYS)
    next(writer)
    for _ in range(number):
        writer.send([SESSION])
    return finish(writer)


def test_a_line_costs_as_much_in_a_large_file_as_in_a_small_one() -> None:
    small, large = calls_of(partial(written, 100)), calls_of(partial(written, 3_000))
    assert large / 3_000 < 1.1 * small / 100


@pytest.mark.parametrize("text", [True, False])
def test_a_file_is_read_in_steps_of_some_kilobytes(text: bool) -> None:  # noqa: FBT001
    body = written(3_000)
    around = "x" * 10 * STEP + body + "x" * 10 * STEP
    reading = SealedFile.read(around if text else around.encode())
    assert sum(1 for _ in reading) >= len(body) // STEP + 10
    file = at_once(SealedFile.read(around))
    assert sum(1 for _ in file.check(KEYS)) >= len(file.octets) // STEP
    parts = list(read_sessions(file, KEYS))
    assert max(map(len, parts)) <= 2 * STEP // len(json.dumps(SESSION))
    assert 3_000 == sum(map(len, parts))


def test_an_element_is_parsed_wherever_the_text_is_cut() -> None:
    values: list[Json] = [
        1,
        -2.5e-3,
        'a\\"[{é\N{GRINNING FACE}\ud83d',
        {"a": [1, {}], "b": "]"},
        None,
        True,
        [],
        "",
        12,
    ]
    text = json.dumps(values).replace(",", "\n, ").encode()
    for size in (1, 2, 3, 7, len(text)):
        chunks = (text[at : at + size] for at in range(0, len(text), size))
        assert values == [value for some in elements(chunks) for value in some]


def test_an_element_that_never_ends_is_refused_before_all_is_read() -> None:
    read = 0

    def endless() -> Iterator[bytes]:
        nonlocal read
        yield b'["'
        while True:
            read += STEP
            yield b"a" * STEP

    with pytest.raises(MalformedMessage, match="not JSON"):
        for _ in elements(endless()):
            pass
    assert read <= 4 * LONGEST_ELEMENT


PATIENCE = 10.0
"""Seconds until a derivation ends by itself, so that who waits for it fails, and doesn't wait for ever."""


DERIVATIONS: Mapping[str, Callable[[str], Awaitable[object]]] = {
    "of a key file": lambda passphrase: operations.derive_in_thread(passphrase, DERIVATION),
    "of a storage key": lambda passphrase: procedures._key(  # pyright: ignore[reportPrivateUsage]
        passphrase, KeyDescription(key_id="key", passphrase=Passphrase(salt="", iterations=1))
    ),
    "of a new storage key": procedures._new_key,  # pyright: ignore[reportPrivateUsage]
}


@pytest.mark.parametrize("name", DERIVATIONS)
async def test_who_is_cancelled_does_not_wait_for_the_derivation(name: str) -> None:
    begun, end = threading.Event(), threading.Event()

    class SlowPassphrase(str):
        __slots__ = ()

        def encode(self, encoding: str = "", errors: str = "") -> bytes:  # noqa: ARG002 - as it is
            begun.set()
            end.wait(PATIENCE)
            return b""

    try:
        with trio.CancelScope() as scope:
            async with trio.open_nursery() as nursery:
                nursery.start_soon(DERIVATIONS[name], SlowPassphrase("correct horse"))
                while not begun.is_set():
                    await trio.lowlevel.checkpoint()
                scope.cancel()
    finally:
        end.set()
    assert scope.cancelled_caught


async def test_keys_are_exported_and_imported_a_few_at_a_time(alice: Supervisor) -> None:
    number = 400
    keys = exported_keys(number)
    async with longest_step() as importing:
        await alice.ask(ImportRoomKeys(keys=keys))
    async with longest_step() as exporting:
        file = await alice.ask(ExportKeyFile(passphrase="passphrase", rounds=1))
    async with longest_step() as reading:
        await alice.ask(ImportKeyFile(file=file, passphrase="passphrase"))
    for counted in (importing, exporting, reading):
        assert counted.calls < MOST_CALLS
        assert counted.total > 2 * MOST_CALLS  # or nothing was shown


async def test_exporting_costs_as_much_a_key_for_many_as_for_few(alice: Supervisor) -> None:
    costs: list[float] = []
    for number in (64, 640):
        await alice.ask(ImportRoomKeys(keys=exported_keys(number)))
        async with longest_step() as counted:
            file = await alice.ask(ExportKeyFile(passphrase="passphrase", rounds=1))
        costs.append(counted.total / len(file))
    assert costs[1] < 1.1 * costs[0]
