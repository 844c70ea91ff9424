"""A job in which one event in ten is from somebody who means harm: what that costs the others."""

from __future__ import annotations

import os
from collections.abc import Callable, Sequence
from typing import TypeAlias

from olmstate.actors import Supervisor
from olmstate.messages import DeviceIdentity, IdentityKeys, JsonObject, ReceiveSync, SyncToken
from tests.bench.device import ROOM, device
from tests.bench.job import Outcome, Result, Setting
from tests.bench.measure import Side, Watch, measure, ratio
from tests.bench.people import Senders, people, room_key
from tests.bench.work import greet, token
from tests.cost.asks import forged_events
from tests.operations.peer import Peer, add_devices

EVENTS, ONE_IN = 1_000, 10
SENDERS = 10
Attack: TypeAlias = Callable[[Sequence[JsonObject]], JsonObject]
"""An event, among others."""


async def sync_hostile(setting: Setting) -> Outcome:
    """A sync of 1,000 to-device events, a tenth of them hostile, beside the same without those.

    And without those alone that each session goes far for: that is vodozemac's work, for as many sessions as we keep.
    """
    events = max(2 * ONE_IN, setting.scaled(EVENTS))
    hostile, honest = events // ONE_IN, events - events // ONE_IN
    async with device(setting.folder) as supervisor:
        me = await supervisor.ask(IdentityKeys())
        senders = Senders(people(SENDERS), me)
        senders.join(await greet(supervisor, senders.known))
        attacks = await _attacks(supervisor, me)

        def receiving(harm: int, attacks: Sequence[Attack]) -> Side:
            async def side() -> float:
                sent = senders.room_keys(ROOM, honest)
                for number in range(harm):
                    sent.insert(number * ONE_IN, attacks[number % len(attacks)](sent))
                sync = {"next_batch": token(), "to_device": {"events": sent}}
                since = await supervisor.ask(SyncToken())
                watch = Watch()
                received = await supervisor.ask(ReceiveSync(sync=sync, since=since))
                seconds = watch.seconds()
                assert len(received.room_keys) == honest
                return seconds

            return side

        sides = {
            f"{hostile} of {events:,} hostile": receiving(hostile, attacks),
            "without far ones": receiving(hostile, attacks[1:]),
            "without those": receiving(0, attacks),
        }
        figures = await measure(sides, rounds=setting.rounds, units=1, progress=setting.progress)
    with_them, near, without = figures.values()
    label = f"sync with {events:,} to-device events, {hostile} of them hostile, against the same without those"
    return Outcome(
        results=(
            Result(label=label, value=ratio(with_them, without), target=1.2, figures=(with_them, without)),
            Result(
                label="the same, if no session goes far to see it", value=ratio(near, without), figures=(near, without)
            ),
        )
    )


async def _attacks(supervisor: Supervisor, me: DeviceIdentity) -> list[Attack]:
    """One of each kind: no message, no session that decrypts it, sent before, of another, too large, of wrong types."""
    (person,) = people(1, 1_000_000)
    await supervisor.ask(add_devices(person))
    stranger = Peer("@stranger:example.org")
    (far,) = await forged_events(supervisor, 1)
    return [
        lambda _: far,
        lambda _: person.envelope(me, 1, os.urandom(100)),
        lambda _: person.envelope(me, 0, os.urandom(200)),
        lambda _: stranger.envelope(me, 0, os.urandom(200)),
        lambda others: others[0],
        lambda others: {**others[1], "sender": person.user_id},
        lambda _: person.envelope(me, 1, os.urandom(40_000)),
        lambda _: {"type": "m.room_key", "sender": person.user_id, "content": room_key(person, ROOM)},
        lambda _: {"type": "m.room.encrypted", "sender": person.user_id, "content": {"ciphertext": [[]] * 1_000}},
        lambda _: {"type": 7, "sender": [], "content": "none"},
    ]
