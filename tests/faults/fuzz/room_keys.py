"""Exported room keys, and one that is added by hand."""

from __future__ import annotations

from collections.abc import Iterable

from vodozemac import InboundGroupSession, SessionKey

from olmstate.actors._wire.untrusted_json import is_array, is_object
from olmstate.messages import AddRoomKey, ExportRoomKeys, ImportRoomKeys, Json, RejectedRoomKey
from tests.faults.fuzz.device import ROOM, Device, lived, on_device, recording
from tests.faults.fuzz.target import Target, dump, parse
from tests.operations.peer import exported

KEYS = 3
TEXTS = "room_id", "session_id", "session_key", "sender_key"
"""What a caller of `AddRoomKey` has to give as text."""


def _seeds() -> Iterable[bytes]:
    for entry in recording().raw["imports"]:
        yield dump(entry["keys"][:KEYS])
        yield dump(entry["keys"][-1:])
    session = InboundGroupSession(SessionKey(lived().group.session_key.to_base64()))
    good = exported(lived().bob, ROOM, session)
    yield dump([good, good])
    yield dump([lived().bob.room_key(ROOM, lived().group) | {"sender_key": lived().bob.curve25519}])
    yield from (b"[]", b"[null]")


def _run(data: bytes) -> None:
    given = parse(data)
    keys: tuple[Json, ...] = tuple(given) if is_array(given) else (given,)

    async def take_in(device: Device) -> None:
        imported = await device.supervisor.ask(ImportRoomKeys(keys=keys))
        assert imported.total == len(keys)
        again = await device.supervisor.ask(ImportRoomKeys(keys=keys))
        assert (0, imported.rejected) == (again.imported, again.rejected)
        for key in keys:
            await _add(device, key)
        mine = await device.supervisor.ask(ExportRoomKeys())
        known = await device.supervisor.ask(ImportRoomKeys(keys=mine))
        assert (0, 0) == (known.imported, known.rejected)

    on_device(take_in)


async def _add(device: Device, key: Json) -> None:
    if not is_object(key) or not all(isinstance(key.get(field), str) for field in TEXTS):
        return
    async with device.refusing(RejectedRoomKey):
        await device.supervisor.ask(
            AddRoomKey(
                **{field: key[field] for field in TEXTS},
                sender_ed25519=lived().bob.ed25519,
                sender=lived().bob.user_id,
            )
        )


TARGET = Target(seeds=_seeds, run=_run)
