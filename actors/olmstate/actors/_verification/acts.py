"""What each act sends, shows or marks.

Rule: an act changes nothing in the row but what it sends: the count of messages, the ephemeral key that is first
used, and the start that we are bound to.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from typing import Final, NamedTuple, TypeAlias

from msgspec.structs import replace

from olmstate.actors._wire.signatures import canonical_json
from olmstate.messages import JsonObject

from . import contents, events, keying, show
from .effects import AskForKeys, AskScanned, Effect, Send, ShowQr
from .events import Event, Incoming
from .flow import Act, Code
from .record import Flow, Keys

EVERY_DEVICE: Final = "*"
"""Of a user, where an unencrypted message doesn't say which one sent it."""


class Outside(NamedTuple):
    """What a step has from outside."""

    event: Event
    now: int
    keys: Keys
    fresh: bytes


Acted: TypeAlias = tuple[Flow, tuple[Effect, ...]]


def perform(act: Act, flow: Flow, outside: Outside) -> Acted:
    """Do one act of a move's outcome. A cancellation's code is in the flow."""
    return _ACTS[act](flow, outside)


def sent(
    flow: Flow,
    type: str,  # noqa: A002 - the event's field
    content: JsonObject,
    *,
    user_id: str | None = None,
    devices: Iterable[str] | None = None,
) -> Acted:
    """A message of the flow, to the peer unless something else is said."""
    if flow.room_id is not None:
        to: tuple[str, ...] = ()
    elif devices is not None:
        to = tuple(devices)
    else:
        to = (flow.peer.device_id,) if flow.peer is not None else flow.recipients
    message = Send(
        type=type,
        content=content,
        number=flow.sent,
        user_id=user_id or flow.peer_user_id,
        devices=to,
        room_id=flow.room_id,
    )
    return replace(flow, sent=flow.sent + 1), (message,)


def _ready(flow: Flow, outside: Outside) -> Acted:
    del outside
    return sent(flow, events.READY, contents.ready(flow))


def _start(flow: Flow, outside: Outside) -> Acted:
    del outside
    content = contents.start_sas(flow)
    return sent(replace(flow, start_content=canonical_json(content)), events.START, content)


def _reciprocate(flow: Flow, outside: Outside) -> Acted:
    del outside
    return sent(flow, events.START, contents.start_reciprocate(flow))


def _accept(flow: Flow, outside: Outside) -> Acted:
    flow = _with_ephemeral(flow, outside)
    return sent(flow, events.ACCEPT, contents.accept(flow))


def _key(flow: Flow, outside: Outside) -> Acted:
    flow = _with_ephemeral(flow, outside)
    return sent(flow, events.KEY, contents.key(flow))


def _with_ephemeral(flow: Flow, outside: Outside) -> Flow:
    return flow if flow.ephemeral else replace(flow, ephemeral=outside.fresh)


def _mac(flow: Flow, outside: Outside) -> Acted:
    return sent(flow, events.MAC, contents.mac(flow, keying.own_macs(flow, outside.keys)))


def _done(flow: Flow, outside: Outside) -> Acted:
    del outside
    return sent(flow, events.DONE, contents.done(flow))


def _cancel(flow: Flow, outside: Outside) -> Acted:
    del outside
    return sent(flow, events.CANCEL, contents.cancel(flow, flow.cancelled_as or Code.USER))


def _tell_others(code: Code) -> Callable[[Flow, Outside], Acted]:
    def tell(flow: Flow, outside: Outside) -> Acted:
        knows = {flow.peer.device_id} if flow.peer is not None else set[str]()
        event = outside.event
        if isinstance(event, Incoming) and event.envelope.sender_device is not None:
            knows.add(event.envelope.sender_device)
        others = tuple(device for device in flow.recipients if device not in knows)
        if flow.room_id is not None or not others:
            return flow, ()
        return sent(flow, events.CANCEL, contents.cancel(flow, code), devices=others)

    return tell


def _answer_stranger(flow: Flow, outside: Outside) -> Acted:
    event = outside.event
    if flow.room_id is not None or not isinstance(event, Incoming):
        return flow, ()
    content = contents.cancel(flow, Code.USER_MISMATCH)
    devices = (event.envelope.sender_device or EVERY_DEVICE,)
    return sent(flow, events.CANCEL, content, user_id=event.envelope.sender, devices=devices)


def _ask_for_keys(flow: Flow, outside: Outside) -> Acted:
    event = outside.event
    device_id = event.from_device if isinstance(event, events.Ready) else ""
    return flow, (AskForKeys(user_id=flow.peer_user_id, device_id=device_id),)


def _show_sas(flow: Flow, outside: Outside) -> Acted:
    del outside
    shown = show.sas_of(flow)
    return flow, () if shown is None else (shown,)


def _show_qr(flow: Flow, outside: Outside) -> Acted:
    del outside
    data = show.qr_code_of(flow)
    return flow, () if data is None else (ShowQr(data=data),)


def _ask_scanned(flow: Flow, outside: Outside) -> Acted:
    del outside
    return flow, (AskScanned(),)


def _mark_verified(flow: Flow, outside: Outside) -> Acted:
    del outside
    return flow, (keying.verified(flow),)


_ACTS: Final[Mapping[Act, Callable[[Flow, Outside], Acted]]] = {
    Act.SEND_READY: _ready,
    Act.SEND_START: _start,
    Act.SEND_RECIPROCATE: _reciprocate,
    Act.SEND_ACCEPT: _accept,
    Act.SEND_KEY: _key,
    Act.SEND_MAC: _mac,
    Act.SEND_DONE: _done,
    Act.SEND_CANCEL: _cancel,
    Act.TELL_OTHERS_ACCEPTED: _tell_others(Code.ACCEPTED),
    Act.TELL_OTHERS_REJECTED: _tell_others(Code.USER),
    Act.ANSWER_STRANGER: _answer_stranger,
    Act.ASK_FOR_KEYS: _ask_for_keys,
    Act.SHOW_SAS: _show_sas,
    Act.SHOW_QR: _show_qr,
    Act.ASK_SCANNED: _ask_scanned,
    Act.MARK_VERIFIED: _mark_verified,
}
