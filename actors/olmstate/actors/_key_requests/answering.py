"""Answering what our user's other devices ask for: room keys, or secrets.

Whoever asks is looked up when they are answered. A request is anybody's word until the answer is encrypted to a device
that is verified: anybody could say that they are our user's device, and the homeserver could make one.
"""

from __future__ import annotations

import json
from collections import defaultdict
from collections.abc import Awaitable, Callable, Mapping, Sequence
from typing import Final, Generic, TypeVar

import attrs

from olmstate.actors._account.operations import own_device
from olmstate.actors._engine.slices import SlicesOf
from olmstate.actors._engine.turn import Turn
from olmstate.actors._requests.actor import NewRequest, PendingRequests, PutRequests, RequestsActor
from olmstate.actors._to_device.claims import claim_keys
from olmstate.actors._to_device.handlers import DecryptedEvent, PlainEvent
from olmstate.actors._to_device.sending import encrypt_to, to_device_request
from olmstate.actors._wire.quiet_struct import QuietStruct
from olmstate.actors._wire.untrusted_json import json_object, string
from olmstate.messages import (
    DeviceAddress,
    DeviceId,
    DeviceIdentity,
    DeviceKeys,
    JsonObject,
    MalformedMessage,
    RequestKind,
)

from .own_devices import other_own_devices, verified_own_devices
from .stored import WaitingName, WaitingRecord, name_of

REQUESTS_AT_ONCE: Final = 12
"""Looked at without giving other tasks a chance."""
STORED_AT_ONCE: Final = 48
"""The same, where each time some of those that wait may have to go."""
MOST_CHARACTERS: Final = 1_000
"""Of a request's id and what it asks for: they are kept with the answer. Of what devices ask, it is a tenth."""
MOST_ANSWERS: Final = 100
"""Of a type that wait to be sent to a device: a request is sent again if it matters, and anybody can send some.
Refusals are counted apart: however much is asked for in a device's name that isn't there, it is sent what is."""

W = TypeVar("W", bound=WaitingRecord)


class Answer(QuietStruct, kw_only=True, frozen=True):
    """What a device that asks is sent."""

    type: str
    contents: tuple[JsonObject, ...]
    """Each is an event of its own; they go out one after another."""
    encrypted: bool


