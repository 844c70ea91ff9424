"""Scenarios of nicknames."""

from __future__ import annotations

from olmstate.messages import Nickname, SetNickname
from tests.simulation.client import Client
from tests.simulation.scenario import Elsewhere, Prepared, Scenario
from tests.simulation.world import BOB


async def nickname(client: Client) -> Prepared:
    """Bob has one; meanwhile another process may call him something else."""
    await client.supervisor.ask(SetNickname(user_id=BOB, nickname="Bob"))
    elsewhere = Elsewhere(SetNickname(user_id=BOB, nickname="Bobby"))
    return Prepared(
        Nickname(user_id=BOB),
        right=lambda reply: reply in {"Bob", "Bobby"},
        elsewhere=elsewhere,
    )


async def set_nickname(client: Client) -> Prepared:
    """Bob has none."""
    message = SetNickname(user_id=BOB, nickname="Bob")

    async def is_kept(client: Client) -> None:
        assert await client.supervisor.ask(Nickname(user_id=BOB)) == "Bob"

    return Prepared(message, is_kept, elsewhere=Elsewhere(message))


SCENARIOS = (
    Scenario(prepare=nickname),
    Scenario(prepare=set_nickname),
)
