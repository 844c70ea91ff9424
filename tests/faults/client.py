"""A client that may die at any moment: what it does with a device's store, and what it expects to find in it again.

Owns: a *round*, which is a bit of everything that a device does, from opening its store to closing it.
Rule: every step works on whatever state there is, as a real client has to: it asks the homeserver for what followed its
    token, uploads what waits, shares what isn't marked as shared. Everything that a reply gives out goes to the
    homeserver before the next question.
Why: so the same code runs before the fault, and again after it, where it finds out whether anything was lost.
"""

from __future__ import annotations

import contextlib
import os
from collections.abc import AsyncGenerator, Awaitable, Callable, Sequence
from pathlib import Path
from typing import Protocol, TypeAlias, TypeVar

import trio

from olmstate.actors import Options, run_supervisor
from olmstate.actors._engine.records import loads
from olmstate.actors._rooms.stored import OutboundSessionRecord
from olmstate.messages import (
    AccountExists,
    AcknowledgeInbox,
    AddDevices,
    CreateAccount,
    CreateOlmSessions,
    DecryptedRoomEvent,
    DecryptedToDevice,
    DecryptRoomEvents,
    DeviceAddress,
    DiscardRoomKey,
    EncryptRoomEvent,
    EncryptToDevice,
    EventId,
    ExportKeyFile,
    IdentityKeys,
    ImportRoomKeys,
    Inbox,
    JsonObject,
    MarkKeysPublished,
    MarkRequestSent,
    Message,
    NoAccount,
    PrepareOneTimeKeys,
    ReceiveSync,
    RoomId,
    RoomKeyNotShared,
    RotateRoomKey,
    RotationPeriod,
    ShareRoomKey,
    StoreCorrupt,
    StoreUnavailable,
    SyncToken,
    ToDeviceOutcome,
    UndecryptableToDevice,
    WrongKey,
)
from olmstate.storage import START, Rows, SqliteStore, Table, backup, open_store
from olmstate.storage.sqlite.folder import DATABASE
from olmstate.storage.sqlite.sqlite_errors import translated
from tests.faults.history import Log
from tests.faults.homeserver import ALICE, ALICE_DEVICE, LETTER, Backup, Homeserver, Sync, require
from tests.faults.recording import RecordingStore, RecordingSupervisor, record_stored
from tests.operations.peer import keys_query
from tests.peer.requests import messages_of, reached_by

R = TypeVar("R")

ROTATION = RotationPeriod(messages=20)
LONG = RotationPeriod(messages=100_000)
BUSY, QUIET = RoomId("!busy:example.org"), RoomId("!quiet:example.org")
SHARED = RoomId("!shared:example.org")
"""Its key is shared once and for all, so that several processes can send there without a word between them."""
MESSAGES = 26
"""To the busy room, a round: blocks of 8 and 12 indices are reserved, then the session is due for rotation."""
SENDERS = 3
"""Tasks that send at once."""
EXPORT_ROUNDS = 10
"""Of PBKDF2: the work it makes is not what is tested."""

OPTIONS = Options(write_behind=1e9, lock_timeout=30)
"""Nothing happens by itself, so that each run makes about the same system calls."""


async def open_device_store(folder: Path, homeserver: Homeserver) -> SqliteStore:
    """Open the store with the key that its owner has; if a change of key was not answered, one of two must do."""
    store, secret = await _open_with(
        homeserver.secrets,
        lambda secret: open_store(folder, user_id=ALICE, device_id=ALICE_DEVICE, key=secret, lock_timeout=30),
    )
    info = store.info()
    if homeserver.is_migration(info.schema) or secret != homeserver.secrets[0]:
        # first of all: whoever finds the store as it was last seen asks no more how it became that
        note_generation(homeserver, info.generation)
    homeserver.schema_seen(info.schema)
    homeserver.secret_changed(secret)
    return store


def note_generation(homeserver: Homeserver, generation: int) -> None:
    """Tell the history of a commit that none of the supervisors has made: a migration, or a change of key."""
    homeserver.log.write("elsewhere", generation=generation, rows=[])


async def _open_with(
    secrets: Sequence[bytes], opened: Callable[[bytes], Awaitable[SqliteStore]]
) -> tuple[SqliteStore, bytes]:
    for secret in reversed(secrets):
        with contextlib.suppress(WrongKey):
            return await opened(secret), secret
    raise WrongKey


