"""Decrypting Olm messages of one batch, so that only those leave a trace that are believed.

Rule: a message that is decrypted and refused changes nothing. No ratchet has moved for it, no one-time key is used up.
What decides is not in its ciphertext alone: a homeserver can put it into another sender's envelope, or deliver it
before the sender's device is known. The same message may come again as it should, and must be readable then.

A decryption can't be undone, and a copy of each session before each message would cost as much as decrypting. So all
are decrypted first and judged afterwards. Where one is refused, what is stored of its device is loaded again, and the
others of that device are decrypted once more. Messages that are refused cost messages of their own device, and no
others.

Pre-key messages that no session matches need the account, which is another actor, so decryption goes in rounds: some
that can be decrypted, then new sessions, and again, until none is left. A one-time key goes to the first message that
names it, as if they had been tried one by one. A message is in two rounds at most.

What is over a budget of work (`work`) is not tried, or undone as if it had not been: it waits. All later messages of
its device wait with it, if they name the same sender.
"""

from __future__ import annotations

from collections import Counter, deque
from collections.abc import Awaitable, Callable, Iterable, Mapping, Sequence
from typing import Final, Generic, TypeAlias, TypeVar

import attrs
import trio

from olmstate.actors._account.actor import AccountActor, CreateInboundSessions, InboundSession, UndoInboundSessions
from olmstate.actors._engine.slices import SlicesOf
from olmstate.actors._engine.turn import Turn
from olmstate.actors._to_device import work
from olmstate.actors._to_device.actor import (
    AddSessions,
    Decrypt,
    Deferred,
    NeedsSession,
    OlmSessionsActor,
    Remember,
    Save,
    Undo,
    WereDecrypted,
)
from olmstate.actors._wire.olm_message import OlmMessage
from olmstate.messages import Curve25519Key, DecryptionError, ReplayedMessage, UserId

P = TypeVar("P")

Judge: TypeAlias = Callable[[Mapping[int, bytes]], Awaitable[Mapping[int, P | DecryptionError]]]
"""What is believed of these plaintexts, by the messages' positions; an error where nothing is."""

MESSAGES_AT_ONCE: Final = 64
"""Handed to the actor, which stops before that if they are much work."""
SESSIONS_AT_ONCE: Final = 4
"""Made without giving other tasks a chance: below a millisecond."""
DEVICES_AT_ONCE: Final = 8
"""Whose sessions are copied, or put back, without giving other tasks a chance."""
TRIES: Final = 4
"""A message that is refused may have stood in the way of another: of itself in the right envelope, or of one that names
the same one-time key. So those that failed are tried again, and this is how often all are tried."""


@attrs.frozen(kw_only=True)
class Opened(Generic[P]):
    """What became of messages, by position; those that wait are left out."""

    said: Mapping[int, P | DecryptionError] = attrs.field(repr=False)
    """What each says, or why it can't be decrypted or is not believed."""
    began: frozenset[int]
    """Which ones a session was made from."""


