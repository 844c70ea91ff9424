"""olmstate for programs on asyncio: the same supervisor, messages and promises.

``from olmstate.asyncio import open_supervisor``, and then as under Trio. Trio runs as a guest of the running loop, in
the same thread; nothing else of the library imports asyncio.
"""

from __future__ import annotations

from ._supervisor import Events, Supervisor, SyncTurn, open_supervisor

__all__ = ["Events", "Supervisor", "SyncTurn", "open_supervisor"]
