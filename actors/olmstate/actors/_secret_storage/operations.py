"""What is written to secret storage, worked out in the turn that stores the requests."""

from __future__ import annotations

import secrets
from collections.abc import Iterable, Mapping
from typing import Final

from olmstate.actors._account_data.operations import known_account_data, write_account_data
from olmstate.actors._engine.turn import Turn
from olmstate.actors._identities.identity import Usage
from olmstate.actors._identities.signing import Seeds
from olmstate.actors._secrets.actor import BACKUP_KEY, SecretsActor, StoreBackupKey
from olmstate.actors._secrets.private_keys import take_seeds
from olmstate.actors._wire.quiet_struct import QuietStruct
from olmstate.messages import (
    Command,
    JsonObject,
    PrivateCrossSigningKeys,
    RequestId,
    SecretOrigin,
    SecretStorageExists,
    SecretStorageKeyInUse,
)

from .ssss import (
    DEFAULT_KEY,
    IV_BYTES,
    KeyDescription,
    default_key_content,
    default_key_id,
    encrypt_secret,
    key_description_content,
    key_ids,
    key_type,
    with_secret,
    without_key,
)

NAMES: Final = (*(usage.secret_name for usage in Usage), BACKUP_KEY)
"""The secrets of the spec."""


def with_names(names: Iterable[str]) -> tuple[str, ...]:
    """The secrets of the spec, and others."""
    return tuple(dict.fromkeys((*NAMES, *names)))


class StoreNewKey(QuietStruct, Command[tuple[RequestId, ...]], kw_only=True, frozen=True):
    """Describe a new key, store secrets with it, and make it the default one, in this order."""

    key: bytes
    description: KeyDescription
    secrets: Mapping[str, str]
    """By name."""
    known: frozenset[str]
    """Those of them that the present key opens, too."""
    instead_of: str | None
    """The default key that the asker knows of."""


async def store_new_key(turn: Turn, command: StoreNewKey) -> tuple[RequestId, ...]:
    """One batch: if a write is refused, the default key stays what it was."""
    there = await known_account_data(turn, (DEFAULT_KEY, *command.secrets))
    default = default_key_id(there[DEFAULT_KEY])
    if default is not None and default != command.instead_of:
        raise SecretStorageExists(key_id=default)
    key_id = command.description.key_id
    contents: list[tuple[str, JsonObject]] = [(key_type(key_id), key_description_content(command.description))]
    for name, secret in command.secrets.items():
        kept = there[name] if name in command.known else None
        contents.append((name, _with_secret(kept, key_id, command.key, name, secret)))
    contents.append((DEFAULT_KEY, default_key_content(key_id)))
    return await write_account_data(turn, contents)


class StoreSecret(QuietStruct, Command[tuple[RequestId, ...]], kw_only=True, frozen=True):
    """Store a secret with a key."""

    name: str
    secret: str
    key_id: str
    key: bytes
    keep_others: bool


async def store_secret(turn: Turn, command: StoreSecret) -> tuple[RequestId, ...]:
    """Add it to what other keys have, or put it in the place of that."""
    there = (await known_account_data(turn, (command.name,)))[command.name]
    kept = there if command.keep_others else None
    content = _with_secret(kept, command.key_id, command.key, command.name, command.secret)
    return await write_account_data(turn, [(command.name, content)])


def _with_secret(kept: JsonObject | None, key_id: str, key: bytes, name: str, secret: str) -> JsonObject:
    return with_secret(kept, key_id, encrypt_secret(key, name, secret, iv=secrets.token_bytes(IV_BYTES)))


class ForgetKey(QuietStruct, Command[tuple[RequestId, ...]], kw_only=True, frozen=True):
    """Take a key out of secrets, and its description away."""

    key_id: str
    names: tuple[str, ...]


async def forget_key(turn: Turn, command: ForgetKey) -> tuple[RequestId, ...]:
    """Make sure that nothing is lost by it. Account data can't be deleted: an empty object stands for none."""
    described = key_type(command.key_id)
    there = await known_account_data(turn, (DEFAULT_KEY, described, *command.names))
    if default_key_id(there[DEFAULT_KEY]) == command.key_id:
        raise SecretStorageKeyInUse(what="the default key")
    contents: list[tuple[str, JsonObject]] = []
    for name in command.names:
        having = key_ids(there[name])
        if having == (command.key_id,):
            raise SecretStorageKeyInUse(what=name)
        if command.key_id in having:
            contents.append((name, without_key(there[name], command.key_id)))
    if there[described]:
        contents.append((described, {}))
    return await write_account_data(turn, contents)


class WriteOne(QuietStruct, Command[tuple[RequestId, ...]], kw_only=True, frozen=True):
    """Write account data of one type, whatever is there."""

    type: str
    content: JsonObject


async def write_one(turn: Turn, command: WriteOne) -> tuple[RequestId, ...]:
    """Store the request."""
    return await write_account_data(turn, [(command.type, command.content)])


class TakeRecovered(QuietStruct, Command[PrivateCrossSigningKeys], kw_only=True, frozen=True):
    """Keep what came out of secret storage, each private key if it is the published one's."""

    seeds: Seeds
    backup_key: bytes | None


async def take_recovered(turn: Turn, command: TakeRecovered) -> PrivateCrossSigningKeys:
    """All of it, or nothing."""
    if command.backup_key is not None:
        await turn[SecretsActor].ask(StoreBackupKey(key=command.backup_key, origin=SecretOrigin.SECRET_STORAGE))
    return await take_seeds(turn, command.seeds, SecretOrigin.SECRET_STORAGE)
