"""Which operation runs which command. Exhaustive: a command without a case is a type error."""

from __future__ import annotations

from typing import Any, TypeAlias, assert_never, cast

import attrs

from olmstate.actors._account.actor import Create, MakeKeys
from olmstate.actors._rooms.actor import Discard, GiveBack
from olmstate.messages import (
    AddDevices,
    AddRoomKey,
    Command,
    CreateAccount,
    CreateOlmSession,
    DecryptToDevice,
    DiscardRoomKey,
    EncryptRoomEvent,
    EncryptToDevice,
    ImportAccount,
    MarkKeysPublished,
    MarkRoomKeyShared,
    OneTimeKeys,
    ReceiveSync,
    Reply,
    RoomKey,
    RotateRoomKey,
    ShareRoomKey,
)

from ._account.operations import import_account, mark_keys_published
from ._devices.operations import add_devices
from ._room_keys.operations import ImportChunk, add_room_key, import_chunk
from ._rooms.operations import encrypt_room_event, mark_room_key_shared, new_room_key, room_key, share_room_key
from ._sync.operations import receive_sync
from ._to_device.receiving import take_in
from ._to_device.sending import create_olm_session, encrypt_to_device
from ._turn import Turn


@attrs.frozen(kw_only=True)
class Flush(Command[None]):
    """Nothing but a turn: what is written behind goes with it."""

    closing: bool = False
    """Give back what is reserved, too."""


AnyCommand: TypeAlias = (
    AddDevices
    | AddRoomKey
    | CreateAccount
    | CreateOlmSession
    | DecryptToDevice
    | DiscardRoomKey
    | EncryptRoomEvent
    | EncryptToDevice
    | Flush
    | ImportAccount
    | ImportChunk
    | MarkKeysPublished
    | MarkRoomKeyShared
    | OneTimeKeys
    | ReceiveSync
    | RoomKey
    | RotateRoomKey
    | ShareRoomKey
)


async def run_command(turn: Turn, message: Command[Any]) -> Reply:  # noqa: C901, PLR0912 - one case a command
    """Run one command; what it changes is dirty in its actors until the turn commits.

    Raises:
        OlmStateError: The command is refused.
    """
    command = cast("AnyCommand", message)
    match command:
        case AddDevices():
            return command.reply(await add_devices(turn, command))
        case AddRoomKey():
            return command.reply(await add_room_key(turn, command))
        case CreateAccount():
            return command.reply(await turn.actors.account.ask(Create()))
        case CreateOlmSession():
            return command.reply(await create_olm_session(turn, command))
        case DecryptToDevice():
            return command.reply((await take_in(turn, command.events)).outcomes)
        case DiscardRoomKey():
            await turn.actors.outbound_group_sessions.ask(Discard(room_id=command.room_id))
            return command.reply(None)
        case EncryptRoomEvent():
            return command.reply(await encrypt_room_event(turn, command))
        case EncryptToDevice():
            return command.reply(await encrypt_to_device(turn, command))
        case Flush():
            if command.closing:
                await turn.actors.outbound_group_sessions.ask(GiveBack())
            return command.reply(None)
        case ImportAccount():
            return command.reply(await import_account(turn, command))
        case ImportChunk():
            return command.reply(await import_chunk(turn, command))
        case MarkKeysPublished():
            await mark_keys_published(turn, command)
            return command.reply(None)
        case MarkRoomKeyShared():
            await mark_room_key_shared(turn, command)
            return command.reply(None)
        case OneTimeKeys():
            return command.reply(await turn.actors.account.ask(MakeKeys(now=turn.now)))
        case ReceiveSync():
            return command.reply(await receive_sync(turn, command))
        case RoomKey():
            return command.reply(await room_key(turn, command.room_id, command.rotation))
        case RotateRoomKey():
            return command.reply(await new_room_key(turn, command.room_id, command.rotation))
        case ShareRoomKey():
            return command.reply(await share_room_key(turn, command))
        case _:
            assert_never(command)
