"""A client that goes on when one call of the system has failed: it asks again, and opens the store anew if it must.

Rule: one refused call costs one answer at most. Whoever asks the same handle again gets through, unless the handle says
that it can't be trusted any more; and nobody is told that the store is damaged, which it isn't.
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from pathlib import Path
from typing import TypeVar

from olmstate.messages import Message, StoreCorrupt, StoreError, StorePoisoned
from tests.faults.client import back_up, change_secret, check, open_client, work
from tests.faults.homeserver import Homeserver, Violated, require
from tests.faults.recording import RecordingSupervisor

R = TypeVar("R")

OPENED_AT_MOST = 3
"""Once refused, once poisoned, once well."""


class Insisting:
    """Asks once more what could not be answered."""

    def __init__(self, supervisor: RecordingSupervisor) -> None:
        """In front of a supervisor."""
        self._supervisor = supervisor

    async def ask(self, message: Message[R]) -> R:
        """Ask, and ask again."""
        return await insist(lambda: self._supervisor.ask(message))


async def insist(act: Callable[[], Awaitable[R]]) -> R:
    """Do it, and once more if the store could not be used just then."""
    try:
        return await act()
    except StorePoisoned:
        raise
    except StoreError as error:
        require(not isinstance(error, StoreCorrupt), f"an error of reading is called damage: {error!r} {error}")
    try:
        return await act()
    except StorePoisoned:
        raise
    except StoreError as error:
        raise Violated(f"the handle doesn't get over one refused call: {error!r} {error}") from error


async def persist(folder: Path, homeserver: Homeserver) -> None:
    """Do a round, whatever call is refused once."""
    for _ in range(OPENED_AT_MOST):
        done = False
        try:
            async with open_client(folder, homeserver) as (supervisor, store):
                insisting = Insisting(supervisor)
                await check(insisting, store, homeserver)
                await work(insisting, homeserver)
                await insist(lambda: change_secret(store, homeserver))
                await insist(lambda: back_up(store, homeserver))
                done = True
        except* StoreError as errors:
            damaged = errors.subgroup(StoreCorrupt)
            require(damaged is None, f"an error of reading is called damage: {damaged}")
        if done:
            return
    raise Violated("one refused call makes opening the store fail again and again")
