"""What can go wrong at one step of a message.

Owns: `STRIKES`, the faults, and `Steps`, which a fault can strike at.
Rule: a step is what nothing can come in between of. *Task steps* are those of Trio: what any task does until it waits.
*Store steps* are calls of the store. *Handled* are messages that an actor handles. A fault strikes once.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from typing import Literal, NoReturn, Protocol, TypeAlias, get_args

import attrs

from olmstate.actors.testing import Operation
from olmstate.messages import (
    InternalError,
    OlmStateError,
    StoreBusy,
    StoreCorrupt,
    StoreFull,
    StorePoisoned,
    StoreUnavailable,
)
from olmstate.storage import Fenced

Unit: TypeAlias = Literal["task step", "store step", "handled"]


class Bug(Exception):
    """What no code expects."""


class Panic(BaseException):
    """What no code expects either, and no ``except Exception`` sees: vodozemac's panics are such."""


class Struck(Protocol):
    """What a fault can do to whoever it strikes."""

    def cancel(self) -> None:
        """Cancel the asker."""
        ...

    def close(self) -> None:
        """Leave the supervisor's block, as when the app ends."""
        ...

    def kill(self) -> None:
        """SIGKILL."""
        ...

    def write_from_elsewhere(self, *, keys_known: bool) -> None:
        """Somebody writes everything as it is without asking for the lock; ``told``: it can be told what he wrote."""
        ...

    def look(self) -> None:
        """Somebody else's query makes the supervisor look at the store."""
        ...

    def start_rival(self) -> None:
        """Another process begins to ask the same."""
        ...

    def overtake(self, *, told: bool) -> None:
        """Another process does something that makes a difference, all of it now; ``told`` as above."""
        ...

    def subscribe(self) -> None:
        """Somebody wants to hear of others' writes from now on."""
        ...

    def unsubscribe(self) -> None:
        """A subscriber is gone."""
        ...


@attrs.frozen(kw_only=True)
class Strike:
    """A fault, and which steps it is tried at."""

    name: str
    unit: Unit
    do: Callable[[Struck], None]
    """Strikes; at store steps and where messages are handled, it may raise."""
    after: bool = False
    """Once the step has done its work, before anybody hears of it."""
    at: frozenset[Operation] = frozenset(get_args(Operation))
    """Which store steps it can strike."""
    may: tuple[type[OlmStateError], ...] = ()
    """What may be answered instead."""
    rivals: bool = False
    """Somebody else does the same."""
    overtakes: bool = False
    """Somebody else does something that makes a difference, where he can."""
    must: bool = False
    """Something must be: whoever is told that it was done would be told a lie."""


@attrs.frozen(kw_only=True)
class Steps:
    """How many steps there are."""

    task_steps: int
    store_steps: Sequence[Operation]
    ended: frozenset[int]
    """Those of the store's steps that were over before whoever watched looked away."""
    handled: int

    def of(self, strike: Strike) -> Iterable[int]:
        """Those that a fault can strike at, from 1."""
        match strike.unit:
            case "task step":
                return range(1, self.task_steps + 1)
            case "handled":
                return range(1, self.handled + 1)
            case "store step":
                fitting = [number for number, step in enumerate(self.store_steps, 1) if step in strike.at]
                return [number for number in fitting if number in self.ended or not strike.after]


def _raise(error: Callable[[], BaseException]) -> Callable[[Struck], NoReturn]:
    def strike(case: Struck) -> NoReturn:
        raise error()

    return strike


def _invalidate(case: Struck) -> None:
    case.write_from_elsewhere(keys_known=False)


def _invalidate_by_key(case: Struck) -> None:
    case.write_from_elsewhere(keys_known=True)


def _invalidate_and_look(case: Struck) -> None:
    case.write_from_elsewhere(keys_known=False)
    case.look()


def _overtake_and_look(case: Struck) -> None:
    case.overtake(told=True)
    case.look()


def _overtake(name: str, do: Callable[[Struck], None], unit: Unit = "task step", *, after: bool = False) -> Strike:
    return Strike(name=name, unit=unit, do=do, after=after, rivals=True, overtakes=True)


BLIND: frozenset[Operation] = frozenset({"contended"})
"""Whoever fails to see whether others wait for the lock takes it that they do."""
FAILING = frozenset(get_args(Operation)) - BLIND
READING: frozenset[Operation] = frozenset({"read", "page", "look"})
COMMIT: frozenset[Operation] = frozenset({"commit"})


