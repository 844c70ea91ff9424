"""``olmstate import-libolm``: libolm's pickles, which the user's own program has written into a JSON file."""

from __future__ import annotations

import json
from collections.abc import Generator, Iterator
from contextlib import contextmanager
from functools import partial
from pathlib import Path

import click

from olmstate.actors._wire.untrusted_json import array_of, as_object, json_object, optional, string, strings
from olmstate.cli._commands import commands
from olmstate.cli._paths import read
from olmstate.messages import DeviceTrust, JsonObject, MalformedMessage

from ._found import Found, FoundAccount, FoundDevice, FoundRoomKey, FoundSession
from ._move import Options, chosen, move, moving_options

MOST_BYTES = 1 << 30
"""Of a file: more than a million room keys."""


@commands.command("import-libolm")
@moving_options
def import_libolm(options: Options) -> None:
    """Move a device whose library is libolm into STORE, which is made.

    SOURCE is a JSON file with the pickles, whose form is on the page about moving in. Stop the program whose they are
    first, for good: from then on, only STORE may be used.

    What encrypts the pickles comes from --pickle-key-file or OLMSTATE_PICKLE_KEY, or is asked for.
    """
    move(options, partial(_find, options))


@contextmanager
def _find(options: Options, _folder: Path) -> Generator[Found]:
    try:
        with options.source.open("rb") as file:
            told = as_object(json.loads(read(file, options.source, most=MOST_BYTES)), "the file")
        account, number = chosen([_account(told)], options)
        found = Found(
            account=account,
            accounts=number,
            sessions=tuple(_sessions(told)),
            room_keys=tuple(_room_keys(told)),
            devices=tuple(_devices(told)),
        )
    except (ValueError, RecursionError, MalformedMessage) as error:
        raise click.ClickException(f"{options.source} isn't as the page about moving in says: {error}") from error
    yield found


def _account(told: JsonObject) -> FoundAccount:
    return FoundAccount(
        user_id=string(told, "user_id"),
        device_id=string(told, "device_id"),
        pickle=string(told, "account"),
        sync_token=optional(string, told, "sync_token") or "",
    )


def _sessions(told: JsonObject) -> Iterator[FoundSession]:
    for number, each in enumerate(_objects(told, "olm_sessions")):
        yield FoundSession(
            session_id=optional(string, each, "session_id") or str(number),
            sender_key=string(each, "sender_key"),
            pickle=string(each, "pickle"),
        )


def _room_keys(told: JsonObject) -> Iterator[FoundRoomKey]:
    for each in _objects(told, "inbound_group_sessions"):
        yield FoundRoomKey(
            session_id=string(each, "session_id"),
            room_id=string(each, "room_id"),
            sender_key=string(each, "sender_key"),
            ed25519=string(json_object(each, "sender_claimed_keys"), "ed25519"),
            forwarding_chain=optional(strings, each, "forwarding_curve25519_key_chain") or (),
            pickle=string(each, "pickle"),
        )


def _devices(told: JsonObject) -> Iterator[FoundDevice]:
    for each in _objects(told, "devices"):
        yield FoundDevice(
            user_id=string(each, "user_id"),
            device_id=string(each, "device_id"),
            curve25519=string(each, "curve25519"),
            ed25519=string(each, "ed25519"),
            trust=DeviceTrust(optional(string, each, "trust") or "unset"),
        )


def _objects(told: JsonObject, field: str) -> Iterator[JsonObject]:
    for each in optional(array_of, told, field) or ():
        yield as_object(each, field)
