"""What olmstate does about answers that never came, with Synapse behind a proxy that loses them."""

from __future__ import annotations

import json
from collections.abc import AsyncGenerator

import pytest
import trio

from tests.interop.claims import claim_from, keys_left, use_up
from tests.interop.fault_proxy import FaultProxy, Kind, open_fault_proxy
from tests.interop.homeserver import Homeserver, NoAnswer
from tests.interop.olmstate_device import OlmstateDevice
from tests.interop.people import People, all_say, meet, sync_all, what_they_read

PATIENCE = 120
"""Seconds: what has failed is tried again after fifteen."""


@pytest.fixture
async def proxy(homeserver: Homeserver) -> AsyncGenerator[FaultProxy]:
    async with open_fault_proxy(homeserver.synapse.url, homeserver.client) as running:
        yield running


@pytest.fixture
async def alice(people: People, proxy: FaultProxy) -> OlmstateDevice:
    """An olmstate device whose requests go through the proxy."""
    session = await people.homeserver.register("alice")
    return await people.olmstate(people.homeserver.through(proxy.url, session))


def versions_of_keys(proxy: FaultProxy) -> dict[str, set[str]]:
    """The keys that were uploaded under each id."""
    versions: dict[str, set[str]] = {}
    for passed in proxy.passed:
        if passed.path == "/keys/upload":
            for key_id, key in json.loads(passed.request.body).get("one_time_keys", {}).items():
                versions.setdefault(key_id, set()).add(json.dumps(key, sort_keys=True))
    return versions


@pytest.mark.parametrize("kind", ["refuse", "drop", "lose_answer", "cut_answer", "garble_answer"])
async def test_after_a_failed_upload_the_homeserver_has_all_keys_each_under_an_id_of_its_own(
    kind: Kind, people: People, alice: OlmstateDevice, proxy: FaultProxy
) -> None:
    bob = await people.rust()
    room = await meet([alice, bob])
    await bob.send(room, "this takes a one-time key")
    proxy.add(kind, "/keys/upload")
    await alice.sync()
    with trio.fail_after(PATIENCE):
        while not [passed for passed in proxy.passed if passed.path == "/keys/upload"][1:]:  # noqa: ASYNC110 - as below
            await trio.sleep(0.1)
        while await keys_left(alice.session) < 50:
            await alice.sync()
            await trio.sleep(1)
    assert {1} == {len(keys) for keys in versions_of_keys(proxy).values()}
    assert {200} == {passed.status for passed in proxy.passed if passed.status is not None}
    said = await all_say([bob], room)
    await sync_all([alice, bob])
    assert [said] * 2 == what_they_read([alice, bob], said)


async def test_a_key_that_was_claimed_before_its_upload_was_answered_is_not_offered_again(
    people: People, alice: OlmstateDevice, proxy: FaultProxy
) -> None:
    bob, carol, dave = await people.rust(), await people.rust(), await people.rust()
    room = await meet([alice, bob, carol, dave])
    await bob.send(room, "this takes a one-time key, so that another is uploaded")
    proxy.add("lose_answer", "/keys/upload")
    await alice.sync()
    await use_up(alice.session, await people.homeserver.register(), but=1)
    await claim_from(carol, alice.session)  # the key of the lost answer: keys are claimed in the order of their upload
    await alice.sync()
    await claim_from(dave, alice.session)
    said = await all_say([carol, dave], room)
    await sync_all([alice, carol, dave])
    assert [said] == what_they_read([alice], said)


async def test_what_a_lost_sync_brought_comes_again(people: People, alice: OlmstateDevice, proxy: FaultProxy) -> None:
    bob = await people.rust()
    room = await meet([alice, bob])
    said = await all_say([bob], room)
    proxy.add("lose_answer", "/sync")
    with pytest.raises(NoAnswer):
        await alice.sync()
    assert [{}] == what_they_read([alice], said)
    await alice.sync()
    assert [said] == what_they_read([alice], said)


@pytest.mark.parametrize(
    ("kind", "path"),
    [
        ("lose_answer", "/keys/query"),
        ("lose_answer", "/keys/claim"),
        ("lose_answer", "/sendToDevice/"),
        ("drop", "/sendToDevice/"),
    ],
)
async def test_a_send_gets_through_though_a_request_of_its_fails(
    kind: Kind, path: str, people: People, alice: OlmstateDevice, proxy: FaultProxy
) -> None:
    bob, carol = await people.rust(), await people.nio()
    room = await meet([alice, bob, carol])
    proxy.add(kind, path)
    said = await all_say([alice], room)
    await sync_all([alice, bob, carol])
    assert [said] * 3 == what_they_read([alice, bob, carol], said)
