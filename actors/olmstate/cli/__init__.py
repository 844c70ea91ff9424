"""The command line: programs that embed a supervisor. The library never imports them.

A command is a module that adds itself with ``@commands.command()`` and is named here.
"""

from __future__ import annotations

from ._backup import backup
from ._change_passphrase import change_passphrase
from ._commands import commands as main
from ._inspect import inspect
from ._key_files import export_keys, import_keys
from ._moving_in import import_libolm, import_mautrix, import_nio
from ._sign_in import bootstrap, recover
from ._verify import verify
from .demo import demo_command

__all__ = [
    "backup",
    "bootstrap",
    "change_passphrase",
    "demo_command",
    "export_keys",
    "import_keys",
    "import_libolm",
    "import_mautrix",
    "import_nio",
    "inspect",
    "main",
    "recover",
    "verify",
]
