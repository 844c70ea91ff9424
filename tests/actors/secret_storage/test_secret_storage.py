"""Secret storage at a homeserver: set up, opened, written to, and changed, with whatever comes between."""

from __future__ import annotations

import json
import secrets

import attrs
import pytest
from trio.testing import MockClock

from olmstate.actors import Supervisor
from olmstate.actors._secret_storage.ssss import DEFAULT_ITERATIONS
from olmstate.actors.testing import USER
from olmstate.messages import (
    AddDevices,
    BootstrapCrossSigning,
    CreateSecretStorage,
    DamagedSecret,
    DescribeSecretStorage,
    ExportCrossSigningKeys,
    JsonObject,
    MalformedContent,
    MalformedRecoveryKey,
    MarkRequestFailed,
    MarkRequestSent,
    NoSecretStorage,
    NoSuchSecret,
    NoTransport,
    OpenSecretStorage,
    OutgoingRequests,
    ReadSecret,
    ReceiveSync,
    RemoveSecretStorageKey,
    Request,
    RequestDelayed,
    RequestGivenUp,
    RequestKind,
    RequestRefused,
    Response,
    SecretStorageExists,
    SecretStorageKeyInUse,
    SetBackupWanted,
    SetDefaultSecretStorageKey,
    UnsupportedSecretStorage,
    WriteSecret,
    WrongSecretStorageKey,
)
from tests.actors.world import World
from tests.peer import secret_storage
from tests.peer.identity import PeerIdentity
from tests.peer.session import API

MASTER = "m.cross_signing.master"
BACKUP = "m.megolm_backup.v1"
PASSPHRASE = "correct horse"
KEY = bytes(range(32))


@attrs.define(slots=False)
class Careful(World):
    """Its homeserver refuses to write account data of one type, nobody hears its answers, or a proxy loses reads."""

    refuses: str | None = None
    deaf: bool = False
    lost: bool = False

    async def send(self, request: Request) -> Response:
        if self.lost and request.kind is RequestKind.ACCOUNT_DATA_GET:
            return Response(status=404, body=b"404 page not found")
        if request.kind is RequestKind.ACCOUNT_DATA:
            if self.refuses is not None and request.path.endswith(self.refuses):
                return Response(status=413, body=b'{"errcode": "M_TOO_LARGE", "error": "no"}')
            if self.deaf:
                raise ConnectionResetError
        return await super().send(request)

    async def put(self, data_type: str, content: JsonObject) -> None:
        """Another client writes account data."""
        await self.session.request("PUT", f"{API}/user/{USER}/account_data/{data_type}", content)

    async def get(self, data_type: str) -> JsonObject:
        return await self.session.request("GET", f"{API}/user/{USER}/account_data/{data_type}", None)

    async def describe(self, key_id: str, key: bytes, **more: object) -> None:
        """Another client sets up a key."""
        await self.put(f"m.secret_storage.key.{key_id}", secret_storage.description(key, **more))


@pytest.fixture
def world() -> Careful:
    return Careful()


def written(world: World) -> list[str]:
    """The types of account data in the order in which they were written."""
    return [
        request.path.rpartition("/")[2]
        for request in world.asked
        if request.kind is RequestKind.ACCOUNT_DATA and request.method == "PUT"
    ]


def read(content: JsonObject, name: str, key_id: str, recovery_key: str) -> str:
    """A secret, without the code under test."""
    digits = "".join(recovery_key.split())
    number = 0
    for digit in digits:
        number = number * 58 + secret_storage.ALPHABET.index(digit)
    return secret_storage.decrypt(number.to_bytes(35, "big")[2:34], name, content["encrypted"][key_id])


