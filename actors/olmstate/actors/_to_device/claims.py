"""Claiming one-time keys of devices without an Olm session (spec: POST /keys/claim)."""

from __future__ import annotations

import json
from collections.abc import Collection, Iterable, Mapping
from itertools import chain
from typing import Final

from olmstate.actors._account.actor import ALGORITHM
from olmstate.actors._account.operations import own_device
from olmstate.actors._device_lists.operations import SERVER_TIMEOUT
from olmstate.actors._devices.operations import MANY_ADDRESSES, committed_devices_of, distinct
from olmstate.actors._engine.capability import BesideTurns
from olmstate.actors._engine.slices import SlicesOf
from olmstate.actors._engine.turn import Turn
from olmstate.actors._requests.actor import (
    AnsweredRequest,
    BackOff,
    CommittedRequests,
    NewRequest,
    PendingRequests,
    PutRequests,
    RequestsActor,
)
from olmstate.actors._requests.back_off import delay
from olmstate.actors._requests.operations import backed_off, committed_back_offs
from olmstate.actors._requests.points import Refused, halves_of
from olmstate.actors._wire.algorithms import OLM
from olmstate.actors._wire.quiet_struct import QuietStruct
from olmstate.actors._wire.untrusted_json import is_object, json_object, optional
from olmstate.actors._wire.user_ids import server_of
from olmstate.messages import (
    CreateOlmSessions,
    DeviceAddress,
    DeviceId,
    DeviceKeys,
    IdentityKeys,
    JsonObject,
    MissingSessions,
    RequestId,
    RequestKind,
    SessionsMissing,
    UserId,
)

from .actor import CommittedSessions, HaveSessions, OlmSessionsActor
from .sending import create_olm_sessions

DEVICES_A_CLAIM: Final = 250
DEVICES_AT_ONCE: Final = 64
"""Looked up without giving other tasks a chance: below a millisecond, or one if they must be loaded."""


class PreparedClaims(QuietStruct, kw_only=True, frozen=True):
    """Keys that are to be claimed so that users' devices can be written to."""

    request_ids: tuple[RequestId, ...]
    """This process's requests, also those that it has made before."""
    asked_for: frozenset[str]
    """Subjects of all requests that are about the users' devices, this process's and others'."""


async def claim_keys(turn: Turn, missing: Collection[DeviceAddress]) -> PreparedClaims:
    """Claim a key of each of these devices, unless somebody does, or it or its server has failed lately."""
    if not missing:
        return PreparedClaims(request_ids=(), asked_for=frozenset())
    subjects: dict[str, DeviceAddress] = {}
    servers: set[str] = set()
    async for some in SlicesOf(missing, MANY_ADDRESSES):
        subjects.update((subject_of(address), address) for address in some)
        servers.update(server_of(address.user_id) for address in some)
    pending = await turn[RequestsActor].ask(PendingRequests(kind=RequestKind.KEYS_CLAIM))
    in_flight = {subject for each in pending for subject in each.subjects}
    own = tuple(each.request_id for each in pending if each.own and not subjects.keys().isdisjoint(each.subjects))
    failing = await backed_off(turn, chain(subjects, servers))
    due: dict[str, DeviceAddress] = {}
    async for part in SlicesOf(subjects.items(), MANY_ADDRESSES):
        due.update(
            (subject, address)
            for subject, address in part
            if subject not in in_flight and failing.keys().isdisjoint((subject, server_of(address.user_id)))
        )
    requests = [_claim(dict(part)) async for part in SlicesOf(due.items(), DEVICES_A_CLAIM)]
    request_ids = await turn[RequestsActor].ask(PutRequests(requests=tuple(requests), now=turn.now))
    return PreparedClaims(request_ids=own + request_ids, asked_for=frozenset(due) | (in_flight & subjects.keys()))


async def missing_sessions(supervisor: BesideTurns, query: MissingSessions) -> SessionsMissing:
    """Which devices have no session, and what to claim: of whom nobody asks for, and who hasn't failed lately."""
    own = await supervisor.ask(IdentityKeys())
    users, named = {*query.users, *([own.user_id] if query.users else [])}, await distinct(query.devices)
    owners = users.union((own.user_id, *(address.user_id for address in named)))
    devices = await committed_devices_of(supervisor, sorted(owners))
    missing: list[DeviceAddress] = []
    async for some in SlicesOf(devices, DEVICES_AT_ONCE):
        asked = [
            device
            for device in some
            if (device.user_id in users or device.address in named)
            and (device.user_id, device.device_id) != (own.user_id, own.device_id)
            and OLM in device.algorithms
        ]
        sessions = CommittedSessions(devices=tuple((device.user_id, device.curve25519) for device in asked))
        have_sessions = await supervisor.ask(sessions)
        missing += _without(asked, have_sessions)
    pending = await supervisor.ask(CommittedRequests())
    in_flight = {subject for each in pending if each.kind is RequestKind.KEYS_CLAIM for subject in each.subjects}
    due: list[DeviceAddress] = []
    async for part in SlicesOf(missing, DEVICES_AT_ONCE):
        names = [(subject_of(address), server_of(address.user_id)) for address in part]
        failing = await committed_back_offs(supervisor, dict.fromkeys(chain.from_iterable(names)))
        due += [
            address
            for address, both in zip(part, names, strict=True)
            if both[0] not in in_flight and failing.keys().isdisjoint(both)
        ]
    return SessionsMissing(devices=tuple(missing), claim=_claim_of(due) if due else None)


