"""How flows begin: our request, the peer's, a start without one; and what is answered where there is no flow.

Rule: a flow is found by the peer's user id and the flow's id, both. An id alone is no proof of anything: anybody may
use any.
"""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any, NamedTuple

from msgspec.structs import replace

from olmstate.messages import DeviceAddress, JsonObject, NoCommonMethod

from . import contents, events, keying, methods
from .acts import EVERY_DEVICE, sent
from .effects import AskForKeys, Effect, Ended, Ignored, Prompt, Send
from .flow import Code, State
from .moves import choose
from .record import LIFETIME, NEWEST, OLDEST, PROMPT, Flow, Keys
from .step import started_by_peer


class Beginning(NamedTuple):
    """What has come of it."""

    flow: Flow | None
    """To be stored; None: there is none."""
    effects: tuple[Effect, ...]


def request_devices(
    own: DeviceAddress,
    user_id: str,
    devices: Iterable[str],
    *,
    keys: Keys,
    flow_id: str,
    offered: Iterable[str],
    now: int,
) -> Beginning:
    """Ask a user's devices, or other devices of our own.

    Args:
        own: This device.
        user_id: Who is asked.
        devices: Which devices: of our own, those that are cross-signed, without this one.
        keys: Our own; the peer's are looked at when one of its devices is ready.
        flow_id: A new transaction id, random.
        offered: What the user's program can do, of `methods.METHODS`.
        now: ms since 1970.

    Raises:
        NoCommonMethod: Nothing that we know is offered, or there is nobody to ask.
    """
    recipients = tuple(device for device in devices if (user_id, device) != (own.user_id, own.device_id))
    if not recipients:
        raise NoCommonMethod
    flow = _request(own, user_id, now=now, keys=keys, offered=offered, flow_id=flow_id, recipients=recipients)
    return _sent(flow, events.REQUEST, contents.request(flow, now=now))


def request_in_room(
    own: DeviceAddress,
    user_id: str,
    room_id: str,
    *,
    keys: Keys,
    txn_id: str,
    offered: Iterable[str],
    now: int,
) -> Beginning:
    """Ask another user in a room, which should be a direct chat.

    The flow gets its id with `events.Sent`, and until then is found by ``txn_id``.

    Args:
        own: This device.
        user_id: Who is asked; not ourselves.
        room_id: Where.
        keys: Our own; the peer's are looked at when one of its devices is ready.
        txn_id: The transaction id with which the request is sent.
        offered: What the user's program can do, of `methods.METHODS`.
        now: ms since 1970.

    Raises:
        NoCommonMethod: Nothing that we know is offered, or it is ourselves whom we ask.
    """
    if user_id == own.user_id:
        raise NoCommonMethod
    flow = _request(
        own, user_id, now=now, keys=keys, offered=offered, room_id=room_id, txn_id=txn_id, state=State.CREATED
    )
    return _sent(flow, events.ROOM_MESSAGE, contents.request(flow, now=now))


def receive_request(own: DeviceAddress, event: events.Request, *, now: int, keys: Keys) -> Beginning:
    """Take a request in.

    Args:
        own: This device.
        event: From a user and under an id of which no flow is known.
        now: ms since 1970.
        keys: As they are known now, with those of the requesting device.
    """
    envelope = event.envelope
    if (envelope.sender, event.from_device) == (own.user_id, own.device_id):
        return _ignored("our own request")
    if envelope.room_id is not None and (envelope.sender == own.user_id or event.to != own.user_id):
        return _ignored("a request to somebody else")
    if not -NEWEST <= now - event.timestamp <= OLDEST:
        return _ignored("a request that is too old, or from the future")
    if _is_disguised(event.from_device, envelope):
        return _ignored("a request that names another device than the one that sent it")
    if keys.peer_ed25519 is None:
        return _unknown_device(envelope.sender, event.from_device, keys)
    flow = _flow(
        own,
        envelope.sender,
        now=now,
        keys=keys,
        flow_id=event.flow_id,
        room_id=envelope.room_id,
        peer=keying.party(envelope.sender, event.from_device, keys),
        peer_methods=methods.known(event.methods),
        deadline=min(event.timestamp, now) + LIFETIME,
        prompt_until=min(event.timestamp + LIFETIME, now + PROMPT),
        taken=(event.digest,),
        state=State.REQUESTED,
    )
    return _asked(flow, keys)


def receive_start(own: DeviceAddress, event: events.Start, *, now: int, keys: Keys) -> Beginning:
    """Take in a start that came without a request: deprecated, and still to be handled. To-device only.

    Args:
        own: This device.
        event: From a user and under an id of which no flow is known.
        now: ms since 1970.
        keys: As they are known now, with those of the starting device.
    """
    envelope = event.envelope
    if envelope.room_id is not None:
        return _ignored("a start in a room, of a flow that isn't ours")
    if (envelope.sender, event.from_device) == (own.user_id, own.device_id):
        return _ignored("our own start")
    if _is_disguised(event.from_device, envelope):
        return _ignored("a start that names another device than the one that sent it")
    if keys.peer_ed25519 is None:
        return _unknown_device(envelope.sender, event.from_device, keys)
    flow = _flow(
        own,
        envelope.sender,
        now=now,
        keys=keys,
        flow_id=event.flow_id,
        peer=keying.party(envelope.sender, event.from_device, keys),
        peer_methods=(methods.SAS,),
        own_methods=(methods.SAS,),
        requested=False,
        taken=(event.digest,),
        state=State.START_RECEIVED,
    )
    if event.method != methods.SAS or choose(event) is None:
        return _refused(flow, Code.UNKNOWN_METHOD)
    return _asked(replace(flow, **started_by_peer(event)), keys)


