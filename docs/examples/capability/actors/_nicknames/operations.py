"""Learning how users like to be called, from this device's user or from themselves."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from olmstate.actors._engine.turn import Turn
from olmstate.actors._nicknames.actor import NicknamesActor, StoreNicknames
from olmstate.actors._to_device.handlers import DecryptedEvent
from olmstate.actors._wire.untrusted_json import string
from olmstate.messages import MalformedMessage, NicknameChanged, SetNickname, UserId


async def set_nickname(turn: Turn, command: SetNickname) -> bool:
    """Call a user by a nickname."""
    return bool(await _store(turn, {command.user_id: command.nickname}))


async def receive_nicknames(turn: Turn, events: Sequence[DecryptedEvent]) -> None:
    """Call users what they say that they like to be called."""
    nicknames: dict[UserId, str] = {}
    for event in events:
        try:
            nicknames[event.payload.sender] = string(event.payload.content, "nickname")
        except MalformedMessage:
            continue  # others' events count all the same
    await _store(turn, nicknames)


async def _store(turn: Turn, nicknames: Mapping[UserId, str]) -> Sequence[UserId]:
    changed = await turn[NicknamesActor].ask(StoreNicknames(nicknames=nicknames))
    turn.events.extend(
        NicknameChanged(user_id=user_id, nickname=nicknames[user_id])
        for user_id in changed
    )
    return changed