async def test_what_is_here_is_stored_with_a_new_key_which_becomes_the_default_one_last(
    world: Careful, autojump_clock: MockClock
) -> None:
    async with world.process() as device:
        with device.subscribe(RequestGivenUp) as given_up:
            await device.ask(BootstrapCrossSigning())
            created = await device.ask(CreateSecretStorage(name="mine"))
            assert 0 == given_up.statistics().current_buffer_used  # that there was nothing is an answer
        key = created.key
        names = ["master", "self_signing", "user_signing"]
        assert [
            f"m.secret_storage.key.{key.key_id}",
            *(f"m.cross_signing.{name}" for name in names),
            "m.secret_storage.default_key",
        ] == written(world)
        seeds = await device.ask(ExportCrossSigningKeys())
        for name in names:
            content = await world.get(f"m.cross_signing.{name}")
            assert getattr(seeds, name) == read(content, f"m.cross_signing.{name}", key.key_id, key.recovery_key)
        info = await device.ask(DescribeSecretStorage())
        assert (key.key_id, None) == (info.default_key_id, info.backup_wanted)
        assert [("mine", False)] == [(each.name, each.has_passphrase) for each in info.keys]
        assert {f"m.cross_signing.{name}": (key.key_id,) for name in names} == info.secrets
        assert created.published
        assert key.recovery_key not in repr(created)


async def test_a_key_is_checked_and_typed_as_people_type(world: Careful, autojump_clock: MockClock) -> None:
    async with world.process() as device:
        with pytest.raises(NoSecretStorage):
            await device.ask(OpenSecretStorage(key="anything"))
        created = await device.ask(CreateSecretStorage())
        typed = created.key.recovery_key.replace(" ", "\n ")
        assert created.key == await device.ask(OpenSecretStorage(key=typed))
        assert created.key == await device.ask(OpenSecretStorage(key=typed, key_id=created.key.key_id))
        with pytest.raises(NoSecretStorage):
            await device.ask(OpenSecretStorage(key=typed, key_id="another"))
        with pytest.raises(MalformedRecoveryKey):
            await device.ask(OpenSecretStorage(key=typed[:-1]))
        with pytest.raises(WrongSecretStorageKey) as caught:
            await device.ask(OpenSecretStorage(key=secret_storage.recovery_key(KEY)))
        assert created.key.key_id == caught.value.key_id


async def test_a_passphrase_opens_what_its_recovery_key_opens(world: Careful, autojump_clock: MockClock) -> None:
    async with world.process() as device:
        created = await device.ask(CreateSecretStorage(passphrase=PASSPHRASE))
        described = await world.get(f"m.secret_storage.key.{created.key.key_id}")
        assert DEFAULT_ITERATIONS == described["passphrase"]["iterations"]
        assert created.key == await device.ask(OpenSecretStorage(key=PASSPHRASE))
        assert created.key == await device.ask(OpenSecretStorage(key=created.key.recovery_key))
        with pytest.raises(WrongSecretStorageKey):
            await device.ask(OpenSecretStorage(key=f"{PASSPHRASE} "))


async def test_a_passphrase_that_would_take_long_is_not_worked_out(world: Careful, autojump_clock: MockClock) -> None:
    how = {"algorithm": "m.pbkdf2", "salt": "s", "iterations": 10**9}
    await world.describe("slow", KEY, passphrase=how)
    await world.describe("long", KEY, passphrase={**how, "iterations": 1, "bits": 512})
    async with world.process() as device:
        for key_id in ("slow", "long"):
            with pytest.raises(UnsupportedSecretStorage):
                await device.ask(OpenSecretStorage(key=PASSPHRASE, key_id=key_id))


async def test_a_recovery_key_opens_what_has_a_passphrase_of_another_algorithm(
    world: Careful, autojump_clock: MockClock
) -> None:
    await world.describe("new", KEY, passphrase={"algorithm": "m.argon2", "salt": "s", "memory": 1})
    async with world.process() as device:
        opened = await device.ask(OpenSecretStorage(key=secret_storage.recovery_key(KEY), key_id="new"))
        assert "new" == opened.key_id
        with pytest.raises(UnsupportedSecretStorage, match="another algorithm"):
            await device.ask(OpenSecretStorage(key=PASSPHRASE, key_id="new"))