async def open_messages(turn: Turn, messages: Mapping[int, OlmMessage], judge: Judge[P]) -> Opened[P]:
    """Decrypt messages, as far as they are believed and no budget is spent.

    The believed ones are remembered, so that they are replays from now on.
    """
    batch = _Batch(turn=turn)
    await batch.save(messages.values())
    opened: dict[int, P | DecryptionError] = {}
    refused: set[int] = set()
    left = dict(messages)
    for tries_left in reversed(range(TRIES)):
        found = await batch.decrypt(left)
        plaintexts = {at: outcome for at, outcome in found.items() if isinstance(outcome, bytes)}
        failed = {at: outcome for at, outcome in found.items() if not isinstance(outcome, bytes)}
        opened.update(failed)
        judged = await judge(plaintexts)
        opened.update(judged)
        not_believed = {at for at, said in judged.items() if isinstance(said, DecryptionError)}
        if not not_believed:
            break
        refused |= not_believed
        verdicts = {(messages[at].digest, messages[at].sender): opened[at] for at in not_believed}
        for at in failed:  # the same message in the same envelope, which has failed only because it isn't the first
            verdict = verdicts.get((messages[at].digest, messages[at].sender))
            if verdict is not None:
                opened[at] = verdict
                refused.add(at)
        keys = {messages[at].sender_key for at in not_believed}
        freed = {messages[at].one_time_key for at in not_believed} - {None}
        left = {
            at: olm
            for at, olm in messages.items()
            if at not in refused and (olm.sender_key in keys or (at in failed and olm.one_time_key in freed))
        }
        if not tries_left:
            left = {at: olm for at, olm in left.items() if at not in failed}
        await batch.undo({at: messages[at] for at in not_believed}, again=left)
    else:
        await batch.decrypt(left)  # as before, and so with the same outcome
    for at in batch.waiting:
        opened.pop(at, None)
    believed = {
        messages[at].digest: messages[at] for at, said in opened.items() if not isinstance(said, DecryptionError)
    }
    await batch.remember(believed.values())
    return Opened(said=opened, began=frozenset(batch.created))


