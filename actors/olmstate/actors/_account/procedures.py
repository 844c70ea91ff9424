"""Having the homeserver know the device, before others look for it."""

from __future__ import annotations

from contextlib import suppress
from typing import Final

import trio

from olmstate.actors._engine.capability import BesideTurns
from olmstate.actors._requests.actor import CommittedRequests
from olmstate.actors._requests.courier import Courier
from olmstate.actors._requests.operations import MakeDueRequests
from olmstate.messages import (
    DeviceIdentity,
    IdentityKeys,
    NoAccount,
    NoTransport,
    PrepareAccount,
    PublishAccount,
    RequestDelayed,
    RequestKind,
)

from .actor import IsPublished
from .upkeep import uploads_due

KIND: Final = RequestKind.KEYS_UPLOAD


async def publish_account(supervisor: BesideTurns, procedure: PublishAccount) -> DeviceIdentity:
    """Make the account and upload its keys, or wait for whoever does, until the homeserver has them."""
    try:
        identity = await supervisor.ask(IdentityKeys())
    except NoAccount:
        identity = await supervisor.ask(PrepareAccount())
    if await supervisor.ask(IsPublished()):
        return identity
    courier = supervisor.services[Courier]
    if not courier.has_transport:
        raise NoTransport(kind=KIND)
    with trio.move_on_after(procedure.patience):
        await _publish(supervisor, courier)
        return identity
    raise RequestDelayed(kind=KIND)


async def _publish(supervisor: BesideTurns, courier: Courier) -> None:
    while True:
        changed = courier.changed
        if await supervisor.ask(IsPublished()):
            return
        if await uploads_due(supervisor):
            await supervisor.ask(MakeDueRequests())
        pending = await supervisor.ask(CommittedRequests())
        own = [each.request_id for each in pending if each.own and each.kind == KIND]
        with suppress(RequestDelayed):  # nobody knows what became of it; there will be another
            await courier.deliver(KIND, own)
        if not own:
            await courier.wait_for_news(changed)
