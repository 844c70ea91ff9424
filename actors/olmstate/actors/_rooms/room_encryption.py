"""Encrypting to rooms beside the turns, with message indices that a turn has reserved.

Owns: the events that wait to be encrypted, and who of their askers reserves more indices.
Rule: one look at the store serves all events that were asked for before it. From its answer to the ciphertexts nothing
waits, so nobody in this process ends a reservation in between; what another process commits in between came after.
Why: alone, an asker pays for the look and for a message to the actor. Of a hundred that ask at once, each would pay as
much for those as for encrypting.

An asker queues its event and steps aside once. All others that ask at that time queue theirs; the first to go on
encrypts them all, and the others find theirs done.
"""

from __future__ import annotations

import contextlib

import attrs
import trio

from olmstate.actors._account.actor import AccountActor
from olmstate.actors._engine.capability import BesideTurns
from olmstate.actors._engine.envelope import own_error
from olmstate.actors._wire.room_event import MegolmCiphertext, encrypted_room_event, event_payload
from olmstate.messages import (
    EncryptedRoomEvent,
    EncryptRoomEvent,
    InternalError,
    MegolmSessionId,
    OlmStateError,
    RoomId,
    StoreError,
)

from .actor import EncryptReserved, LoadSession, OutboundGroupSessionsActor


@attrs.define(eq=False)
class _Waiting:
    """An event that waits to be encrypted."""

    room_id: RoomId
    plaintext: bytes = attrs.field(repr=False)
    session_id: MegolmSessionId | None = None
    """On which it must be, if any."""
    tried: bool = False
    """False until the actor was asked; the event then may still need a turn."""
    encrypted: MegolmCiphertext | None = None
    """None, though it was tried: that takes a turn."""
    error: OlmStateError | None = None


@attrs.define(eq=False)
class _Reserving:
    """A turn that is to reserve message indices of a room."""

    ended: trio.Event = attrs.field(factory=trio.Event)
    error: StoreError | None = None
    waiting: list[_Waiting] = attrs.field(factory=list[_Waiting])


class RoomEncryption:
    """Encrypts with reserved indices, and asks for a turn where there are none."""

    def __init__(self, supervisor: BesideTurns) -> None:
        """It encrypts for this supervisor."""
        self._supervisor = supervisor
        self._account = supervisor.actors[AccountActor]
        self._outbound = supervisor.actors[OutboundGroupSessionsActor]
        self._queue: list[_Waiting] = []
        self._reserving: dict[RoomId, _Reserving] = {}

    async def encrypt(self, command: EncryptRoomEvent) -> EncryptedRoomEvent:
        """With a reserved index if there is one, else in a turn, which reserves more: for all that wait for it."""
        waiting = _Waiting(command.room_id, event_payload(command), command.session_id)
        own = self._account.own_device
        if own is None:
            return await self._supervisor.ask_in_turn(command)
        if command.room_id not in self._reserving:  # else nothing is left for it
            await trio.lowlevel.checkpoint_if_cancelled()  # switches only to raise
            self._queue.append(waiting)
            await trio.lowlevel.cancel_shielded_checkpoint()
            if not waiting.tried:
                await self._encrypt_all(self._queue)
        while waiting.encrypted is None:
            if waiting.error is not None:
                raise waiting.error
            other = self._reserving.get(command.room_id)
            if other is not None:
                await self._wait_for(other, waiting)
            elif waiting.tried:
                return await self._reserve(command)
            else:
                await self._encrypt_alone(waiting)
        return encrypted_room_event(own.identity, waiting.encrypted, command.content)

    async def _encrypt_all(self, queue: list[_Waiting]) -> None:
        """Empty a queue and try each, or none of them: then each loads what it needs.

        An event whose room is reserving indices waits for that reservation.
        """
        batch = [waiting for waiting in queue if waiting.room_id not in self._reserving]
        queue.clear()
        if not batch:
            return
        try:
            replies = await self._encrypt_now(batch)
        except trio.WouldBlock:
            return
        except OlmStateError as error:
            if isinstance(error, InternalError) and len(batch) > 1:
                return  # nobody knows whose it is: alone, that one meets it again
            for waiting in batch:
                waiting.tried, waiting.error = True, own_error(error)
        else:
            for waiting, encrypted in zip(batch, replies, strict=True):
                waiting.tried, waiting.encrypted = True, encrypted

    async def _encrypt_alone(self, waiting: _Waiting) -> None:
        await self._supervisor.refresh()
        await self._outbound.ask(LoadSession(room_id=waiting.room_id))
        with contextlib.suppress(trio.WouldBlock):  # then it takes a turn
            (waiting.encrypted,) = await self._encrypt_now([waiting])
        waiting.tried = True

    async def _encrypt_now(self, batch: list[_Waiting]) -> tuple[MegolmCiphertext | None, ...]:
        """Encrypt each, if nothing must be waited for but the look.

        Raises:
            trio.WouldBlock: The actor has something else to do, or must load a session.
            OlmStateError: None of them can be encrypted.
        """
        await self._supervisor.refresh()
        events = tuple([(waiting.room_id, waiting.plaintext, waiting.session_id) for waiting in batch])
        now, seen = self._supervisor.now(), self._supervisor.generation
        return self._outbound.ask_nowait(EncryptReserved(events=events, now=now, seen=seen))

    async def _reserve(self, command: EncryptRoomEvent) -> EncryptedRoomEvent:
        """Encrypt in a turn, which reserves indices for more."""
        reserving = self._reserving[command.room_id] = _Reserving()
        try:
            return await self._supervisor.ask_in_turn(command)
        except StoreError as error:
            reserving.error = error
            raise
        finally:
            del self._reserving[command.room_id]
            reserving.ended.set()

    async def _wait_for(self, other: _Reserving, waiting: _Waiting) -> None:
        """Wait for the one who reserves; of those who wait, the first to go on encrypts for all."""
        waiting.tried = False
        other.waiting.append(waiting)
        try:
            await other.ended.wait()
        except BaseException:  # a cancellation, or Ctrl-C
            if waiting in other.waiting:  # else its index was used already, and is skipped
                other.waiting.remove(waiting)
            raise
        if other.error is not None:
            raise own_error(other.error)  # the store's: it would be the same for each
        if not waiting.tried:
            await self._encrypt_all(other.waiting)
