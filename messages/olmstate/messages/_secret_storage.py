"""Secret storage: secrets in account data, encrypted with a key that the user keeps (spec: Secrets, Storage)."""

from __future__ import annotations

import attrs

from ._field_types import checked, encodable, event_type, not_empty, not_negative
from ._message import Procedure
from ._secrets import PrivateCrossSigningKeys, SecretError


@attrs.frozen(kw_only=True)
class SecretStorageKey:
    """A key that opens secret storage."""

    key_id: str
    recovery_key: str = attrs.field(repr=False)
    """For people to write down: twelve groups of four characters. Whoever has it has all secrets."""


@attrs.frozen(kw_only=True)
class SecretStorageCreated:
    """A new key, with which secret storage was set up."""

    key: SecretStorageKey
    published: bool
    """Whether the homeserver has it already. If not, its requests are stored, and go out in their order."""


@attrs.frozen(kw_only=True)
class SecretStorageKeyInfo:
    """A key of secret storage, as account data describes it."""

    key_id: str
    name: str | None
    has_passphrase: bool
    """It can be worked out from a passphrase, too."""


@attrs.frozen(kw_only=True)
class SecretStorageInfo:
    """What is in secret storage, by the homeserver's word."""

    default_key_id: str | None
    """None: there is no secret storage."""
    keys: tuple[SecretStorageKeyInfo, ...]
    """The default key first. One of a kind that we don't know, or whose description is missing, is left out."""
    secrets: dict[str, tuple[str, ...]]
    """By name, the ids of the keys with which each can be read; of the names that are asked for."""
    backup_wanted: bool | None
    """What our user has said of key backup (``m.key_backup``); None: nothing."""


@attrs.frozen(kw_only=True, field_transformer=checked)
class DescribeSecretStorage(Procedure[SecretStorageInfo]):
    """Which keys secret storage has, and which secrets.

    Returns:
        SecretStorageInfo

    Raises:
        NoAccount: The store is empty.
        NoTransport: `OutgoingRequests` has what must be asked; ask again once that is answered.
        RequestDelayed: The homeserver couldn't be reached in time.
        RequestRefused: It refused.
    """

    names: tuple[str, ...] = ()
    """Of secrets, beside the cross-signing keys and the backup key."""
    patience: float = attrs.field(default=60.0, validator=not_negative)
    """Seconds to wait."""


@attrs.frozen(kw_only=True, field_transformer=checked)
class CreateSecretStorage(Procedure[SecretStorageCreated]):
    """Make a new key the default one of secret storage, and store the secrets that are here with it.

    These are the private cross-signing keys, where they are those that are published, and the backup key. With
    ``present_key`` so are all secrets that can be read with the present default key. That one stays valid until
    `RemoveSecretStorageKey`: ask for that once the user has written the new one down.

    All is stored in one commit, and goes out in its order. If the process dies before the reply, nobody knows the new
    key: create another.

    Returns:
        SecretStorageCreated

    Raises:
        SecretStorageExists: There is a default key, and neither ``present_key`` nor ``replace`` is given; or somebody
            made another one meanwhile.
        NoSecretStorage, WrongSecretStorageKey, MalformedRecoveryKey, UnsupportedSecretStorage, MalformedSecret:
            ``present_key`` opens nothing.
        DamagedSecret: A secret that the present key should open.
        NoAccount: The store is empty.
        NoTransport: `OutgoingRequests` has what must be asked first; ask again once that is answered.
        RequestDelayed: The homeserver couldn't be asked in time. Nothing was made.
        RequestRefused: It refused. The default key is the one before.
    """

    passphrase: str | None = attrs.field(default=None, repr=False)
    """The key is worked out from it, which takes half a second each time; None: it is random, and safer."""
    name: str | None = None
    """What people see."""
    present_key: str | None = attrs.field(default=None, repr=False)
    """A recovery key, or the passphrase."""
    replace: bool = False
    """Do it though there is a default key. Secrets that aren't here are left behind."""
    names: tuple[str, ...] = ()
    """Of secrets that are taken along with ``present_key``, beside the cross-signing keys and the backup key."""
    patience: float = attrs.field(default=60.0, validator=not_negative)
    """Seconds to wait."""

    def __attrs_post_init__(self) -> None:
        """An empty passphrase protects nothing."""
        if self.passphrase == "":
            raise ValueError("CreateSecretStorage.passphrase must not be empty")


