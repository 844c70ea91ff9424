"""Outbound group sessions: sharing room keys, and encrypting room events."""

from __future__ import annotations

from olmstate.actors._engine.capability import Capability, WithoutTurn
from olmstate.actors._requests.points import ANSWERS, REFUSALS, Answer, Refusal
from olmstate.messages import (
    DiscardRoomKey,
    EncryptForRoom,
    EncryptRoomEvent,
    MarkRoomKeyShared,
    PrepareRoomKey,
    RequestKind,
    RotateRoomKey,
    ShareRoomKey,
)

from .actor import OutboundGroupSessionsActor
from .operations import (
    discard_room_key,
    encrypt_room_event,
    mark_room_key_shared,
    prepare_room_key,
    rotate_room_key,
)
from .room_encryption import RoomEncryption
from .room_sending import RoomSending, encrypt_for_room
from .sharing import (
    ClaimForRoom,
    PrepareShare,
    claim_for_room,
    delivery_refused,
    halve_delivery,
    prepare_share,
    share_room_key,
    take_delivery,
)

CAPABILITY = Capability(
    actor=OutboundGroupSessionsActor,
    commands=(
        ClaimForRoom.by(claim_for_room),
        DiscardRoomKey.by(discard_room_key),
        EncryptRoomEvent.by(encrypt_room_event),
        MarkRoomKeyShared.by(mark_room_key_shared),
        PrepareRoomKey.by(prepare_room_key),
        PrepareShare.by(prepare_share),
        RotateRoomKey.by(rotate_room_key),
        ShareRoomKey.by(share_room_key),
    ),
    without_turn=(WithoutTurn(RoomEncryption, (EncryptRoomEvent.by(RoomEncryption.encrypt),)),),
    procedures=(EncryptForRoom.by(encrypt_for_room),),
    services=(RoomSending,),
    additions=(
        ANSWERS.add(Answer(kind=RequestKind.TO_DEVICE, take=take_delivery)),
        REFUSALS.add(Refusal(kind=RequestKind.TO_DEVICE, take=delivery_refused, halve=halve_delivery)),
    ),
)
