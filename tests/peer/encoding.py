"""Bytes and JSON as Matrix writes them, from the spec alone. Shares nothing with the library."""

from __future__ import annotations

import base64
import json

from tests.peer.names import Json


def b64(data: bytes) -> str:
    """Unpadded base64."""
    return base64.b64encode(data).decode().rstrip("=")


def unb64(text: str) -> bytes:
    """Base64 without padding."""
    return base64.b64decode(text + "=" * (-len(text) % 4))


def canonical(value: Json) -> str:
    """Canonical JSON, of values that have one."""
    return json.dumps(value, sort_keys=True, separators=(",", ":"), ensure_ascii=False)
