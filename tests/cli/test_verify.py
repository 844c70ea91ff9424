"""``olmstate verify`` in a terminal, with another device of the library's at the other end."""

from __future__ import annotations

import io
import os
import pty
import re
import sys
from collections.abc import AsyncGenerator
from contextlib import asynccontextmanager
from pathlib import Path

import attrs
import pytest
import trio
from trio.testing import MockClock

from olmstate.actors import Supervisor, open_supervisor
from olmstate.actors.testing import MemoryDisk
from olmstate.cli._device import Device, Reach
from olmstate.cli._output import Output
from olmstate.cli._status_line import StatusLine
from olmstate.cli._verify import (  # what is said, without a terminal
    _sync,  # pyright: ignore[reportPrivateUsage] - one part of it
    _Talk,  # pyright: ignore[reportPrivateUsage] - another
    who,
)
from olmstate.http import open_transport
from olmstate.messages import (
    AcceptVerification,
    CancelVerification,
    ConfirmVerification,
    CreateAccount,
    DeviceId,
    ReceiveSync,
    RequestVerification,
    SignedDeviceKeys,
    SyncToken,
    UpdateDevices,
    UserId,
    Verification,
    VerificationMethod,
    Verifications,
    VerificationStage,
)
from tests.actors.supervised import supervised
from tests.actors.verification.conftest import two_devices
from tests.cli.conftest import ALICE, KEY, PHONE, Olmstate, complaint, make_store
from tests.cli.served import serving
from tests.interop.served_connection import Connection
from tests.operations.transport import transport_of
from tests.peer.homeserver import Homeserver
from tests.peer.session import API, Session

BOB, TABLET = UserId("@bob:example.org"), DeviceId("TABLET")
PATIENCE = 60
"""Seconds until a test gives up."""


TRANSCRIPT = Path(__file__).parents[2] / "docs" / "examples" / "verify.txt"


def as_seen(shown: str) -> list[str]:
    """The lines that are left on a screen; which emoji and numbers there are is another matter each time."""
    lines = [line.split("\r")[-1].rstrip() for line in shown.replace("\r\n", "\n").split("\n")]
    lines = [re.sub(r"^\S+  [A-Z][A-Za-z ]+$", "(an emoji)", line) for line in lines]
    return [re.sub(r"^or \d{4} \d{4} \d{4}$", "or (numbers)", line) for line in lines if line]


@pytest.mark.parametrize(
    "device_id", ["PHONE of @bob:example.org\x1b[8m", "PHONE of @bob:example.org", "PHONE\u202e", "\r@bob:example.org"]
)
def test_nobody_is_named_in_a_way_that_a_terminal_or_a_reader_takes_for_another(device_id: str) -> None:
    """Whoever asks has chosen the name of their device: it could hide, or stand for, that of the user."""
    flow = Verification(
        user_id=UserId("@mallory:elsewhere.example"),
        flow_id="flow",
        device_id=DeviceId(device_id),
        we_requested=False,
        stage=VerificationStage.ASKED,
        room_id=None,
        event_id=None,
        methods=(),
        until=0,
    )
    assert f"{device_id!a} of @mallory:elsewhere.example" == who(flow)
    assert "PHONE of @mallory:elsewhere.example" == who(attrs.evolve(flow, device_id=DeviceId("PHONE")))


@attrs.define
class Terminal:
    """What a program writes to, and reads from."""

    program: trio.Process
    master: int
    shown: str = ""
    _read: int = 0

    async def until(self, text: str) -> str:
        """Wait until the program has written ``text``; all since the last time."""
        with trio.fail_after(PATIENCE):
            while text not in self.shown[self._read :]:
                if not await self._more():
                    raise AssertionError(f"{text!r} never came: {self.shown!r}")
        end = self.shown.index(text, self._read) + len(text)
        since, self._read = self.shown[self._read : end], end
        return since

    async def _more(self) -> bool:
        await trio.lowlevel.wait_readable(self.master)
        try:
            octets = os.read(self.master, 65_536)
        except OSError:  # how Linux says that nobody has the other end open any more
            return False
        self.shown += octets.decode()
        return bool(octets)

    def type(self, text: str) -> None:
        """As somebody at the keyboard."""
        os.write(self.master, text.encode())

    async def end(self) -> int:
        """How the program has ended."""
        with trio.fail_after(PATIENCE):
            while await self._more():
                pass
            return await self.program.wait()


@asynccontextmanager
async def olmstate_verify(tmp_path: Path, store: Path, url: str, *arguments: str) -> AsyncGenerator[Terminal]:
    """The program, in a terminal."""
    key_file, token_file = tmp_path / "key", tmp_path / "token"
    key_file.write_bytes(KEY)
    token_file.write_text("alice\n")
    secrets = ("--key-file", str(key_file), "--token-file", str(token_file))
    command = [sys.executable, "-m", "olmstate", "verify", str(store), "--homeserver", url, *secrets]
    master, slave = pty.openpty()
    program = await trio.lowlevel.open_process(
        [*command, "--sync", *arguments],
        stdin=slave,
        stdout=slave,
        stderr=slave,
        env={**os.environ, "PYTHONPATH": os.pathsep.join(sys.path), "COLUMNS": "100", "PYTHONUTF8": "1"},
    )
    os.close(slave)
    try:
        yield Terminal(program, master)
    finally:
        if program.returncode is None:
            program.kill()
            with trio.CancelScope(shield=True):
                await program.wait()
        os.close(master)


