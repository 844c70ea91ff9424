"""A service: what a capability keeps running beside the turns, and what its procedures reach by its class."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from typing import Any, Final, Protocol, TypeVar, cast

import trio

from .bugs import is_bug, report

AGAIN: Final = 15.0
"""Seconds until a service that has met a bug is run again."""

S = TypeVar("S")


class Service(Protocol):
    """Made once for each supervisor. It owns no state that must outlive the process: that is an actor's."""

    async def run(self) -> None:
        """Run in the background until cancelled, once the supervisor has answered all. Or return.

        A bug that it meets is logged, and it is run again after `AGAIN` seconds.
        """
        ...


async def run_service(service: Service) -> None:
    """Run it, whatever it raises: a bug in the background must not end what tasks ask for."""
    while True:
        try:
            await service.run()
        except BaseException as error:
            if not is_bug(error):
                raise
            report(f"{type(service).__name__} begins anew", error)
            await trio.sleep(AGAIN)
        else:
            return


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
