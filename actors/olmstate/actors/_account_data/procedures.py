"""Account data as it is now, whoever has to be asked."""

from __future__ import annotations

from collections.abc import Collection

from olmstate.actors._engine.capability import BesideTurns
from olmstate.actors._requests.courier import Courier
from olmstate.messages import JsonObject, RequestDelayed, RequestKind

from .actor import CommittedAccountData
from .operations import FetchAccountData


async def account_data(
    supervisor: BesideTurns, types: Collection[str], *, patience: float
) -> dict[str, JsonObject | None]:
    """What the homeserver has of each type.

    With a transport it is asked each time, since another client may have changed it. By hand, it is asked for what
    isn't known: syncs tell of changes.

    Raises:
        NoTransport: `OutgoingRequests` has the requests.
        RequestDelayed: It couldn't be reached in time.
        RequestRefused: It doesn't say.
    """
    types = tuple(dict.fromkeys(types))
    courier = supervisor.services[Courier]
    known = await supervisor.ask(CommittedAccountData(types=types))
    due = types if courier.has_transport else tuple(t for t, k in zip(types, known, strict=True) if k is None)
    if due:
        request_ids = await supervisor.ask(FetchAccountData(types=due))
        await courier.deliver(RequestKind.ACCOUNT_DATA_GET, request_ids, patience=patience)
        known = await supervisor.ask(CommittedAccountData(types=types))
    found: dict[str, JsonObject | None] = {}
    for data_type, each in zip(types, known, strict=True):
        if each is None:
            raise RequestDelayed(kind=RequestKind.ACCOUNT_DATA_GET)
        found[data_type] = each.content
    return found
