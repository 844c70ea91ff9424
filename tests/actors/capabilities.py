"""All capabilities, with one part exchanged."""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from typing import Any, TypeAlias

import attrs

from olmstate.actors._capabilities import CAPABILITIES
from olmstate.actors._engine.actor import Actor, Environment
from olmstate.actors._engine.capability import Capability
from olmstate.messages import Message, Route

Run: TypeAlias = Callable[[Any, Any], Awaitable[Any]]


def with_actor(instead_of: type[Actor[Any]], make: Callable[[Environment], Actor[Any]]) -> tuple[Capability, ...]:
    """Another actor, of a subclass."""
    return tuple(attrs.evolve(each, actor=make) if each.actor is instead_of else each for each in CAPABILITIES)


def with_run(message: type[Message[Any]], exchange: Callable[[Run], Run]) -> tuple[Capability, ...]:
    """Another function for a command or a procedure: what ``exchange`` makes of the present one."""

    def exchanged(route: Route[Any]) -> Route[Any]:
        return Route(message, exchange(route.run)) if route.message is message else route

    return tuple(
        attrs.evolve(
            each,
            commands=tuple(exchanged(route) for route in each.commands),
            procedures=tuple(exchanged(route) for route in each.procedures),
        )
        for each in CAPABILITIES
    )