@attrs.frozen(kw_only=True, eq=False)
class Answering(Generic[W]):
    """A kind of things that devices ask for."""

    about: str
    """Of the requests that carry its answers."""
    read: Callable[[DeviceId, str, JsonObject], W | None]
    """What the content of a request asks for, of a device with an id of its own; may raise `MalformedMessage`."""
    wanted: Callable[[W], str]
    """What that is: of two answers to a device that say the same, one is enough."""
    waiting: Callable[[Turn], Awaitable[Mapping[WaitingName, W]]]
    """What waits for an Olm session."""
    change: Callable[[Turn, Sequence[W], Sequence[WaitingName]], Awaitable[None]]
    """Some wait from now on, some no longer."""
    answer: Callable[[Turn, W, bool], Awaitable[Answer | None]]
    """What to send, to a device that is verified or isn't; None: nothing."""

    async def receive(self, turn: Turn, events: Sequence[PlainEvent]) -> None:
        """Serve requests, and forget those that are cancelled."""
        own = (await own_device(turn)).identity
        asked: dict[WaitingName, W] = {}
        cancelled: list[WaitingName] = []
        async for some in SlicesOf(events, REQUESTS_AT_ONCE):
            for plain in some:
                request = self._request(plain.event, own)
                if isinstance(request, WaitingRecord):
                    asked[name_of(request)] = request
                elif request is not None:
                    asked.pop(request, None)
                    cancelled.append(request)
        if cancelled:
            await self.change(turn, (), cancelled)
        await self._serve(turn, asked)

    def _request(self, event: JsonObject, own: DeviceIdentity) -> W | WaitingName | None:
        """What another device of our user's asks for, or the name of what it asks for no longer; None: it's neither."""
        try:
            if string(event, "sender") != own.user_id:
                return None
            content = json_object(event, "content")
            device_id = DeviceId(string(content, "requesting_device_id"))
            request_id, action = string(content, "request_id"), string(content, "action")
            if device_id == own.device_id:
                return None
            if action == "request_cancellation":
                return device_id, request_id
            request = self.read(device_id, request_id, content) if action == "request" else None
        except MalformedMessage:
            return None
        too_long = request is not None and len(request_id) + len(self.wanted(request)) > MOST_CHARACTERS
        return None if too_long else request

    async def sessions_started(self, turn: Turn, devices: Sequence[DeviceAddress]) -> None:
        """There are Olm sessions now with these devices: send what waited for one."""
        waiting = await self.waiting(turn)
        if not waiting:
            return
        own = (await own_device(turn)).identity
        reached = {address.device_id for address in devices if address.user_id == own.user_id}
        due = {name: record for name, record in waiting.items() if record.device_id in reached}
        if due:
            await self.change(turn, (), tuple(due))
            await self._serve(turn, due)

    async def sessions_renewed(self, turn: Turn, events: Sequence[DecryptedEvent]) -> None:
        """The other side has begun the session: as good."""
        devices = [event.payload.device for event in events]
        addresses = [
            DeviceAddress(user_id=device.user_id, device_id=device.device_id)
            for device in devices
            if device is not None
        ]
        await self.sessions_started(turn, addresses)

    async def _serve(self, turn: Turn, asked: Mapping[WaitingName, W]) -> None:
        """Send each that may be sent, or say why not; what needs an Olm session waits for one."""
        if not asked:
            return
        verified, known = await verified_own_devices(turn), await other_own_devices(turn)
        pending = await turn[RequestsActor].ask(PendingRequests(kind=RequestKind.TO_DEVICE))
        subjects = {subject for each in pending for subject in each.subjects}
        waiting: list[W] = []
        # whoever asks for the same a thousand times makes this device look for it once
        by_wanted: defaultdict[tuple[DeviceId, str], list[W]] = defaultdict(list)
        for record in asked.values():
            by_wanted[record.device_id, self.wanted(record)].append(record)
        async for some in SlicesOf(by_wanted.items(), REQUESTS_AT_ONCE):
            for (device_id, wanted), records in some:
                device = known.get(device_id)
                if device is None:
                    continue
                answer = await self.answer(turn, records[0], device_id in verified)
                if answer is None:
                    continue
                # a device's id is whatever its owner has chosen, and is not to pass for another's
                alike = json.dumps([self.about, device_id, answer.type])[:-1]
                subject = f"{alike}, {json.dumps(wanted)}]"
                if subject in subjects or sum(each.startswith(f"{alike}, ") for each in subjects) >= MOST_ANSWERS:
                    continue
                # one after another to each device: of those that are overtaken, it can decrypt few
                carrying = await _requests_with(turn, device, answer, (alike, subject))
                if carrying is None:
                    waiting += records
                else:
                    subjects |= {alike, subject}
                    await turn[RequestsActor].ask(PutRequests(requests=tuple(carrying), now=turn.now))
        if waiting:
            await self._put_off(turn, waiting)
            await claim_keys(turn, {known[record.device_id].address for record in waiting})

    async def _put_off(self, turn: Turn, waiting: Sequence[W]) -> None:
        async for some in SlicesOf(waiting, STORED_AT_ONCE):
            await self.change(turn, some, ())


async def _requests_with(
    turn: Turn, device: DeviceKeys, answer: Answer, subjects: tuple[str, ...]
) -> list[NewRequest] | None:
    """None: there is no Olm session to send it on."""
    requests: list[NewRequest] = []
    async for some in SlicesOf(answer.contents, REQUESTS_AT_ONCE):
        for content in some:
            if not answer.encrypted:
                told = [(device.address, content)]
                requests.append(await to_device_request(told, event_type=answer.type, subjects=subjects))
                continue
            encrypted = await encrypt_to(turn, [device.address], answer.type, content, {device.address: device})
            if encrypted.missing:
                return None
            carrying = encrypted.contents.items()
            requests.append(await to_device_request(carrying, subjects=subjects, inner_type=answer.type))
    return requests
