"""Trouble from outside: a process forks in the midst of a turn."""

from __future__ import annotations

from tests.faults.worker import Workers
from tests.faults.world import World


def test_a_child_that_is_forked_in_the_midst_of_a_turn_and_unwinds_takes_nothing_from_its_parent(
    world: World, workers: Workers
) -> None:
    workers.start(world.store, world.journal, "send_and_fork")
    assert workers.go() == 0
    world.live()
