"""Secrets between two devices of the library's that have just verified each other."""

from __future__ import annotations

import pytest
import trio
from trio.testing import MockClock

from olmstate.messages import (
    BootstrapCrossSigning,
    ConfirmVerification,
    CreateSecretStorage,
    CrossSigningStatus,
    DescribeSecretStorage,
    ExportCrossSigningKeys,
    ReceiveSync,
    RecoverFromSecretStorage,
    SecretInbox,
    SecretOrigin,
    SecretRequests,
    SyncToken,
    VerificationStage,
    WriteSecret,
)
from tests.actors.verification.conftest import ALICE, WHILE_IT_IS_SENT, Device, Two, two_devices

BACKUP = "m.megolm_backup.v1"


async def have_the_same_keys(two: Two) -> None:
    """Bob's device, which is new, has them from Alice's."""
    status = await two.bob.process.ask(CrossSigningStatus())
    keys = (status.master, status.self_signing, status.user_signing)
    assert [(SecretOrigin.OTHER_DEVICE, True)] * 3 == [(key.origin, key.matches) for key in keys if key]
    ours, theirs = [await device.process.ask(ExportCrossSigningKeys()) for device in (two.alice, two.bob)]
    assert ours == theirs


async def open_requests(device: Device) -> list[str]:
    return [each.name for each in await device.process.ask(SecretRequests())]


@pytest.mark.parametrize("processes", [1, 3])
async def test_a_new_device_asks_for_what_it_lacks_and_is_sent_it(processes: int, autojump_clock: MockClock) -> None:
    async with two_devices(processes=processes, user_ids=(ALICE, ALICE)) as two:
        await two.alice.process.ask(BootstrapCrossSigning())
        await two.know_each_other()
        await two.compare()
        await two.confirm()
        await two.deliver()
        await have_the_same_keys(two)
        # nobody has a backup key; Alice's device has trusted the identity all along
        assert [BACKUP] == await open_requests(two.bob)
        assert [] == await open_requests(two.alice)


async def test_all_processes_end_between_any_two_steps_and_new_ones_go_on(autojump_clock: MockClock) -> None:
    async with two_devices(processes=2, user_ids=(ALICE, ALICE)) as two:
        await two.alice.process.ask(BootstrapCrossSigning())
        await two.know_each_other()
        two.between_steps = two.replace_both
        await two.compare()
        await two.confirm()
        await two.deliver()
        await have_the_same_keys(two)


async def test_what_was_not_sent_is_sent_by_those_who_come_after(autojump_clock: MockClock) -> None:
    """The requests, which are stored in the commit that ends the flow, and then the answers."""
    async with two_devices(processes=2, user_ids=(ALICE, ALICE)) as two:
        await two.alice.process.ask(BootstrapCrossSigning())
        await two.know_each_other()
        for device, unsent in ((two.bob, "m.secret.request"), (two.alice, "m.room.encrypted")):
            device.unsent = unsent
        await two.compare()
        await two.confirm()
        assert [VerificationStage.DONE] * 2 == await two.stages()
        for device in (two.bob, two.alice):
            status = await two.bob.process.ask(CrossSigningStatus())
            assert (None, None, None) == (status.master, status.self_signing, status.user_signing)
            device.unsent = "nothing"
            await device.replace()
            await trio.sleep(60)
            await two.deliver()
        await have_the_same_keys(two)


async def test_the_requests_go_out_behind_the_last_message_of_the_flow(autojump_clock: MockClock) -> None:
    """Else they would come to a device that hasn't verified this one yet, and gives it nothing."""
    async with two_devices(user_ids=(ALICE, ALICE)) as two:
        await two.alice.process.ask(BootstrapCrossSigning())
        await two.know_each_other()
        await two.compare()
        two.bob.unsent = "m.key.verification.done"
        await two.confirm()
        assert VerificationStage.DONE is (await two.bob.flow()).stage
        assert 4 == len(await open_requests(two.bob))
        assert [] == [each for each in two.homeserver.asked if "/m.secret.request/" in each.target]
        two.bob.unsent = "nothing"
        await trio.sleep(60)
        await two.deliver()
        await have_the_same_keys(two)


async def test_a_device_that_asks_in_the_sync_that_ends_the_flow_is_answered(autojump_clock: MockClock) -> None:
    """Its requests are behind its last event of the verification, so it is verified by then."""
    async with two_devices(user_ids=(ALICE, ALICE)) as two:
        await two.alice.process.ask(BootstrapCrossSigning())
        await two.know_each_other()
        await two.compare()
        await two.bob_does(ConfirmVerification)
        flow = await two.alice.flow()
        await two.alice.process.ask(ConfirmVerification(user_id=flow.user_id, flow_id=flow.flow_id))
        await trio.sleep(WHILE_IT_IS_SENT)
        await two.bob.sync()
        await trio.sleep(WHILE_IT_IS_SENT)
        since = await two.alice.process.ask(SyncToken())
        answer = await two.alice.session.sync(since)
        types = [event["type"] for event in answer["to_device"]["events"]]
        assert {"m.key.verification.done", "m.secret.request"} == set(types)
        await two.alice.process.ask(ReceiveSync(sync=answer, since=since))
        await two.deliver()
        await have_the_same_keys(two)


async def test_the_backup_key_goes_to_the_inbox_of_whoever_asks(autojump_clock: MockClock) -> None:
    async with two_devices(user_ids=(ALICE, ALICE)) as two:
        await two.alice.process.ask(BootstrapCrossSigning())
        created = await two.alice.process.ask(CreateSecretStorage())
        key = "A" * 43
        await two.alice.process.ask(WriteSecret(name=BACKUP, secret=key, key=created.key.recovery_key))
        assert BACKUP in (await two.alice.process.ask(DescribeSecretStorage())).secrets
        await two.alice.process.ask(RecoverFromSecretStorage(key=created.key.recovery_key))
        await two.know_each_other()
        await two.compare()
        await two.confirm()
        await two.deliver()
        (kept,) = await two.bob.process.ask(SecretInbox())
        assert (BACKUP, key) == (kept.name, kept.secret)
        assert [] == await open_requests(two.alice) == await open_requests(two.bob)