class Asking(Protocol):
    """What is asked: a supervisor, or who stands before one."""

    async def ask(self, message: Message[R]) -> R:
        """Send a message and wait for its reply."""
        ...


Halfway: TypeAlias = Callable[[], Awaitable[None]]


class HalfwayStore(RecordingStore):
    """A store in the midst of whose first commit something happens: the lock is held, nothing is written yet."""

    def __init__(self, store: SqliteStore, log: Log, halfway: Halfway | None) -> None:
        """Over a store."""
        super().__init__(store, log)
        self._halfway = halfway

    async def commit(self, rows: Rows, seen: int) -> int:
        """The store's."""
        halfway, self._halfway = self._halfway, None
        if halfway is not None:
            await halfway()
        return await super().commit(rows, seen)


@contextlib.asynccontextmanager
async def open_client(
    folder: Path, homeserver: Homeserver, *, options: Options = OPTIONS, halfway: Halfway | None = None
) -> AsyncGenerator[tuple[RecordingSupervisor, SqliteStore]]:
    """The device, for as long as the block runs; before its first commit, ``halfway`` is awaited."""
    store = await open_device_store(folder, homeserver)
    log = homeserver.open_log()
    try:
        recording = HalfwayStore(store, log, halfway)
        await store.lock.acquire(30)  # or others write while we look
        try:
            await record_stored(recording, log, store.info().generation)
        finally:
            store.lock.release()
        async with run_supervisor(recording, user_id=ALICE, device_id=ALICE_DEVICE, options=options) as supervisor:
            yield RecordingSupervisor(supervisor, recording, log), store
    finally:
        await store.aclose()


async def live(folder: Path, homeserver: Homeserver) -> None:
    """Open the store, see that nothing is missing, do a round, close it. No fault strikes meanwhile, or only death."""
    async with open_client(folder, homeserver) as (supervisor, store):
        await check(supervisor, store, homeserver)
        await work(supervisor, homeserver)
        await change_secret(store, homeserver)
        await back_up(store, homeserver)


async def look(folder: Path, homeserver: Homeserver) -> None:
    """Open the store, see that nothing is missing, close it."""
    async with open_client(folder, homeserver) as (supervisor, store):
        await check(supervisor, store, homeserver)


# --- what must be there still -------------------------------------------------------------------------------


async def check(supervisor: Asking, store: SqliteStore, homeserver: Homeserver) -> None:
    """Whatever anybody was told is still so.

    Raises:
        Violated: It isn't.
    """
    check_database(store)
    await check_reservations(store, homeserver)
    await check_backups(homeserver)
    try:
        homeserver.saw_device(await supervisor.ask(IdentityKeys()))
    except NoAccount:
        require(homeserver.device is None, "the account is gone")
        return
    syncs = homeserver.taken_until(await supervisor.ask(SyncToken()))
    await _check_readable(supervisor, [event for sync in syncs for event in sync.readable], "of a sync taken in")
    await _check_readable(supervisor, homeserver.imported, "whose key was imported")
    await _check_readable(supervisor, homeserver.sent, "of our own")
    letters = await _letters(supervisor)
    taken = [sync.letter for sync in syncs]
    lost = set(taken) - homeserver.letters_read - set(letters)
    require(not lost, f"letters {lost} of syncs taken in are neither in the inbox nor dealt with")


async def _letters(supervisor: Asking) -> dict[int, int]:
    """Numbers of the letters in the inbox, and their places there."""
    page = await supervisor.ask(Inbox(types=(LETTER,)))
    return {
        each.event.content["number"]: each.number for each in page.events if isinstance(each.event, DecryptedToDevice)
    }


def check_database(store: SqliteStore) -> None:
    """SQLite finds no fault with its file."""
    found = _integrity(store)
    if found != "ok":
        found = _integrity(store)  # the call that is refused may be one of this very check
    require(found == "ok", f"the database is damaged: {found}")


def _integrity(store: SqliteStore) -> str:
    try:
        with translated():
            found = store._reader.execute("PRAGMA integrity_check").fetchall()  # pyright: ignore[reportPrivateUsage]
    except StoreCorrupt as error:
        return str(error)
    return "\n".join(row[0] for row in found)


