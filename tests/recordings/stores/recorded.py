"""Copies of the recorded stores, for tests to open."""

from __future__ import annotations

import gzip
import json
from pathlib import Path

from olmstate.messages import JsonObject

FOLDER = Path(__file__).parent
RECORDED = sorted(int(path.stem.removeprefix("schema-")) for path in FOLDER.glob("schema-*.json"))
"""The schemas of which there is one."""


def unpack(version: int, folder: Path) -> JsonObject:
    """Put the store that was recorded with this schema into ``folder``, which it makes; what is known of it."""
    folder.mkdir(parents=True)
    packed = (FOLDER / f"schema-{version}.sqlite.gz").read_bytes()
    (folder / "olmstate.sqlite").write_bytes(gzip.decompress(packed))
    facts: JsonObject = json.loads((FOLDER / f"schema-{version}.json").read_text(encoding="utf-8"))
    return facts
