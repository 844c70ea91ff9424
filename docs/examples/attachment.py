"""Send a file into an encrypted room, and save one that came."""

from __future__ import annotations

import tempfile
from collections.abc import Awaitable, Callable
from pathlib import Path
from typing import BinaryIO

import trio

from olmstate.actors import decrypt_attachment, encrypt_attachment
from olmstate.messages import DamagedAttachment, JsonObject


async def file_content(
    path: Path, upload: Callable[[BinaryIO], Awaitable[str]]
) -> JsonObject:
    """Upload a file encrypted. The content, for `EncryptRoomEvent`, has the key."""
    with path.open("rb") as plain, tempfile.TemporaryFile() as encrypted:
        file = await trio.to_thread.run_sync(encrypt_attachment, plain, encrypted)
        encrypted.seek(0)
        mxc = await upload(encrypted)  # POST /_matrix/media/v3/upload, without the name
    return {"msgtype": "m.file", "body": path.name, "file": {**file, "url": mxc}}


async def save(content: JsonObject, downloaded: BinaryIO, path: Path) -> str:
    """Decrypt what was downloaded from ``content["file"]["url"]``."""
    with path.open("wb") as target:
        try:
            await trio.to_thread.run_sync(
                decrypt_attachment, downloaded, target, content["file"]
            )
        except DamagedAttachment:
            path.unlink()
            return "The file was changed on its way."
    return f"saved as {path.name}"
