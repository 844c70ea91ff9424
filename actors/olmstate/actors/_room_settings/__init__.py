"""What rooms say of their encryption."""

from __future__ import annotations

from olmstate.actors._engine.capability import Capability
from olmstate.messages import RoomSettings, SetRoomSettings

from .actor import RoomSettingsActor
from .operations import set_room_settings

CAPABILITY = Capability(
    actor=RoomSettingsActor,
    commands=(SetRoomSettings.by(set_room_settings),),
    queries=(RoomSettings.answered_by(RoomSettingsActor),),
)