async def check_reservations(store: SqliteStore, homeserver: Homeserver) -> None:
    """Every released message index is below what the store says may have been used."""
    for row in await store.page(Table.OUTBOUND_GROUP_SESSIONS, START, 1000):
        session = loads(row, OutboundSessionRecord)
        released = homeserver.released.get(session.session_id, -1)
        require(
            released < session.reserved,
            f"index {released} of {session.session_id} was released, and the store would use {session.reserved} next",
        )


async def _check_readable(supervisor: Asking, events: list[tuple[RoomId, JsonObject]], which: str) -> None:
    outcomes = await supervisor.ask(DecryptRoomEvents(events=tuple(events)))
    for (_, event), outcome in zip(events, outcomes, strict=True):
        require(isinstance(outcome, DecryptedRoomEvent), f"an event {which} can't be read: {outcome}")
        assert isinstance(outcome, DecryptedRoomEvent)
        require(outcome.event_id == EventId(event["event_id"]), "an event was taken for another")


async def check_backups(homeserver: Homeserver) -> None:
    """A backup that was made can be opened; one that was not is not there, or whole as well."""
    for made in homeserver.backups:
        if made.finished or (made.folder / DATABASE).exists():
            await _check_backup(made, homeserver)


async def _check_backup(made: Backup, homeserver: Homeserver) -> None:
    store, _ = await _open_with(made.secrets, lambda secret: open_store(made.folder, key=secret))
    try:
        check_database(store)
        require(not await store.page(Table.OUTBOUND_GROUP_SESSIONS, START, 1), "a backup has outbound sessions")
        require(store.restored_generation > 0, "a backup doesn't know that it is one")
        async with run_supervisor(store, user_id=ALICE, device_id=ALICE_DEVICE, options=OPTIONS) as supervisor:
            require(await supervisor.ask(IdentityKeys()) == homeserver.device, "a backup is of another device")
    finally:
        await store.aclose()


# --- a round ------------------------------------------------------------------------------------------------