def _refused(name: str, error: Callable[[], OlmStateError], at: frozenset[Operation], *, after: bool = False) -> Strike:
    """The store refuses, and whoever has asked must hear just that."""
    return Strike(name=name, unit="store step", do=_raise(error), at=at, after=after, may=(type(error()),), must=True)


def _busy() -> StoreBusy:
    return StoreBusy(holder_pid=None, waited=0)


def _io_error() -> StoreUnavailable:
    return StoreUnavailable(reason="I/O error")


def _doubt() -> StorePoisoned:
    return StorePoisoned(reason="I/O error on fsync")


def _at_both_ends(name: str, do: Callable[[Struck], None]) -> tuple[Strike, Strike]:
    """Before a call and after it: between two calls that nothing waits between, no other task gets in."""
    return (
        Strike(name=f"{name} before a call", unit="store step", do=do),
        Strike(name=f"{name} after a call", unit="store step", do=do, after=True),
    )


def _bug_in_the_store(name: str, *, after: bool = False) -> Strike:
    at = FAILING - COMMIT
    return Strike(name=name, unit="store step", do=_raise(Bug), at=at, after=after, may=(InternalError,), must=True)


def _bug_in_a_commit(name: str, *, after: bool = False) -> Strike:
    """Nobody knows what was written."""
    return Strike(name=name, unit="store step", do=_raise(Bug), at=COMMIT, after=after, may=(StorePoisoned,), must=True)


def _bug_in_an_actor(name: str, bug: Callable[[], BaseException], *, after: bool = False) -> Strike:
    return Strike(name=name, unit="handled", do=_raise(bug), after=after, may=(InternalError,), must=True)


STRIKES: Sequence[Strike] = (
    Strike(name="cancel the asker", unit="task step", do=lambda case: case.cancel()),
    Strike(name="close", unit="task step", do=lambda case: case.close()),
    Strike(name="kill", unit="task step", do=lambda case: case.kill()),
    Strike(name="invalidate", unit="task step", do=_invalidate),
    Strike(name="invalidate by key", unit="task step", do=_invalidate_by_key),
    Strike(name="invalidate, seen by another asker", unit="task step", do=_invalidate_and_look),
    Strike(name="another process asks the same", unit="task step", do=lambda case: case.start_rival(), rivals=True),
    _overtake("overtaken", lambda case: case.overtake(told=True)),
    _overtake("overtaken, and nobody knows by what", lambda case: case.overtake(told=False)),
    _overtake("overtaken, seen by another asker", _overtake_and_look),
    _overtake("overtaken before a call", lambda case: case.overtake(told=True), "store step"),
    _overtake("overtaken after a call", lambda case: case.overtake(told=True), "store step", after=True),
    Strike(name="somebody subscribes", unit="task step", do=lambda case: case.subscribe()),
    Strike(name="a subscriber is gone", unit="task step", do=lambda case: case.unsubscribe()),
    *_at_both_ends("cancel", lambda case: case.cancel()),
    *_at_both_ends("kill", lambda case: case.kill()),
    *_at_both_ends("invalidate", _invalidate),
    *_at_both_ends("invalidate by key", _invalidate_by_key),
    _refused("busy", _busy, FAILING),
    _refused("disk error", _io_error, FAILING),
    _refused("doubt", _doubt, FAILING),
    _refused("damage", lambda: StoreCorrupt(reason="test"), READING),
    _refused("disk full", StoreFull, COMMIT),
    _refused("written, but unknown", _doubt, COMMIT, after=True),
    Strike(name="blind", unit="store step", do=_raise(_io_error), at=BLIND),
    Strike(name="fenced", unit="store step", do=_raise(Fenced), at=COMMIT),
    _bug_in_the_store("bug in the store"),
    _bug_in_the_store("bug in the store after", after=True),
    _bug_in_a_commit("bug in a commit"),
    _bug_in_a_commit("bug in a commit after", after=True),
    Strike(name="bug beside the turns", unit="store step", do=_raise(Bug), at=BLIND),
    _bug_in_an_actor("bug in the actor", Bug),
    _bug_in_an_actor("bug in the actor after", Bug, after=True),
    _bug_in_an_actor("panic in the actor", Panic),
)
