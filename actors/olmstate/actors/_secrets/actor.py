"""The secrets actor owns our user's private cross-signing keys, and the backup key.

Its invariants:

- A key is stored before anybody hears of its public half. New ones are *pending* until the homeserver has taken that,
  beside those that they will replace: whoever gives up half-way has lost nothing.
- None is removed or replaced because of what the homeserver says: whether a key is that of a published one is looked
  at when it is used (`_identities.signing.compare`).

All are one partition: they are few, and belong together.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import ClassVar, Final, TypeAlias, assert_never

from olmstate.actors._engine.actor import Actor, Environment, Wanted
from olmstate.actors._engine.cache import Cache
from olmstate.actors._engine.named_records import NamedRecords, NamedRecordsCodec
from olmstate.actors._engine.records import restore
from olmstate.actors._identities.identity import Usage
from olmstate.actors._identities.signing import Seeds
from olmstate.actors._wire.quiet_struct import QuietStruct
from olmstate.messages import Message, Query, Reply, SecretOrigin
from olmstate.storage import Table

from .stored import SecretRecord

BACKUP_KEY: Final = "m.megolm_backup.v1"
"""Name of the secret."""


class PrivateKeys(QuietStruct, frozen=True, kw_only=True):
    """The private cross-signing keys that are there."""

    seeds: Seeds = Seeds()
    origins: Mapping[Usage, SecretOrigin] = {}
    """Where each of them comes from."""
    pending: Seeds = Seeds()
    """Made here, all three, and not published yet."""
    backup_key: bytes | None = None
    """As it came; nobody has compared it with a backup's."""


_Secrets: TypeAlias = NamedRecords[tuple[str, str], SecretRecord]
"""All of them, by name and whether they are pending."""


def _name(name: str, *, pending: bool) -> tuple[str, str]:
    return name, "pending" if pending else "present"


# --- what it is asked ---------------------------------------------------------------------------------------


class LookUpPrivateKeys(QuietStruct, Message[PrivateKeys], kw_only=True, frozen=True):
    """The private keys, as this turn sees them."""


class CommittedPrivateKeys(QuietStruct, Query[PrivateKeys], kw_only=True, frozen=True):
    """The same; no turn is needed."""


class StoreSeeds(QuietStruct, Message[None], kw_only=True, frozen=True):
    """Store those seeds that are given; others stay. Whoever asks has checked whose they are."""

    seeds: Seeds
    origin: SecretOrigin


class StoreBackupKey(QuietStruct, Message[None], kw_only=True, frozen=True):
    """Keep a backup key."""

    key: bytes
    origin: SecretOrigin


class StorePending(QuietStruct, Message[None], kw_only=True, frozen=True):
    """Three new seeds, to be published; others that were pending are gone."""

    seeds: Seeds


class PendingPublished(QuietStruct, Message[None], kw_only=True, frozen=True):
    """The homeserver has taken what is pending: it replaces what was there."""


class DropPending(QuietStruct, Message[None], kw_only=True, frozen=True):
    """The homeserver has refused what is pending."""


Asked: TypeAlias = (
    LookUpPrivateKeys
    | CommittedPrivateKeys
    | StoreSeeds
    | StoreBackupKey
    | StorePending
    | PendingPublished
    | DropPending
)


class SecretsActor(Actor[Asked]):
    """Owns our user's private cross-signing keys."""

    name: ClassVar[str] = "secrets"

    def __init__(self, environment: Environment) -> None:
        """It has loaded nothing."""
        store, capacity = environment.store, environment.capacity(Table.SECRETS)
        codec = NamedRecordsCodec(store, SecretRecord, lambda record: _name(record.name, pending=record.pending))
        self._secrets = Cache[_Secrets](Table.SECRETS, codec, capacity)
        self._partition = store.key(Table.SECRETS, "secrets")
        super().__init__(environment, [self._secrets])

    def wanted(self, message: Asked) -> Wanted:  # noqa: ARG002 - each wants the same
        """All secrets."""
        return ((self._secrets, [self._partition]),)

    def handle(self, message: Asked) -> Reply:
        """Answer one message."""
        match message:
            case LookUpPrivateKeys():
                return message.reply(_private_keys(self._secrets.current(self._partition)))
            case CommittedPrivateKeys():
                return message.reply(_private_keys(self._secrets.committed(self._partition)))
            case StoreSeeds(seeds=seeds, origin=origin):
                self._store_seeds(seeds, origin, pending=False)
                return message.reply(None)
            case StoreBackupKey(key=key, origin=origin):
                self._store_one(BACKUP_KEY, key, origin, pending=False)
                return message.reply(None)
            case StorePending(seeds=seeds):
                self._store_seeds(seeds, SecretOrigin.MADE_HERE, pending=True)
                return message.reply(None)
            case PendingPublished():
                pending = _private_keys(self._secrets.current(self._partition)).pending
                self._store_seeds(pending, SecretOrigin.MADE_HERE, pending=False)
                self._drop_pending()
                return message.reply(None)
            case DropPending():
                self._drop_pending()
                return message.reply(None)
            case _:
                assert_never(message)

    def _store_seeds(self, seeds: Seeds, origin: SecretOrigin, *, pending: bool) -> None:
        for usage in Usage:
            seed = seeds.of(usage)
            if seed is not None:
                self._store_one(usage.secret_name, seed, origin, pending=pending)

    def _store_one(self, name: str, value: bytes, origin: SecretOrigin, *, pending: bool) -> None:
        at = _name(name, pending=pending)
        before = self._secrets.current(self._partition).by_name.get(at)
        if before is None or before.value != value:
            record = SecretRecord(name=name, value=value, origin=origin.value, pending=pending)
            self._secrets.change(self._partition).put({at: record})

    def _drop_pending(self) -> None:
        pending = [at for at, record in self._secrets.current(self._partition).by_name.items() if record.pending]
        if pending:
            self._secrets.change(self._partition).drop(pending)


def _private_keys(secrets: _Secrets) -> PrivateKeys:
    present = {usage: secrets.by_name.get(_name(usage.secret_name, pending=False)) for usage in Usage}
    pending = {usage: secrets.by_name.get(_name(usage.secret_name, pending=True)) for usage in Usage}
    backup_key = secrets.by_name.get(_name(BACKUP_KEY, pending=False))
    return PrivateKeys(
        backup_key=None if backup_key is None else backup_key.value,
        seeds=_seeds(present),
        origins={
            usage: restore(Table.SECRETS, SecretOrigin, record.origin)
            for usage, record in present.items()
            if record is not None
        },
        pending=_seeds(pending),
    )


def _seeds(records: Mapping[Usage, SecretRecord | None]) -> Seeds:
    values = {usage: None if record is None else record.value for usage, record in records.items()}
    return Seeds(
        master=values[Usage.MASTER], self_signing=values[Usage.SELF_SIGNING], user_signing=values[Usage.USER_SIGNING]
    )
