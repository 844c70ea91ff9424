"""Scenarios of users' cross-signing identities."""

from __future__ import annotations

from olmstate.messages import AddDevices, Identity, IdentityState, JsonObject, PinIdentity, WithdrawVerification
from tests.peer.identity import USAGES, PeerIdentity
from tests.simulation.client import Client
from tests.simulation.scenario import Elsewhere, Prepared, Scenario, add_a_room_key
from tests.simulation.world import BOB


def _identity(number: int) -> JsonObject:
    seeds = {usage: bytes([number, at]) * 16 for at, usage in enumerate(USAGES)}
    return {"device_keys": {}, **PeerIdentity(BOB, seeds).answer()}


async def identity(client: Client) -> Prepared:
    """Bob has one."""
    await client.supervisor.ask(AddDevices(response=_identity(1)))

    def right(reply: object) -> bool:
        return getattr(reply, "state", None) is IdentityState.PINNED

    return Prepared(Identity(user_id=BOB), right=right, elsewhere=add_a_room_key(client))


async def _replaced(client: Client) -> None:
    for number in (1, 2):
        await client.supervisor.ask(AddDevices(response=_identity(number)))


async def _is_pinned(client: Client) -> None:
    known = await client.supervisor.ask(Identity(user_id=BOB))
    assert known is not None
    assert IdentityState.PINNED is known.state


async def pin_identity(client: Client) -> Prepared:
    """Bob's is another than before."""
    await _replaced(client)
    message = PinIdentity(user_id=BOB)
    return Prepared(message, _is_pinned, elsewhere=Elsewhere(message))


async def withdraw_verification(client: Client) -> Prepared:
    """The same."""
    await _replaced(client)
    message = WithdrawVerification(user_id=BOB)
    return Prepared(message, _is_pinned, elsewhere=Elsewhere(message))


SCENARIOS = (
    Scenario(prepare=identity),
    Scenario(prepare=pin_identity),
    Scenario(prepare=withdraw_verification),
)
