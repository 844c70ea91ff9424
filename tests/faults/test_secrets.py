"""No secret turns up where people look: not in the files of a store, in logs, in reprs, in errors, on the screen.

One device does everything that there is to do, and everything goes wrong for it that can; then everything that came
into being on the way is searched for every secret that was in it. (Who has the process's memory has its secrets: a
traceback that prints local variables, say.)
"""

from __future__ import annotations

import gc
import inspect
import json
import logging
import os
import stat
import sys
import traceback
from collections.abc import AsyncGenerator, Iterator
from contextlib import asynccontextmanager, suppress
from pathlib import Path
from typing import Any, TypeVar, cast

import attrs
import pytest
import trio
from vodozemac import Account, GroupSession, InboundGroupSession

import olmstate.messages
from olmstate.actors import Options, Supervisor, run_supervisor
from olmstate.messages import (
    AcceptVerification,
    AcknowledgeInbox,
    AcknowledgeSecrets,
    AddDevices,
    BootstrapCrossSigning,
    CancelRoomKeyRequests,
    CancelSecretRequests,
    CancelVerification,
    ConfirmVerification,
    CreateAccount,
    CreateOlmSessions,
    CreateSecretStorage,
    CrossSigningSeeds,
    CrossSigningStatus,
    DecryptRoomEvent,
    DecryptRoomEvents,
    DecryptToDevice,
    DeleteSecrets,
    DescribeSecretStorage,
    DeviceId,
    Devices,
    DeviceTrust,
    Ed25519Key,
    EncryptForRoom,
    EncryptionInfoOf,
    EncryptionSettings,
    EncryptRoomEvent,
    EncryptToDevice,
    Event,
    EventId,
    ExportCrossSigningKeys,
    ExportKeyFile,
    ExportRoomKeys,
    ForgetParkedEvents,
    Identity,
    IdentityKeys,
    ImportAccount,
    ImportCrossSigningKeys,
    ImportKeyFile,
    ImportRoomKeys,
    Inbox,
    Json,
    JsonObject,
    KeepInInbox,
    MarkRequestFailed,
    MarkRequestSent,
    MarkRoomKeyShared,
    MarkVerificationMessageRefused,
    MarkVerificationMessageSent,
    MegolmSessionId,
    Message,
    MissingSessions,
    OlmStateError,
    OpenSecretStorage,
    OutdatedUsers,
    OutgoingRequests,
    ParkedEvents,
    ParkEvents,
    PinIdentity,
    PrepareAccount,
    PrepareRoomKey,
    PublishAccount,
    ReadSecret,
    ReceiveSync,
    ReceiveVerificationEvent,
    RecoverFromSecretStorage,
    RemoveSecretStorageKey,
    RequestId,
    RequestRoomKeys,
    RequestSecrets,
    RequestVerification,
    ResetCrossSigning,
    RoomId,
    RoomKeyRequests,
    RoomSettings,
    ScanQrCode,
    SecretInbox,
    SecretRequests,
    SendToDevice,
    SetBackupWanted,
    SetDefaultSecretStorageKey,
    SetDeviceTrust,
    SetRoomSettings,
    ShowQrCode,
    SignDevice,
    SignedDeviceKeys,
    StartSas,
    Statistics,
    TrackUsers,
    UpdateDevices,
    UserId,
    VerificationMessages,
    Verifications,
    VerifyUser,
    WithdrawVerification,
    WriteSecret,
    WrongKey,
)
from olmstate.storage import START, SqliteStore, Table, backup, open_store
from olmstate.storage.lock.line import PLACES
from olmstate.storage.sqlite.folder import DATABASE
from tests.faults.client import BUSY, EXPORT_ROUNDS, share, work
from tests.faults.homeserver import ALICE, ALICE_DEVICE, Homeserver
from tests.faults.known_secrets import KnownSecrets
from tests.operations.peer import Peer, exported, keys_query
from tests.peer.encoding import b64
from tests.peer.secret_storage import recovery_key

