"""Recordings, as the demo reads them."""

from __future__ import annotations

import gzip
import os
import tempfile
import zlib
from collections.abc import Iterable
from contextlib import suppress
from pathlib import Path
from typing import Any

import click

from olmstate.cli.demo._recording import Progress, load_recording
from tests.faults.fuzz.device import recording
from tests.faults.fuzz.target import Target, dump, parse


def _seeds() -> Iterable[bytes]:
    raw: dict[str, Any] = recording().raw
    for at in (0, 3):
        sync = raw["syncs"][at]
        joined = {
            room: {"timeline": {"events": part["timeline"]["events"][-1:]}}
            for room, part in list(sync.get("rooms", {}).get("join", {}).items())[:1]
        }
        ids = [event["event_id"] for part in joined.values() for event in part["timeline"]["events"]]
        yield dump(
            {
                "format": raw["format"],
                "alice": {**raw["alice"], "account_pickle": "", "olm_sessions": [], "published_one_time_keys": {}},
                "keys_query": {"device_keys": {}},
                "syncs": [
                    {**sync, "to_device": {"events": sync["to_device"]["events"][:1]}, "rooms": {"join": joined}}
                ],
                "expected": {event_id: raw["expected"][event_id] for event_id in ids if event_id in raw["expected"]},
                "undecryptable": {event_id: "malformed" for event_id in ids if event_id not in raw["expected"]},
                "to_device_expected": raw["to_device_expected"][:1],
                "imports": [{"after_sync": 0, "keys": []}],
            }
        )


def _run(data: bytes) -> None:
    folder = Path("/dev/shm") if os.access("/dev/shm", os.W_OK) else None  # noqa: S108 - the file's name is random
    with tempfile.NamedTemporaryFile(dir=folder, suffix=".json.gz") as file:
        file.write(data if parse(data) is None and zlib.crc32(data) % 2 else gzip.compress(data, 1))
        file.flush()
        with suppress(click.ClickException):
            _look(Path(file.name))


def _look(path: Path) -> None:
    read = load_recording(path)
    progress = Progress(syncs=1, imports=1)
    for sync in range(len(read.syncs)):
        read.to_device(sync)
        read.imports(sync)
        for event in read.room_events(sync):
            read.is_readable(event, progress)
            if read.may_become_readable(event):
                read.reason(event)
                read.differences(event, read.readable[event.event_id])


TARGET = Target(seeds=_seeds, run=_run)
