"""Sharing a room's key with its members' devices, by requests that are stored with the commit that made them.

Who may have the key is recorded before it leaves (`Offer`), who has it when the homeserver has taken it. In between, a
request says that it is on its way: so whoever sends next neither repeats it nor goes without it, and a share that a
killed process has begun is finished by another.
"""

from __future__ import annotations

import contextlib
import json
import secrets
from collections.abc import Collection, Container, Iterable, Mapping
from typing import Final

from olmstate.actors._account.operations import own_device
from olmstate.actors._devices.operations import MANY_ADDRESSES, distinct, look_up
from olmstate.actors._engine.slices import SlicesOf, in_slices
from olmstate.actors._engine.turn import Turn
from olmstate.actors._requests.actor import (
    AnsweredRequest,
    NewRequest,
    PendingRequest,
    PendingRequests,
    PutRequests,
    RequestsActor,
    TakeOver,
)
from olmstate.actors._requests.operations import stored_requests
from olmstate.actors._requests.points import Refused
from olmstate.actors._to_device.claims import PreparedClaims, claim_keys, next_try, without_session
from olmstate.actors._to_device.sending import (
    DEVICES_A_REQUEST,
    Encrypted,
    encrypt_to,
    halve_to_device,
    to_device_request,
)
from olmstate.actors._wire.algorithms import OLM
from olmstate.actors._wire.quiet_struct import QuietStruct
from olmstate.actors._withheld.notices import tell_no_olm
from olmstate.messages import (
    Command,
    Curve25519Key,
    DeviceAddress,
    DeviceId,
    DeviceKeys,
    JsonObject,
    MegolmSessionId,
    OutboundRoomKey,
    RequestId,
    RequestKind,
    RoomId,
    RoomKeyReplaced,
    RoomKeyShare,
    RotationPeriod,
    ShareRoomKey,
    SharingStrategy,
    UserId,
)

from .actor import CurrentSession, Discard, Export, MarkShared, Offer, OutboundGroupSessionsActor
from .operations import RECIPIENTS_A_ROW, WantedSettings, new_room_key, wanted_settings
from .recipients import chosen_of, devices_of_users, recipients, withhold
from .strategies import Chosen

_MARK: Final = "room_key"
"""What the context of a request is called that carries a room key."""
_CARRIES: Final = f'{{"{_MARK}"'.encode()


class PreparedShare(QuietStruct, kw_only=True, frozen=True):
    """A room key on its way."""

    session_id: MegolmSessionId
    request_ids: tuple[RequestId, ...]
    """This process's requests, also those that it has made before; others may be on their way, too."""
    unreached: tuple[tuple[UserId, Curve25519Key], ...]
    """Devices without an Olm session."""
    next_try: int | None
    """When it is worth claiming a key of one of them; see `next_try`."""


class PrepareShare(QuietStruct, Command[PreparedShare], kw_only=True, frozen=True):
    """Send a room's present key to all devices of these users that lack it; it is made, or replaced, if that is due."""

    room_id: RoomId
    users: tuple[UserId, ...]
    rotation: RotationPeriod | None = None
    strategy: SharingStrategy = SharingStrategy.ALL_DEVICES


class ClaimForRoom(QuietStruct, Command[PreparedClaims], kw_only=True, frozen=True):
    """Claim a key of each device that is to get a room's key and has no Olm session, unless somebody does."""

    users: tuple[UserId, ...]
    strategy: SharingStrategy


async def claim_for_room(turn: Turn, command: ClaimForRoom) -> PreparedClaims:
    """Nobody's keys are used up who gets no room key."""
    chosen = await recipients(turn, command.users, command.strategy)
    able = [device for device in chosen.allowed.values() if OLM in device.algorithms]
    return await claim_keys(turn, await without_session(turn, able))


async def share_room_key(turn: Turn, command: ShareRoomKey) -> RoomKeyShare:
    """Store the requests that send a room's key to whoever lacks it."""
    own = (await own_device(turn)).identity
    named = await distinct(command.devices)
    named.pop(DeviceAddress(user_id=own.user_id, device_id=own.device_id), None)
    known = await look_up(turn, named)
    if command.users:
        known |= await devices_of_users(turn, command.users)
    chosen = await chosen_of(turn, known, command.strategy)
    for address in chosen.withheld:
        named.pop(address, None)
    settings = await wanted_settings(turn, command.room_id, command.rotation)
    shared = await _share(turn, command.room_id, {**named, **chosen.allowed}, chosen, settings)
    if shared.idle and not shared.missing:
        await _mark(turn, command.room_id, shared.session_id, ())
    return RoomKeyShare(
        session_id=shared.session_id,
        requests=await stored_requests(turn, shared.request_ids),
        elsewhere=shared.elsewhere,
        withheld=chosen.withheld,
        missing=shared.missing,
    )


