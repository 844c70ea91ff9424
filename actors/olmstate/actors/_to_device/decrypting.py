"""Decrypting Olm messages of one batch, so that only those leave a trace that are believed.

Rule: a message that is decrypted and refused changes nothing. No ratchet has moved for it, no one-time key is used up.
What decides is not in its ciphertext alone: a homeserver can put it into another sender's envelope, or deliver it
before the sender's device is known. The same message may come again as it should, and must be readable then.

A decryption can't be undone, and a copy of each session before each message would cost as much as decrypting. So all
are decrypted first and judged afterwards. Where one is refused, what is stored of its device is loaded again, and the
others of that device are decrypted once more. Messages that are refused cost messages of their own device, and no
others.

Pre-key messages that no session matches need the account, which is another actor, so decryption goes in rounds: all
that can be decrypted, then new sessions, and again, until none is left. A one-time key goes to the first message that
names it, as if they had been tried one by one.
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Iterable, Mapping
from typing import Final, TypeAlias, TypeVar

import attrs

from olmstate.actors._account.actor import AccountActor, CreateInboundSessions, InboundSession, UndoInboundSessions
from olmstate.actors._engine.turn import Turn
from olmstate.actors._to_device.actor import (
    AddSessions,
    Decrypt,
    DecryptOutcome,
    Deferred,
    NeedsSession,
    OlmSessionsActor,
    Remember,
    Save,
    Undo,
    WereDecrypted,
)
from olmstate.actors._wire.olm_message import OlmMessage
from olmstate.messages import DecryptionError, ReplayedMessage

P = TypeVar("P")

Judge: TypeAlias = Callable[[Mapping[int, bytes]], Awaitable[Mapping[int, P | DecryptionError]]]
"""What is believed of these plaintexts, by the messages' positions; an error where nothing is."""

TRIES: Final = 4
"""A message that is refused may have stood in the way of another: of itself in the right envelope, or of one that names
the same one-time key. So those that failed are tried again, and this is how often all are tried."""


async def open_messages(
    turn: Turn, messages: Mapping[int, OlmMessage], judge: Judge[P]
) -> dict[int, P | DecryptionError]:
    """What each message says, or why it can't be decrypted or is not believed.

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
    believed = {
        messages[at].digest: messages[at] for at, said in opened.items() if not isinstance(said, DecryptionError)
    }
    if believed:
        await turn[OlmSessionsActor].ask(Remember(messages=tuple(believed.values())))
    return opened


@attrs.define(kw_only=True)
class _Batch:
    """What was done for a batch so far."""

    turn: Turn
    created: dict[int, OlmMessage] = attrs.field(factory=dict[int, OlmMessage])
    """The messages that a session was made from, by position."""

    async def save(self, messages: Iterable[OlmMessage]) -> None:
        """Make sure that all can be undone: what nothing was changed of in this turn is in the store."""
        if self.turn[OlmSessionsActor].has_changes:
            await self.turn[OlmSessionsActor].ask(Save(sender_keys=frozenset(olm.sender_key for olm in messages)))

    async def undo(self, refused: Mapping[int, OlmMessage], *, again: Mapping[int, OlmMessage]) -> None:
        """Have the devices of ``refused`` be as they were before; ``again`` are of the same devices."""
        keys = frozenset(olm.sender_key for olm in refused.values())
        earlier = await self.turn[OlmSessionsActor].ask(Undo(sender_keys=keys))
        if earlier:  # of other commands of this turn
            await self.turn[OlmSessionsActor].ask(Decrypt(messages=earlier))
            await self.turn[OlmSessionsActor].ask(Remember(messages=earlier))
        gone = (refused.keys() | again.keys()) & self.created.keys()
        if gone:
            await self.turn[AccountActor].ask(UndoInboundSessions())
            for at in gone:
                del self.created[at]
            if self.created:
                # of other devices: their sessions stay, and their one-time keys are used up
                messages = tuple(self.created[at] for at in sorted(self.created))
                await self.turn[AccountActor].ask(CreateInboundSessions(messages=messages))

    # --- rounds ---------------------------------------------------------------------------------------------

    async def decrypt(self, messages: Mapping[int, OlmMessage]) -> dict[int, bytes | DecryptionError]:
        """Each message's plaintext, or why there is none."""
        done: dict[int, bytes | DecryptionError] = {}
        left = dict(messages)
        while left:
            tried = await self.turn[OlmSessionsActor].ask(Decrypt(messages=tuple(left.values())))
            outcomes = await self._name_replays(left, dict(zip(left, tried, strict=True)))
            needy: list[int] = []
            first_deferred = max(left) + 1
            for position, outcome in outcomes.items():
                match outcome:
                    case NeedsSession():
                        needy.append(position)
                    case Deferred():
                        if left[position].pre_key is None:
                            continue  # a normal message uses up no one-time key
                        first_deferred = min(first_deferred, position)
                    case _:
                        done[position] = outcome
                        del left[position]
            # those behind a deferred pre-key message wait: it may name the same one-time key, and was sent first
            now = {position: left.pop(position) for position in needy if position < first_deferred}
            if now:
                done.update(await self._create_sessions(now))
        return done

    async def _name_replays(
        self, messages: Mapping[int, OlmMessage], outcomes: dict[int, DecryptOutcome]
    ) -> dict[int, DecryptOutcome]:
        """``outcomes``, with those of failed messages that were decrypted before named as that."""
        suspects = [
            at
            for at, outcome in outcomes.items()
            if isinstance(outcome, DecryptionError) and not isinstance(outcome, ReplayedMessage)
        ]
        if not suspects:
            return outcomes
        asked = WereDecrypted(messages=tuple(messages[at] for at in suspects))
        known = await self.turn[OlmSessionsActor].ask(asked)
        return outcomes | {
            at: ReplayedMessage() for at, was_decrypted in zip(suspects, known, strict=True) if was_decrypted
        }

    async def _create_sessions(self, messages: Mapping[int, OlmMessage]) -> dict[int, bytes | DecryptionError]:
        made = await self.turn[AccountActor].ask(
            CreateInboundSessions(messages=tuple(messages.values()), first=not self.created)
        )
        created = dict(zip(messages, made, strict=True))
        sessions = tuple(result for result in made if isinstance(result, InboundSession))
        if sessions:
            self.created |= {at: messages[at] for at, result in created.items() if isinstance(result, InboundSession)}
            await self.turn[OlmSessionsActor].ask(AddSessions(sessions=sessions))
        return {
            at: result.plaintext if isinstance(result, InboundSession) else result for at, result in created.items()
        }