@attrs.define
class Meeting:
    """Alice's store, which the program uses, and Bob's tablet, which is here."""

    url: str
    store: Path
    tmp_path: Path
    bob: Supervisor
    session: Session

    @asynccontextmanager
    async def olmstate(self, *arguments: str) -> AsyncGenerator[Terminal]:
        """The program, in a terminal."""
        async with olmstate_verify(self.tmp_path, self.store, self.url, *arguments) as terminal:
            yield terminal

    async def bobs(self, *stages: VerificationStage) -> Verification:
        """Bob's verification, once it is at one of some stages."""
        with trio.fail_after(PATIENCE):
            while True:
                since = await self.bob.ask(SyncToken())
                await self.bob.ask(ReceiveSync(sync=await self.session.sync(since), since=since))
                for flow in await self.bob.ask(Verifications()):
                    if flow.stage in stages:
                        return flow
                await trio.sleep(0.05)


@pytest.fixture
async def meeting(tmp_path: Path) -> AsyncGenerator[Meeting]:
    server = Homeserver(lambda: 0)
    alice, bob = server.log_in(ALICE, PHONE), server.log_in(BOB, TABLET)
    store = tmp_path / "store"
    await trio.to_thread.run_sync(make_store, store, KEY)
    async with (
        serving({"alice": alice}) as url,
        open_supervisor(
            tmp_path / "bob", user_id=BOB, device_id=TABLET, key=KEY, transport=transport_of(bob)
        ) as supervisor,
    ):
        await supervisor.ask(CreateAccount())
        keys = await supervisor.ask(SignedDeviceKeys())
        await bob.request("POST", f"{API}/keys/upload", {"device_keys": keys})
        yield Meeting(url, store, tmp_path, supervisor, bob)


async def test_people_compare_emoji_and_both_are_verified(meeting: Meeting) -> None:
    async with meeting.olmstate("--user", BOB, "--device", TABLET) as terminal:
        asked = await meeting.bobs(VerificationStage.ASKED)
        await meeting.bob.ask(AcceptVerification(user_id=asked.user_id, flow_id=asked.flow_id))
        theirs = await meeting.bobs(VerificationStage.COMPARING)
        shown = await terminal.until("Does the other device show the same? [y/n]: ")
        assert theirs.emoji is not None
        assert theirs.decimals is not None
        for emoji in theirs.emoji:
            assert f"{emoji.symbol}  {emoji.name}\r\n" in shown
        assert " ".join(map(str, theirs.decimals)) in shown
        terminal.type("y\n")
        await terminal.until("waiting for the other side to confirm")
        await meeting.bob.ask(ConfirmVerification(user_id=theirs.user_id, flow_id=theirs.flow_id))
        assert VerificationStage.DONE is (await meeting.bobs(VerificationStage.DONE)).stage
        assert 0 == await terminal.end()
        assert as_seen(TRANSCRIPT.read_text()) == as_seen(terminal.shown)


async def ask_alice(meeting: Meeting) -> None:
    """Bob asks, once Alice's keys are there."""
    with trio.fail_after(PATIENCE):
        while True:
            await meeting.bob.ask(UpdateDevices(users=(UserId(ALICE),)))
            try:
                await meeting.bob.ask(RequestVerification(user_id=UserId(ALICE), devices=(DeviceId(PHONE),)))
            except Exception:  # noqa: BLE001 - not yet
                await trio.sleep(0.1)
            else:
                return


async def test_who_is_asked_says_yes_first_and_differing_emoji_end_it(meeting: Meeting) -> None:
    async with meeting.olmstate() as terminal:
        await terminal.until("waiting for a request")
        await ask_alice(meeting)
        await terminal.until(f"{TABLET} of {BOB} asks to verify. Do you want that? [y/n]: ")
        terminal.type("y\n")
        await meeting.bobs(VerificationStage.COMPARING)
        await terminal.until("Does the other device show the same? [y/n]: ")
        terminal.type("perhaps\n")
        await terminal.until("Does the other device show the same? [y/n]: ")
        terminal.type("n\n")
        assert "m.mismatched_sas" == (await meeting.bobs(VerificationStage.CANCELLED)).cancel_code
        assert 1 == await terminal.end()
        assert "Error: the verification was cancelled: the emoji differ" in terminal.shown


async def test_who_cannot_compare_emoji_is_named_and_left_to_other_devices(autojump_clock: MockClock) -> None:
    """The question came again and again, whoever said yes."""
    shown = io.StringIO()
    async with two_devices() as two, trio.open_nursery() as nursery:
        two.methods = (VerificationMethod.SHOW_QR,)
        await two.request()
        talk = _Talk(two.bob.process, Output(as_json=False), StatusLine(shown))
        nursery.start_soon(talk.wait_for_request)
        await trio.sleep(1)
        named = "ALICEDEVICE of @alice:example.org asks to verify, and can't compare emoji"
        assert f"{named}: take it on another device\n" == shown.getvalue()
        assert VerificationStage.ASKED is (await two.bob.flow()).stage
        nursery.cancel_scope.cancel()


