"""Room keys that our own devices ask each other for."""

from __future__ import annotations

from olmstate.actors._engine.capability import Capability
from olmstate.actors._room_keys.points import SESSIONS_LEARNT
from olmstate.actors._to_device.handlers import OLM_TROUBLE, ON_DECRYPTED, ON_PLAIN, Handler, OlmTrouble
from olmstate.messages import CancelRoomKeyRequests, RequestRoomKeys, RoomKeyRequestRefused, RoomKeyRequests

from .actor import KeyRequestsActor
from .asking import (
    REQUEST,
    cancel_room_key_requests,
    receive_forwarded_keys,
    receive_refusals,
    request_room_keys,
    sessions_learnt,
)
from .serving import FORWARDS

CAPABILITY = Capability(
    actor=KeyRequestsActor,
    commands=(CancelRoomKeyRequests.by(cancel_room_key_requests), RequestRoomKeys.by(request_room_keys)),
    queries=(RoomKeyRequests.answered_by(KeyRequestsActor),),
    events=(RoomKeyRequestRefused,),
    additions=(
        ON_DECRYPTED.add(Handler(("m.forwarded_room_key",), receive_forwarded_keys)),
        ON_PLAIN.add(Handler((REQUEST,), FORWARDS.receive)),
        ON_PLAIN.add(Handler(("m.room_key.withheld",), receive_refusals)),
        OLM_TROUBLE.add(OlmTrouble(renewed=FORWARDS.sessions_renewed, started=FORWARDS.sessions_started)),
        SESSIONS_LEARNT.add(sessions_learnt),
    ),
)
