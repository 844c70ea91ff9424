"""Carry room keys from one device to another in an encrypted key file."""

from __future__ import annotations

from olmstate.actors import Supervisor
from olmstate.messages import ExportKeyFile, ImportKeyFile, RoomKeysImported


async def carry_over(
    old: Supervisor, new: Supervisor, passphrase: str
) -> RoomKeysImported:
    """What ``old`` can read, ``new`` can read too."""
    file = await old.ask(ExportKeyFile(passphrase=passphrase))
    return await new.ask(ImportKeyFile(file=file, passphrase=passphrase))
