"""``olmstate demo``, and all that it takes: a recording, workers, a homeserver, an independent reader, and the control.

Nothing else imports it.
"""

from __future__ import annotations

from ._command import demo_command

__all__ = ["demo_command"]
