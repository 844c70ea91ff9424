"""The supervisor's states, as a literal table: the code moves along it only, and the docs' diagram is drawn from it.

The rule: every row ends in ``IDLE``, ``POISONED`` or ``CLOSED``, and the lock is held in the states of `LOCKED` only.
A move that is not in the table raises, and nothing happens.

    IDLE        holds nothing, writes nothing
    ACQUIRING   waits for the cross-process lock
    REFRESHING  has the lock; learns what others have written and tells the actors
    RUNNING     runs the turn's commands, one after another
    COMMITTING  writes what they changed, fenced by the generation
    RELEASING   answers, publishes, and lets the lock go unless more work waits and nobody else does
    POISONED    what is on the disk is in doubt: everything is refused
    CLOSED      drained
"""

from __future__ import annotations

import enum
from collections.abc import Mapping


class State(enum.Enum):
    """Where the supervisor is."""

    IDLE = "idle"
    ACQUIRING = "acquiring"
    REFRESHING = "refreshing"
    RUNNING = "running"
    COMMITTING = "committing"
    RELEASING = "releasing"
    POISONED = "poisoned"
    CLOSED = "closed"


class Move(enum.Enum):
    """What takes it from one state to another."""

    COMMAND = "command"
    """Somebody asks for something that needs a turn."""
    LOCKED = "locked"
    """The lock is ours."""
    BUSY = "busy"
    """The lock could not be had, or not in time."""
    REFRESHED = "refreshed"
    """The actors know what others have written."""
    RAN = "ran"
    """Every command has run or was refused."""
    SPOILED = "spoiled"
    """A command failed half-way: the others run again without it."""
    COMMITTED = "committed"
    """What changed is on the disk."""
    FENCED = "fenced"
    """Somebody has committed in between: everything runs again from what is true now."""
    FAILED = "failed"
    """The store refused; nothing was written."""
    POISON = "poison"
    """Nobody knows what was written."""
    RELEASED = "released"
    """The lock is free again."""
    KEPT = "kept"
    """The next turn goes on with the lock."""
    CLOSE = "close"
    """The supervisor ends, however."""


TRANSITIONS: Mapping[State, Mapping[Move, State]] = {
    State.IDLE: {
        Move.COMMAND: State.ACQUIRING,
        Move.POISON: State.POISONED,
        Move.CLOSE: State.CLOSED,
    },
    State.ACQUIRING: {
        Move.LOCKED: State.REFRESHING,
        Move.BUSY: State.IDLE,
        Move.POISON: State.POISONED,
        Move.CLOSE: State.CLOSED,
    },
    State.REFRESHING: {
        Move.REFRESHED: State.RUNNING,
        Move.FAILED: State.RELEASING,
        Move.POISON: State.POISONED,
        Move.CLOSE: State.CLOSED,
    },
    State.RUNNING: {
        Move.RAN: State.COMMITTING,
        Move.SPOILED: State.RUNNING,
        Move.FAILED: State.RELEASING,
        Move.POISON: State.POISONED,
        Move.CLOSE: State.CLOSED,
    },
    State.COMMITTING: {
        Move.COMMITTED: State.RELEASING,
        Move.FENCED: State.REFRESHING,
        Move.FAILED: State.RELEASING,
        Move.POISON: State.POISONED,
        Move.CLOSE: State.CLOSED,
    },
    State.RELEASING: {
        Move.RELEASED: State.IDLE,
        Move.KEPT: State.REFRESHING,
        Move.POISON: State.POISONED,
        Move.CLOSE: State.CLOSED,
    },
    State.POISONED: {
        Move.POISON: State.POISONED,
        Move.CLOSE: State.CLOSED,
    },
    State.CLOSED: {
        Move.CLOSE: State.CLOSED,
    },
}

LOCKED = frozenset({State.REFRESHING, State.RUNNING, State.COMMITTING, State.RELEASING})
"""States in which the cross-process lock is held."""


class IllegalMove(Exception):
    """The table has no such move."""


def next_state(state: State, move: Move) -> State:
    """Where ``move`` leads from ``state``.

    Raises:
        IllegalMove: Nowhere.
    """
    try:
        return TRANSITIONS[state][move]
    except KeyError:
        raise IllegalMove(f"{move} in {state}") from None
