"""Room events that are parked: what is kept is what came, once, and none harms the others."""

from __future__ import annotations

from collections.abc import Iterable

import attrs
from vodozemac import GroupSession

from olmstate.actors._wire.untrusted_json import is_array
from olmstate.messages import ForgetParkedEvents, Json, ParkedEvent, ParkedEvents, ParkEvents
from tests.faults.fuzz.device import ROOM, Device, friend, lived, on_device
from tests.faults.fuzz.target import Target, dump, parse

MOST_CHARACTERS = 256 * 1024


def _seeds() -> Iterable[bytes]:
    carol, group = friend("carol"), GroupSession()
    one, two = carol.room_event(ROOM, group, event_id="$one"), carol.room_event(ROOM, group, event_id="$two")
    yield dump([one, two, one])
    yield dump([lived().room_event, one])
    yield dump([{**one, "unsigned": {"age": 1.5}}, None, {}])
    yield b"[]"


def _run(data: bytes) -> None:
    given = parse(data)
    events: tuple[Json, ...] = tuple(given) if is_array(given) else (given,)

    async def park(device: Device) -> None:
        ask = device.supervisor.ask
        command = ParkEvents(events=tuple((ROOM, event) for event in events))
        told = await ask(command)
        parked = await ask(ParkedEvents())
        assert list(told.parked) == [(each.room_id, each.event_id) for each in parked]
        assert not set(told.parked) & set(told.readable)
        assert len(told.parked) + len(told.readable) + len(told.rejected) <= len(events)
        for each in parked:
            assert each.event in events
            assert each.cause is not None
        again = await ask(command)
        assert (told.parked, told.readable, len(told.rejected)) == (again.parked, again.readable, len(again.rejected))
        device.disk.write_from_elsewhere(keys_known=False)  # what was stored must be read again
        assert [_without_cause(each) for each in parked] == [_without_cause(each) for each in await ask(ParkedEvents())]
        await ask(ForgetParkedEvents(events=told.parked))
        assert () == await ask(ParkedEvents())

    on_device(park)


def _without_cause(parked: ParkedEvent) -> ParkedEvent:
    """Errors are equal to nothing but themselves."""
    return attrs.evolve(parked, cause=None)


TARGET = Target(seeds=_seeds, run=_run)