async def prepare_share(turn: Turn, command: PrepareShare) -> PreparedShare:
    """The same, for `EncryptForRoom`; whoever can't be reached doesn't hold up the others."""
    chosen = await recipients(turn, command.users, command.strategy)
    settings = await wanted_settings(turn, command.room_id, command.rotation, strict=True)
    shared = await _share(turn, command.room_id, chosen.allowed, chosen, settings)
    if shared.idle:
        await _mark(turn, command.room_id, shared.session_id, ())
    unreached = [chosen.allowed[address] for address in shared.missing]
    return PreparedShare(
        session_id=shared.session_id,
        request_ids=shared.request_ids,
        unreached=tuple((device.user_id, device.curve25519) for device in unreached),
        next_try=await next_try(turn, unreached),
    )


class _Shared(QuietStruct, kw_only=True, frozen=True):
    """A room key, and what is on its way."""

    session_id: MegolmSessionId
    request_ids: tuple[RequestId, ...]
    """This process's."""
    elsewhere: bool
    """Others' carry it, too."""
    missing: tuple[DeviceAddress, ...]
    """Who can't be reached."""
    idle: bool
    """Nobody was sent it yet, and nothing is on its way."""


async def _share(
    turn: Turn, room_id: RoomId, wanted: Collection[DeviceAddress], chosen: Chosen, settings: WantedSettings
) -> _Shared:
    """Rotate if need be, encrypt the key to whom it must go, tell whom it is withheld from, and store the requests.

    Args:
        turn: The present one.
        room_id: Which room.
        wanted: Who may have the key; those whose own keys aren't known can't be reached.
        chosen: Who of the known devices gets it, and who doesn't.
        settings: By what the session is to be made.
    """
    known = chosen.allowed
    outbound = turn[OutboundGroupSessionsActor]
    current = await outbound.ask(settings.current(room_id, turn.now))
    if current is not None and await in_slices(current.is_known_to_others(wanted, known)):
        current = None
    carrying = [] if current is None else await _carried_on(turn, room_id, current.session_id)
    lacking = list(wanted) if current is None else await _lacking(wanted, known, current, under_way=bool(carrying))
    able, missing = list[DeviceKeys](), list[DeviceAddress]()
    if current is not None:
        able = [known[each] async for some in SlicesOf(lacking, MANY_ADDRESSES) for each in some if each in known]
        missing = await without_session(turn, able)
    session_id, requests = None if current is None else current.session_id, list[NewRequest]()
    reached: Collection[DeviceAddress] = ()
    if current is None or len(missing) < len(able):
        # None if another's write was seen in between: then the fence turns this turn back in the end
        shared = None if current is None else await outbound.ask(Export(room_id=room_id))
        if shared is None:
            shared = await new_room_key(turn, room_id, settings.new)
            lacking, carrying = list(wanted), []
        session_id = shared.session_id
        encrypted = await _offer(turn, shared, lacking, known)
        reached, missing = encrypted.keys.keys(), [address for address in encrypted.missing if address in known]
        requests = [
            await _request(room_id, session_id, dict(some))
            async for some in SlicesOf(encrypted.contents.items(), DEVICES_A_REQUEST)
        ]
    assert session_id is not None  # noqa: S101 - else there is a new one
    request_ids = await turn[RequestsActor].ask(PutRequests(requests=tuple(requests), now=turn.now))
    told: Mapping[DeviceAddress, str] = {} if current is None or current.session_id != session_id else current.told
    await withhold(turn, room_id, session_id, chosen, told)
    await tell_no_olm(turn, missing, reached)
    return _Shared(
        session_id=session_id,
        request_ids=(*(each.request_id for each in carrying if each.own), *request_ids),
        elsewhere=any(not each.own for each in carrying),
        missing=(*missing, *await _without(lacking, known)),
        idle=not requests and not carrying and (current is None or not current.shared),
    )


async def _lacking(
    wanted: Collection[DeviceAddress],
    known: Mapping[DeviceAddress, DeviceKeys],
    current: CurrentSession,
    *,
    under_way: bool,
) -> list[DeviceAddress]:
    """Who doesn't have a session's key, and to whom it isn't on its way."""
    lacking = await _without(wanted, current.shared_with)
    if not under_way:
        return lacking
    on_its_way: set[DeviceAddress] = set()
    async for some in SlicesOf(lacking, MANY_ADDRESSES):
        on_its_way.update(
            each for each in some if each in known and current.offered.get(each) == known[each].curve25519
        )
    return await _without(lacking, on_its_way)


