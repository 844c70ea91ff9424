"""What the sources say that running code doesn't know: annotations as written, and the text below a name.

Owns: reading modules with `ast`.
Rule: a name is described where it is defined, and nowhere else; the documentation repeats it from there.
Why: attrs fields, enum members, NewTypes and aliases have no docstrings at run time, and `tuple[RoomId, ...]` is easier
    to read as its author wrote it than as `typing` prints it.
"""

from __future__ import annotations

import ast
import inspect
from collections.abc import Iterator, Sequence
from itertools import pairwise
from pathlib import Path
from types import ModuleType

import attrs


@attrs.frozen(kw_only=True)
class Name:
    """A name that a module or a class body binds."""

    name: str
    annotation: str = ""
    value: ast.expr | None = None
    text: str = ""
    """The string literal below it."""


@attrs.frozen(kw_only=True)
class Class:
    """A class statement."""

    name: str
    bases: tuple[ast.expr, ...]
    text: str
    """Its docstring."""
    names: tuple[Name, ...]
    properties: tuple[Name, ...]


def files_of(package: ModuleType) -> list[Path]:
    """A package's modules, by name."""
    return sorted(file for folder in package.__path__ for file in Path(folder).glob("*.py"))


def syntax_of(file: Path) -> ast.Module:
    """A module's syntax tree."""
    return ast.parse(file.read_text(encoding="utf-8"))


def classes_in(tree: ast.Module) -> Iterator[Class]:
    """The classes at the top of a module."""
    for statement in tree.body:
        if isinstance(statement, ast.ClassDef):
            yield Class(
                name=statement.name,
                bases=tuple(statement.bases),
                text=inspect.cleandoc(ast.get_docstring(statement) or ""),
                names=tuple(names_in(statement.body)),
                properties=tuple(_properties_in(statement.body)),
            )


def names_in(body: Sequence[ast.stmt]) -> Iterator[Name]:
    """The names that a body assigns, each with the text below it."""
    for statement, following in pairwise([*body, ast.Pass()]):
        text = _text(following)
        match statement:
            case ast.AnnAssign(target=ast.Name(id=name), annotation=annotation, value=value):
                yield Name(name=name, annotation=ast.unparse(annotation), value=value, text=text)
            case ast.Assign(targets=[ast.Name(id=name)], value=value):
                yield Name(name=name, value=value, text=text)
            case _:
                pass


def _properties_in(body: Sequence[ast.stmt]) -> Iterator[Name]:
    for statement in body:
        match statement:
            case ast.FunctionDef(name=name, decorator_list=[ast.Name(id="property")], returns=ast.expr() as returns):
                yield Name(name=name, annotation=ast.unparse(returns), text=ast.get_docstring(statement) or "")
            case _:
                pass


def _text(statement: ast.stmt) -> str:
    match statement:
        case ast.Expr(value=ast.Constant(value=str(text))):
            return inspect.cleandoc(text)
        case _:
            return ""
