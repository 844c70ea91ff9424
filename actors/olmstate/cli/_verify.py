"""``olmstate verify``: people compare emoji, one of them in a terminal.

Rule: every end is said in words, and every end but success is exit code 1. Whoever presses Ctrl-C, or goes away, has
cancelled: the other side hears of it. A program that uses the store meanwhile is not disturbed: a verification is rows
in the store, and either may do its next step.
"""

from __future__ import annotations

import os
import re
import sys
from collections.abc import Mapping
from contextlib import suppress
from pathlib import Path
from typing import Any, Final
from urllib.parse import urlencode

import attrs
import click
import trio

from olmstate.actors import Supervisor
from olmstate.messages import (
    AcceptVerification,
    CancelVerification,
    ConfirmVerification,
    DeviceId,
    IdentityKeys,
    MalformedMessage,
    OutgoingRequests,
    ReceiveSync,
    RequestVerification,
    SasEmoji,
    StartSas,
    SyncToken,
    UpdateDevices,
    UserId,
    Verification,
    VerificationError,
    VerificationMethod,
    Verifications,
    VerificationStage,
)

from ._commands import commands, run
from ._device import NOT_TAKEN, Device, Reach, device_of, homeserver_option, is_token_refused, token_option
from ._output import Output, json_option
from ._paths import store_argument
from ._secrets import store_secret_options
from ._status_line import StatusLine

LOOK_AGAIN: Final = 0.1
"""Seconds between looks at the store: another process may have done the next step."""
LONG_POLL: Final = 20
"""Seconds that a sync waits for news."""
SYNC_AGAIN: Final = 2.0
"""Seconds, after a sync that has failed."""
LOST: Final = "the homeserver can't be reached: trying again"
LAST_WORDS: Final = 10.0
"""Seconds for what is still to be sent at the end. Later, whoever opens the store next sends it."""

_WAITING: Final[Mapping[VerificationStage, str]] = {
    VerificationStage.REQUESTED: "waiting for the other side to accept",
    VerificationStage.READY: "both are ready",
    VerificationStage.STARTED: "exchanging keys",
    VerificationStage.CONFIRMED: "waiting for the other side to confirm",
}
_REASONS: Final[Mapping[str, str]] = {
    "m.user": "the other side cancelled it",
    "m.timeout": "it took too long",
    "m.mismatched_sas": "the emoji differ: somebody may be between the two devices",
    "m.key_mismatch": "a key isn't the expected one: somebody may be between the two devices",
    "m.mismatched_commitment": "a key isn't the promised one: somebody may be between the two devices",
    "m.unknown_method": "the two devices have no way to verify in common",
    "m.unexpected_message": "the two devices got out of step, or the other one began anew",
}
_PLAIN_NAME: Final = re.compile(r"[!-~]+")
"""Letters, digits and signs of ASCII, and no space."""
_ENDS: Final = {
    VerificationStage.DONE,
    VerificationStage.CANCELLED,
    VerificationStage.ELSEWHERE,
    VerificationStage.DISMISSED,
}


def who(flow: Verification) -> str:
    """The other side, in words."""
    user = _shown(flow.user_id)
    return user if flow.device_id is None else f"{_shown(flow.device_id)} of {user}"


def _shown(name: str) -> str:
    """A name that others have chosen: as a literal, if a terminal, or a reader, could take it for something else."""
    return name if _PLAIN_NAME.fullmatch(name) else ascii(name)


def _why(flow: Verification) -> str:
    """Why it came to nothing."""
    if flow.stage is VerificationStage.ELSEWHERE:
        return "another device of yours has taken the request"
    if flow.stage is VerificationStage.DISMISSED:
        return "nobody answered the request in time"
    if flow.cancel_code == "m.user" and flow.cancelled_by_us:
        return "you have cancelled the verification"
    reason = _REASONS.get(flow.cancel_code or "") or f"the other side gave up: {flow.cancel_reason!r}"
    return f"the verification was cancelled: {reason}"