async def test_a_question_goes_away_when_the_other_side_gives_up(meeting: Meeting) -> None:
    async with meeting.olmstate("--user", BOB) as terminal:
        asked = await meeting.bobs(VerificationStage.ASKED)
        await meeting.bob.ask(AcceptVerification(user_id=asked.user_id, flow_id=asked.flow_id))
        await meeting.bobs(VerificationStage.COMPARING)
        await terminal.until("Does the other device show the same? [y/n]: ")
        await meeting.bob.ask(CancelVerification(user_id=asked.user_id, flow_id=asked.flow_id))
        assert 1 == await terminal.end()
        assert "Error: the verification was cancelled: the other side cancelled it" in terminal.shown


async def test_ctrl_c_cancels_it_on_both_sides(meeting: Meeting) -> None:
    async with meeting.olmstate("--user", BOB) as terminal:
        await meeting.bobs(VerificationStage.ASKED)
        await terminal.until("waiting for the other side to accept")
        terminal.program.send_signal(2)
        assert "m.user" == (await meeting.bobs(VerificationStage.CANCELLED)).cancel_code
        assert 1 == await terminal.end()
        assert "Aborted!" in terminal.shown


def test_a_homeserver_must_be_named(store: Path, key_file: Path, olmstate: Olmstate) -> None:
    ran = olmstate("verify", store, "--key-file", key_file)
    assert (2, "Missing option '--homeserver'" in ran.stderr) == (ran.exit_code, True)


def test_whoever_gives_no_access_token_is_told_where_it_may_come_from(
    store: Path, key_file: Path, olmstate: Olmstate, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.delenv("OLMSTATE_ACCESS_TOKEN", raising=False)
    ran = olmstate("verify", store, "--key-file", key_file, "--homeserver", "http://127.0.0.1:1", typed="")
    assert "OLMSTATE_ACCESS_TOKEN" in complaint(ran)


async def test_an_answer_that_is_no_sync_is_asked_for_again(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    # what is nested deeply was a traceback, and what has no token ended the verification
    monkeypatch.setattr("olmstate.cli._verify.SYNC_AGAIN", 0.0)
    answers = [b"[" * 100_000, b"<html>", b"{}", b'{"next_batch": "s1"}']

    async def serve(stream: trio.SocketStream) -> None:
        connection = Connection(stream)
        while await connection.next_request() is not None:
            if not answers:
                await trio.sleep_forever()
            await connection.answer(200, answers.pop(0))
            if not connection.start_next_cycle():
                return

    async with trio.open_nursery() as nursery, supervised(MemoryDisk()) as supervisor:
        await supervisor.ask(CreateAccount())
        (listener,) = await trio.open_tcp_listeners(0, host="127.0.0.1")
        nursery.start_soon(trio.serve_listeners, serve, [listener])
        url = f"http://127.0.0.1:{listener.socket.getsockname()[1]}"
        device = Device(
            store=tmp_path,
            user_id=ALICE,
            device_id=PHONE,
            key=None,
            homeserver=url,
            token="a_token",
            transport=open_transport(url, "a_token"),
        )
        nursery.start_soon(_sync, device, supervisor)
        with trio.fail_after(PATIENCE):
            while await supervisor.ask(SyncToken()) is None:  # noqa: ASYNC110 - it may take several
                await trio.sleep(0.01)
        nursery.cancel_scope.cancel()
    assert not answers


async def test_whoever_waits_is_told_that_the_homeserver_cannot_be_reached(tmp_path: Path) -> None:
    # nothing was said, for as long as it took
    store = tmp_path / "store"
    await trio.to_thread.run_sync(make_store, store, KEY)
    (listener,) = await trio.open_tcp_listeners(0, host="127.0.0.1")
    url = f"http://127.0.0.1:{listener.socket.getsockname()[1]}"
    await listener.aclose()
    for arguments in (("--user", BOB), ()):
        async with olmstate_verify(tmp_path, store, url, *arguments) as terminal:
            await terminal.until("the homeserver can't be reached: trying again")


async def test_it_is_told_that_the_homeserver_can_be_reached_again(meeting: Meeting) -> None:
    reach = Reach(lost=True)
    written = io.StringIO()
    talk = _Talk(meeting.bob, Output(as_json=False), StatusLine(written), reach)
    with trio.fail_after(PATIENCE):
        async with trio.open_nursery() as nursery:
            nursery.start_soon(talk.wait_for_request)
            while "can't be reached" not in written.getvalue():  # noqa: ASYNC110 - a status line tells nobody
                await trio.sleep(0.01)
            reach.lost = False
            while "waiting for a request" not in written.getvalue():  # noqa: ASYNC110 - a status line tells nobody
                await trio.sleep(0.01)
            nursery.cancel_scope.cancel()
