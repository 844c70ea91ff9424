"""Whether what was asked was answered rightly: when a fault was in the midst of it, and when nothing strikes any more.

Owns: `Judge`, who asks in the place of an app, and `deliver`, by which others get what is for them.
Rule: a refusal is one that the fault explains, or one that is due. Somebody who was given a reply can rely on it, in
any process; somebody who wasn't can ask again.
"""

from __future__ import annotations

import traceback
from collections.abc import Iterable
from typing import Any, Literal, TypeAlias

import attrs
import trio

from olmstate.messages import (
    ActorStopped,
    EncryptRoomEvent,
    EncryptToDevice,
    Message,
    NoAccount,
    OlmStateError,
    Procedure,
    ShareRoomKey,
)
from tests.faults.evidence import Violation
from tests.faults.history import Entry, Json, Log
from tests.simulation.client import Client
from tests.simulation.news import NOTHING, Ear, contradiction
from tests.simulation.scenario import Prepared, Scenario
from tests.simulation.scenarios import Asking
from tests.simulation.strikes import Strike
from tests.simulation.watch import Watch
from tests.simulation.world import World

Rule: TypeAlias = Literal[
    "no bugs",
    "everybody gets through",
    "everybody is answered",
    "no other refusal",
    "no news of what failed",
    "what fails is not done",
    "the right reply",
    "news of what was done",
    "what follows",
    "what others ask",
    "others' writes are told",
    "subscriptions end",
    "the lock is free in the end",
    "a supervisor is closed in the end",
    "a bug ends nothing",
]
"""What is looked at beside the history."""