R = TypeVar("R")

PASSPHRASE = "the passphrase of the store, which nobody may see"
NEW_PASSPHRASE = "the next passphrase of the store"
FILE_PASSPHRASE = "the passphrase of the exported file"
STORAGE_PASSPHRASE = "the passphrase of secret storage"
STORED_SECRET = "what is kept in secret storage"
SHARED_SECRET = "what our devices tell each other"
PLAINTEXT = "what is said in confidence"
OPTIONS = Options(write_behind=0.0, watch=0.001)
"""Everything that the library does by itself, it does at once."""
STORED = {
    Table.ACCOUNT: "account",
    Table.OLM_SESSIONS: "Olm session",
    Table.INBOUND_GROUP_SESSIONS: "inbound group session",
    Table.OUTBOUND_GROUP_SESSIONS: "outbound group session",
}


class Witness:
    """Asks a supervisor, and keeps whatever was said."""

    def __init__(self, supervisor: Supervisor) -> None:
        """Stand before it."""
        self._supervisor = supervisor
        self.said: list[object] = []
        self.errors: list[OlmStateError] = []
        self.asked: set[type[Message[Any]]] = set()

    async def ask(self, message: Message[R]) -> R:
        """Ask it."""
        self.asked.add(type(message))
        self.said.append(message)
        try:
            reply = await self._supervisor.ask(message)
        except OlmStateError as error:
            self.errors.append(error)
            raise
        if attrs.has(type(reply)) or not isinstance(message, ExportRoomKeys):  # those are keys, as wire content
            self.said.append(reply)
        return reply

    async def provoke(self, message: Message[Any]) -> None:
        """Ask for what must be refused."""
        with pytest.raises(OlmStateError):
            await self.ask(message)

    async def listen(self, *, task_status: trio.TaskStatus[None] = trio.TASK_STATUS_IGNORED) -> None:
        """Keep every event, until cancelled."""
        with self._supervisor.subscribe(*Event.__subclasses__()) as events:
            task_status.started()
            async for event in events:
                self.said.append(event)


async def _learn_secrets(store: SqliteStore, secrets: KnownSecrets) -> None:
    """Everything that is private in what the store holds now."""
    seal = store._unlocked  # pyright: ignore[reportPrivateUsage]
    secrets.add("data key", seal.data_key)
    secrets.add("pickle key", seal.pickle_key)
    for table, what in STORED.items():
        for row in await store.page(table, START, 1000):
            assert row.value is not None
            value = json.loads(row.value)
            for pickle in _texts(value, "pickle"):
                secrets.add_pickle(what, pickle, store.pickle_key)
            for session_key in _texts(value, "session_key"):
                secrets.add_exported(what, session_key)


def _texts(value: Json, field: str) -> Iterator[str]:
    """The field's values, wherever they are in ``value``."""
    match value:
        case dict():
            for name, inner in cast("dict[str, Any]", value).items():
                if name == field and isinstance(inner, str):
                    yield inner
                else:
                    yield from _texts(inner, field)
        case [*inners]:
            for inner in cast("Any", inners):
                yield from _texts(inner, field)
        case _:
            pass


@asynccontextmanager
async def _open(folder: Path, secrets: KnownSecrets) -> AsyncGenerator[tuple[Witness, SqliteStore]]:
    secrets.add("passphrase", PASSPHRASE)
    store = await open_store(folder, user_id=ALICE, device_id=ALICE_DEVICE, key=PASSPHRASE)
    try:
        async with run_supervisor(store, user_id=ALICE, device_id=ALICE_DEVICE, options=OPTIONS) as supervisor:
            witness = Witness(supervisor)
            async with trio.open_nursery() as nursery:
                await nursery.start(witness.listen)
                yield witness, store
                nursery.cancel_scope.cancel()
    finally:
        await store.aclose()


