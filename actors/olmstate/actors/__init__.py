"""The actors, the supervisor, and how to open one."""

from __future__ import annotations

from . import _inherited_randomness as _inherited_randomness  # for what importing it does
from ._open import open_supervisor, run_supervisor
from ._supervisor import Options, Supervisor

__all__ = ["Options", "Supervisor", "open_supervisor", "run_supervisor"]
