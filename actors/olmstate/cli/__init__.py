"""The command line: programs that embed a supervisor. The library never imports them.

A command is a module that adds itself with ``@commands.command()`` and is named here.
"""

from __future__ import annotations

from ._backup import backup
from ._bench import bench
from ._change_passphrase import change_passphrase
from ._commands import commands as main
from ._demo_command import demo
from ._inspect import inspect
from ._key_files import export_keys, import_keys

__all__ = ["backup", "bench", "change_passphrase", "demo", "export_keys", "import_keys", "inspect", "main"]
