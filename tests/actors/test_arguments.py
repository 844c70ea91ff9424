"""What a user gives when opening a supervisor, and to it: what is wrong is said in that very line."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import trio
import trio.testing

import olmstate.asyncio
from olmstate.actors import open_supervisor, run_supervisor
from olmstate.actors.testing import DEVICE, USER, MemoryDisk, MemoryStore
from olmstate.messages import CreateAccount, Event, Lagged, RoomKeysReceived, SyncToken
from tests.actors.supervised import supervised

OPENERS = pytest.mark.parametrize("opener", [open_supervisor, olmstate.asyncio.open_supervisor])
RIGHT: dict[str, Any] = {"user_id": "@alice:example.org", "device_id": "PHONE", "key": None}
WRONG: tuple[Any, ...] = (True, 0, 1, 1.5, b"bytes", [], ["list"], {}, (), object(), SyncToken(), SyncToken)


@OPENERS
@pytest.mark.parametrize("value", WRONG)
def test_wrong_types_are_told_with_the_arguments_name(
    opener: Callable[..., object],
    value: Any,  # noqa: ANN401 - the wrong types
    tmp_path: Path,
) -> None:
    # options that were false, as {} is, were taken for none; others failed as the block began
    with pytest.raises(TypeError, match=f"^options must be Options, not {type(value).__name__}$"):
        opener(tmp_path / "new", **RIGHT, options=value)
    for name in ("user_id", "device_id"):
        with pytest.raises(TypeError, match=f"^{name} must be a str, not {type(value).__name__}$"):
            opener(tmp_path / "new", **{**RIGHT, name: value})
    with pytest.raises(TypeError):
        opener(value, **RIGHT)
    assert not (tmp_path / "new").exists()


@OPENERS
def test_a_device_that_nobody_names_is_not_whichever_there_is(opener: Callable[..., object], tmp_path: Path) -> None:
    # None opened the store of any device, and ran it as nobody's
    for name in ("user_id", "device_id"):
        with pytest.raises(TypeError, match=f"^{name} must be a str, not NoneType$"):
            opener(tmp_path, **{**RIGHT, name: None})


@OPENERS
def test_an_empty_folder_is_not_the_present_one(opener: Callable[..., object]) -> None:
    # os.environ.get("STORE", "") made a store wherever the program ran
    with pytest.raises(ValueError, match=r"^folder must not be empty$"):
        opener("", **RIGHT)


def test_a_supervisor_on_a_store_of_ones_own_has_no_other_options_either() -> None:
    wrong: Any = {"drain": 1}
    with pytest.raises(TypeError, match=r"^options must be Options, not dict$"):
        run_supervisor(MemoryStore(MemoryDisk()), user_id=USER, device_id=DEVICE, options=wrong)


# --- subscribing --------------------------------------------------------------------------------------------


@pytest.mark.parametrize("value", [*WRONG, None, "text", "RoomKeysReceived", RoomKeysReceived(room_keys=()), Exception])
async def test_what_is_no_class_of_events_can_not_be_subscribed_to(value: Any) -> None:  # noqa: ANN401 - the wrong types
    async with supervised(MemoryDisk()) as supervisor:
        for types in ((value,), (RoomKeysReceived, value)):
            with pytest.raises(TypeError, match=r"^subscribe takes classes of events; "), supervisor.subscribe(*types):
                pass
        await supervisor.ask(CreateAccount())  # publishing would meet them


@pytest.mark.parametrize("since", [True, 1.5, "5", b"5", [5], object()])
async def test_a_position_is_a_whole_number(since: Any) -> None:  # noqa: ANN401 - the wrong types
    async with supervised(MemoryDisk()) as supervisor:
        with (
            pytest.raises(TypeError, match=r"^since must be a position, which is a whole number, not "),
            supervisor.subscribe(Event, Lagged, since=since),
        ):
            pass


@pytest.mark.parametrize("since", [-1, -(2**63), -(10**4301)], ids=["a little", "more", "much"])
async def test_a_position_below_0_is_refused_and_stops_nobody(
    since: int, autojump_clock: trio.testing.MockClock
) -> None:
    # it stopped the supervisor, with everybody who waited
    async with supervised(MemoryDisk()) as supervisor:
        await supervisor.ask(CreateAccount())
        with (
            pytest.raises(ValueError, match=r"^since must be a position, which is not below 0$"),
            supervisor.subscribe(Event, Lagged, since=since),
        ):
            await trio.sleep(1)
        await supervisor.ask(SyncToken())


async def test_a_position_that_is_not_reached_for_ages_is_one(autojump_clock: trio.testing.MockClock) -> None:
    async with supervised(MemoryDisk()) as supervisor:
        await supervisor.ask(CreateAccount())
        with supervisor.subscribe(RoomKeysReceived, Lagged, since=10**4301) as events:
            assert Lagged(position=1) == await events.receive()
