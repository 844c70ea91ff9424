"""Every message that a user can ask, so that none is forgotten when one is added."""

from __future__ import annotations

import inspect

import olmstate.messages
from olmstate.messages import Command, Message, Procedure, Query

FAMILIES = (Command, Query, Procedure)


def all_messages() -> list[type[Message[object]]]:
    """All commands, queries and procedures."""
    return [
        found
        for name, found in sorted(vars(olmstate.messages).items())
        if name in olmstate.messages.__all__
        and inspect.isclass(found)
        and issubclass(found, FAMILIES)
        and found not in FAMILIES
        and not any(found in parent.__bases__ for parent in vars(olmstate.messages).values() if inspect.isclass(parent))
    ]