@attrs.define
class _Talk:
    """What is said and asked in the terminal."""

    supervisor: Supervisor
    output: Output
    status: StatusLine
    reach: Reach = attrs.field(factory=Reach)
    said: str = ""

    async def ask(self, user_id: UserId, devices: tuple[DeviceId, ...]) -> Verification:
        """Ask somebody to verify."""
        async with trio.open_nursery() as nursery:
            nursery.start_soon(self._say_what_holds_it_up)
            own = (await self.supervisor.ask(IdentityKeys())).user_id
            await self.supervisor.ask(UpdateDevices(users=(user_id, own)))
            flow = await self.supervisor.ask(RequestVerification(user_id=user_id, devices=devices))
            nursery.cancel_scope.cancel()
        return flow

    async def _say_what_holds_it_up(self) -> None:
        while True:
            self._wait("asking the other side")
            await trio.sleep(LOOK_AGAIN)

    async def wait_for_request(self) -> Verification:
        """Until somebody asks, and our user agrees."""
        while True:
            what = "waiting for a request: start the verification on the other device"
            for flow in await self.supervisor.ask(Verifications()):
                if flow.stage is VerificationStage.ASKED:
                    if VerificationMethod.SAS in flow.methods:
                        return flow
                    # it isn't cancelled: another device may be able to
                    what = f"{who(flow)} asks to verify, and can't compare emoji: take it on another device"
            self._wait(what)
            await trio.sleep(LOOK_AGAIN)

    async def follow(self, flow: Verification) -> Verification:
        """Go on to the end, whatever that is."""
        try:
            while flow.stage not in _ENDS:
                await self._step(flow)
                await trio.sleep(LOOK_AGAIN)
                flow = await self._now(flow)
        except BaseException:
            with trio.CancelScope(shield=True), suppress(VerificationError):
                await self.supervisor.ask(CancelVerification(user_id=flow.user_id, flow_id=flow.flow_id))
                await self._send_what_is_left()
            raise
        finally:
            self.status.clear()
        await self._send_what_is_left()
        return flow

    async def _now(self, flow: Verification) -> Verification:
        for each in await self.supervisor.ask(Verifications()):
            if (each.user_id, each.flow_id) == (flow.user_id, flow.flow_id):
                return each
        return attrs.evolve(flow, stage=VerificationStage.DISMISSED)  # it has gone, for others that have asked

    async def _step(self, flow: Verification) -> None:
        """What our user has to do, if anything."""
        its: dict[str, Any] = {"user_id": flow.user_id, "flow_id": flow.flow_id}
        with suppress(VerificationError):  # it has gone on, or has ended: that is seen at the next look
            match flow.stage:
                case VerificationStage.ASKED:
                    agreed = await self._answer(flow, f"{who(flow)} asks to verify. Do you want that?")
                    if agreed is not None:
                        await self.supervisor.ask(AcceptVerification(**its) if agreed else CancelVerification(**its))
                case VerificationStage.READY:
                    await self.supervisor.ask(StartSas(**its))
                case VerificationStage.COMPARING:
                    self._show(flow)
                    same = await self._answer(flow, "Does the other device show the same?")
                    if same is not None:
                        wish = ConfirmVerification(**its) if same else CancelVerification(**its, mismatch=True)
                        await self.supervisor.ask(wish)
                case _:
                    self._wait(_WAITING[flow.stage])

    def _wait(self, what: str) -> None:
        if self.reach.lost:
            what = LOST
        if what != self.said:
            self.said = what
            self.status.show(what)

    def _show(self, flow: Verification) -> None:
        self.status.clear()
        for emoji in flow.emoji or ():
            self.output.say(_line(emoji))
        if flow.decimals is not None:
            self.output.say("or " + " ".join(map(str, flow.decimals)))

    async def _answer(self, flow: Verification, question: str) -> bool | None:
        """Yes or no; None: the verification has gone on, or ended, without an answer."""
        self.status.clear()
        answers: list[bool] = []
        async with trio.open_nursery() as nursery:
            nursery.start_soon(self._until_over, flow, nursery.cancel_scope)
            answers.append(await _confirmed(question))
            nursery.cancel_scope.cancel()
        if answers:
            return answers[0]
        click.echo(err=True)
        return None

    async def _until_over(self, flow: Verification, scope: trio.CancelScope) -> None:
        while (await self._now(flow)).stage is flow.stage:  # noqa: ASYNC110 - another process may do it
            await trio.sleep(LOOK_AGAIN)
        scope.cancel()

    async def _send_what_is_left(self) -> None:
        with trio.move_on_after(LAST_WORDS):
            while await self.supervisor.ask(OutgoingRequests()):  # noqa: ASYNC110 - the transport sends them
                await trio.sleep(LOOK_AGAIN)


