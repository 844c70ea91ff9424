"""Learning users' devices, whichever process asks for them."""

from __future__ import annotations

import trio

from olmstate.actors._engine.capability import BesideTurns
from olmstate.actors._engine.slices import SlicesOf
from olmstate.actors._requests.courier import Courier
from olmstate.messages import RequestDelayed, RequestKind, UpdateDevices, UserId

from .actor import NotUpToDate
from .operations import USERS_AT_ONCE, PrepareQueries

MOST_ROUNDS = 4
"""Users may change while they are asked for; at some time the answer has to do."""


async def update_devices(supervisor: BesideTurns, procedure: UpdateDevices) -> tuple[UserId, ...]:
    """Ask for those of the users who are outdated, or wait for others' answers; who could not be learned."""
    courier = supervisor.services[Courier]
    deadline = trio.current_time() + procedure.patience
    left = await _not_up_to_date(supervisor, procedure.users)
    for _ in range(MOST_ROUNDS):
        if not left:
            break
        request_ids = await supervisor.ask(PrepareQueries(users=left))
        patience = max(0, deadline - trio.current_time())
        try:
            await courier.deliver(RequestKind.KEYS_QUERY, request_ids, patience=patience)
        except RequestDelayed:
            pass  # what was learned counts
        else:
            patience = max(0, deadline - trio.current_time())
            await courier.wait_until_free(RequestKind.KEYS_QUERY, frozenset(left).__contains__, patience=patience)
        before, left = left, await _not_up_to_date(supervisor, left)
        if len(left) == len(before) or trio.current_time() >= deadline:
            break
    return left


async def _not_up_to_date(supervisor: BesideTurns, users: tuple[UserId, ...]) -> tuple[UserId, ...]:
    """Which of the users are outdated, or not tracked; of none, whether anybody still answers."""
    found = await supervisor.ask(NotUpToDate(users=users[:USERS_AT_ONCE]))
    async for some in SlicesOf(users[USERS_AT_ONCE:], USERS_AT_ONCE):
        found += await supervisor.ask(NotUpToDate(users=some))
    return found