@attrs.frozen(kw_only=True, field_transformer=checked)
class OpenSecretStorage(Procedure[SecretStorageKey]):
    """Check a key. The reply's recovery key opens the same without working it out from a passphrase.

    Returns:
        SecretStorageKey

    Raises:
        NoSecretStorage: There is no default key, or none with ``key_id``.
        WrongSecretStorageKey: It is another.
        MalformedRecoveryKey: No recovery key, and the storage key has no passphrase.
        UnsupportedSecretStorage: The storage key is of a kind that we don't know, or would take too long.
        MalformedSecret: The storage key's description makes no sense.
        NoAccount: The store is empty.
        NoTransport: `OutgoingRequests` has what must be asked; ask again once that is answered.
        RequestDelayed: The homeserver couldn't be reached in time.
        RequestRefused: It refused.
    """

    key: str = attrs.field(repr=False, validator=not_empty)
    """A recovery key, or the passphrase."""
    key_id: str | None = None
    """None: the default key's."""
    patience: float = attrs.field(default=60.0, validator=not_negative)
    """Seconds to wait."""


@attrs.frozen(kw_only=True, field_transformer=checked)
class ReadSecret(Procedure[str]):
    """Read a secret.

    It is somebody's who had the key. A private key has to be compared with the public one before it is used, as
    `RecoverFromSecretStorage` does with those that it knows.

    Returns:
        str

    Raises:
        NoSuchSecret: There is none of that name for that key.
        DamagedSecret: It was changed, or encrypted with another key than it says.
        MalformedSecret: The wrong shape.
        OlmStateError: As `OpenSecretStorage`.
    """

    name: str = attrs.field(validator=not_empty)
    """As in account data, ``m.megolm_backup.v1``."""
    key: str = attrs.field(repr=False, validator=not_empty)
    """A recovery key, or the passphrase."""
    key_id: str | None = None
    """None: the default key's."""
    patience: float = attrs.field(default=60.0, validator=not_negative)
    """Seconds to wait."""


@attrs.frozen(kw_only=True, field_transformer=checked)
class WriteSecret(Procedure[None]):
    """Store a secret, or another text in its place.

    Another client that writes the same secret at the same time may win: account data has no versions.

    Returns:
        None

    Raises:
        MalformedContent: It would be more than 64 KiB, with what is kept beside it.
        UnsupportedSecretStorage: Also if the storage key's description doesn't show whether ``key`` is right. Old
            clients made such; but the homeserver can make one that has a passphrase worked out in a moment, and then
            try passphrases on what was encrypted.
        OlmStateError: As `OpenSecretStorage`. With `NoTransport` and `RequestDelayed` of the last request, which
            `OutgoingRequests` has then, it is stored and goes out later.
    """

    name: str = attrs.field(validator=event_type)
    """As in account data, ``m.megolm_backup.v1``."""
    secret: str = attrs.field(repr=False, validator=encodable)
    key: str = attrs.field(repr=False, validator=not_empty)
    """A recovery key, or the passphrase."""
    key_id: str | None = None
    """None: the default key's."""
    keep_others: bool = False
    """It is the same secret as other keys open: leave them theirs. If not, it can be read with this key only."""
    patience: float = attrs.field(default=60.0, validator=not_negative)
    """Seconds to wait."""


@attrs.frozen(kw_only=True, field_transformer=checked)
class SetDefaultSecretStorageKey(Procedure[None]):
    """Make a key that is described the default one.

    Returns:
        None

    Raises:
        NoSecretStorage: No such key is described.
        UnsupportedSecretStorage, MalformedSecret: Nobody could use it.
        NoAccount: The store is empty.
        NoTransport: `OutgoingRequests` has what comes next; ask again once that is answered.
        RequestDelayed: The homeserver couldn't be reached in time.
        RequestRefused: It refused.
    """

    key_id: str = attrs.field(validator=not_empty)
    patience: float = attrs.field(default=60.0, validator=not_negative)
    """Seconds to wait."""


