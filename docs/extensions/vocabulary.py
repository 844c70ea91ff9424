"""Every name that `olmstate.messages` exports, as a reader needs it: what it is, what it carries, what comes back.

Owns: telling commands, queries, procedures, events, errors, values and types apart, and taking docstrings to pieces.
Rule: what isn't exported isn't described; what is exported is described once.
"""

from __future__ import annotations

import ast
import re
from collections.abc import Iterator

import attrs

import olmstate.messages

from .source import Class, Name, classes_in, files_of, names_in, syntax_of

_RAISES = "\n\nRaises:\n"
_RETURNS = "\n\nReturns:\n"
_ERRORS = re.compile(r"(?P<names>[A-Z]\w+(?:, [A-Z]\w+)*)(?:: (?P<when>.+)|[,.])", re.DOTALL)

_KINDS = {
    "OlmStateError": "error",
    "Event": "event",
    "Command": "command",
    "Query": "query",
    "Procedure": "procedure",
    "Message": "message",
}


@attrs.frozen(kw_only=True)
class Entry:
    """An exported name."""

    name: str
    kind: str
    """``command``, ``query``, ``procedure``, ``event``, ``error``, ``value`` or ``type``."""
    text: str = ""
    reply: str = ""
    """The type of the reply; only of messages."""
    returns: str = ""
    """What the docstring says of the reply, beside its type."""
    says: str = ""
    """What ``str(error)`` is made from; only of errors."""
    stands_for: str = ""
    """What a type is made from."""
    fields: tuple[Name, ...] = ()
    properties: tuple[Name, ...] = ()
    errors: tuple[tuple[str, str], ...] = ()
    """Each error that a message names, and when it is raised."""


def read_vocabulary() -> dict[str, Entry]:
    """All exported names, in the order of the sources."""
    entries: dict[str, Entry] = {}
    for file in files_of(olmstate.messages):
        tree = syntax_of(file)
        for found in classes_in(tree):
            entries[found.name] = _class(found)
        for name in names_in(tree.body):
            entries[name.name] = _type(name)
    exported = set(olmstate.messages.__all__)
    if missing := exported - entries.keys():
        raise LookupError(f"exported, and defined nowhere: {sorted(missing)}")
    return {name: entry for name, entry in entries.items() if name in exported}


def _class(found: Class) -> Entry:
    kind = _kind(getattr(olmstate.messages, found.name, object))
    text, _, raises = found.text.partition(_RAISES)
    text, _, returns = text.partition(_RETURNS)
    reply = _argument(found) if kind in ("command", "query", "procedure") else ""
    literals = {
        name.name: name.value.value
        for name in found.names
        if isinstance(name.value, ast.Constant) and isinstance(name.value.value, str)
    }
    return Entry(
        name=found.name,
        kind=kind,
        text=text,
        reply=reply,
        returns=" ".join(returns.split()).removeprefix(reply).removeprefix(":").strip(),
        says=literals.get("text", "") if kind == "error" else "",
        fields=tuple(name for name in found.names if name.annotation and not name.annotation.startswith("ClassVar")),
        properties=found.properties,
        errors=tuple(errors_in(raises)),
    )


def _kind(cls: type) -> str:
    ancestors = [ancestor.__name__ for ancestor in cls.__mro__]
    return next((kind for base, kind in _KINDS.items() if base in ancestors), "value")


def _argument(found: Class) -> str:
    """``R`` of ``Command[R]``."""
    [base, *_] = found.bases
    return ast.unparse(base.slice) if isinstance(base, ast.Subscript) else ""


def _type(name: Name) -> Entry:
    match name.value:
        case ast.Call(func=ast.Name(id="NewType"), args=[_, base]):
            stands_for = ast.unparse(base)
        case None:
            stands_for = ""
        case value:
            stands_for = ast.unparse(value)
    return Entry(name=name.name, kind="type", text=name.text, stands_for=stands_for)


def errors_in(raises: str) -> Iterator[tuple[str, str]]:
    """The entries of a Google-style ``Raises:`` section: ``Name: when``, or just names."""
    if not raises:
        return
    for entry in re.split(r"\n(?! )", re.sub(r"^ {4}", "", raises, flags=re.MULTILINE)):
        read = _ERRORS.fullmatch(" ".join(entry.split()))
        if read is None:
            raise ValueError(f"a Raises: section that can't be read: {entry!r}")
        for name in read["names"].split(", "):
            yield name, read["when"] or ""
