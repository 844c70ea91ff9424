"""A handle knows its own commit from another's, also before the call that made it has returned."""

from __future__ import annotations

from pathlib import Path

from olmstate.messages import DeviceId, UserId
from olmstate.storage import Row, Table, open_store


async def test_a_commit_is_ours_on_the_handle_that_made_it_only(tmp_path: Path) -> None:
    alice, device = UserId("@alice:example.org"), DeviceId("ALICE")
    first = await open_store(tmp_path, user_id=alice, device_id=device, key=None)
    second = await open_store(tmp_path, user_id=alice, device_id=device, key=None)
    await first.lock.acquire(1.0)
    assert 1 == await first.commit({Table.DEVICES: [Row(b"key", b"partition", b"value")]}, 0)
    first.lock.release()
    assert first.changes(0).ours
    assert not second.changes(0).ours
    assert not first.changes(1).ours  # nothing new at all
    await second.aclose()
    await first.aclose()
