"""The state diagrams: the directives ``supervisor-states``, ``cache-states`` and ``verification-states``.

Owns: what stands on the page: the drawing, and what the states and moves are.
"""

from __future__ import annotations

import inspect
import re
from collections import defaultdict
from collections.abc import Iterator, Sequence
from pathlib import Path
from types import ModuleType
from typing import Any

from docutils import nodes
from sphinx.application import Sphinx
from sphinx.util.docutils import SphinxDirective

from olmstate.actors._engine import cache, states
from olmstate.actors._engine.states import TRANSITIONS
from olmstate.actors._verification import flow

from .source import classes_in, syntax_of
from .state_machine import StateMachine
from .states import VERIFICATION_TABLES, cache_machine, supervisor_edges, supervisor_machine, verification_machine
from .tables import table_of


def meanings(module: ModuleType, class_name: str) -> dict[str, str]:
    """The text below each member of an enumeration."""
    [found] = [found for found in classes_in(syntax_of(Path(inspect.getfile(module)))) if found.name == class_name]
    return {name.name: " ".join(name.text.split()) for name in found.names}


class _Drawing(SphinxDirective):
    has_content = False

    def drawn(self, machine: StateMachine, title: str) -> nodes.raw:
        return nodes.raw("", machine.svg(title), format="html")


class SupervisorStates(_Drawing):
    """The supervisor's states, drawn."""

    def run(self) -> list[nodes.Node]:
        """Draw the table, and say what its states and moves are."""
        self.env.note_dependency(inspect.getfile(states))
        said = re.findall(r"^ {4}([A-Z]+) +(.+)$", inspect.getdoc(states) or "", flags=re.MULTILINE)
        if [state for state, _ in said] != [state.name for state in TRANSITIONS]:
            raise self.error("the module's list of states isn't that of its table")
        return [
            self.drawn(supervisor_machine(), "The supervisor's states and moves"),
            table_of(("state", "what it does there"), said),
            table_of(("move", "from", "to", "what has happened"), list(_moves())),
        ]


def _moves() -> Iterator[tuple[str, str, str, str]]:
    edges = supervisor_edges()
    sources: dict[tuple[str, str], list[str]] = defaultdict(list)
    for edge in edges:
        sources[edge.label, edge.target].append(edge.source)
    for move, text in meanings(states, "Move").items():
        for (label, target), found in sources.items():
            if label == move.lower():
                yield label, _listed(found), target, text


def _listed(states: Sequence[str]) -> str:
    others = [state.name for state in TRANSITIONS if state.name not in states]
    if not others:
        return "every state"
    return f"every state but {others[0]}" if len(others) == 1 else ", ".join(states)


class CacheStates(_Drawing):
    """A cache entry's states, drawn."""

    def run(self) -> list[nodes.Node]:
        """Draw the table."""
        self.env.note_dependency(inspect.getfile(cache))
        return [self.drawn(cache_machine(), "A cache entry's states and moves")]


class VerificationStates(_Drawing):
    """One of the verification's tables, drawn: ``request``, ``sas`` or ``qr``. ``otherwise``: the rest, as a table."""

    required_arguments = 1

    def run(self) -> list[nodes.Node]:
        """Draw the table, and say what its states are and what each move has done."""
        self.env.note_dependency(inspect.getfile(flow))
        [name] = self.arguments
        if name == "otherwise":
            return [table_of(("what happens", "what it is", "what comes of it"), list(_otherwise()))]
        texts = meanings(flow, "State")
        table = VERIFICATION_TABLES[name]
        shown = [(state.name, texts[state.name].removeprefix("SAS: ").removeprefix("QR: ")) for state in table]
        return [
            self.drawn(verification_machine(name), f"A verification's states and moves: {name}"),
            table_of(("state", "what it is"), shown),
            table_of(("in", "what happens", "what is sent, shown or marked", "then"), list(_rows(table))),
        ]


def _rows(table: flow.Table) -> Iterator[tuple[str, str, str, str]]:
    for state, row in table.items():
        for move, found in row.items():
            if found is None:
                yield state.name, move.value, "", "refused"
            else:
                yield state.name, move.value, ", ".join(_done(found)), (found.state or state).name


def _done(found: flow.Outcome) -> Iterator[str]:
    for act in found.acts:
        yield f"cancel: {found.code.value}" if act is flow.Act.SEND_CANCEL and found.code else act.value


def _otherwise() -> Iterator[tuple[str, str, str]]:
    """What the states that are alive do with what isn't in their own rows."""
    texts = meanings(flow, "Move")
    for move, found in flow.OTHERWISE[flow.Phase.LIVE].items():
        if found is None:
            result = "refused: an error to the user, and nothing else"
        else:
            words = [*_done(found), *([found.state.name] if found.state else [])]
            result = ", ".join(words) or "nothing"
        yield move.value, texts.get(move.name, ""), result


def setup(app: Sphinx) -> dict[str, Any]:
    """Register the directives."""
    app.add_directive("supervisor-states", SupervisorStates)
    app.add_directive("cache-states", CacheStates)
    app.add_directive("verification-states", VerificationStates)
    return {"parallel_read_safe": True, "parallel_write_safe": True}
