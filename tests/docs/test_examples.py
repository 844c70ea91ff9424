"""Every snippet that the pages show does what they say."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
from collections.abc import AsyncGenerator
from contextlib import asynccontextmanager
from io import BytesIO
from pathlib import Path
from typing import BinaryIO

import pytest
import trio
import trio.testing
import vodozemac

from olmstate.actors import Supervisor, open_supervisor
from olmstate.messages import (
    AddRoomKey,
    CreateAccount,
    DecryptedRoomEvent,
    DecryptedToDevice,
    DecryptRoomEvent,
    DeviceAddress,
    EncryptRoomEvent,
    IdentityKeys,
    Inbox,
    JsonObject,
    MarkRoomKeyShared,
    MissingRoomKey,
    OutboundRoomKey,
    PrepareRoomKey,
    PublishAccount,
    ReceiveSync,
    Request,
    RequestKind,
    Response,
    RoomId,
    RotationPeriod,
    SendToDevice,
    Statistics,
    SyncToken,
    TrackUsers,
    UpdateDevices,
    UserId,
)
from olmstate.storage import Turnstile
from tests.docs.pages import ENVIRONMENT, EXAMPLES, ROOT, example, fences, pages
from tests.operations.device import known_sender
from tests.operations.transport import transport_of
from tests.peer.homeserver import Homeserver
from tests.peer.session import Session

ROOM = RoomId("!room:example.org")
USER = UserId("@bot:example.org")
KEY = bytes(32)


def test_every_example_is_shown_on_a_page() -> None:
    shown = "".join(page.read_text(encoding="utf-8") for page in pages())
    assert [] == [file.name for file in EXAMPLES.glob("*.py") if f"examples/{file.name}" not in shown]


@pytest.mark.parametrize("program", ["account", "device", "sync", "daemon", "send"])
def test_the_quickstarts_programs_fit_in_forty_lines(program: str) -> None:
    assert len((EXAMPLES / f"{program}.py").read_text().splitlines()) <= 40


@pytest.mark.parametrize("program", ["account", "device", "sync", "daemon", "send", "asyncio_bot"])
def test_the_quickstart_says_what_the_files_are_called_that_import_each_other(program: str) -> None:
    page = (EXAMPLES.parent / "quickstart.md").read_text(encoding="utf-8")
    assert f"examples/{program}.py\n:caption: {program}.py\n" in page


def test_the_bot_on_asyncio_takes_less_than_sixty() -> None:
    assert len((EXAMPLES / "asyncio_bot.py").read_text().splitlines()) < 60


def test_no_page_shows_code_that_is_not_an_example() -> None:
    for page in pages():
        if page != ROOT / "README.md":
            assert [] == fences(page, "python") + fences(page, "py"), page


@asynccontextmanager
async def device(folder: Path, user_id: str = USER, device_id: str = "BOT") -> AsyncGenerator[Supervisor]:
    async with open_supervisor(folder, user_id=user_id, device_id=device_id, key=KEY) as supervisor:
        yield supervisor


async def shared_key(supervisor: Supervisor) -> OutboundRoomKey:
    key = await supervisor.ask(PrepareRoomKey(room_id=ROOM))
    await supervisor.ask(MarkRoomKeyShared(room_id=ROOM, session_id=key.session_id, devices=()))
    return key


async def encrypted(supervisor: Supervisor) -> JsonObject:
    sent = await supervisor.ask(EncryptRoomEvent(room_id=ROOM, type="m.room.message", content={"body": "hello"}))
    return {"event_id": "$1", "sender": USER, "content": sent.content}


async def test_the_client_sends_to_a_device_that_reads_with_two_processes(tmp_path: Path) -> None:
    client = example("client")
    server = Homeserver()
    bob_at_work, bot_at_work = server.log_in("@bob:example.org", "PHONE"), server.log_in(USER, "BOT")
    room = await bot_at_work.create_room(invite=[bob_at_work.user_id])
    await bob_at_work.join(room)
    async with (
        device(tmp_path / "bot") as bot,
        device(tmp_path / "bob", "@bob:example.org", "PHONE") as bob,
        device(tmp_path / "bob", "@bob:example.org", "PHONE") as bobs_helper,
    ):
        for supervisor, session in ((bot, bot_at_work), (bob, bob_at_work)):
            await supervisor.ask(CreateAccount())
            await client.upload_keys(supervisor, session.request)
        assert {"signed_curve25519": 50} == server.keys.devices["@bob:example.org", "PHONE"].counts

        users = [USER, UserId("@bob:example.org")]
        devices = await client.learn_devices(bot, bot_at_work.request, users)
        await client.learn_devices(bob, bob_at_work.request, users)
        assert {(USER, "BOT"), ("@bob:example.org", "PHONE")} == {(at.user_id, at.device_id) for at in devices}

        for body in ("one", "two"):
            await client.send(bot, bot_at_work.request, room, {"body": body}, devices)
        read = (await client.sync(bob, bob_at_work.request, 0)).read
        assert ["one", "two"] == [event.content["body"] for event in read]
        assert [(USER, "BOT")] * 2 == [(at.user_id, at.device_id) for event in read if (at := known_sender(event))]

        await client.send(bot, bot_at_work.request, room, {"body": "three"}, devices)
        read = (await client.sync(bobs_helper, bob_at_work.request, 0)).read
        assert ["three"] == [event.content["body"] for event in read]
        assert () == (await client.sync(bob, bob_at_work.request, 0)).read  # the helper has moved the token

        # one key is gone, one was uploaded in its place, and nothing more is due
        await client.upload_keys(bob, bob_at_work.request)
        await client.upload_keys(bobs_helper, bob_at_work.request)
        assert {"signed_curve25519": 50} == server.keys.devices["@bob:example.org", "PHONE"].counts
        uploads = [asked for asked in server.asked if asked.target.endswith("/keys/upload")]
        assert 2 == len([upload for upload in uploads if upload.user_id == "@bob:example.org"])


async def test_the_client_gives_a_new_device_the_key_and_shuts_one_out_that_has_left(tmp_path: Path) -> None:
    client = example("client")
    server = Homeserver()
    sessions = {name: server.log_in(f"@{name}:example.org", "PHONE") for name in ("bot", "ann", "bob")}
    room = await sessions["bot"].create_room(invite=[sessions["ann"].user_id, sessions["bob"].user_id])
    for name in ("ann", "bob"):
        await sessions[name].join(room)
    async with (
        device(tmp_path / "bot", "@bot:example.org", "PHONE") as bot,
        device(tmp_path / "ann", "@ann:example.org", "PHONE") as ann,
        device(tmp_path / "bob", "@bob:example.org", "PHONE") as bob,
    ):
        for supervisor, session in zip((bot, ann, bob), sessions.values(), strict=True):
            await supervisor.ask(CreateAccount())
            await client.upload_keys(supervisor, session.request)
        everyone: tuple[DeviceAddress, ...] = await client.learn_devices(
            bot, sessions["bot"].request, [session.user_id for session in sessions.values()]
        )
        for_ann = tuple(address for address in everyone if address.user_id != "@bob:example.org")
        for body, readers in (("to Ann", for_ann), ("to both", everyone), ("to Ann again", for_ann)):
            await client.send(bot, sessions["bot"].request, room, {"body": body}, readers)
        ann_read = [event.content["body"] for event in (await client.sync(ann, sessions["ann"].request, 0)).read]
        bob_read = [event.content["body"] for event in (await client.sync(bob, sessions["bob"].request, 0)).read]
        assert ["to Ann", "to both", "to Ann again"] == ann_read
        assert ["to both"] == bob_read


class Recorded:
    """A homeserver that gives answers which others have given, and remembers what it was asked."""

    def __init__(self, *answers: JsonObject) -> None:
        self.asked: list[str] = []
        self._answers = list(answers)
        self.reached = trio.Event()
        self.go_on = trio.Event()
        self.go_on.set()

    async def request(self, method: str, target: str, _body: JsonObject) -> JsonObject:
        """Answer."""
        self.asked.append(f"{method} {target}")
        answer = self._answers.pop(0)
        self.reached.set()
        await self.go_on.wait()
        return answer


SYNAPSE_IDLE: JsonObject = {
    # what Synapse answers when nothing has happened, to a device that has uploaded keys
    "next_batch": "s12_34_0_1_1_1_1_7_0_1_1",
    "device_one_time_keys_count": {"signed_curve25519": 50},
    "org.matrix.msc2732.device_unused_fallback_key_types": ["signed_curve25519"],
    "device_unused_fallback_key_types": ["signed_curve25519"],
}


@pytest.mark.parametrize("answer", [{"next_batch": "s1"}, SYNAPSE_IDLE], ids=["nothing but a token", "Synapse, idle"])
async def test_a_sync_that_brings_nothing_is_none_that_fails(answer: JsonObject, tmp_path: Path) -> None:
    # it failed with a KeyError, after the token was stored
    client, server = example("client"), Recorded(answer, answer)
    async with device(tmp_path) as bot:
        await bot.ask(CreateAccount())
        for _ in range(2):
            assert client.Synced() == await client.sync(bot, server.request)
        assert answer["next_batch"] == await bot.ask(SyncToken())


async def test_it_waits_for_news_and_quotes_the_token(tmp_path: Path) -> None:
    client, server = example("client"), Recorded({"next_batch": "a/b+c&d=é"}, {"next_batch": "2"})
    async with device(tmp_path) as bot:
        await bot.ask(CreateAccount())
        await client.sync(bot, server.request)
        await client.sync(bot, server.request)
    first, second = server.asked
    assert "GET /_matrix/client/v3/sync?timeout=30000" == first
    assert f"{first}&since=a%2Fb%2Bc%26d%3D%C3%A9" == second


async def test_what_cannot_be_read_is_told_with_its_reason_and_what_is_not_encrypted_left_out(tmp_path: Path) -> None:
    client = example("client")
    async with device(tmp_path / "writer") as writer, device(tmp_path / "reader") as reader:
        await writer.ask(CreateAccount())
        await reader.ask(CreateAccount())
        await shared_key(writer)
        event: JsonObject = {"type": "m.room.encrypted", **await encrypted(writer)}
        redacted: JsonObject = {
            "type": "m.room.encrypted",
            "content": {},
            "unsigned": {"redacted_because": {"type": "m.room.redaction"}},
        }
        numbers: JsonObject = {"rotation_period_msgs": 7, "rotation_period_ms": "soon"}
        settings: JsonObject = {"algorithm": "m.megolm.v1.aes-sha2", **numbers}
        state: JsonObject = {"type": "m.room.encryption", "state_key": "", "content": settings}
        plain: JsonObject = {"type": "m.room.message", "content": {"body": "plain"}}
        join: JsonObject = {
            ROOM: {"state": {"events": [state]}, "timeline": {"events": [event, redacted, plain], "limited": False}},
            "!idle:example.org": {"unread_notifications": {}, "ephemeral": {"events": []}},
        }
        to_device: JsonObject = {"events": [{"type": "m.key.verification.request", "sender": USER, "content": {}}]}
        answer: JsonObject = {"next_batch": "1", "rooms": {"join": join, "leave": {}}, "to_device": to_device}

        synced = await client.sync(reader, Recorded(answer).request)

    [(room_id, unread, error)] = synced.unread
    assert (ROOM, event, MissingRoomKey) == (room_id, unread, type(error))
    assert () == synced.read
    assert ((ROOM, RotationPeriod(messages=7)),) == synced.rotation
    assert ["m.key.verification.request"] == [outcome.event["type"] for outcome in synced.to_device]


async def test_of_two_workers_that_get_the_same_answer_one_works_on_it(tmp_path: Path) -> None:
    # both did all of it
    client = example("client")
    async with device(tmp_path) as one, device(tmp_path) as two:
        await one.ask(CreateAccount())
        await shared_key(one)
        event = {"type": "m.room.encrypted", **await encrypted(one)}
        news: JsonObject = {"next_batch": "2", "rooms": {"join": {ROOM: {"timeline": {"events": [event]}}}}}
        server = Recorded({"next_batch": "1"}, news, news)
        await client.sync(one, server.request)
        server.go_on = trio.Event()
        worked: list[str] = []

        async def work(supervisor: Supervisor) -> None:
            synced = await client.sync(supervisor, server.request)
            worked.extend(each.content["body"] for each in synced.read)

        async with trio.open_nursery() as nursery:
            nursery.start_soon(work, one)
            nursery.start_soon(work, two)
            await trio.testing.wait_all_tasks_blocked()
            server.go_on.set()
    assert ["hello"] == worked


async def test_a_rooms_own_numbers_decide_when_its_key_is_replaced(tmp_path: Path) -> None:
    client, server = example("client"), Homeserver()
    at_work = server.log_in(USER, "BOT")
    room = await at_work.create_room(encryption={"rotation_period_msgs": 2})
    async with device(tmp_path) as bot:
        await bot.ask(CreateAccount())
        await client.upload_keys(bot, at_work.request)
        [(told, rotation)] = (await client.sync(bot, at_work.request, 0)).rotation
        assert (room, RotationPeriod(messages=2)) == (told, rotation)
        for body in range(4):
            await client.send(bot, at_work.request, room, {"body": f"{body}"}, (), rotation=rotation)
        read = (await client.sync(bot, at_work.request, 0)).read
    assert ["0", "1", "2", "3"] == [event.content["body"] for event in read]
    first, second, third, fourth = [event.session_id for event in read]
    assert first == second != third == fourth


async def room_key_of(writer: Supervisor) -> AddRoomKey:
    key, own = await shared_key(writer), await writer.ask(IdentityKeys())
    return AddRoomKey(
        room_id=ROOM,
        session_id=key.session_id,
        session_key=key.session_key,
        sender_key=own.curve25519,
        sender_ed25519=own.ed25519,
        sender=own.user_id,
    )


@pytest.mark.parametrize("receiver", ["this process", "another process"])
async def test_an_event_is_read_once_its_key_comes(receiver: str, tmp_path: Path) -> None:
    shown: list[DecryptedRoomEvent] = []
    async with device(tmp_path / "writer") as writer, device(tmp_path / "reader") as reader:
        await writer.ask(CreateAccount())
        await reader.ask(CreateAccount())
        room_key = await room_key_of(writer)
        unread = [(ROOM, await encrypted(writer))]
        async with device(tmp_path / "reader") as other, trio.open_nursery() as nursery:
            nursery.start_soon(example("read_later").read_later, reader, unread, shown.append)
            await trio.testing.wait_all_tasks_blocked()
            assert [] == shown
            await (reader if receiver == "this process" else other).ask(room_key)
    assert ["hello"] == [event.content["body"] for event in shown]
    assert [] == unread


async def test_a_device_moves_in_with_its_account_and_its_sessions(tmp_path: Path) -> None:
    account, peer, pickle_key = vodozemac.Account(), vodozemac.Account(), os.urandom(32)
    peer.generate_one_time_keys(1)
    [one_time_key] = peer.one_time_keys.values()
    session = account.create_outbound_session(peer.curve25519_key, one_time_key)
    async with device(tmp_path) as supervisor:
        identity = await example("move_in").move_in(
            supervisor,
            account.pickle(pickle_key),
            pickle_key,
            [(peer.curve25519_key.to_base64(), session.pickle(pickle_key))],
        )
        assert identity == await supervisor.ask(IdentityKeys())
        assert account.curve25519_key.to_base64() == identity.curve25519


async def test_a_key_file_lets_another_device_read(tmp_path: Path) -> None:
    async with device(tmp_path / "old") as old, device(tmp_path / "new", device_id="NEW") as new:
        await old.ask(CreateAccount())
        await shared_key(old)
        event = await encrypted(old)
        imported = await example("key_file").carry_over(old, new, "correct horse battery staple")
        assert (1, 1) == (imported.total, imported.imported)
        assert "hello" == (await new.ask(DecryptRoomEvent(room_id=ROOM, event=event))).content["body"]


async def test_a_file_is_sent_and_saved_and_a_changed_one_is_not(tmp_path: Path) -> None:
    attachment = example("attachment")
    server: dict[str, bytes] = {}

    async def upload(file: BinaryIO) -> str:
        await trio.lowlevel.checkpoint()
        server["mxc://example.org/1"] = file.read()
        return "mxc://example.org/1"

    (tmp_path / "sent.txt").write_bytes(b"hello" * 100_000)
    content = await attachment.file_content(tmp_path / "sent.txt", upload)
    downloaded = server[content["file"]["url"]]
    assert b"hello" not in downloaded
    saved = tmp_path / "saved.txt"
    assert "saved as saved.txt" == await attachment.save(content, BytesIO(downloaded), saved)
    assert b"hello" * 100_000 == saved.read_bytes()
    changed = BytesIO(bytes([downloaded[0] ^ 1]) + downloaded[1:])
    assert "The file was changed on its way." == await attachment.save(content, changed, saved)
    assert not saved.exists()


async def test_every_trouble_has_its_words(tmp_path: Path) -> None:
    trouble = example("trouble")
    async with device(tmp_path / "writer") as writer, device(tmp_path / "reader") as reader:
        await writer.ask(CreateAccount())
        await reader.ask(CreateAccount())
        await shared_key(writer)
        event = await encrypted(writer)
        assert "hello" == await trouble.show(writer, DecryptRoomEvent(room_id=ROOM, event=event))
        assert "Waiting for this message's key." == await trouble.show(
            reader, DecryptRoomEvent(room_id=ROOM, event=event)
        )
        session_id = event["content"]["session_id"]
        notice = {"room_id": ROOM, "session_id": session_id, "code": "m.blacklisted"}
        withheld = {"type": "m.room_key.withheld", "sender": USER, "content": notice}
        sync = ReceiveSync(sync={"next_batch": "1", "to_device": {"events": [withheld]}})
        assert "taken in" == await trouble.take_in(reader, sync)
        assert "The sender keeps this message's key from us: m.blacklisted." == await trouble.show(
            reader, DecryptRoomEvent(room_id=ROOM, event=event)
        )
        event["content"]["ciphertext"] = "AAAA"
        assert (await trouble.show(writer, DecryptRoomEvent(room_id=ROOM, event=event))).startswith("Unable to decrypt")


async def test_a_store_that_another_holds_is_named_as_busy(tmp_path: Path) -> None:
    async with example("options").open_small(tmp_path, KEY) as supervisor:
        await supervisor.ask(CreateAccount())
        lock = Turnstile(tmp_path)
        assert lock.acquire_nowait()
        said = await example("trouble").take_in(supervisor, ReceiveSync(sync={"next_batch": "1"}))
        assert said.startswith(f"not yet: the store was locked by process {os.getpid()} for 1.")
        lock.close()
        caches = (await supervisor.ask(Statistics())).caches
    assert (100, 0) == (caches["inbound_group_sessions"].capacity, caches["devices"].capacity)


def test_the_tests_of_the_bot_pass(tmp_path: Path) -> None:
    for name in ("bot.py", "test_bot.py"):
        shutil.copy(EXAMPLES / name, tmp_path)
    (tmp_path / "pytest.ini").write_text("[pytest]\ntrio_mode = true\nfilterwarnings = error\n")
    command = [sys.executable, "-m", "pytest", "-q", "-p", "no:cacheprovider"]
    done = subprocess.run(command, cwd=tmp_path, env=ENVIRONMENT, capture_output=True, text=True, check=False)
    assert 0 == done.returncode, done.stdout
    assert "4 passed" in done.stdout


@asynccontextmanager
async def published(folder: Path, session: Session, sent: trio.Event | None = None) -> AsyncGenerator[Supervisor]:
    """A device with a transport; ``sent`` is set once it has sent an event to devices."""
    send = transport_of(session)

    async def transport(request: Request) -> Response:
        response = await send(request)
        if sent is not None and request.kind is RequestKind.TO_DEVICE:
            sent.set()
        return response

    user_id, device_id = session.user_id, session.device_id
    async with open_supervisor(
        folder, user_id=user_id, device_id=device_id, key=KEY, transport=transport
    ) as supervisor:
        await supervisor.ask(PublishAccount())
        yield supervisor


async def test_letters_that_came_before_the_app_looked_are_answered_once(tmp_path: Path) -> None:
    inbox = example("inbox")
    server, answered = Homeserver(), trio.Event()
    bobs, bots = server.log_in("@bob:example.org", "PHONE"), server.log_in(USER, "BOT")
    async with published(tmp_path / "bob", bobs) as bob, published(tmp_path / "bot", bots, answered) as bot:
        to_bot = DeviceAddress(user_id=bots.user_id, device_id=bots.device_id)
        await bob.ask(SendToDevice(devices=(to_bot,), type=inbox.LETTER, content={"text": "the fish"}))
        await bot.ask(TrackUsers(users=(bobs.user_id,)))
        await bot.ask(UpdateDevices(users=(bobs.user_id,)))
        await bot.ask(ReceiveSync(sync=await bots.sync(None)))
        async with trio.open_nursery() as nursery:
            nursery.start_soon(inbox.answer_letters, bot)
            await answered.wait()
            while (await bot.ask(Inbox())).events:
                await trio.lowlevel.checkpoint()
            nursery.cancel_scope.cancel()
        await bob.ask(ReceiveSync(sync=await bobs.sync(None)))
        (answer,) = (await bob.ask(Inbox(types=(inbox.ANSWER,)))).events
        assert isinstance(answer.event, DecryptedToDevice)
        assert {"text": "thanks for the fish"} == answer.event.content