async def test_secrets_are_written_and_read_and_what_other_keys_have_of_an_old_one_goes(
    world: Careful, autojump_clock: MockClock
) -> None:
    async with world.process() as device, world.process() as other:
        key = (await device.ask(CreateSecretStorage())).key
        with pytest.raises(NoSuchSecret):
            await device.ask(ReadSecret(name="m.mine", key=key.recovery_key))
        theirs = secret_storage.encrypt(KEY, "m.mine", "what I know", bytes(16))
        for keep_others, expected in ((True, {"theirs", key.key_id}), (False, {key.key_id})):
            await world.put("m.mine", {"encrypted": {"theirs": theirs}})
            write = WriteSecret(name="m.mine", secret="what I know", key=key.recovery_key, keep_others=keep_others)
            await device.ask(write)
            stored = await world.get("m.mine")
            assert expected == set(stored["encrypted"])
            assert "what I know" == read(stored, "m.mine", key.key_id, key.recovery_key)
            assert "what I know" == await other.ask(ReadSecret(name="m.mine", key=key.recovery_key))


async def test_a_secret_that_could_not_be_read_again_is_not_written(world: Careful, autojump_clock: MockClock) -> None:
    # it was, and from then on each message about that name waited in vain
    async with world.process() as device:
        key = (await device.ask(CreateSecretStorage())).key.recovery_key
        await device.ask(WriteSecret(name="m.mine", secret="what I know", key=key))
        with pytest.raises(MalformedContent, match="more than 64 KiB"):
            await device.ask(WriteSecret(name="m.mine", secret="x" * 65_000, key=key))
        assert "what I know" == await device.ask(ReadSecret(name="m.mine", key=key))
        for name in ("", "x" * 256, "\ud800"):
            with pytest.raises(ValueError, match=r"^WriteSecret\.name "):
                WriteSecret(name=name, secret="x", key=key)


async def test_a_secret_that_was_changed_or_came_under_another_name_is_refused(
    world: Careful, autojump_clock: MockClock
) -> None:
    async with world.process() as device:
        key = (await device.ask(CreateSecretStorage())).key
        await device.ask(WriteSecret(name="m.mine", secret="what I know", key=key.recovery_key))
        stored = await world.get("m.mine")
        await world.put("m.other", stored)
        for name, content in (("m.mine", stored), ("m.other", stored)):
            encrypted = dict(content["encrypted"][key.key_id])
            if name == "m.mine":
                encrypted["mac"] = secrets.token_bytes(32).hex()[:43]
            await world.put(name, {"encrypted": {key.key_id: encrypted}})
            with pytest.raises(DamagedSecret):
                await device.ask(ReadSecret(name=name, key=key.recovery_key))


@pytest.mark.parametrize("missing", ["iv", "mac"])
async def test_nothing_is_encrypted_with_a_key_that_nothing_shows_to_be_right(
    world: Careful, missing: str, autojump_clock: MockClock
) -> None:
    """The homeserver describes the default key anew: any passphrase is taken for right, and is worked out in a moment.

    A secret was encrypted with that, so that far more passphrases could be tried on it.
    """
    async with world.process() as device:
        key_id = (await device.ask(CreateSecretStorage(passphrase=PASSPHRASE))).key.key_id
        described = await world.get(f"m.secret_storage.key.{key_id}")
        described["passphrase"] = {"algorithm": "m.pbkdf2", "salt": "s", "iterations": 1}
        del described[missing]
        await world.put(f"m.secret_storage.key.{key_id}", described)
        before = len(written(world))
        with pytest.raises(UnsupportedSecretStorage):
            await device.ask(WriteSecret(name="m.mine", secret="what I know", key=PASSPHRASE))
        assert before == len(written(world))


async def test_a_proxys_404_does_not_say_that_there_is_no_storage(world: Careful, autojump_clock: MockClock) -> None:
    """Another storage was made in the place of the one behind it."""
    async with world.process() as device:
        key = (await device.ask(CreateSecretStorage(passphrase=PASSPHRASE))).key
        world.lost = True
        with pytest.raises(RequestRefused) as refused:
            await device.ask(CreateSecretStorage())
        assert (404, None) == (refused.value.status, refused.value.errcode)
        world.lost = False
        with pytest.raises(SecretStorageExists):
            await device.ask(CreateSecretStorage())
        assert key.key_id == (await device.ask(DescribeSecretStorage())).default_key_id


