"""Secrets that our user's devices ask each other for: who is asked, who is answered, and what is believed."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import pytest
import trio
from trio.testing import MockClock

from olmstate.actors._engine.records import loads
from olmstate.actors._secret_requests import actor
from olmstate.actors._secret_requests.actor import MOST_RECEIVED, MOST_REQUESTS
from olmstate.actors._secret_requests.asking import LARGEST
from olmstate.actors._secret_requests.stored import ReceivedSecretRecord
from olmstate.actors.testing import DEVICE, USER
from olmstate.messages import (
    AcknowledgeSecrets,
    CancelSecretRequests,
    CrossSigningSeeds,
    CrossSigningStatus,
    DecryptedToDevice,
    DecryptToDevice,
    DeleteSecrets,
    DeviceTrust,
    ExportCrossSigningKeys,
    Identity,
    IdentityState,
    ImportCrossSigningKeys,
    JsonObject,
    PrivateCrossSigningKeysChanged,
    RequestId,
    RequestSecrets,
    SecretInbox,
    SecretOrigin,
    SecretRefusal,
    SecretRefused,
    SecretRequests,
    SecretsReceived,
    UpdateDevices,
    UserId,
)
from tests.actors.own_devices import BOB, Own, came, own
from tests.actors.world import Other, World
from tests.peer.identity import USAGES, PeerIdentity, unpadded_seeds

REQUEST, SEND = "m.secret.request", "m.secret.send"
APPS = "org.example.secret"
BACKUP = "m.megolm_backup.v1"
NAMES = tuple(f"m.cross_signing.{usage}" for usage in USAGES)


def request(name: str, **changes: object) -> JsonObject:
    return {"action": "request", "requesting_device_id": "TWO", "request_id": "1", "name": name, **changes}


async def ask(its: Own, *names: str) -> dict[str, str]:
    """The ids of the requests, by name."""
    await its.device.ask(RequestSecrets(names=names))
    return {each.name: each.request_id for each in await its.device.ask(SecretRequests()) if each.name in names}


async def send(its: Own, request_id: str, secret: object, *, sender: Other | None = None) -> None:
    content = {"request_id": request_id, "secret": secret}
    await its.send_encrypted(sender or its.other, SEND, content)


async def publish(its: Own, *, sign: tuple[Other, ...] = ()) -> dict[str, str]:
    """Our user has an identity, which has signed some devices; its private keys, by name."""
    identity = PeerIdentity(UserId(USER))
    keys = its.world.homeserver.keys
    keys.upload_identity(USER, identity.upload())
    for other in sign:
        signed = identity.sign_device(other.peer.device_keys())
        keys.upload_signatures({USER: {other.peer.device_id: signed}})
    await its.sync()
    await its.device.ask(UpdateDevices(users=(UserId(USER),)))
    return {f"m.cross_signing.{usage}": seed for usage, seed in unpadded_seeds(identity).items()}


def seeds_of(private: Mapping[str, str]) -> CrossSigningSeeds:
    return CrossSigningSeeds(**{name.rpartition(".")[2]: seed for name, seed in private.items()})


async def another(its: Own, device_id: str = "THREE") -> Other:
    """One more verified device."""
    other = await its.world.log_in(USER, device_id, one_time_keys=1)
    await its.sync()
    await its.device.ask(UpdateDevices(users=(UserId(USER),)))
    await its.trust(device_id=device_id)
    return other


# --- asking -------------------------------------------------------------------------------------------------


async def test_verified_devices_are_asked_under_one_id_however_often(world: World, autojump_clock: MockClock) -> None:
    async with own(world) as its:
        await its.trust()
        for _ in range(2):
            asked = await its.device.ask(RequestSecrets(names=(APPS, APPS)))
            assert ((APPS,), ("TWO",)) == (asked.names, asked.devices)
            await trio.sleep(5)
        first, second = await came(its.other, REQUEST)
        assert first == second == request(APPS, requesting_device_id=DEVICE, request_id=first["request_id"])
        (told,) = await its.device.ask(SecretRequests())
        assert (APPS, first["request_id"], ("TWO",)) == (told.name, told.request_id, told.devices)


async def test_nobody_is_asked_who_is_not_verified(world: World, autojump_clock: MockClock) -> None:
    async with own(world) as its:
        for trust in (DeviceTrust.UNSET, DeviceTrust.BLOCKED, DeviceTrust.IGNORED):
            await its.trust(trust)
            assert () == (await its.device.ask(RequestSecrets(names=(APPS,)))).devices
        await trio.sleep(5)
        assert [] == await came(its.other, REQUEST)
        assert () == await its.device.ask(SecretRequests())


async def test_what_is_missing_is_what_is_published_and_not_here_and_the_backup_key(
    world: World, autojump_clock: MockClock
) -> None:
    async with own(world) as its:
        await its.trust()
        assert (BACKUP,) == (await its.device.ask(RequestSecrets())).names
        private = await publish(its)
        assert (*NAMES, BACKUP) == (await its.device.ask(RequestSecrets())).names
        await its.device.ask(ImportCrossSigningKeys(seeds=CrossSigningSeeds(master=private[NAMES[0]])))
        ids = await ask(its, BACKUP)
        await send(its, ids[BACKUP], "a backup key")
        assert NAMES[1:] == (await its.device.ask(RequestSecrets())).names
        await publish(its)  # of another identity: the one that is here is of no use
        assert NAMES == (await its.device.ask(RequestSecrets())).names


async def test_private_keys_that_come_another_way_end_the_requests_for_them(
    world: World, autojump_clock: MockClock
) -> None:
    async with own(world) as its:
        await its.trust()
        private = await publish(its)
        await its.device.ask(RequestSecrets())
        ids = {each.name: each.request_id for each in await its.device.ask(SecretRequests())}
        await its.device.ask(ImportCrossSigningKeys(seeds=seeds_of(private)))
        await trio.sleep(5)
        assert [BACKUP] == [each.name for each in await its.device.ask(SecretRequests())]
        told = await came(its.other, REQUEST)
        over = [each["request_id"] for each in told if each["action"] == "request_cancellation"]
        assert sorted(ids[name] for name in NAMES) == sorted(over)


async def test_a_request_that_is_cancelled_is_over(world: World, autojump_clock: MockClock) -> None:
    async with own(world) as its:
        await its.trust()
        ids = await ask(its, APPS)
        await its.device.ask(CancelSecretRequests(names=(APPS, "never")))
        await send(its, ids[APPS], "too late")
        asked = await came(its.other, REQUEST)
        assert ["request", "request_cancellation"] == [each["action"] for each in asked]
        assert () == await its.device.ask(SecretRequests())
        assert () == await its.device.ask(SecretInbox())


async def test_of_too_many_requests_the_oldest_are_forgotten(world: World, autojump_clock: MockClock) -> None:
    async with own(world) as its:
        await its.trust()
        await ask(its, "first", "second")
        await ask(its, *(str(number) for number in range(MOST_REQUESTS - 1)))
        names = [each.name for each in await its.device.ask(SecretRequests())]
        assert (MOST_REQUESTS, "second", "0") == (len(names), *names[:2])


async def test_requests_that_were_not_sent_are_sent_by_the_next_process(
    world: World, autojump_clock: MockClock
) -> None:
    async with own(world) as its:
        await its.trust()
        world.fail = True
        await its.device.ask(RequestSecrets(names=(APPS,)))
        await trio.sleep(5)
        other = its.other
        assert [] == await came(other, REQUEST)
    world.fail = False
    async with world.process() as device:
        await trio.sleep(60)
        (asked,) = await came(other, REQUEST)
        (told,) = await device.ask(SecretRequests())
        assert asked["request_id"] == told.request_id


# --- what comes ---------------------------------------------------------------------------------------------


async def test_a_secret_for_the_app_is_kept_told_of_and_the_others_need_not_send_it(
    world: World, autojump_clock: MockClock
) -> None:
    async with own(world) as its, world.process() as another_process:
        await its.trust()
        third = await another(its)
        ids = await ask(its, APPS)
        with another_process.subscribe(SecretsReceived) as events:
            await send(its, ids[APPS], "of the app")
            event = await events.receive()
        assert ((APPS, ids[APPS]),) == event.secrets
        for process in (its.device, another_process):
            (kept,) = await process.ask(SecretInbox())
            assert (APPS, "of the app", "TWO", False) == (kept.name, kept.secret, kept.device_id, kept.acknowledged)
            assert (ids[APPS], ()) == (kept.request_id, await process.ask(SecretRequests()))
            assert "of the app" not in repr(kept)
        assert ["request"] == [each["action"] for each in await came(its.other, REQUEST)]
        assert ["request", "request_cancellation"] == [each["action"] for each in await came(third, REQUEST)]


async def test_the_inbox_outlives_all_processes_until_it_is_emptied(world: World, autojump_clock: MockClock) -> None:
    async with own(world) as its:
        await its.trust()
        ids = await ask(its, APPS, BACKUP)
        for name, request_id in ids.items():
            await send(its, request_id, name)
    async with world.process() as device:
        assert [APPS, BACKUP] == [each.secret for each in await device.ask(SecretInbox())]
        assert [BACKUP] == [each.name for each in await device.ask(SecretInbox(name=BACKUP))]
        await device.ask(AcknowledgeSecrets(request_ids=(RequestId(ids[APPS]), RequestId("none"))))
    async with world.process() as device, world.process() as other:
        assert [True, False] == [each.acknowledged for each in await device.ask(SecretInbox())]
        assert [BACKUP] == [each.name for each in await device.ask(SecretInbox(unacknowledged=True))]
        await device.ask(DeleteSecrets(request_ids=(RequestId(ids[BACKUP]), RequestId("none"))))
        for process in (device, other):
            assert [APPS] == [each.name for each in await process.ask(SecretInbox())]


async def test_of_too_many_secrets_those_that_were_acknowledged_go_first(
    world: World, autojump_clock: MockClock
) -> None:
    async with own(world) as its:
        await its.trust()
        names = [str(number) for number in range(MOST_RECEIVED + 2)]
        ids = await ask(its, *names[:MOST_REQUESTS])
        for name in names:
            if name not in ids:
                ids |= await ask(its, name)
            await send(its, ids[name], name)
            if name == "7":
                await its.device.ask(AcknowledgeSecrets(request_ids=(RequestId(ids[name]),)))
        left = [*names[1:7], *names[8:]]
        assert left == [each.name for each in await its.device.ask(SecretInbox())]
    numbers = [loads(row, ReceivedSecretRecord).number for row in world.disk.rows(ReceivedSecretRecord.table)]
    assert len(left) == len(set(numbers))  # each has its place among the others, however they are read


@pytest.mark.parametrize(
    "why", ["not asked for", "not verified any more", "not asked", "another user", "in clear", "no id", "another id"]
)
async def test_no_other_secret_is_taken(why: str, world: World, autojump_clock: MockClock) -> None:
    bob = await world.log_in(BOB)
    async with own(world) as its:
        await its.trust()
        ids = {} if why == "not asked for" else await ask(its, APPS)
        sender: Other = its.other
        if why == "not verified any more":
            await its.trust(DeviceTrust.UNSET)
        if why == "not asked":
            sender = await another(its)
        if why == "another user":
            sender = bob
        request_id: Any = {"no id": 7, "another id": "0", "not asked for": "0"}.get(why, ids.get(APPS))
        with its.device.subscribe(SecretsReceived, SecretRefused) as events:
            if why == "in clear":
                await its.send(its.other, SEND, {"request_id": request_id, "secret": "a secret"})
            else:
                await send(its, request_id, "a secret", sender=sender)
            assert 0 == events.statistics().current_buffer_used
        assert () == await its.device.ask(SecretInbox())
        assert list(ids) == [each.name for each in await its.device.ask(SecretRequests())]


async def test_an_answer_counts_once(world: World, autojump_clock: MockClock) -> None:
    async with own(world) as its:
        await its.trust()
        third = await another(its)
        ids = await ask(its, APPS)
        await send(its, ids[APPS], "first")
        for sender in (its.other, third):
            await send(its, ids[APPS], "second", sender=sender)
        assert ["first"] == [each.secret for each in await its.device.ask(SecretInbox())]


async def test_whoever_decrypts_the_event_is_not_told_the_secret(world: World, autojump_clock: MockClock) -> None:
    async with own(world) as its:
        await its.trust()
        await send(its, "0", "nobody asked")
        event = its.other.peer.event(its.me, SEND, {"request_id": "1", "secret": "a secret"})
        (outcome,) = await its.device.ask(DecryptToDevice(events=(event,)))
        assert isinstance(outcome, DecryptedToDevice)
        assert {"request_id": "1"} == outcome.content


# --- private cross-signing keys -----------------------------------------------------------------------------


async def test_private_keys_that_come_are_those_of_this_device(world: World, autojump_clock: MockClock) -> None:
    async with own(world) as its, world.process() as other:
        await its.trust()
        private = await publish(its)
        ids = await ask(its, *NAMES)
        with other.subscribe(PrivateCrossSigningKeysChanged) as events:
            for name in NAMES:
                await send(its, ids[name], private[name] + "=")
            told = [(await events.receive()).keys for _ in NAMES]
        assert [False, False, True] == [keys.complete for keys in told]
        for process in (its.device, other):
            status = await process.ask(CrossSigningStatus())
            keys = (status.master, status.self_signing, status.user_signing)
            assert [(SecretOrigin.OTHER_DEVICE, True)] * 3 == [(key.origin, key.matches) for key in keys if key]
            assert seeds_of(private) == await process.ask(ExportCrossSigningKeys())
            identity = await process.ask(Identity(user_id=UserId(USER)))
            assert identity is not None
            assert IdentityState.VERIFIED is identity.state
        assert () == await its.device.ask(SecretInbox())
        assert () == await its.device.ask(SecretRequests())


@pytest.mark.parametrize(
    ("secret", "reason"),
    [
        ("A" * 43, SecretRefusal.MISMATCHED),
        ("A" * 42, SecretRefusal.MALFORMED),
        ("a secret", SecretRefusal.MALFORMED),
        (7, SecretRefusal.MALFORMED),
        (None, SecretRefusal.MALFORMED),
        ("A" * (LARGEST + 1), SecretRefusal.MALFORMED),
    ],
)
async def test_a_private_key_of_no_use_is_refused_and_another_device_may_send_the_right_one(
    secret: object, reason: SecretRefusal, world: World, autojump_clock: MockClock
) -> None:
    async with own(world) as its:
        await its.trust()
        third = await another(its)
        private = await publish(its)
        ids = await ask(its, NAMES[0])
        with its.device.subscribe(SecretRefused) as events:
            await send(its, ids[NAMES[0]], secret)
            event = await events.receive()
            assert (NAMES[0], "TWO", reason) == (event.name, event.device_id, event.reason)
            await send(its, ids[NAMES[0]], private[NAMES[0]])  # it has had its say
            assert 0 == events.statistics().current_buffer_used
        assert None is (await its.device.ask(CrossSigningStatus())).master
        (left,) = await its.device.ask(SecretRequests())
        assert ("THREE",) == left.devices
        await send(its, ids[NAMES[0]], private[NAMES[0]], sender=third)
        master = (await its.device.ask(CrossSigningStatus())).master
        assert master is not None
        assert master.matches


async def test_the_right_key_behind_a_wrong_one_in_the_same_sync_is_taken(
    world: World, autojump_clock: MockClock
) -> None:
    async with own(world) as its:
        await its.trust()
        third = await another(its)
        private = await publish(its)
        ids = await ask(its, NAMES[0], APPS)
        for sender in (its.other, third):
            await its.send_encrypted(sender, "m.dummy", {})
        contents = [
            (its.other, ids[NAMES[0]], "A" * 43),
            (third, ids[NAMES[0]], private[NAMES[0]]),
            (its.other, ids[APPS], "first"),
            (third, ids[APPS], "second"),
        ]
        events = tuple(
            sender.peer.event(its.me, SEND, {"request_id": request_id, "secret": secret})
            for sender, request_id, secret in contents
        )
        await its.device.ask(DecryptToDevice(events=events))
        master = (await its.device.ask(CrossSigningStatus())).master
        assert master is not None
        assert master.matches
        assert ["first"] == [each.secret for each in await its.device.ask(SecretInbox())]
        assert () == await its.device.ask(SecretRequests())


async def test_a_private_key_of_what_is_not_published_is_refused(world: World, autojump_clock: MockClock) -> None:
    async with own(world) as its:
        await its.trust()
        ids = await ask(its, NAMES[0])
        with its.device.subscribe(SecretRefused) as events:
            await send(its, ids[NAMES[0]], "A" * 43)
            assert SecretRefusal.UNPUBLISHED is (await events.receive()).reason


async def test_a_device_that_our_verified_identity_has_signed_is_believed(
    world: World, autojump_clock: MockClock
) -> None:
    async with own(world) as its:
        private = await publish(its, sign=(its.other,))
        assert () == (await its.device.ask(RequestSecrets())).devices
        await its.device.ask(ImportCrossSigningKeys(seeds=CrossSigningSeeds(master=private[NAMES[0]])))
        ids = await ask(its, NAMES[1])
        await send(its, ids[NAMES[1]], private[NAMES[1]])
        assert (await its.device.ask(CrossSigningStatus())).self_signing is not None


# --- answering ----------------------------------------------------------------------------------------------


async def sent(other: Other) -> list[JsonObject]:
    """The secrets that another device was sent since it last looked."""
    payloads = [other.peer.read(content) for content in await came(other, "m.room.encrypted")]
    return [payload["content"] for payload in payloads if payload["type"] == SEND]


@pytest.mark.parametrize("one_time_keys", [1, 0])
async def test_a_verified_device_is_sent_private_keys_once_there_is_an_olm_session(
    one_time_keys: int, world: World, autojump_clock: MockClock
) -> None:
    async with own(world, one_time_keys=one_time_keys) as its:
        private = await publish(its)
        await its.device.ask(ImportCrossSigningKeys(seeds=seeds_of(private)))
        await its.trust()
        for name in NAMES:
            await its.send(its.other, REQUEST, request(name, request_id=name))
        if not one_time_keys:
            assert [] == await came(its.other, "m.room.encrypted")
            await its.send_encrypted(its.other, "m.dummy", {})  # whatever it is that begins a session
        assert private == {each["request_id"]: each["secret"] for each in await sent(its.other)}


async def ask_for(its: Own, secret: str, **changes: object) -> None:
    await its.send(its.other, REQUEST, request(secret, **changes))


async def test_nobody_else_is_answered(world: World, autojump_clock: MockClock) -> None:
    bob = await world.log_in(BOB, "TWO", one_time_keys=1)
    async with own(world) as its:
        await its.device.ask(ImportCrossSigningKeys(seeds=seeds_of(await publish(its))))
        for trust in (DeviceTrust.UNSET, DeviceTrust.BLOCKED):
            await its.trust(trust)
            await ask_for(its, NAMES[0])
        await its.trust()
        await its.send(bob, REQUEST, request(NAMES[0]))
        await ask_for(its, NAMES[0], requesting_device_id=DEVICE)
        await ask_for(its, NAMES[0], requesting_device_id="UNKNOWN")
        await ask_for(its, NAMES[0], action="beg")
        await ask_for(its, NAMES[0], request_id=7)
        await ask_for(its, APPS)
        await ask_for(its, BACKUP)  # it isn't here
        await its.send(its.other, REQUEST, {})
        assert [] == world.asked_for("/sendToDevice/m.room.encrypted") + world.asked_for("/keys/claim")


async def test_a_private_key_that_is_not_that_of_the_published_one_is_not_sent(
    world: World, autojump_clock: MockClock
) -> None:
    async with own(world) as its:
        await its.device.ask(ImportCrossSigningKeys(seeds=seeds_of(await publish(its))))
        await publish(its)
        await its.trust()
        await ask_for(its, NAMES[0])
        assert [] == world.asked_for("/sendToDevice/m.room.encrypted") + world.asked_for("/keys/claim")


async def test_a_request_that_is_cancelled_before_there_is_a_session_is_not_answered(
    world: World, autojump_clock: MockClock
) -> None:
    async with own(world, one_time_keys=0) as its:
        await its.device.ask(ImportCrossSigningKeys(seeds=seeds_of(await publish(its))))
        await its.trust()
        await ask_for(its, NAMES[0])
        await ask_for(its, NAMES[0], action="request_cancellation")
        await its.send_encrypted(its.other, "m.dummy", {})
        assert [] == await sent(its.other)


async def test_who_is_verified_no_more_when_there_is_a_session_is_not_answered(
    world: World, autojump_clock: MockClock
) -> None:
    async with own(world, one_time_keys=0) as its:
        await its.device.ask(ImportCrossSigningKeys(seeds=seeds_of(await publish(its))))
        await its.trust()
        await ask_for(its, NAMES[0])
        await its.trust(DeviceTrust.UNSET)
        await its.send_encrypted(its.other, "m.dummy", {})
        assert [] == await sent(its.other)


async def test_nobody_keeps_others_requests_from_waiting_for_a_session(
    world: World, autojump_clock: MockClock, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(actor, "MOST_WAITING", 4)
    await world.log_in(USER, "LOST")
    async with own(world, one_time_keys=0) as its:
        await its.device.ask(ImportCrossSigningKeys(seeds=seeds_of(await publish(its))))
        for device_id in ("TWO", "LOST"):
            await its.trust(device_id=device_id)
        for number in range(8):
            await ask_for(its, NAMES[0], requesting_device_id="LOST", request_id=f"{number}")
        await ask_for(its, NAMES[0])
        await its.send_encrypted(its.other, "m.dummy", {})
        assert ["1"] == [each["request_id"] for each in await sent(its.other)]
