"""Every message that users can send has a line in `replies`, which the type checkers read."""

from __future__ import annotations

import ast
from pathlib import Path

import pytest

import olmstate.messages
from olmstate.messages import Command, Message, Procedure, Query

BASES = {Message, Command, Query, Procedure}
MESSAGES = [
    name
    for name in olmstate.messages.__all__
    if isinstance(found := getattr(olmstate.messages, name), type) and issubclass(found, Message) and found not in BASES
]


@pytest.fixture(scope="module")
def asked() -> set[str]:
    """The classes of what `replies` asks: calls in place, and annotated arguments."""
    tree = ast.parse((Path(__file__).parent / "replies.py").read_text())
    names: set[str] = set()
    for function in tree.body:
        if not isinstance(function, ast.AsyncFunctionDef):
            continue
        arguments = [*function.args.args, *function.args.kwonlyargs]
        classes = {argument.arg: ast.unparse(argument.annotation or ast.Constant(None)) for argument in arguments}
        for call in ast.walk(function):
            if isinstance(call, ast.Call) and ast.unparse(call.func) == "supervisor.ask":
                (message,) = call.args
                in_place = ast.unparse(message.func) if isinstance(message, ast.Call) else None
                names.add(in_place or classes[ast.unparse(message)])
    return names


@pytest.mark.parametrize("name", MESSAGES)
def test_the_reply_to_each_message_is_checked(name: str, asked: set[str]) -> None:
    assert name in asked


def test_there_are_messages() -> None:
    assert len(MESSAGES) >= 25