async def test_a_key_is_changed_without_losing_anything_and_the_old_one_goes_when_it_is_removed(
    world: Careful, autojump_clock: MockClock
) -> None:
    async with world.process() as device:
        old = (await device.ask(CreateSecretStorage(passphrase=PASSPHRASE))).key
        await device.ask(WriteSecret(name=BACKUP, secret="a backup key", key=old.recovery_key))
        await device.ask(WriteSecret(name="m.mine", secret="mine", key=old.recovery_key))
        with pytest.raises(SecretStorageExists) as caught:
            await device.ask(CreateSecretStorage())
        assert old.key_id == caught.value.key_id
        with pytest.raises(SecretStorageKeyInUse):
            await device.ask(RemoveSecretStorageKey(key_id=old.key_id))
        new = (await device.ask(CreateSecretStorage(present_key=PASSPHRASE))).key
        for key in (old, new):
            read = ReadSecret(name=BACKUP, key=key.recovery_key, key_id=key.key_id)
            assert "a backup key" == await device.ask(read)
        with pytest.raises(SecretStorageKeyInUse) as in_use:
            await device.ask(RemoveSecretStorageKey(key_id=old.key_id, names=("m.mine",)))
        assert "m.mine" == in_use.value.what
        await device.ask(RemoveSecretStorageKey(key_id=old.key_id))
        with pytest.raises(NoSecretStorage):
            await device.ask(OpenSecretStorage(key=PASSPHRASE, key_id=old.key_id))
        assert [new.key_id] == list((await world.get(BACKUP))["encrypted"])
        assert "a backup key" == await device.ask(ReadSecret(name=BACKUP, key=new.recovery_key))


async def test_another_key_can_be_made_the_default_one_if_it_is_described(
    world: Careful, autojump_clock: MockClock
) -> None:
    await world.describe("theirs", KEY)
    async with world.process() as device:
        created = await device.ask(CreateSecretStorage())
        with pytest.raises(NoSecretStorage):
            await device.ask(SetDefaultSecretStorageKey(key_id="nobody's"))
        await device.ask(SetDefaultSecretStorageKey(key_id="theirs"))
        opened = await device.ask(OpenSecretStorage(key=secret_storage.recovery_key(KEY)))
        assert "theirs" == opened.key_id
        await device.ask(SetDefaultSecretStorageKey(key_id=created.key.key_id))
        assert created.key.key_id == (await device.ask(DescribeSecretStorage())).default_key_id


async def test_a_private_key_that_is_not_that_of_the_published_one_is_not_stored(
    world: Careful, autojump_clock: MockClock
) -> None:
    async with world.process() as device:
        await device.ask(BootstrapCrossSigning())
        await device.ask(AddDevices(response={"device_keys": {}, **PeerIdentity(USER).answer(own=True)}))
        created = await device.ask(CreateSecretStorage())
        assert [f"m.secret_storage.key.{created.key.key_id}", "m.secret_storage.default_key"] == written(world)


async def test_new_secret_storage_takes_the_place_of_one_whose_key_is_lost_if_that_is_meant(
    world: Careful, autojump_clock: MockClock
) -> None:
    async with world.process() as device:
        first = (await device.ask(CreateSecretStorage())).key
        second = (await device.ask(CreateSecretStorage(replace=True))).key
        assert first.key_id != second.key_id == (await device.ask(DescribeSecretStorage())).default_key_id


async def test_if_a_write_is_refused_the_default_key_is_the_one_before(
    world: Careful, autojump_clock: MockClock
) -> None:
    async with world.process() as device:
        await device.ask(BootstrapCrossSigning())
        before = (await device.ask(CreateSecretStorage())).key
        world.refuses = "self_signing"
        with pytest.raises(RequestRefused):
            await device.ask(CreateSecretStorage(present_key=before.recovery_key))
        assert before.key_id == (await device.ask(DescribeSecretStorage())).default_key_id
        world.refuses = None
        assert before == await device.ask(OpenSecretStorage(key=before.recovery_key))