async def _do_everything(witness: Witness, store: SqliteStore, homeserver: Homeserver, secrets: KnownSecrets) -> None:
    secrets.add("plaintext", PLAINTEXT)
    secrets.add("export passphrase", FILE_PASSPHRASE)
    await work(witness, homeserver)
    await _learn_secrets(store, secrets)
    device, bob = homeserver.known_device, homeserver.peers[UserId("@bob:example.org")]
    content = {"body": PLAINTEXT}
    await witness.ask(IdentityKeys())
    await witness.ask(SignedDeviceKeys())
    await witness.ask(Statistics())
    await witness.ask(Devices(user_id=bob.user_id))
    prepared = await witness.ask(PrepareRoomKey(room_id=BUSY))
    await share(witness, homeserver, BUSY)
    await witness.ask(MarkRoomKeyShared(room_id=BUSY, session_id=prepared.session_id, devices=homeserver.addresses))
    await witness.ask(MissingSessions(devices=homeserver.addresses))
    await witness.ask(EncryptRoomEvent(room_id=BUSY, type="m.test", content=content))
    await witness.ask(EncryptToDevice(devices=homeserver.addresses, type="m.test", content=content))
    await witness.provoke(SendToDevice(devices=homeserver.addresses, type="m.test", content=content))
    await witness.ask(DecryptToDevice(events=(bob.event(device, "m.test", content),)))
    await witness.ask(KeepInInbox(types=("m.room_key",)))
    await witness.ask(Inbox())
    await witness.ask(AcknowledgeInbox(numbers=(1,)))
    group, room_id = GroupSession(), RoomId("!bobs:example.org")
    secrets.add_base64("room key", group.session_key.to_base64())
    await witness.ask(bob.add_room_key(room_id, group))
    await witness.ask(DecryptRoomEvent(room_id=room_id, event=bob.room_event(room_id, group, content)))
    for key in await witness.ask(ExportRoomKeys()):
        secrets.add_base64("exported room key", key["session_key"])
    file = await witness.ask(ExportKeyFile(passphrase=FILE_PASSPHRASE, rounds=EXPORT_ROUNDS))
    await witness.ask(ImportKeyFile(file=file, passphrase=FILE_PASSPHRASE))
    await _learn_secrets(store, secrets)