@attrs.define(kw_only=True)
class _Batch:
    """What was done for a batch so far."""

    turn: Turn
    created: dict[int, OlmMessage] = attrs.field(factory=dict[int, OlmMessage])
    """The messages that a session was made from, by position."""
    waiting: set[int] = attrs.field(factory=set[int])
    """Positions of messages that are over a budget."""
    _work: Counter[tuple[UserId, Curve25519Key]] = attrs.field(factory=Counter[tuple[UserId, Curve25519Key]])
    """Units that were done for the messages of each sender under each key: anybody can send under anybody's key."""
    _all_work: int = 0
    _at_a_time: int = 0
    """Units since others had their turn."""

    async def save(self, messages: Iterable[OlmMessage]) -> None:
        """Make sure that all can be undone: what nothing was changed of in this turn is in the store."""
        if self.turn[OlmSessionsActor].has_changes:
            first = True
            async for keys in SlicesOf({olm.sender_key for olm in messages}, DEVICES_AT_ONCE):
                await self.turn[OlmSessionsActor].ask(Save(sender_keys=frozenset(keys), first=first))
                first = False

    async def remember(self, messages: Iterable[OlmMessage]) -> None:
        """Have these be known as decrypted and believed."""
        async for some in SlicesOf(messages, MESSAGES_AT_ONCE):
            await self.turn[OlmSessionsActor].ask(Remember(messages=some))

    async def undo(self, refused: Mapping[int, OlmMessage], *, again: Mapping[int, OlmMessage]) -> None:
        """Have the devices of ``refused`` be as they were before; ``again`` are of the same devices."""
        async for keys in SlicesOf({olm.sender_key for olm in refused.values()}, DEVICES_AT_ONCE):
            # of other commands of this turn
            earlier = await self.turn[OlmSessionsActor].ask(Undo(sender_keys=frozenset(keys)))
            while earlier:
                tried = await self.turn[OlmSessionsActor].ask(Decrypt(messages=earlier[:MESSAGES_AT_ONCE]))
                await self.turn[OlmSessionsActor].ask(Remember(messages=earlier[: len(tried.outcomes)]))
                earlier = earlier[len(tried.outcomes) :]
        gone = (refused.keys() | again.keys()) & self.created.keys()
        if gone:
            await self.turn[AccountActor].ask(UndoInboundSessions())
            for at in gone:
                del self.created[at]
            # of other devices: their sessions stay, and their one-time keys are used up
            async for some in SlicesOf([self.created[at] for at in sorted(self.created)], SESSIONS_AT_ONCE):
                await self.turn[AccountActor].ask(CreateInboundSessions(messages=some))

    # --- rounds ---------------------------------------------------------------------------------------------

    async def decrypt(self, messages: Mapping[int, OlmMessage]) -> dict[int, bytes | DecryptionError]:
        """Each message's plaintext, or why there is none; without those that wait."""
        done: dict[int, bytes | DecryptionError] = {}
        left = deque(messages)
        size, sessions = MESSAGES_AT_ONCE, 0
        while window := self._next(left, size, messages, begun=sessions > 0):
            some = tuple([messages[at] for at in window])
            tried = await self.turn[OlmSessionsActor].ask(Decrypt(messages=some, sessions=sessions))
            self._count(some, tried.work)
            await self._pause(sum(tried.work))
            failed: dict[int, DecryptionError] = {}
            needy: list[int] = []
            deferred: list[int] = []
            for at, outcome in zip(window, tried.outcomes, strict=False):
                match outcome:
                    case bytes():
                        done[at] = outcome
                    case NeedsSession():
                        needy.append(at)
                    case Deferred():
                        deferred.append(at)
                    case _:
                        failed[at] = outcome
            done |= await self._name_replays(messages, failed)
            done |= await self._create_sessions({at: messages[at] for at in needy})
            left.extendleft(reversed([*deferred, *window[len(tried.outcomes) :]]))
            # the one that was begun goes on, if it is still the next
            sessions = 0 if deferred else tried.sessions
            # where each message waits for the one before it, a window is no larger than what is got done
            size = min(MESSAGES_AT_ONCE, 2 * len(tried.outcomes) + 1)
        return done

    def _next(self, left: deque[int], size: int, messages: Mapping[int, OlmMessage], *, begun: bool) -> list[int]:
        """The next messages; what is over a budget waits, unless it was ``begun``."""
        window: list[int] = []
        while left and len(window) < size:
            at = left.popleft()
            if (begun and not window) or self._may_try(messages[at]):
                window.append(at)
            else:
                self.waiting.add(at)
        return window

    def _may_try(self, olm: OlmMessage) -> bool:
        return self._work[olm.sender, olm.sender_key] < work.SENDER and self._all_work < work.TURN

    def _count(self, messages: Sequence[OlmMessage], units: Sequence[int]) -> None:
        for olm, done in zip(messages, units, strict=False):
            if done:
                self._work[olm.sender, olm.sender_key] += done
                self._all_work += done

    async def _pause(self, units: int) -> None:
        self._at_a_time += units
        if self._at_a_time >= work.SLICE:
            self._at_a_time = 0
            await trio.lowlevel.checkpoint()

    async def _name_replays(
        self, messages: Mapping[int, OlmMessage], failed: dict[int, DecryptionError]
    ) -> dict[int, DecryptionError]:
        """``failed``, with those named as replays that were decrypted before."""
        suspects = [at for at, error in failed.items() if not isinstance(error, ReplayedMessage)]
        if not suspects:
            return failed
        asked = WereDecrypted(messages=tuple(messages[at] for at in suspects))
        known = await self.turn[OlmSessionsActor].ask(asked)
        return failed | {
            at: ReplayedMessage() for at, was_decrypted in zip(suspects, known, strict=True) if was_decrypted
        }

    async def _create_sessions(self, messages: Mapping[int, OlmMessage]) -> dict[int, bytes | DecryptionError]:
        created: dict[int, bytes | DecryptionError] = {}
        sessions: list[InboundSession] = []
        async for some in SlicesOf(messages.items(), SESSIONS_AT_ONCE):
            self._count([olm for _, olm in some], [work.NEW_SESSION] * len(some))
            made = await self.turn[AccountActor].ask(
                CreateInboundSessions(messages=tuple(olm for _, olm in some), first=not self.created)
            )
            for (at, olm), result in zip(some, made, strict=True):
                if isinstance(result, InboundSession):
                    self.created[at] = olm
                    sessions.append(result)
                    created[at] = result.plaintext
                else:
                    created[at] = result
        if sessions:
            await self.turn[OlmSessionsActor].ask(AddSessions(sessions=tuple(sessions)))
        return created
