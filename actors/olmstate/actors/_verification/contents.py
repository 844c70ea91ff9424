"""The contents of the messages that a flow sends.

Rule: no field beyond the spec's. The Rust SDK computes the commitment over what it understood of a ``start``, not
over what came, so that a field that it doesn't know would break the flow.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Final

from olmstate.actors._wire import base64
from olmstate.messages import JsonObject

from . import events, methods, sas
from .flow import Code
from .record import Flow

_REASONS: Final[Mapping[Code, str]] = {
    Code.USER: "The user cancelled the verification.",
    Code.TIMEOUT: "The verification took too long.",
    Code.UNKNOWN_TRANSACTION: "This device knows no such verification.",
    Code.UNKNOWN_METHOD: "The two devices have no method in common.",
    Code.UNEXPECTED_MESSAGE: "A message came out of order.",
    Code.KEY_MISMATCH: "The keys are not the expected ones.",
    Code.USER_MISMATCH: "This verification is with another user.",
    Code.INVALID_MESSAGE: "A message could not be understood.",
    Code.ACCEPTED: "Another device has accepted the request.",
    Code.MISMATCHED_COMMITMENT: "The key is not the one that was committed to.",
    Code.MISMATCHED_SAS: "The short authentication strings differ.",
}


def relation(flow_id: str, *, in_room: bool) -> JsonObject:
    """What says which flow a message is of."""
    if in_room:
        return {"m.relates_to": {"rel_type": "m.reference", "event_id": flow_id}}
    return {"transaction_id": flow_id}


def _of(flow: Flow) -> JsonObject:
    return relation(flow.flow_id or "", in_room=flow.room_id is not None)


def request(flow: Flow, *, now: int) -> JsonObject:
    """``m.key.verification.request``, or the ``m.room.message`` that stands for it."""
    content: JsonObject = {"from_device": flow.own.device_id, "methods": list(flow.own_methods)}
    if flow.room_id is None:
        return content | _of(flow) | {"timestamp": now}
    body = f"{flow.own.user_id} asks to verify your keys. Your client can't do that in a chat."
    return content | {"msgtype": events.REQUEST, "to": flow.peer_user_id, "body": body}


def ready(flow: Flow) -> JsonObject:
    """``m.key.verification.ready``."""
    return {"from_device": flow.own.device_id, "methods": list(flow.own_methods)} | _of(flow)


def start_sas(flow: Flow) -> JsonObject:
    """``m.key.verification.start`` of ``m.sas.v1``."""
    return {
        "from_device": flow.own.device_id,
        "method": methods.SAS,
        "key_agreement_protocols": [sas.KEY_AGREEMENT],
        "hashes": [sas.HASH],
        "message_authentication_codes": list(OFFERED_MACS),
        "short_authentication_string": list(sas.SAS_METHODS),
    } | _of(flow)


OFFERED_MACS: Final = (sas.MAC_V2, sas.MAC_LIBOLM)


def start_reciprocate(flow: Flow) -> JsonObject:
    """``m.key.verification.start`` of ``m.reciprocate.v1``."""
    secret = base64.encode(flow.scanned_secret)
    return {"from_device": flow.own.device_id, "method": methods.RECIPROCATE, "secret": secret} | _of(flow)


def accept(flow: Flow) -> JsonObject:
    """``m.key.verification.accept``."""
    return {
        "method": methods.SAS,  # in the schema, and sent by others; not in the text
        "key_agreement_protocol": sas.KEY_AGREEMENT,
        "hash": sas.HASH,
        "message_authentication_code": flow.mac_method,
        "short_authentication_string": list(flow.sas_methods),
        "commitment": sas.commitment(sas.public_key(flow.ephemeral), flow.start_content),
    } | _of(flow)


def key(flow: Flow) -> JsonObject:
    """``m.key.verification.key``."""
    return {"key": sas.public_key(flow.ephemeral)} | _of(flow)


def mac(flow: Flow, macs: sas.Macs) -> JsonObject:
    """``m.key.verification.mac``."""
    return {"mac": dict(macs.mac), "keys": macs.keys} | _of(flow)


def done(flow: Flow) -> JsonObject:
    """``m.key.verification.done``."""
    return _of(flow)


def cancel(flow: Flow, code: Code) -> JsonObject:
    """``m.key.verification.cancel``."""
    return cancel_of(flow.flow_id or "", code, in_room=flow.room_id is not None)


def cancel_of(flow_id: str, code: Code, *, in_room: bool) -> JsonObject:
    """The same, of a flow that isn't known."""
    return {"code": code.value, "reason": _REASONS[code]} | relation(flow_id, in_room=in_room)
