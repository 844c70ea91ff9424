"""The line in front of the lock: places that are taken one after the other, up to the head's.

Owns: a lock file for each place, in the store's folder; `turn` is the head's.
Rule: everyone enters at the last place and moves up when the one before is free. In the line, nobody is overtaken.
Why more than one place: whoever waits for one tries now and then, so among several who wait for the same place chance
decides. With one place for four greedy processes, one wait in a hundred was four times as long as most.
"""

from __future__ import annotations

import contextlib
from contextlib import ExitStack
from pathlib import Path
from typing import Final

from .lock_file import LockFile

PLACES: Final = ("turn", "next", "third")
"""Files, from the head's on."""
HEAD: Final = 0
"""The first place."""


class Line:
    """One handle's place in the line, or none. Not thread-safe."""

    def __init__(self, folder: Path) -> None:
        """Outside the line.

        Raises:
            StoreUnavailable: The operating system refuses to open or create a file.
            StoreFull: No room to create one.
        """
        with ExitStack() as opened:
            self._files = [opened.enter_context(contextlib.closing(LockFile(folder / name))) for name in PLACES]
            opened.pop_all()
        self._place = len(PLACES)

    @property
    def place(self) -> int:
        """Where this handle is: `HEAD`, or behind it; ``len(PLACES)`` outside the line."""
        return self._place

    @property
    def files(self) -> list[LockFile]:
        """Each place's file, from the head's on."""
        return list(self._files)

    def move_up(self) -> bool:
        """Enter the line or move up, as far as there is room; whether this handle is the head now.

        Raises:
            StoreUnavailable: The operating system refuses; `place` is how far it came before.
        """
        while self._place != HEAD and self._files[self._place - 1].take():
            self._place -= 1
            self._let_go(self._place + 1)
        return self._place == HEAD

    def leave(self) -> None:
        """Let the next one move up. Outside the line, nothing happens."""
        self._let_go(self._place)
        self._place = len(PLACES)

    def _let_go(self, place: int) -> None:
        if place < len(PLACES):
            self._files[place].let_go()

    def is_taken(self) -> bool:
        """Whether anybody else is in the line; asked from outside.

        Raises:
            StoreUnavailable: The operating system refuses.
        """
        return any(file.is_taken() for file in self._files)

    def close(self) -> None:
        """Leave, and close the files. Closing again does nothing."""
        for file in self._files:
            file.close()

    def abandon(self) -> None:
        """Close a forked child's copies: the place is its parent's."""
        for file in self._files:
            file.abandon()
