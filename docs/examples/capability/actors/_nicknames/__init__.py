"""Nicknames: how other users like to be called."""

from __future__ import annotations

from olmstate.actors._engine.capability import Capability
from olmstate.actors._to_device.handlers import ON_DECRYPTED, Handler
from olmstate.messages import Nickname, NicknameChanged, SetNickname

from .actor import NicknamesActor
from .operations import receive_nicknames, set_nickname

CAPABILITY = Capability(
    actor=NicknamesActor,
    commands=(SetNickname.by(set_nickname),),
    queries=(Nickname.answered_by(NicknamesActor),),
    additions=(
        ON_DECRYPTED.add(Handler(("org.example.nickname",), receive_nicknames)),
    ),
    events=(NicknameChanged,),
)