async def _confirmed(question: str) -> bool:
    """Yes or no, as it is typed.

    Not by a thread that reads: Python can't end while one waits for a line that nobody types.

    Raises:
        click.Abort: There is nobody to ask.
    """
    while True:
        click.echo(f"{question} [y/n]: ", nl=False, err=True)
        answer = (await _typed_line()).strip().lower()
        if answer in {"y", "yes", "n", "no"}:
            return answer.startswith("y")


async def _typed_line() -> str:
    line = bytearray()
    while not line.endswith(b"\n"):
        with suppress(PermissionError):  # a file has no need to be waited for
            await trio.lowlevel.wait_readable(0)
        octet = os.read(0, 1)
        if not octet:
            raise click.Abort
        line += octet
    return line.decode(errors="replace")


def _line(emoji: SasEmoji) -> str:
    return f"{emoji.symbol}  {emoji.name}"


async def _sync(device: Device, supervisor: Supervisor) -> None:
    """Take in what comes, again and again."""
    import httpx2  # noqa: PLC0415 - it is in an extra, which `device_of` has looked for

    async with device.client(3 * LONG_POLL) as client:
        while True:
            since = await supervisor.ask(SyncToken())
            query = {"timeout": str(LONG_POLL * 1000), **({} if since is None else {"since": since})}
            try:
                answer = await client.get(f"/_matrix/client/v3/sync?{urlencode(query)}")
                device.heard(answer.status_code)
                if is_token_refused(answer.status_code, answer.content):
                    raise click.ClickException(NOT_TAKEN)
                await supervisor.ask(ReceiveSync(sync=answer.raise_for_status().content, since=since))
            except (httpx2.HTTPError, MalformedMessage) as error:
                if isinstance(error, httpx2.TransportError):
                    device.reach.lost = True
                await trio.sleep(SYNC_AGAIN)


@commands.command()
@store_argument
@store_secret_options
@homeserver_option
@token_option
@click.option("--user", "user_id", help="Whom to ask. Without it, wait until somebody asks.")
@click.option("--device", "device_ids", multiple=True, help="Which devices of that user to ask. Without it, all.")
@click.option("--sync", "syncs", is_flag=True, help="Sync here: no program that does is running on STORE.")
@json_option
def verify(
    store: Path,
    *,
    passphrase_file: Path | None,
    key_file: Path | None,
    homeserver: str,
    token_file: Path | None,
    user_id: str | None,
    device_ids: tuple[str, ...],
    syncs: bool,
    as_json: bool,
) -> None:
    """Verify another device or user: compare emoji in this terminal.

    A bot or another program may use STORE at the same time. If none is running that syncs, add --sync. Without the
    options, what is needed comes from OLMSTATE_PASSPHRASE and OLMSTATE_ACCESS_TOKEN, or is asked for.
    """
    output = Output(as_json)
    device = device_of(store, passphrase_file, key_file, homeserver, token_file)

    async def work() -> Verification:
        async with device.opened() as supervisor, trio.open_nursery() as nursery:
            if syncs:
                nursery.start_soon(_sync, device, supervisor)
            talk = _Talk(supervisor, output, StatusLine(sys.stderr), device.reach)
            asked = None if user_id is None else await talk.ask(UserId(user_id), tuple(map(DeviceId, device_ids)))
            ended = await talk.follow(asked or await talk.wait_for_request())
            nursery.cancel_scope.cancel()
        return ended

    flow = run(work)
    if flow.stage is not VerificationStage.DONE:
        raise click.ClickException(_why(flow))
    output.say(f"{who(flow)} is verified")
    output.finish({"store": str(store), "user_id": flow.user_id, "device_id": flow.device_id})
