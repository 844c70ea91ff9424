"""A service: what a capability keeps running beside the turns, and what its procedures reach by its class."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from typing import Any, Protocol, TypeVar, cast

S = TypeVar("S")


class Service(Protocol):
    """Made once for each supervisor. It owns no state that must outlive the process: that is an actor's."""

    async def run(self) -> None:
        """Run in the background until cancelled, once the supervisor has answered all. Or return."""
        ...


class ServicesByClass:
    """The services of a supervisor."""

    def __init__(self, services: Iterable[Service]) -> None:
        """One of each class."""
        self._by_class: dict[type[Any], Service] = {type(service): service for service in services}

    def __getitem__(self, service: type[S]) -> S:
        """The service of this class."""
        return cast("S", self._by_class[service])

    def __iter__(self) -> Iterator[Service]:
        """All of them."""
        return iter(self._by_class.values())
