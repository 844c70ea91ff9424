"""Encrypting for a room's members, whatever has to be done before.

Owns: for each room, what was so when its key was last known to be complete: the members, the settings, the session, and
how often devices had changed. If all that is still so, the event is encrypted at once, on that session; if not, each
step is taken anew. Nothing of it is more than a memory: losing it costs a look.
"""

from __future__ import annotations

from collections import OrderedDict
from typing import Final

import attrs

from olmstate.actors._device_lists.actor import DeviceListsActor
from olmstate.actors._devices.actor import DevicesActor
from olmstate.actors._engine.capability import BesideTurns
from olmstate.actors._identities.actor import IdentitiesActor
from olmstate.actors._requests.back_off import LONGEST
from olmstate.actors._requests.courier import Courier
from olmstate.actors._room_settings.actor import RoomSettingsActor
from olmstate.actors._to_device.actor import CommittedSessions, OlmSessionsActor
from olmstate.actors._wire.room_event import event_payload
from olmstate.messages import (
    Curve25519Key,
    EncryptedRoomEvent,
    EncryptForRoom,
    EncryptRoomEvent,
    IdentityKeys,
    MegolmSessionId,
    RequestDelayed,
    RequestKind,
    RoomId,
    RoomKeyNotShared,
    RoomKeyReplaced,
    RotationPeriod,
    SharingStrategy,
    UpdateDevices,
    UserId,
)

from .sharing import ClaimForRoom, PreparedShare, PrepareShare, prefix_of

ROOMS_REMEMBERED: Final = 1_000
MOST_ROUNDS: Final = 8
"""Others may replace the room's key meanwhile; so often, something else is wrong."""


@attrs.define(kw_only=True)
class _Complete:
    """All members' devices had this session's key, when that many changes had been seen."""

    session_id: MegolmSessionId
    members: tuple[UserId, ...]
    rotation: RotationPeriod | None
    strategy: SharingStrategy
    changes: tuple[int, ...]
    unreached: tuple[tuple[UserId, Curve25519Key], ...]
    """Devices that had no Olm session."""
    next_try: int | None
    """Milliseconds since 1970: then it is worth trying them again. None: it is not."""
    olm_sessions: int
    """How often Olm sessions had changed when it was last looked whether one of those devices has one."""


class RoomSending:
    """Encrypts for a room's members."""

    def __init__(self, supervisor: BesideTurns) -> None:
        """Over a supervisor; it remembers nothing yet."""
        self._supervisor = supervisor
        self._devices = supervisor.actors[DevicesActor]
        self._room_settings = supervisor.actors[RoomSettingsActor]
        self._identities = supervisor.actors[IdentitiesActor]
        self._device_lists = supervisor.actors[DeviceListsActor]
        self._olm_sessions = supervisor.actors[OlmSessionsActor]
        self._complete: OrderedDict[RoomId, _Complete] = OrderedDict()

    async def run(self) -> None:
        """It works in its askers' tasks alone."""

    async def encrypt(self, procedure: EncryptForRoom) -> EncryptedRoomEvent:
        """Encrypt an event, and do what has to be done before."""
        complete = self._complete.get(procedure.room_id)
        await self._supervisor.refresh()
        if complete is None or not self._still_holds(complete, procedure) or await self._reaches_more(complete):
            return await self._encrypt_anew(procedure)
        try:
            return await self._supervisor.ask(_event(procedure, complete.session_id))
        except (RoomKeyNotShared, RoomKeyReplaced):
            return await self._encrypt_anew(procedure)

    def _still_holds(self, complete: _Complete, procedure: EncryptForRoom) -> bool:
        return (
            complete.changes == self._changes()
            # tuples don't look whether they are the same one, and then compare thousands of members
            and (complete.members is procedure.members or complete.members == procedure.members)
            and complete.rotation == procedure.rotation
            and complete.strategy is procedure.strategy
            and (complete.next_try is None or 0 < complete.next_try - self._supervisor.now() <= LONGEST)
        )

    async def _reaches_more(self, complete: _Complete) -> bool:
        """Whether a device that could not be reached can be by now: it has begun a session, or another process has."""
        version = self._olm_sessions.version
        if not complete.unreached or complete.olm_sessions == version:
            return False
        have_sessions = await self._supervisor.ask(CommittedSessions(devices=complete.unreached))
        if any(have_sessions):
            return True
        complete.olm_sessions = version
        return False

    def _changes(self) -> tuple[int, ...]:
        return self._devices.version, self._device_lists.version, self._identities.version, self._room_settings.version

    async def _encrypt_anew(self, procedure: EncryptForRoom) -> EncryptedRoomEvent:
        event_payload(_event(procedure, None))  # content that can't be sent costs nobody a key
        own = (await self._supervisor.ask(IdentityKeys())).user_id
        users = tuple(dict.fromkeys((*procedure.members, own)))
        for _ in range(MOST_ROUNDS):
            await self._supervisor.ask(UpdateDevices(users=users, patience=procedure.patience))
            await self._claim(procedure)
            changes, olm_sessions = self._changes(), self._olm_sessions.version
            share = await self._share(procedure)
            try:
                encrypted = await self._supervisor.ask(_event(procedure, share.session_id))
            except (RoomKeyNotShared, RoomKeyReplaced):
                continue
            self._complete[procedure.room_id] = _Complete(
                session_id=share.session_id,
                members=procedure.members,
                rotation=procedure.rotation,
                strategy=procedure.strategy,
                changes=changes,
                unreached=share.unreached,
                next_try=share.next_try,
                olm_sessions=olm_sessions,
            )
            self._complete.move_to_end(procedure.room_id)
            while len(self._complete) > ROOMS_REMEMBERED:
                self._complete.popitem(last=False)
            return encrypted
        raise RoomKeyNotShared(room_id=procedure.room_id)

    async def _claim(self, procedure: EncryptForRoom) -> None:
        """Have an Olm session with each device that can be reached."""
        courier, kind = self._supervisor.services[Courier], RequestKind.KEYS_CLAIM
        prepared = await self._supervisor.ask(ClaimForRoom(users=procedure.members, strategy=procedure.strategy))
        try:
            await courier.deliver(kind, prepared.request_ids, patience=procedure.patience)
        except RequestDelayed:
            return  # the others can be reached
        await courier.wait_until_free(kind, prepared.asked_for.__contains__, patience=procedure.patience)

    async def _share(self, procedure: EncryptForRoom) -> PreparedShare:
        """Have the room's key delivered to all of them."""
        courier, kind = self._supervisor.services[Courier], RequestKind.TO_DEVICE
        share = await self._supervisor.ask(
            PrepareShare(
                room_id=procedure.room_id,
                users=procedure.members,
                rotation=procedure.rotation,
                strategy=procedure.strategy,
            )
        )
        await courier.deliver(kind, share.request_ids, patience=procedure.patience)
        prefix = prefix_of(procedure.room_id, share.session_id)
        if not await courier.wait_until_free(
            kind, lambda subject: subject.startswith(prefix), patience=procedure.patience
        ):
            raise RequestDelayed(kind=kind)
        return share


async def encrypt_for_room(supervisor: BesideTurns, procedure: EncryptForRoom) -> EncryptedRoomEvent:
    """Encrypt an event, and do what has to be done before."""
    return await supervisor.services[RoomSending].encrypt(procedure)


def _event(procedure: EncryptForRoom, session_id: MegolmSessionId | None) -> EncryptRoomEvent:
    return EncryptRoomEvent(
        room_id=procedure.room_id, type=procedure.type, content=procedure.content, session_id=session_id
    )
