"""``olmstate import-nio``, ``import-mautrix``, ``import-libolm``: a device moves in from another library.

Rule: it moves once, and whole. The new store is made in a folder beside its place and gets its name last, so that
there is no half of it; and a store that is there already is never moved into.
Rule: what it comes from is only read. An SQLite file is copied, with its log, and the copy is opened.

A file a library, which reads what that library has kept (`_found.Found`); `_move` takes it in, and tells of it.
"""

from __future__ import annotations

from ._libolm import import_libolm
from ._mautrix import import_mautrix
from ._nio import import_nio

__all__ = ["import_libolm", "import_mautrix", "import_nio"]
