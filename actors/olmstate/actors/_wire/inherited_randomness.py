"""What a forked child must not use: the random bytes that its parent has in store.

Owns: an at-fork hook that uses them up in the child.
Rule: no key is made of bytes that another process makes one of too.
Why: vodozemac draws keys from a generator that fills a buffer of 256 bytes in advance, and looks whether it was forked
    only when it fills the buffer anew (rand 0.8, ThreadRng). Until then a child makes the keys that its parent makes:
    the same Megolm session in two rooms, the same ratchet key in two Olm sessions.
"""

from __future__ import annotations

import os
from typing import Final

from vodozemac import GroupSession

SESSIONS: Final = 4
"""A group session is made of 160 random bytes; two would do."""


def _use_up() -> None:
    made = 0
    interrupted: KeyboardInterrupt | None = None
    while made < SESSIONS:
        try:
            GroupSession()
            made += 1
        except KeyboardInterrupt as error:
            interrupted = error
    if interrupted is not None:
        raise interrupted


os.register_at_fork(after_in_child=_use_up)