async def _without(wanted: Iterable[DeviceAddress], others: Container[DeviceAddress]) -> list[DeviceAddress]:
    """Those of ``wanted`` that are not among ``others``."""
    left: list[DeviceAddress] = []
    async for some in SlicesOf(wanted, MANY_ADDRESSES):
        left += [address for address in some if address not in others]
    return left


async def _offer(
    turn: Turn, shared: OutboundRoomKey, lacking: Collection[DeviceAddress], known: Mapping[DeviceAddress, DeviceKeys]
) -> Encrypted:
    """Encrypt the key to those who lack it, and record that they may have it."""
    named = shared.room_id, shared.session_id
    encrypted = await encrypt_to(turn, lacking, "m.room_key", shared.content, known, room_key=named)
    async for some in SlicesOf(encrypted.keys.items(), RECIPIENTS_A_ROW):
        offer = Offer(
            room_id=shared.room_id, session_id=shared.session_id, devices=dict(some), session_key=shared.session_key
        )
        await turn[OutboundGroupSessionsActor].ask(offer)
    return encrypted


def prefix_of(room_id: RoomId, session_id: MegolmSessionId) -> str:
    """What the subjects of all requests that carry a room key begin with."""
    return f"{session_id} {room_id} "


async def _carrying(turn: Turn, room_id: RoomId, session_id: MegolmSessionId) -> list[PendingRequest]:
    """The requests that carry a session's key."""
    prefix = prefix_of(room_id, session_id)
    pending = await turn[RequestsActor].ask(PendingRequests(kind=RequestKind.TO_DEVICE))
    return [each for each in pending if any(subject.startswith(prefix) for subject in each.subjects)]


async def _carried_on(turn: Turn, room_id: RoomId, session_id: MegolmSessionId) -> list[PendingRequest]:
    """The same; those of processes that have died are this one's now."""
    carrying = await _carrying(turn, room_id, session_id)
    if all(each.own for each in carrying):
        return carrying
    await turn[RequestsActor].ask(TakeOver())
    return await _carrying(turn, room_id, session_id)


async def _request(
    room_id: RoomId, session_id: MegolmSessionId, contents: Mapping[DeviceAddress, JsonObject]
) -> NewRequest:
    return await to_device_request(
        contents.items(),
        subjects=(prefix_of(room_id, session_id) + secrets.token_hex(4),),  # the requests go out at the same time
        context=_context(room_id, session_id, contents),
        inner_type="m.room_key",
    )


def _context(room_id: str, session_id: str, devices: Iterable[DeviceAddress]) -> bytes:
    named = [[address.user_id, address.device_id] for address in devices]
    return json.dumps({_MARK: {"room_id": room_id, "session_id": session_id, "devices": named}}).encode()


async def take_delivery(turn: Turn, answered: AnsweredRequest, response: JsonObject) -> None:  # noqa: ARG001 - an answer's function
    """The homeserver has taken a request that may carry a room key."""
    if not answered.context.startswith(_CARRIES):
        return  # another capability's
    carried = json.loads(answered.context)[_MARK]
    room_id, session_id = RoomId(carried["room_id"]), MegolmSessionId(carried["session_id"])
    devices = (
        DeviceAddress(user_id=UserId(user_id), device_id=DeviceId(device_id))
        for user_id, device_id in carried["devices"]
    )
    await _mark(turn, room_id, session_id, devices)


async def halve_delivery(refused: AnsweredRequest) -> tuple[NewRequest, ...]:
    """Send the halves of a request to devices, whatever it carries."""

    def context(devices: Iterable[DeviceAddress]) -> bytes:
        if not refused.context.startswith(_CARRIES):
            return refused.context
        carried = json.loads(refused.context)[_MARK]
        return _context(carried["room_id"], carried["session_id"], devices)

    return await halve_to_device(refused, context)


async def delivery_refused(turn: Turn, refused: AnsweredRequest, why: Refused) -> None:  # noqa: ARG001 - a refusal's function
    """It has refused one for good.

    What else carries the key may still be delivered, and then it would seem that all have it who are to. So the room
    gets another.
    """
    if refused.context.startswith(_CARRIES):
        carried = json.loads(refused.context)[_MARK]
        discard = Discard(room_id=RoomId(carried["room_id"]), session_id=MegolmSessionId(carried["session_id"]))
        await turn[OutboundGroupSessionsActor].ask(discard)


async def _mark(turn: Turn, room_id: RoomId, session_id: MegolmSessionId, devices: Iterable[DeviceAddress]) -> None:
    more = await _carrying(turn, room_id, session_id)
    marked = MarkShared(room_id=room_id, session_id=session_id, devices=frozenset(devices), all_delivered=not more)
    with contextlib.suppress(RoomKeyReplaced):  # meanwhile; whoever sends next shares the new one
        await turn[OutboundGroupSessionsActor].ask(marked)
