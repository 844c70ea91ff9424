"""Operations: what commands do across actors.

The supervisor runs them, one at a time; procedures run in their asker's task.
"""

from __future__ import annotations

from ._commands import Flush, run_command
from ._room_keys import Asking, export_key_file, export_room_keys, import_key_file, import_room_keys
from ._rooms import encrypted_room_event, event_payload
from ._turn import Actors, Turn

__all__ = [
    "Actors",
    "Asking",
    "Flush",
    "Turn",
    "encrypted_room_event",
    "event_payload",
    "export_key_file",
    "export_room_keys",
    "import_key_file",
    "import_room_keys",
    "run_command",
]
