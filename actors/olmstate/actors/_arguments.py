"""What a user gives when opening a supervisor, checked where it is given: most programs run no type checker."""

from __future__ import annotations

import os
from pathlib import Path

from olmstate.messages import Transport

from ._engine.options import Options
from ._engine.points import Addition
from ._requests.points import TRANSPORT


def folder_of(folder: str | os.PathLike[str]) -> Path:
    """Where the store is.

    Raises:
        TypeError: It is no path.
        ValueError: It is empty, as a variable that nobody has set: the store would be made wherever the program runs.
    """
    if folder == "":
        raise ValueError("folder must not be empty")
    return Path(folder)


def text_of(name: str, value: object) -> str:
    """An argument that is text.

    Raises:
        TypeError: It isn't. None would open the store of any device.
    """
    if not isinstance(value, str):
        raise TypeError(f"{name} must be a str, not {type(value).__name__}")
    return value


def options_of(options: Options | None) -> Options:
    """What was chosen, or the usual.

    Raises:
        TypeError: It is something else.
    """
    if options is None:
        return Options()
    if not isinstance(options, Options):  # pyright: ignore[reportUnnecessaryIsInstance] # most programs run no checker
        raise TypeError(f"options must be Options, not {type(options).__name__}")
    return options


def transport_of(transport: Transport | None) -> tuple[Addition, ...]:
    """What a user gives beside the capabilities.

    Raises:
        TypeError: It can't be called.
    """
    if transport is None:
        return ()
    if not callable(transport):
        raise TypeError(f"transport must be an asynchronous function, not a {type(transport).__name__}")
    return (TRANSPORT.add(transport),)