@attrs.frozen(kw_only=True, field_transformer=checked)
class RemoveSecretStorageKey(Procedure[None]):
    """Have a key open nothing any more: its description goes, and with it what is encrypted with it.

    Returns:
        None

    Raises:
        SecretStorageKeyInUse: It is the default key, or the only one with which some secret can be read.
        NoAccount: The store is empty.
        NoTransport: `OutgoingRequests` has what comes next; ask again once that is answered.
        RequestDelayed: The homeserver couldn't be reached in time.
        RequestRefused: It refused.
    """

    key_id: str = attrs.field(validator=not_empty)
    names: tuple[str, ...] = ()
    """Of secrets, beside the cross-signing keys and the backup key."""
    patience: float = attrs.field(default=60.0, validator=not_negative)
    """Seconds to wait."""


@attrs.frozen(kw_only=True, field_transformer=checked)
class SetBackupWanted(Procedure[None]):
    """Say for all of our user's clients whether there should be a key backup (``m.key_backup``, spec 1.19).

    `DescribeSecretStorage` reads it. Clients take it into account when they log in.

    Returns:
        None

    Raises:
        NoAccount: The store is empty.
        NoTransport: `OutgoingRequests` has the request.
        RequestDelayed: The homeserver couldn't be reached in time; it goes out later.
        RequestRefused: It refused.
    """

    wanted: bool
    patience: float = attrs.field(default=60.0, validator=not_negative)
    """Seconds to wait."""


@attrs.frozen(kw_only=True)
class Recovered:
    """What came out of secret storage."""

    keys: PrivateCrossSigningKeys
    backup_key: bool
    """Whether there was one that can be read; it is kept. Whether it is that of the present backup is not said."""


@attrs.frozen(kw_only=True, field_transformer=checked)
class RecoverFromSecretStorage(Procedure[Recovered]):
    """Sign this device in with the account's recovery key: no human is needed to compare anything.

    The private cross-signing keys come out of secret storage, each is compared with the published key, our own identity
    is verified by that, and signs this device. The backup key is kept, too. Asked again, it goes on where it was.

    Returns:
        Recovered

    Raises:
        UnknownIdentity: Our user has none: there is nothing to compare with.
        MismatchedSecret: A private key isn't the published one's: secret storage is older than the identity, or
            somebody lies. None is taken.
        MissingCrossSigningKeys: Secret storage hasn't all of them. Those that it has are kept.
        SignatureRefused: The homeserver didn't take this device's signature.
        OlmStateError: As `OpenSecretStorage` and `ReadSecret`.
    """

    key: str = attrs.field(repr=False, validator=not_empty)
    """A recovery key, or the passphrase."""
    key_id: str | None = None
    """None: the default key's."""
    patience: float = attrs.field(default=60.0, validator=not_negative)
    """Seconds to wait for each request."""


@attrs.define(kw_only=True, eq=False)
class NoSecretStorage(SecretError):
    """There is no secret storage, or no such key of it."""

    text = "there is no secret storage with that key"


@attrs.define(kw_only=True, eq=False)
class SecretStorageExists(SecretError):
    """There is secret storage already."""

    text = "there is secret storage already, with the key {key_id}"
    key_id: str


@attrs.define(kw_only=True, eq=False)
class WrongSecretStorageKey(SecretError):
    """Not the key, or not the passphrase, of secret storage."""

    text = "not the key of secret storage"
    key_id: str
    """Of the right one."""


@attrs.define(kw_only=True, eq=False)
class NoSuchSecret(SecretError):
    """Secret storage has no secret of that name for that key."""

    text = "{name} isn't stored for that key"
    name: str


@attrs.define(kw_only=True, eq=False)
class SecretStorageKeyInUse(SecretError):
    """A key without which something could not be read."""

    text = "the key is needed for {what}"
    what: str
    """``the default key``, or the name of a secret."""