async def work(supervisor: Asking, homeserver: Homeserver) -> None:
    """A bit of everything."""
    await create_account(supervisor, homeserver)
    await supervisor.ask(AddDevices(response=keys_query(*homeserver.peers.values())))
    await upload_keys(supervisor, homeserver)
    for _ in range(2):
        await sync(supervisor, homeserver)
    for room_id in (BUSY, QUIET, SHARED):
        await share(supervisor, homeserver, room_id)
    async with trio.open_nursery() as nursery:
        for _ in range(SENDERS):
            nursery.start_soon(send, supervisor, homeserver, BUSY, MESSAGES // SENDERS)
    await write_to_devices(supervisor, homeserver)
    await supervisor.ask(RotateRoomKey(room_id=BUSY, rotation=ROTATION))
    await send(supervisor, homeserver, BUSY, 2)
    await supervisor.ask(DiscardRoomKey(room_id=QUIET))
    await send(supervisor, homeserver, QUIET, 2)
    await import_keys(supervisor, homeserver)
    await supervisor.ask(ExportKeyFile(passphrase="for a friend", rounds=EXPORT_ROUNDS))
    await sync(supervisor, homeserver)


async def create_account(supervisor: Asking, homeserver: Homeserver) -> None:
    """The account, if there is none."""
    try:
        homeserver.saw_device(await supervisor.ask(CreateAccount()))
    except AccountExists:
        homeserver.saw_device(await supervisor.ask(IdentityKeys()))


async def upload_keys(supervisor: Asking, homeserver: Homeserver) -> None:
    """What is due: if an upload was interrupted, the count of what the server has, and then what it lacks."""
    for _ in range(2):
        keys = await supervisor.ask(PrepareOneTimeKeys())
        if keys.is_due:
            homeserver.upload(keys.one_time_keys)
            homeserver.upload(keys.fallback_keys)
            await supervisor.ask(MarkKeysPublished(key_ids=keys.key_ids, one_time_key_counts=homeserver.key_counts))
            homeserver.marked_published(keys.key_ids)


async def sync(supervisor: Asking, homeserver: Homeserver) -> None:
    """What came since the token, and whether it can be read then."""
    token = await supervisor.ask(SyncToken())
    homeserver.taken_until(token)
    answer = homeserver.next_sync(token)
    received = await supervisor.ask(ReceiveSync(sync=answer.response, since=token))
    homeserver.sync_taken(answer)
    _check_received(answer, received.to_device)
    require(received.token_stored, "a token was not stored, though nobody else syncs")
    await _check_readable(supervisor, list(answer.readable), "of the sync just taken in")
    await deal_with_letters(supervisor, homeserver, answer.letter)


async def deal_with_letters(supervisor: Asking, homeserver: Homeserver, newest: int) -> None:
    """All but the newest, which stays in the inbox."""
    letters = await _letters(supervisor)
    require(newest in letters or newest in homeserver.letters_read, "a letter of the sync just taken in is missing")
    done = {number: place for number, place in letters.items() if number < newest}
    homeserver.read_letters(done)
    await supervisor.ask(AcknowledgeInbox(numbers=tuple(done.values())))


def _check_received(answer: Sync, outcomes: tuple[ToDeviceOutcome, ...]) -> None:
    kinds = [type(outcome) for outcome in outcomes]
    wanted = [DecryptedToDevice, DecryptedToDevice, UndecryptableToDevice]
    require(kinds == wanted, f"{answer.next_batch} gave {outcomes}")


async def share(supervisor: Asking, homeserver: Homeserver, room_id: RoomId) -> None:
    """Give everybody the room's key who hasn't got it."""
    everybody = homeserver.addresses
    rotation = LONG if room_id == SHARED else ROTATION
    while True:
        known = {session_id: set(users) for (_, session_id), users in homeserver.shared.items()}
        shared = await supervisor.ask(ShareRoomKey(room_id=room_id, devices=everybody, rotation=rotation))
        reached = reached_by(shared.requests)
        again = {user_id for user_id, _ in reached} & known.get(shared.session_id, set())
        require(not again, f"{room_id}: that {again} have the key was forgotten")
        for request in shared.requests:
            homeserver.to_device(messages_of(request), request.request_id)
            await supervisor.ask(MarkRequestSent(request_id=request.request_id, response={}))
        devices = tuple(DeviceAddress(user_id=user_id, device_id=device_id) for user_id, device_id in reached)
        homeserver.marked_shared(room_id, shared.session_id, devices)
        if not shared.missing and not shared.elsewhere:
            return
        for address in shared.missing:
            claimed = homeserver.claim(address.user_id)
            created = await supervisor.ask(CreateOlmSessions(one_time_keys=claimed))
            require(created.created == (address,), f"no Olm session was made: {created.rejected}")


async def send(supervisor: Asking, homeserver: Homeserver, room_id: RoomId, number: int) -> None:
    """Some messages, each with the room's key shared as often as it must be."""
    for _ in range(number):
        message = EncryptRoomEvent(room_id=room_id, type="m.room.message", content={"body": os.urandom(8).hex()})
        event = None
        while event is None:
            try:
                event = await supervisor.ask(message)
            except RoomKeyNotShared:
                await share(supervisor, homeserver, room_id)
        homeserver.room_event(room_id, event.content)


async def write_to_devices(supervisor: Asking, homeserver: Homeserver) -> None:
    """An event to everybody's device."""
    message = EncryptToDevice(devices=homeserver.addresses, type="m.test", content={"body": "hello"})
    encrypted = await supervisor.ask(message)
    require(not encrypted.missing, f"the Olm sessions with {encrypted.missing} are gone")
    homeserver.to_device(encrypted.messages)


async def import_keys(supervisor: Asking, homeserver: Homeserver) -> None:
    """Room keys that another client has exported."""
    keys, events = homeserver.exported_keys(3)
    imported = await supervisor.ask(ImportRoomKeys(keys=tuple(keys)))
    require(imported.imported == len(keys), f"of {len(keys)} room keys {imported.imported} were imported")
    homeserver.keys_imported(events)


async def change_secret(store: SqliteStore, homeserver: Homeserver) -> None:
    """Seal the store with another key, while nobody writes to it."""
    secret, before = os.urandom(32), store.info().generation
    homeserver.secret_begun(secret)
    await store.change_secret(secret, lock_timeout=30)
    note_generation(homeserver, before + 1)
    homeserver.secret_changed(secret)


async def back_up(store: SqliteStore, homeserver: Homeserver) -> None:
    """Make one more backup; into the same folder again if nobody knows what became of the last try."""
    folder = homeserver.next_backup()
    homeserver.backup_begun(folder)
    try:
        await backup(store, folder)
    except StoreUnavailable:
        if not (folder / DATABASE).exists():
            raise
        # it was made, but nobody was told
    homeserver.backup_made(folder)
