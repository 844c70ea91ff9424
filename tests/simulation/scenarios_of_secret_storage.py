"""Scenarios of secret storage, which another client has set up, and whose account data a sync has brought."""

from __future__ import annotations

from collections.abc import Mapping
from contextlib import suppress

from olmstate.messages import (
    CreateSecretStorage,
    DescribeSecretStorage,
    JsonObject,
    NoTransport,
    OpenSecretStorage,
    ReadSecret,
    ReceiveSync,
    RemoveSecretStorageKey,
    SecretStorageExists,
    SetBackupWanted,
    SetDefaultSecretStorageKey,
    SyncToken,
    WriteSecret,
)
from tests.peer.secret_storage import description, encrypt, recovery_key
from tests.simulation.client import Client
from tests.simulation.scenario import Elsewhere, Prepared, Scenario, add_a_room_key

KEYS: Mapping[str, bytes] = {"first": bytes(range(32)), "second": bytes(range(1, 33))}
OPENS = recovery_key(KEYS["first"])
BACKUP = "m.megolm_backup.v1"


def _secret(name: str, text: str) -> JsonObject:
    return {"encrypted": {key_id: encrypt(key, name, text, bytes(16)) for key_id, key in KEYS.items()}}


ACCOUNT_DATA: Mapping[str, JsonObject] = {
    "m.secret_storage.default_key": {"key": "first"},
    **{f"m.secret_storage.key.{key_id}": description(key) for key_id, key in KEYS.items()},
    **{f"m.cross_signing.{usage}": {} for usage in ("master", "self_signing", "user_signing")},
    BACKUP: _secret(BACKUP, "a backup key"),
    "m.key_backup": {"enabled": True},
}


async def _receive(client: Client) -> None:
    """A sync has brought all of it."""
    events = [{"type": data_type, "content": content} for data_type, content in ACCOUNT_DATA.items()]
    since = await client.supervisor.ask(SyncToken()) or "s0"
    await client.supervisor.ask(ReceiveSync(sync={"next_batch": since, "account_data": {"events": events}}))


async def describe_secret_storage(client: Client) -> Prepared:
    """There is some."""
    await _receive(client)
    return Prepared(
        DescribeSecretStorage(),
        right=lambda reply: reply.default_key_id == "first" and reply.secrets == {BACKUP: ("first", "second")},
        elsewhere=add_a_room_key(client),
    )


async def open_secret_storage(client: Client) -> Prepared:
    """The key is right."""
    await _receive(client)
    return Prepared(
        OpenSecretStorage(key=OPENS),
        right=lambda reply: (reply.key_id, reply.recovery_key) == ("first", OPENS),
        elsewhere=add_a_room_key(client),
    )


async def read_secret(client: Client) -> Prepared:
    """The same."""
    await _receive(client)
    return Prepared(
        ReadSecret(name=BACKUP, key=OPENS),
        right=lambda reply: reply == "a backup key",
        elsewhere=add_a_room_key(client),
    )


async def _old_key_opens(client: Client) -> None:
    assert "a backup key" == await client.supervisor.ask(ReadSecret(name=BACKUP, key=OPENS, key_id="first"))


async def create_secret_storage(client: Client) -> Prepared:
    """Nobody knows the present one; it goes on opening what it opens, whatever becomes of the new one."""
    await _receive(client)
    message = CreateSecretStorage(replace=True)
    return Prepared(message, _old_key_opens, elsewhere=Elsewhere(message, refused=(SecretStorageExists,)))


async def write_secret(client: Client) -> Prepared:
    """There is nothing to send it with."""
    await _receive(client)
    message = WriteSecret(name=BACKUP, secret="another", key=OPENS, keep_others=True)
    return Prepared(message, elsewhere=add_a_room_key(client))


async def set_default_secret_storage_key(client: Client) -> Prepared:
    """The same."""
    await _receive(client)
    return Prepared(SetDefaultSecretStorageKey(key_id="first"), _old_key_opens, elsewhere=add_a_room_key(client))


async def remove_secret_storage_key(client: Client) -> Prepared:
    """The requests for it are stored already."""
    await _receive(client)
    message = RemoveSecretStorageKey(key_id="second")
    with suppress(NoTransport):
        await client.supervisor.ask(message)
    return Prepared(message, _only_the_first_key_opens, elsewhere=add_a_room_key(client))


async def _only_the_first_key_opens(client: Client) -> None:
    assert {BACKUP: ("first",)} == (await client.supervisor.ask(DescribeSecretStorage())).secrets
    await _old_key_opens(client)


async def set_backup_wanted(client: Client) -> Prepared:
    """The same."""
    await _receive(client)
    return Prepared(SetBackupWanted(wanted=False), elsewhere=add_a_room_key(client))


SCENARIOS = (
    Scenario(prepare=describe_secret_storage),
    Scenario(prepare=open_secret_storage),
    Scenario(prepare=read_secret),
    Scenario(prepare=create_secret_storage, again=(SecretStorageExists,)),
    Scenario(prepare=write_secret, refused=(NoTransport,)),
    Scenario(prepare=set_default_secret_storage_key),
    Scenario(prepare=remove_secret_storage_key),
    Scenario(prepare=set_backup_wanted, refused=(NoTransport,)),
)
