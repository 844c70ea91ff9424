"""What an operation has to work with: the actors, the time, and a list for the events that its commit will cause."""

from __future__ import annotations

import attrs

from olmstate.actors._account.actor import AccountActor, LookUpOwnDevice, OwnDevice
from olmstate.actors._devices.actor import DevicesActor
from olmstate.actors._room_keys.actor import InboundGroupSessionsActor
from olmstate.actors._rooms.actor import OutboundGroupSessionsActor
from olmstate.actors._to_device.actor import OlmSessionsActor
from olmstate.messages import DeviceIdentity, Event, NoAccount


@attrs.frozen(kw_only=True)
class Actors:
    """One actor a data type."""

    account: AccountActor
    olm_sessions: OlmSessionsActor
    inbound_group_sessions: InboundGroupSessionsActor
    outbound_group_sessions: OutboundGroupSessionsActor
    devices: DevicesActor


@attrs.frozen(kw_only=True)
class Turn:
    """One turn of the supervisor, as a command sees it."""

    actors: Actors
    now: int
    """Milliseconds since 1970. Decides on rotation, never on safety."""
    events: list[Event]
    """Published once the turn is committed."""


async def own_device(turn: Turn) -> OwnDevice:
    """This device: never changes, so the actor is asked only until it is known."""
    known = turn.actors.account.own_device
    if known is None:
        known = await turn.actors.account.ask(LookUpOwnDevice())
    return known


async def own_identity(turn: Turn) -> DeviceIdentity | None:
    """This device's keys; None while there is no account yet."""
    try:
        return (await own_device(turn)).identity
    except NoAccount:
        return None
