"""What can go wrong, and what to do about it."""

from __future__ import annotations

from olmstate.actors import Supervisor
from olmstate.messages import (
    DecryptionError,
    DecryptRoomEvent,
    MissingRoomKey,
    ReceiveSync,
    RoomKeyWithheld,
    StoreBusy,
    StoreError,
)


async def show(supervisor: Supervisor, message: DecryptRoomEvent) -> str:
    """What to put on the screen for a room event."""
    try:
        decrypted = await supervisor.ask(message)
    except MissingRoomKey:
        return "Waiting for this message's key."
    except RoomKeyWithheld as withheld:
        return f"The sender keeps this message's key from us: {withheld.code}."
    except DecryptionError as error:
        return f"Unable to decrypt: {error}."
    return str(decrypted.content["body"])


async def take_in(supervisor: Supervisor, message: ReceiveSync) -> str:
    """What became of a sync. If it wasn't taken in, sync again: twice is harmless."""
    try:
        await supervisor.ask(message)
    except StoreBusy as busy:
        return f"not yet: {busy}"
    except StoreError as error:
        return f"not taken in: {error}"
    return "taken in"
