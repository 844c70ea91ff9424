"""Each message has one route, and what has none is its asker's mistake and nobody else's."""

from __future__ import annotations

from collections import Counter
from typing import Any

import attrs
import pytest
import trio

import olmstate.messages
from olmstate.actors._capabilities import CAPABILITIES
from olmstate.actors._engine.capability import Capability
from olmstate.actors._engine.runner import Flush, Runner
from olmstate.actors.testing import DEVICE, USER, Faults, MemoryDisk, MemoryStore
from olmstate.messages import (
    Command,
    CreateAccount,
    IdentityKeys,
    Message,
    Procedure,
    Query,
    Statistics,
    SyncToken,
)
from tests.actors.supervised import supervised

GENERIC = {Message, Command, Query, Procedure}
PUBLIC: list[type[Message[Any]]] = [
    found
    for name in olmstate.messages.__all__
    if isinstance(found := getattr(olmstate.messages, name), type) and issubclass(found, Message)
    if found not in GENERIC
]
SUPERVISORS_OWN = [Statistics]

COMMANDS = [route.message for each in CAPABILITIES for route in each.commands]
QUERIES = [route.message for each in CAPABILITIES for route in each.queries]
PROCEDURES = [route.message for each in CAPABILITIES for route in each.procedures]


def test_every_message_that_users_can_send_has_one_route() -> None:
    routes = Counter([*COMMANDS, *QUERIES, *PROCEDURES, *SUPERVISORS_OWN])
    assert len(PUBLIC) >= 25
    assert dict.fromkeys(PUBLIC, 1) == {message: routes[message] for message in PUBLIC}
    assert {1} == set(routes.values())


@pytest.mark.parametrize(
    ("kinds", "messages"),
    [
        ((Command,), COMMANDS),
        ((Query,), QUERIES),
        ((Procedure, Query, Command), PROCEDURES),  # a query may take several steps, and a command several turns
    ],
    ids=["commands", "queries", "procedures"],
)
def test_a_route_is_among_those_of_its_kind(
    kinds: tuple[type[Message[Any]], ...], messages: list[type[Message[Any]]]
) -> None:
    assert messages
    assert [] == [message for message in messages if not issubclass(message, kinds)]


def test_what_is_done_without_a_turn_can_be_done_in_one() -> None:
    beside = {route.message for each in CAPABILITIES for part in each.without_turn for route in part.routes}
    assert beside
    assert beside <= set(COMMANDS)


def test_a_query_is_answered_by_the_actor_of_its_capability() -> None:
    for capability in CAPABILITIES:
        assert {route.actor for route in capability.queries} <= {capability.actor}


# --- mistakes -----------------------------------------------------------------------------------------------


@attrs.frozen
class Unheard(Command[None]):
    """Nobody knows it."""


@attrs.frozen
class UnheardQuery(Query[None]):
    """Nobody knows it."""


@attrs.frozen
class UnheardProcedure(Procedure[None]):
    """Nobody knows it."""


@attrs.frozen
class UnheardMessage(Message[None]):
    """It isn't even of a kind."""


class OwnToken(SyncToken):
    """A user's own subclass: it is another message."""


@pytest.mark.parametrize("message", [Unheard(), UnheardQuery(), UnheardProcedure(), UnheardMessage(), OwnToken()])
async def test_an_unknown_message_is_a_mistake_of_its_asker_and_harms_nobody(message: Message[Any]) -> None:
    # an unknown command reached the turn, where it was a bug that took the supervisor down with all who waited
    disk, faults = MemoryDisk(), Faults()
    async with supervised(disk, faults=faults) as supervisor:
        async with trio.open_nursery() as nursery:
            nursery.start_soon(supervisor.ask, CreateAccount())
            with pytest.raises(TypeError, match=type(message).__name__):
                await supervisor.ask(message)
        before = len(faults.steps)
        with pytest.raises(TypeError, match="no message that olmstate knows"):
            await supervisor.ask(message)
        assert len(faults.steps) == before  # no look at the store, no lock
        assert (await supervisor.ask(IdentityKeys())).device_id == DEVICE
        assert (await supervisor.ask(Statistics())).commands == 1


async def test_what_is_no_message_at_all_is_a_mistake_of_its_asker() -> None:
    async with supervised(MemoryDisk()) as supervisor:
        for no_message in (None, "token", SyncToken):
            with pytest.raises(TypeError):
                await supervisor.ask(no_message)  # type: ignore[arg-type]
        assert await supervisor.ask(SyncToken()) is None


async def _nothing(*_: object) -> None: ...


@pytest.mark.parametrize(
    "more",
    [
        Capability(commands=(Unheard.by(_nothing), Unheard.by(_nothing))),
        Capability(procedures=(UnheardProcedure.by(_nothing),), commands=(UnheardProcedure.by(_nothing),)),
        Capability(commands=(Flush.by(_nothing),)),
    ],
    ids=["twice", "of two kinds", "the supervisor's own"],
)
def test_two_routes_of_a_message_make_no_supervisor(more: Capability) -> None:
    with pytest.raises(ValueError, match="two routes"):
        Runner(MemoryStore(MemoryDisk()), (*CAPABILITIES, more), user_id=USER, device_id=DEVICE)


def test_two_actors_of_a_class_make_no_supervisor() -> None:
    again = Capability(actor=CAPABILITIES[0].actor)
    with pytest.raises(ValueError, match="two actors"):
        Runner(MemoryStore(MemoryDisk()), (*CAPABILITIES, again), user_id=USER, device_id=DEVICE)
