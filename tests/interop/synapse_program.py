"""Synapse, for as long as its stdin is open. Run by Synapse's own Python, with the configuration's path.

Why: a test run that is killed can't stop its homeserver, which would go on for ever.
"""

from __future__ import annotations

import os
import sys
import threading
from importlib import import_module


def _die_with_whoever_started_us() -> None:
    while os.read(sys.stdin.fileno(), 1):
        pass
    os._exit(0)


if __name__ == "__main__":
    threading.Thread(target=_die_with_whoever_started_us, daemon=True).start()
    sys.argv = ["synapse", "--config-path", *sys.argv[1:]]
    import_module("synapse.app.homeserver").main()