async def _do_everything_wrong(witness: Witness, homeserver: Homeserver, secrets: KnownSecrets) -> None:
    device, bob = homeserver.known_device, homeserver.peers[UserId("@bob:example.org")]
    content = {"body": PLAINTEXT}
    group, room_id, secret = GroupSession(), RoomId("!bobs:example.org"), os.urandom(32)
    room_key = group.session_key.to_base64()
    secrets.add_base64("room key", room_key)
    secrets.add("pickle key of another", secret)
    pickle = Account().pickle(secret)
    secrets.add_pickle("account of another", pickle, secret)
    await witness.provoke(CreateAccount())
    await witness.provoke(ImportAccount(pickle=pickle, pickle_key=secret))
    await witness.provoke(ImportAccount(pickle=pickle, pickle_key=secret, format="libolm"))
    for bad in ({PLAINTEXT: {1, 2}}, {"body": PLAINTEXT, PLAINTEXT: float("nan")}):
        await witness.provoke(EncryptRoomEvent(room_id=BUSY, type="m.test", content=cast("JsonObject", bad)))
        await witness.provoke(
            EncryptToDevice(devices=homeserver.addresses, type="m.test", content=cast("JsonObject", bad))
        )
    await witness.provoke(EncryptRoomEvent(room_id=room_id, type="m.test", content=content))
    added = bob.add_room_key(room_id, group)
    for wrong in (
        attrs.evolve(added, session_id=MegolmSessionId(bob.ed25519)),
        attrs.evolve(added, session_key=room_key[:-5]),
        attrs.evolve(added, session_key=f"{room_key}!"),
    ):
        await witness.provoke(wrong)
    event = bob.room_event(room_id, group, content)
    await witness.provoke(DecryptRoomEvent(room_id=room_id, event=event))
    await witness.ask(ParkEvents(events=((room_id, event), (room_id, {**event, PLAINTEXT: {1}}))))
    await witness.ask(ParkedEvents())
    await witness.provoke(EncryptionInfoOf(room_id=room_id, session_id=MegolmSessionId("none"), sender=bob.user_id))
    await witness.ask(ForgetParkedEvents(events=((room_id, EventId("$none")),)))
    await witness.ask(added)
    await witness.provoke(DecryptRoomEvent(room_id=BUSY, event=event))
    lying = bob.room_event(RoomId("!other:example.org"), group, content)
    await witness.provoke(DecryptRoomEvent(room_id=room_id, event=lying))
    garbage = bob.megolm_event(group, PLAINTEXT.encode())
    await witness.provoke(DecryptRoomEvent(room_id=room_id, event=garbage))
    await witness.ask(DecryptRoomEvents(events=((room_id, event), (room_id, garbage), (BUSY, event))))
    events = (
        bob.event(device, "m.test", content, recipient="@mallory:example.org"),
        bob.event(device, "m.room_key", {"session_key": room_key, "room_id": room_id}),
        bob.olm_event(device, PLAINTEXT.encode()),
        {"type": "m.test", "sender": bob.user_id, "content": content},
    )
    await witness.ask(DecryptToDevice(events=events))
    assert (await witness.ask(Inbox())).events
    for sync in (
        f'{{"next_batch": "{PLAINTEXT}',
        f'["{PLAINTEXT}"]',
        {"next_batch": 1, "to_device": {"events": events}},
    ):
        await witness.provoke(ReceiveSync(sync=sync))
    file = await witness.ask(ExportKeyFile(passphrase=FILE_PASSPHRASE, rounds=EXPORT_ROUNDS))
    await witness.provoke(ImportKeyFile(file=file, passphrase=PASSPHRASE))
    await witness.provoke(ImportKeyFile(file=PLAINTEXT, passphrase=FILE_PASSPHRASE))
    keys = exported(bob, room_id, InboundGroupSession(group.session_key))
    await witness.ask(ImportRoomKeys(keys=({**keys, "session_id": "x"}, {**keys, "sender_key": PLAINTEXT}, keys)))
    await homeserver_devices_lie(witness, homeserver)
    await _share_secrets(witness, secrets)


async def _share_secrets(witness: Witness, secrets: KnownSecrets) -> None:
    """With another device of our user's."""
    secrets.add("shared secret", SHARED_SECRET)
    other = Peer(ALICE, DeviceId("TWO"))
    await witness.ask(AddDevices(response=keys_query(other)))
    await witness.ask(SetDeviceTrust(user_id=ALICE, device_id=other.device_id, trust=DeviceTrust.VERIFIED))
    await witness.ask(CreateOlmSessions(one_time_keys={ALICE: {other.device_id: other.one_time_key()}}))
    sent = await witness.ask(EncryptToDevice(devices=(other.address,), type="m.dummy", content={}))
    other.read(sent.messages[ALICE][other.device_id])
    await witness.ask(RequestSecrets(names=("m.mine", "m.cross_signing.master")))
    own = await witness.ask(IdentityKeys())
    for request in await witness.ask(SecretRequests()):
        content = {"request_id": request.request_id, "secret": SHARED_SECRET}
        await witness.ask(DecryptToDevice(events=(other.event(own, "m.secret.send", content),)))
    (kept,) = await witness.ask(SecretInbox())
    assert SHARED_SECRET == kept.secret
    await witness.ask(AcknowledgeSecrets(request_ids=(kept.request_id,)))
    await witness.ask(DeleteSecrets(request_ids=(kept.request_id,)))
    await witness.ask(CancelSecretRequests(names=("m.cross_signing.master",)))