def receive_unknown(event: events.Incoming) -> tuple[Effect, ...]:
    """What to answer to an event of no flow that we know, neither a request nor a start."""
    envelope = event.envelope
    if envelope.room_id is not None:
        return (Ignored(reason="a flow of others, in a room"),)
    if event.type == events.CANCEL:
        # also a malformed one: an error is never answered with an error
        return (Ignored(reason="a cancellation of no flow"),)
    malformed = isinstance(event, events.Malformed) and event.type in {events.REQUEST, events.START}
    code = Code.INVALID_MESSAGE if malformed else Code.UNKNOWN_TRANSACTION
    return (_answer(event, code),)


def other_attempts(flows: Iterable[Flow], event: events.Request | events.Start, *, now: int) -> list[Flow]:
    """The live flows that the same device has begun.

    If there are any, each takes `events.SecondAttempt`, and so does the new one (spec: Error and exception handling).
    One whose time is over is none, though nobody may have looked yet: its device has given it up.

    Of an event that came in clear, nobody knows which device of its user has sent it. Another one could end what a
    device has begun by asking in its name, so such an event ends nothing.
    """
    if event.envelope.sender_device is None:
        return []
    began = (event.envelope.sender, event.from_device)
    return [
        flow
        for flow in flows
        if not flow.ended
        and now < flow.due_at
        and not flow.we_requested
        and flow.peer is not None
        and (flow.peer.user_id, flow.peer.device_id) == began
        and flow.flow_id != event.flow_id
    ]


# --- parts --------------------------------------------------------------------------------------------------------


def _request(
    own: DeviceAddress,
    user_id: str,
    *,
    now: int,
    keys: Keys,
    offered: Iterable[str],
    state: State = State.WE_REQUESTED,
    **fields: Any,  # noqa: ANN401 - a Flow's
) -> Flow:
    """The flow that a request of ours begins."""
    own_methods = methods.known(tuple(offered))
    if not own_methods:
        raise NoCommonMethod
    return _flow(own, user_id, now=now, keys=keys, we_requested=True, own_methods=own_methods, state=state, **fields)


def _is_disguised(device_id: str, envelope: events.Envelope) -> bool:
    return envelope.sender_device is not None and envelope.sender_device != device_id


def _ignored(reason: str) -> Beginning:
    return Beginning(None, (Ignored(reason=reason),))


def _unknown_device(user_id: str, device_id: str, keys: Keys) -> Beginning:
    if keys.queried:
        return _ignored("a device that its user doesn't have")
    return Beginning(None, (AskForKeys(user_id=user_id, device_id=device_id),))


def _flow(own: DeviceAddress, user_id: str, *, now: int, keys: Keys, **fields: Any) -> Flow:  # noqa: ANN401 - a Flow's
    begun: dict[str, Any] = {
        "flow_id": None,
        "room_id": None,
        "txn_id": None,
        "own": keying.own_party(own, keys),
        "peer_user_id": user_id,
        "peer": None,
        "recipients": (),
        "we_requested": False,
        "requested": True,
        "own_methods": (),
        "peer_methods": (),
        "created_at": now,
        "touched_at": now,
        "deadline": now + LIFETIME,
        "prompt_until": None,
    }
    return Flow(**(begun | fields))


def _sent(flow: Flow, type: str, content: JsonObject) -> Beginning:  # noqa: A002 - the event's field
    flow, effects = sent(flow, type, content)
    return Beginning(flow, tuple(effects))


def _asked(flow: Flow, keys: Keys) -> Beginning:
    if keying.clash(keys, keying.known_peer(flow).device_id):
        return _refused(flow, Code.KEY_MISMATCH)
    return Beginning(flow, (Prompt(methods=flow.peer_methods, until=flow.prompt_until or flow.deadline),))


def _refused(flow: Flow, code: Code) -> Beginning:
    flow, effects = sent(flow, events.CANCEL, contents.cancel(flow, code))
    flow = replace(flow, state=State.CANCELLED, code=code.value, cancelled_by_us=True)
    return Beginning(flow, (*effects, Ended()))


def _answer(event: events.Incoming, code: Code) -> Send:
    return Send(
        type=events.CANCEL,
        content=contents.cancel_of(event.flow_id, code, in_room=False),
        number=0,
        user_id=event.envelope.sender,
        devices=(event.envelope.sender_device or EVERY_DEVICE,),
        room_id=None,
    )
