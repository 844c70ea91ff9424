"""Keys that a restored backup makes: the original may have uploaded others since, under the ids that come next."""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from pathlib import Path

import pytest

from olmstate.actors import Supervisor
from olmstate.messages import DeviceIdentity, JsonObject, KeyId, MarkKeysPublished, PrepareOneTimeKeys, ReceiveSync
from olmstate.storage import backup, open_store
from tests.operations.conftest import Device
from tests.operations.device import DAY, KEY, Clock, decrypt
from tests.operations.peer import Peer

USED_UP: JsonObject = {
    "next_batch": "s1",
    "device_one_time_keys_count": {"signed_curve25519": 0},
    "device_unused_fallback_key_types": [],
}


@pytest.fixture
def back_up(device: Device, tmp_path: Path) -> Callable[[str], Awaitable[Path]]:
    """Makes a backup in a folder of that name."""

    async def make(name: str) -> Path:
        store = await open_store(device.folder, key=KEY)
        try:
            await backup(store, tmp_path / name)
        finally:
            await store.aclose()
        return tmp_path / name

    return make


async def _upload(supervisor: Supervisor, clock: Clock) -> dict[KeyId, JsonObject]:
    """What is due, an hour later; everything that was uploaded before was used up."""
    clock.now += DAY // 24
    await supervisor.ask(ReceiveSync(sync=USED_UP))
    keys = await supervisor.ask(PrepareOneTimeKeys())
    await supervisor.ask(MarkKeysPublished(key_ids=keys.key_ids))
    assert len(keys.one_time_keys) == 50
    assert len(keys.fallback_keys) == 1
    return {**keys.one_time_keys, **keys.fallback_keys}


async def test_no_key_id_of_the_originals_is_given_to_another_key(
    alice: Supervisor, device: Device, clock: Clock, back_up: Callable[[str], Awaitable[Path]]
) -> None:
    uploads = [await _upload(alice, clock)]
    folders = [await back_up("first"), await back_up("of the same generation")]
    uploads.append(await _upload(alice, clock))
    for folder in folders:
        async with device.open(folder) as restored:
            uploads.append(await _upload(restored, clock))
        async with device.open(folder) as reopened:
            uploads.append(await _upload(reopened, clock))
    assert len({key_id for keys in uploads for key_id in keys}) == len(uploads) * 51


async def test_one_time_keys_that_were_handed_out_when_it_was_made_are_the_originals_to_upload(
    alice: Supervisor, device: Device, me: DeviceIdentity, back_up: Callable[[str], Awaitable[Path]]
) -> None:
    keys = await alice.ask(PrepareOneTimeKeys())
    async with device.open(await back_up("backup")) as restored:
        new = await restored.ask(PrepareOneTimeKeys())
        assert 50 == len(new.one_time_keys)
        assert not keys.one_time_keys.keys() & new.one_time_keys.keys()
        assert keys.fallback_keys == new.fallback_keys
        bob = Peer()
        bob.start_session(me, next(iter(keys.one_time_keys.values())))
        await decrypt(restored, bob.event(me))
