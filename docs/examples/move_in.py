"""Take over the account of a device that another library has kept."""

from __future__ import annotations

from olmstate.actors import Supervisor
from olmstate.messages import (
    Curve25519Key,
    DeviceIdentity,
    ImportAccount,
    OlmSessionPickle,
)


async def move_in(
    supervisor: Supervisor,
    account: str,
    pickle_key: bytes,
    sessions: list[tuple[str, str]],
) -> DeviceIdentity:
    """Import an account and its Olm sessions, each with its device's Curve25519 key."""
    return await supervisor.ask(
        ImportAccount(
            pickle=account,
            pickle_key=pickle_key,
            olm_sessions=tuple(
                OlmSessionPickle(sender_key=Curve25519Key(sender_key), pickle=pickle)
                for sender_key, pickle in sessions
            ),
        )
    )