async def test_what_a_killed_process_has_begun_to_write_another_finishes(
    world: Careful, autojump_clock: MockClock
) -> None:
    world.deaf = True
    async with world.process() as device:
        await device.ask(BootstrapCrossSigning())
        created = await device.ask(CreateSecretStorage(patience=5))
        assert not created.published
    world.deaf = False
    async with world.process() as device:
        opened = None
        while opened is None:
            try:
                opened = await device.ask(OpenSecretStorage(key=created.key.recovery_key))
            except NoSecretStorage:
                await device.ask(DescribeSecretStorage())
        assert MASTER in (await device.ask(DescribeSecretStorage())).secrets


async def by_hand(world: World, device: Supervisor) -> None:
    """Send what is there."""
    for request in await device.ask(OutgoingRequests()):
        answer = await World.send(world, request)
        if answer.status == 200:
            await device.ask(MarkRequestSent(request_id=request.request_id, response=answer.body))
        else:
            await device.ask(MarkRequestFailed(request_id=request.request_id, status=answer.status))


async def test_by_hand_what_must_be_known_is_asked_for_once_and_syncs_tell_of_changes(
    world: Careful, autojump_clock: MockClock
) -> None:
    async with world.process(transport=False) as device:
        with pytest.raises(NoTransport):
            await device.ask(CreateSecretStorage())
        await by_hand(world, device)
        created = await device.ask(CreateSecretStorage())
        assert not created.published
        for _ in range(2):  # the default key is written after its description was
            await by_hand(world, device)
        assert created.key == await device.ask(OpenSecretStorage(key=created.key.recovery_key))
        assert {"key": created.key.key_id} == await world.get("m.secret_storage.default_key")
        events = [{"type": "m.secret_storage.default_key", "content": {"key": "theirs"}}, {"type": 1}, None]
        await device.ask(ReceiveSync(sync={"next_batch": "s", "account_data": {"events": events}}))
        with pytest.raises(NoTransport):  # its description isn't known
            await device.ask(OpenSecretStorage(key=created.key.recovery_key))


async def test_an_older_answer_does_not_take_the_place_of_what_is_being_written(
    world: Careful, autojump_clock: MockClock
) -> None:
    async with world.process(transport=False) as device:
        with pytest.raises(NoTransport):
            await device.ask(SetBackupWanted(wanted=True))
        old = {"type": "m.key_backup", "content": {"enabled": False}}
        await device.ask(ReceiveSync(sync={"next_batch": "s", "account_data": {"events": [old]}}))
        await by_hand(world, device)
        with pytest.raises(NoTransport):
            await device.ask(DescribeSecretStorage())
        await by_hand(world, device)
        assert True is (await device.ask(DescribeSecretStorage())).backup_wanted


async def test_the_backup_preference_is_written_and_read(world: Careful, autojump_clock: MockClock) -> None:
    async with world.process() as device:
        for wanted in (True, False):
            await device.ask(SetBackupWanted(wanted=wanted))
            assert {"enabled": wanted} == await world.get("m.key_backup")
            assert wanted is (await device.ask(DescribeSecretStorage())).backup_wanted
        await world.put("m.key_backup", {"enabled": "perhaps"})
        assert None is (await device.ask(DescribeSecretStorage())).backup_wanted


async def test_an_answer_that_is_too_large_to_be_stored_counts_as_none(
    world: Careful, autojump_clock: MockClock
) -> None:
    await world.put("m.key_backup", {"enabled": True, "x": "x" * 70_000})
    async with world.process() as device:
        with pytest.raises(RequestDelayed):
            await device.ask(DescribeSecretStorage(patience=5))


def test_no_key_and_no_secret_is_shown() -> None:
    shown = [
        repr(each)
        for each in (
            CreateSecretStorage(passphrase=PASSPHRASE, present_key=PASSPHRASE),
            OpenSecretStorage(key=PASSPHRASE),
            ReadSecret(name="m", key=PASSPHRASE),
            WriteSecret(name="m", key=PASSPHRASE, secret=PASSPHRASE),
        )
    ]
    assert [] == [each for each in shown if PASSPHRASE in each]
    with pytest.raises(ValueError, match="passphrase"):
        CreateSecretStorage(passphrase="")
    assert json.dumps(PASSPHRASE) not in "".join(shown)