async def without_session(turn: Turn, devices: Iterable[DeviceKeys]) -> list[DeviceAddress]:
    """Those of ``devices`` that there is no Olm session with."""
    missing: list[DeviceAddress] = []
    async for some in SlicesOf(devices, DEVICES_AT_ONCE):
        asked = HaveSessions(devices=tuple((device.user_id, device.curve25519) for device in some))
        missing += _without(some, await turn[OlmSessionsActor].ask(asked))
    return missing


def _without(devices: Iterable[DeviceKeys], have_sessions: Iterable[bool]) -> Iterable[DeviceAddress]:
    return (device.address for device, has_one in zip(devices, have_sessions, strict=True) if not has_one)


async def next_try(turn: Turn, devices: Iterable[DeviceKeys]) -> int | None:
    """When it is worth claiming a key of one of these devices, in milliseconds since 1970: when a back-off ends.

    None: nobody can. A device that has not failed is one that is being asked, or whose homeserver is: soon, then.
    """
    soon = turn.now + delay(1)
    first: int | None = None
    async for some in SlicesOf(devices, DEVICES_AT_ONCE):
        able = [device.address for device in some if OLM in device.algorithms]
        names = [(subject_of(address), server_of(address.user_id)) for address in able]
        until = await backed_off(turn, dict.fromkeys(chain.from_iterable(names)))
        for both in names:
            its = max((until[name] for name in both if name in until), default=soon)
            first = its if first is None else min(first, its)
    return first


def subject_of(address: DeviceAddress) -> str:
    """What stands for a device in requests and back-offs. No user id has a space in it."""
    return f"{address.user_id} {address.device_id}"


def _claim(devices: Mapping[str, DeviceAddress]) -> NewRequest:
    return NewRequest(
        kind=RequestKind.KEYS_CLAIM,
        method="POST",
        path="/_matrix/client/v3/keys/claim",
        body=json.dumps(_claim_of(devices.values())).encode(),
        subjects=tuple(devices),
    )


def _claim_of(devices: Iterable[DeviceAddress]) -> JsonObject:
    """A key of each (spec: POST /keys/claim)."""
    wanted: dict[str, dict[str, str]] = {}
    for address in devices:
        wanted.setdefault(address.user_id, {})[address.device_id] = ALGORITHM
    return {"one_time_keys": wanted, "timeout": SERVER_TIMEOUT}


async def take_claim_answer(turn: Turn, answered: AnsweredRequest, response: JsonObject) -> None:
    """Start the sessions. A device that gave no good key, or whose server failed, is left alone for a while."""
    told = json_object(response, "one_time_keys")
    wanted: dict[UserId, dict[DeviceId, str]] = json.loads(answered.body)["one_time_keys"]
    claimed: JsonObject = {}
    for user_id, devices in wanted.items():
        of_user = told.get(user_id)
        if is_object(of_user):
            claimed[user_id] = {device: of_user[device] for device in devices if is_object(of_user.get(device))}
    created = (await create_olm_sessions(turn, CreateOlmSessions(one_time_keys=claimed))).created
    own = (await own_device(turn)).identity
    failed = set(optional(json_object, response, "failures") or {}) - {server_of(own.user_id)}
    asked = _devices_of(answered)
    without = [subject_of(address) for address in set(asked) - set(created) if server_of(address.user_id) not in failed]
    servers = {server_of(address.user_id) for address in asked}
    await turn[RequestsActor].ask(
        BackOff(
            failed=(*without, *(servers & failed)),
            succeeded=(*map(subject_of, created), *(servers - failed)),
            now=turn.now,
        )
    )


async def halve_claim(refused: AnsweredRequest) -> tuple[NewRequest, ...]:
    """Claim the keys of the halves of its devices."""
    return tuple(_claim({subject_of(each): each for each in half}) for half in halves_of(_devices_of(refused)))


async def claim_refused(turn: Turn, refused: AnsweredRequest, why: Refused) -> None:  # noqa: ARG001 - a refusal's function
    """Leave its devices alone for a while: a claim was made again at each send."""
    await turn[RequestsActor].ask(BackOff(failed=refused.subjects, succeeded=(), now=turn.now))


def _devices_of(claim: AnsweredRequest) -> list[DeviceAddress]:
    wanted: dict[UserId, dict[DeviceId, str]] = json.loads(claim.body)["one_time_keys"]
    return [DeviceAddress(user_id=user, device_id=device) for user, devices in wanted.items() for device in devices]