async def _do_what_asks_the_homeserver(witness: Witness, homeserver: Homeserver, secrets: KnownSecrets) -> None:
    """Without one: some of it comes to nothing, and says so."""
    bob = homeserver.peers[UserId("@bob:example.org")].user_id
    seeds = {usage: os.urandom(32) for usage in ("master", "self_signing", "user_signing")}
    for usage, seed in seeds.items():
        secrets.add_base64(usage, b64(seed))
    texts = {usage: b64(seed) for usage, seed in seeds.items()}
    key = recovery_key(os.urandom(32))
    secrets.add("recovery key", key)
    secrets.add("passphrase of secret storage", STORAGE_PASSPHRASE)
    secrets.add("secret", STORED_SECRET)
    messages: list[Message[Any]] = [
        PrepareAccount(),
        PublishAccount(patience=0.1),
        TrackUsers(users=(bob,)),
        OutdatedUsers(),
        OutgoingRequests(),
        MarkRequestSent(request_id=RequestId("none"), response={"body": PLAINTEXT}),
        MarkRequestFailed(request_id=RequestId("none"), response={"body": PLAINTEXT}),
        UpdateDevices(users=(bob,), patience=0.1),
        EncryptForRoom(room_id=BUSY, members=(bob,), type="m.test", content={"body": PLAINTEXT}, patience=0.1),
        SetRoomSettings(room_id=BUSY, settings=EncryptionSettings()),
        RoomSettings(room_id=BUSY),
        SetDeviceTrust(user_id=bob, device_id=homeserver.peers[bob].device_id, trust=DeviceTrust.BLOCKED),
        RequestRoomKeys(sessions=((BUSY, MegolmSessionId("none")),)),
        CancelRoomKeyRequests(sessions=((BUSY, MegolmSessionId("none")),)),
        RoomKeyRequests(),
        Identity(user_id=bob),
        PinIdentity(user_id=bob, master_key=Ed25519Key("A" * 43)),
        WithdrawVerification(user_id=bob, master_key=Ed25519Key("A" * 43)),
        CrossSigningStatus(),
        BootstrapCrossSigning(patience=0.1),
        ImportCrossSigningKeys(seeds=CrossSigningSeeds(**texts)),
        ExportCrossSigningKeys(),
        VerifyUser(user_id=bob, master_key=Ed25519Key("A" * 43), patience=0.1),
        SignDevice(device_id=DeviceId("NONE"), ed25519=Ed25519Key("A" * 43), patience=0.1),
        ResetCrossSigning(patience=0.1),
        *secret_storage(key),
        RequestVerification(user_id=bob),
        Verifications(),
        AcceptVerification(user_id=bob, flow_id="none"),
        StartSas(user_id=bob, flow_id="none"),
        ShowQrCode(user_id=bob, flow_id="none"),
        ScanQrCode(user_id=bob, flow_id="none", data=PLAINTEXT.encode()),
        ConfirmVerification(user_id=bob, flow_id="none"),
        ReceiveVerificationEvent(room_id=BUSY, event={"body": PLAINTEXT}),
        RequestVerification(user_id=bob, room_id=BUSY),
        VerificationMessages(),
        MarkVerificationMessageSent(transaction_id="none", event_id=EventId("$none")),
        MarkVerificationMessageRefused(transaction_id="none"),
        CancelVerification(user_id=bob, flow_id="none"),
    ]
    for message in messages:
        with suppress(OlmStateError):
            await witness.ask(message)


def secret_storage(key: str) -> list[Message[Any]]:
    """All that can be asked of it, with a key or a passphrase."""
    return [
        DescribeSecretStorage(patience=0.1),
        CreateSecretStorage(passphrase=STORAGE_PASSPHRASE, present_key=key, patience=0.1),
        OpenSecretStorage(key=key, patience=0.1),
        ReadSecret(name="m.mine", key=STORAGE_PASSPHRASE, patience=0.1),
        WriteSecret(name="m.mine", secret=STORED_SECRET, key=key, patience=0.1),
        SetDefaultSecretStorageKey(key_id="none", patience=0.1),
        RemoveSecretStorageKey(key_id="none", patience=0.1),
        SetBackupWanted(wanted=True, patience=0.1),
        RecoverFromSecretStorage(key=key, patience=0.1),
    ]


