"""/sync responses, as they came and parsed."""

from __future__ import annotations

import json
from collections.abc import Iterable

from olmstate.messages import Json, JsonObject, MalformedMessage, ReceiveSync, SyncToken
from tests.faults.fuzz.device import RECEIVED, Device, on_device, recording
from tests.faults.fuzz.target import Target, dump, parse

EVENTS = 3
"""Of a seed, so that it stays small."""


def _seeds() -> Iterable[bytes]:
    for sync in recording().syncs[RECEIVED - 2 :]:
        events = sync.get("to_device", {}).get("events", ())
        for start in range(0, len(events), EVENTS):
            yield dump(
                {
                    "next_batch": sync["next_batch"],
                    "to_device": {"events": events[start : start + EVENTS]},
                    "device_one_time_keys_count": {"signed_curve25519": 49},
                    "device_unused_fallback_key_types": ["signed_curve25519"],
                }
            )
    yield from (b'{"next_batch":""}', b'{"next_batch":"a","to_device":null,"device_one_time_keys_count":null}', b"[]")
    yield recording().raw["raw_sync_huge_nesting"].encode()[:2000]


def _run(data: bytes) -> None:
    parsed = parse(data)

    async def receive(device: Device) -> None:
        await _receive(device, data)
        await _receive(device, data.decode("utf-8", "surrogateescape"))
        if parsed is not None:
            await _receive(device, parsed)

    on_device(receive)


async def _receive(device: Device, sync: JsonObject | str | bytes) -> None:
    async with device.refusing(MalformedMessage):
        received = await device.supervisor.ask(ReceiveSync(sync=sync))
        assert received.token_stored
        parsed: JsonObject = json.loads(sync) if isinstance(sync, str | bytes) else sync
        assert parsed["next_batch"] == await device.supervisor.ask(SyncToken())
        to_device: JsonObject = parsed.get("to_device") or {}
        events: list[Json] = to_device.get("events") or []
        assert len(received.to_device) == len(events)


TARGET = Target(seeds=_seeds, run=_run)