@attrs.define(kw_only=True)
class Judge:
    """See the module."""

    scenario: Scenario
    fault: Strike | None
    watch: Watch
    """Knows whether the fault has struck."""
    asker: trio.CancelScope
    """Of the first who asks."""
    alone: bool
    """Nobody else asks at the same time."""
    wrong: list[Violation]
    """What was found."""
    told: bool = False
    """Somebody was given a reply."""
    stopped: bool = False
    """Somebody was told that there is no supervisor any more."""

    def found(self, rule: Rule, what: str | BaseException, entries: Iterable[Entry] = ()) -> None:
        """A rule is broken; by an exception, by some entries, or so."""
        text = what if isinstance(what, str) else "".join(traceback.format_exception(what))
        self.wrong.append(Violation(rule, text, tuple(entries)))

    # --- while the fault may strike -------------------------------------------------------------------------

    async def ask(self, client: Client, prepared: Prepared, ear: Ear) -> None:
        """Ask for the first time."""
        ear.hear()
        try:
            reply = await client.supervisor.ask(prepared.message)
        except OlmStateError as error:
            self.stopped = isinstance(error, ActorStopped)
            if not isinstance(error, (*self._may, *self._may_by_others(prepared))):
                self.found("no other refusal", error)
            if not isinstance(prepared.message, Procedure) and not self._others_are_heard and ear.hear() != NOTHING:
                self.found("no news of what failed", error)
        else:
            self._check_reply(client, prepared, prepared.message, reply)
            self._check_news(prepared.message, reply, ear)
            # in a crowd, the step that failed may have been of what somebody else has asked
            struck = self.watch.struck and not self.watch.for_subscribers
            if self.fault is not None and self.fault.must and struck and self.alone:
                self.found("what fails is not done", str(reply))
            self.told = True

    @property
    def _may(self) -> tuple[type[OlmStateError], ...]:
        """What the first asker may be told instead of a reply."""
        by_fault = () if self.fault is None else self.fault.may
        return (*self.scenario.refused, *by_fault)

    def _may_by_others(self, prepared: Prepared) -> tuple[type[OlmStateError], ...]:
        """What may be answered because of what others have done."""
        if self._was_changed(prepared):
            return () if prepared.elsewhere is None else prepared.elsewhere.refused
        return self.scenario.again if not self.alone or (self.fault is not None and self.fault.rivals) else ()

    def _was_changed(self, prepared: Prepared) -> bool:
        """Whether others have made the situation another one."""
        return self.fault is not None and self.fault.overtakes and prepared.elsewhere is not None

    async def ask_beside(self, asking: Asking, client: Client, ear: Ear) -> None:
        """Ask as one of a crowd, who is told no more and no less than the first asker."""
        may = (*(self.fault.may if self.fault else ()), *((NoAccount,) if self.scenario.empty else ()))
        try:
            await asking(client, ear.ignored.add)
        except OlmStateError as error:
            if not isinstance(error, may):
                self.found("no other refusal", error)
        except AssertionError as error:
            self.found("what others ask", error)

    async def ask_together(self, client: Client, prepared: Prepared) -> None:
        """Ask the same as the first asker, at the same time."""
        message = prepared.anew()
        try:
            reply = await client.supervisor.ask(message)
        except OlmStateError as error:
            if not isinstance(error, (*self._may, *self._may_by_others(prepared), *self.scenario.again)):
                self.found("no other refusal", error)
        else:
            self._check_reply(client, prepared, message, reply)

    # --- when nothing strikes any more ----------------------------------------------------------------------

    async def judge(self, client: Client, prepared: Prepared, ear: Ear, log: Log, *, again: bool) -> None:
        """Everything must work: what was told, the same once more if ``again``, and what is new."""
        log.write("calm")
        try:
            if self.told:
                await prepared.follow(client)
            if again:
                await self._ask_again(client, prepared, ear)
            await _hear_of_a_room_key(client, ear, more=self._others_are_heard)
        except (OlmStateError, AssertionError) as error:
            self.found("what follows", error)

    async def _ask_again(self, client: Client, prepared: Prepared, ear: Ear) -> None:
        message = prepared.anew() if self.told else prepared.message
        ear.hear()
        try:
            reply = await client.supervisor.ask(message)
        except (*self.scenario.again, *self.scenario.refused, *self._may_by_others(prepared)):
            pass
        else:
            self._check_reply(client, prepared, message, reply)
            self._check_news(message, reply, ear)
        if not self.scenario.refused:
            self.told = True
            await prepared.follow(client)

    # --- replies --------------------------------------------------------------------------------------------

    def _check_reply(self, client: Client, prepared: Prepared, message: Message[Any], reply: Json) -> None:
        if not self._was_changed(prepared) and (self.scenario.refused or not prepared.right(reply)):
            self.found("the right reply", str(reply))
        deliver(client.world, message, reply)

    @property
    def _others_are_heard(self) -> bool:
        """Whether other processes do what subscribers in this one hear of."""
        return not self.alone or (self.fault is not None and (self.fault.overtakes or self.fault.rivals))

    def _check_news(self, message: Message[Any], reply: Json, ear: Ear) -> None:
        # others may have done the same meanwhile, or one who was cancelled
        more = self._others_are_heard or self.asker.cancel_called
        contradicted = contradiction(message, reply, ear.hear(), more=more)
        if contradicted is not None:
            self.found("news of what was done", contradicted)


async def _hear_of_a_room_key(client: Client, ear: Ear, *, more: bool) -> None:
    """Whoever has subscribed before the fault must hear of what is done behind it, and of ``more`` by others."""
    key = client.world.new_room_key(client.world.peers[0])
    message = key.add_room_key()
    ear.hear()
    contradicted = contradiction(message, await client.supervisor.ask(message), ear.hear(), more=more)
    assert contradicted is None, contradicted


def deliver(world: World, message: Message[Json], reply: Json) -> None:
    """Let others have what is for them."""
    match message:
        case EncryptToDevice():
            world.receive(reply.messages)
        case ShareRoomKey():
            for request in reply.requests:
                world.take(request)
        case EncryptRoomEvent():
            world.see(message.room_id, reply.content)
        case _:
            pass