async def homeserver_devices_lie(witness: Witness, homeserver: Homeserver) -> None:
    """Device keys, and claimed keys, whose signatures don't hold."""
    bob = homeserver.peers[UserId("@bob:example.org")]
    keys = bob.device_keys()
    keys["signatures"] = {bob.user_id: {f"ed25519:{bob.device_id}": "A" * 86}}
    await witness.ask(AddDevices(response=keys_query(keys)))
    claimed = homeserver.claim(bob.user_id)
    (key,) = claimed[bob.user_id][bob.device_id].values()
    key["key"] = Account().curve25519_key.to_base64()
    await witness.ask(CreateOlmSessions(one_time_keys=claimed))


# --- the tests ----------------------------------------------------------------------------------------------


@pytest.fixture
def secrets() -> KnownSecrets:
    return KnownSecrets()


@pytest.fixture
def homeserver(memory_folder: Path) -> Homeserver:
    return Homeserver.new(memory_folder / "journal", bytes(32))


def _texts_of(error: BaseException) -> str:
    return "\n".join((repr(error), str(error), *traceback.format_exception(error)))


async def test_no_message_reply_event_error_object_or_log_shows_a_secret(
    memory_folder: Path, homeserver: Homeserver, secrets: KnownSecrets, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level(logging.DEBUG)
    async with _open(memory_folder / "store", secrets) as (witness, store):
        await _do_everything(witness, store, homeserver, secrets)
        await _do_everything_wrong(witness, homeserver, secrets)
        await _do_what_asks_the_homeserver(witness, homeserver, secrets)
        for key in (None, "a wrong passphrase", bytes(32), PASSPHRASE[:-1]):
            with pytest.raises(WrongKey) as wrong:
                await open_store(memory_folder / "store", key=key)
            witness.errors.append(wrong.value)
        await _learn_secrets(store, secrets)
        # A class may say its module by a descriptor, as one that another test has left behind does.
        alive = [thing for thing in gc.get_objects() if str(type(thing).__module__).startswith("olmstate.")]
        shown = [(type(thing).__name__, repr(thing)) for thing in (*alive, *witness.said)]
    shown += [(type(error).__name__, _texts_of(error)) for error in witness.errors]
    shown += [("log", record.getMessage()) for record in caplog.records]
    assert len(secrets.names) > 20
    found = {(what, secret) for what, text in shown for secret in secrets.found_in(text)}
    assert not found
    assert _public_messages() == witness.asked
    assert {type(thing) for thing in alive} >= {Supervisor, SqliteStore}


def _public_messages() -> set[type[Message[Any]]]:
    """Every message that a user can ask."""
    named = [getattr(olmstate.messages, name) for name in olmstate.messages.__all__]
    classes: set[type[Message[Any]]] = {
        thing for thing in named if inspect.isclass(thing) and issubclass(thing, Message)
    }
    return {cls for cls in classes if not any(other is not cls and issubclass(other, cls) for other in classes)}


async def test_no_file_of_a_sealed_store_or_of_its_backup_shows_a_secret_or_who_is_talked_to(
    memory_folder: Path, homeserver: Homeserver, secrets: KnownSecrets
) -> None:
    folder, copy = memory_folder / "store", memory_folder / "copy"
    async with _open(folder, secrets) as (witness, store):
        await _do_everything(witness, store, homeserver, secrets)
        secrets.add("a room's id", BUSY)
        for user_id in homeserver.peers:
            secrets.add("somebody's id", user_id)
        open_files = [path.name for path in _search(folder, secrets)]
        await backup(store, copy)
        await store.change_secret(NEW_PASSPHRASE)
        secrets.add("new passphrase", NEW_PASSPHRASE)
        _search(folder, secrets)
    _search(folder, secrets)
    _search(copy, secrets)
    assert {DATABASE, f"{DATABASE}-wal", f"{DATABASE}-shm", "lock", *PLACES} <= set(open_files)


def _search(folder: Path, secrets: KnownSecrets) -> list[Path]:
    """The files below a folder, in none of which there is a secret."""
    paths = [path for path in folder.rglob("*") if path.is_file()]
    for path in paths:
        assert not secrets.found_in(path.read_bytes()), path
    return paths


async def test_an_imported_account_shows_no_secret(
    memory_folder: Path, secrets: KnownSecrets, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level(logging.DEBUG)
    pickle_key = os.urandom(32)
    pickle = Account().pickle(pickle_key)
    secrets.add("pickle key", pickle_key)
    secrets.add_pickle("account", pickle, pickle_key)
    async with _open(memory_folder / "store", secrets) as (witness, store):
        await witness.ask(ImportAccount(pickle=pickle, pickle_key=pickle_key))
        await _learn_secrets(store, secrets)
        shown = [repr(thing) for thing in witness.said]
        _search(memory_folder / "store", secrets)
    assert not [found for text in (*shown, caplog.text) for found in secrets.found_in(text)]


async def test_the_command_line_prints_no_secret(
    memory_folder: Path, homeserver: Homeserver, secrets: KnownSecrets
) -> None:
    folder = memory_folder / "store"
    async with _open(folder, secrets) as (witness, store):
        await _do_everything(witness, store, homeserver, secrets)
    secrets.add("new passphrase", NEW_PASSPHRASE)
    environment = {
        "OLMSTATE_PASSPHRASE": PASSPHRASE,
        "OLMSTATE_NEW_PASSPHRASE": NEW_PASSPHRASE,
        "OLMSTATE_EXPORT_PASSPHRASE": FILE_PASSPHRASE,
    }
    wrong = {**environment, "OLMSTATE_PASSPHRASE": f"{PASSPHRASE}?", "OLMSTATE_EXPORT_PASSPHRASE": PLAINTEXT}
    renewed = {**environment, "OLMSTATE_PASSPHRASE": NEW_PASSPHRASE}
    key_file, copy = str(memory_folder / "keys.txt"), str(memory_folder / "copy")
    store_path = str(folder)
    calls: list[tuple[bool, dict[str, str], list[str]]] = [
        (True, environment, ["inspect", store_path, "--json"]),
        (True, environment, ["export-keys", store_path, key_file, "--rounds", "100000", "--json"]),
        (True, environment, ["import-keys", store_path, key_file, "--json"]),
        (True, environment, ["backup", store_path, copy, "--json"]),
        (True, environment, ["change-passphrase", store_path, "--json"]),
        (True, renewed, ["inspect", store_path]),
        (False, wrong, ["import-keys", store_path, key_file, "--json"]),
        (False, {**wrong, "OLMSTATE_PASSPHRASE": NEW_PASSPHRASE}, ["import-keys", store_path, key_file, "--json"]),
        (False, wrong, ["backup", store_path, f"{copy} of it", "--json"]),
        (False, wrong, ["change-passphrase", store_path, "--json"]),
    ]
    for good, variables, arguments in calls:
        printed = await _run_command(variables, arguments, good=good)
        assert not secrets.found_in(printed), arguments
    assert not secrets.found_in(Path(key_file).read_bytes())
    assert 0o600 == stat.S_IMODE(Path(key_file).stat().st_mode)


async def _run_command(variables: dict[str, str], arguments: list[str], *, good: bool) -> bytes:
    ran = await trio.run_process(
        [sys.executable, "-m", "olmstate.cli", *arguments],
        env={**os.environ, "PYTHONPATH": os.pathsep.join(sys.path), **variables},
        capture_stdout=True,
        capture_stderr=True,
        check=False,
    )
    assert good == (ran.returncode == 0), (arguments, ran)
    return ran.stdout + ran.stderr
