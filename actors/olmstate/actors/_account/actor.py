"""The account actor owns the Olm account, and how far the device has read from the homeserver.

Its invariants:

- A one-time key is stored, signed, before anybody sees it, and handed out as stored until it is marked as published:
  two processes, or a retry, upload the same key under the same id.
- A one-time key is gone from the account in the same commit that stores the session made with it.
- New keys are made only when no earlier ones wait for upload.
- A key id stands for one key for ever. vodozemac counts them, and a restored backup counts from where it was made; so
  what a restored account makes has a mark of its own in its ids.
- The sync token moves only together with what it acknowledges, which is up to the operation: one turn, one commit.

The device's identity never changes: it is loaded once and never invalidated.
"""

from __future__ import annotations

import os
from collections.abc import Iterable, Sequence
from copy import deepcopy
from typing import Any, ClassVar, TypeAlias, assert_never, cast

import attrs
from vodozemac import Account, Curve25519PublicKey, Session

from olmstate.actors._engine.actor import Actor, Committed, Environment, Invalidate, Notice, Wanted
from olmstate.actors._engine.cache import Cache
from olmstate.actors._engine.records import dumps, loads, restore
from olmstate.actors._wire.algorithms import MEGOLM, OLM
from olmstate.actors._wire.olm_message import OlmMessage
from olmstate.actors._wire.quiet_struct import QuietStruct
from olmstate.actors._wire.signatures import signing_bytes
from olmstate.messages import (
    AccountExists,
    Curve25519Key,
    DecryptionError,
    DeviceIdentity,
    Ed25519Key,
    IdentityKeys,
    JsonObject,
    KeyId,
    MalformedMessage,
    MalformedPickle,
    Message,
    NoAccount,
    Reply,
    SignedDeviceKeys,
    SyncToken,
    UnknownOlmSession,
    UnpublishedKeys,
    UserId,
)
from olmstate.storage import Row, RowReader, Table

from .stored import AccountRecord, SyncRecord

ALGORITHM = "signed_curve25519"

PUBLISHED_KEYS = 50
"""How many one-time keys the server should hold."""
MARK_BYTES = 4
FALLBACK_KEY_MILLISECONDS = 7 * 24 * 3600 * 1000
"""After which a fallback key is replaced though nobody was seen to use it."""

# --- what is stored -----------------------------------------------------------------------------------------


@attrs.define(kw_only=True)
class OwnAccount:
    """The account and its signed keys that wait for upload."""

    account: Account
    one_time_keys: dict[KeyId, JsonObject] = attrs.field(factory=dict[KeyId, JsonObject])
    fallback_keys: dict[KeyId, JsonObject] = attrs.field(factory=dict[KeyId, JsonObject])
    fallback_made: int | None = None
    mark: str = ""
    """Begins the id of each key that is made from now on."""


@attrs.frozen(kw_only=True)
class SyncState:
    """What the homeserver has last told."""

    next_batch: str | None = None
    one_time_key_count: int | None = None
    """One-time keys on the server; None: never told."""
    fallback_key_unused: bool | None = None
    """None: the server has not told."""


class _AccountCodec:
    def __init__(self, store: RowReader) -> None:
        self._store = store

    def decode(self, partition: bytes, rows: Sequence[Row]) -> OwnAccount | None:  # noqa: ARG002 - one row, one account
        if not rows:
            return None
        record = loads(rows[0], AccountRecord)
        restored = rows[0].generation <= self._store.restored_generation
        return OwnAccount(
            account=restore(Table.ACCOUNT, Account.from_pickle, record.pickle, self._store.pickle_key),
            one_time_keys={KeyId(key_id): key for key_id, key in record.one_time_keys.items()},
            fallback_keys={KeyId(key_id): key for key_id, key in record.fallback_keys.items()},
            fallback_made=record.fallback_made,
            # random, since the same backup may be restored twice; stored with the first keys that it is given to
            mark=os.urandom(MARK_BYTES).hex() if restored else record.mark,
        )

    def encode(self, partition: bytes, entry: OwnAccount | None) -> Iterable[Row]:
        if entry is not None:
            record = AccountRecord(
                pickle=entry.account.pickle(self._store.pickle_key),
                one_time_keys=cast("dict[str, dict[str, Any]]", entry.one_time_keys),
                fallback_keys=cast("dict[str, dict[str, Any]]", entry.fallback_keys),
                fallback_made=entry.fallback_made,
                mark=entry.mark,
            )
            yield Row(partition, partition, dumps(record))


class _SyncCodec:
    def decode(self, partition: bytes, rows: Sequence[Row]) -> SyncState:  # noqa: ARG002 - one row, one state
        if not rows:
            return SyncState()
        record = loads(rows[0], SyncRecord)
        return SyncState(
            next_batch=record.next_batch,
            one_time_key_count=record.one_time_key_count,
            fallback_key_unused=record.fallback_key_unused,
        )

    def encode(self, partition: bytes, entry: SyncState) -> Iterable[Row]:
        record = SyncRecord(
            next_batch=entry.next_batch,
            one_time_key_count=entry.one_time_key_count,
            fallback_key_unused=entry.fallback_key_unused,
        )
        yield Row(partition, partition, dumps(record))


# --- what it is asked ---------------------------------------------------------------------------------------


class NewSession(QuietStruct, kw_only=True, frozen=True):
    """An Olm session that was just made."""

    sender_key: Curve25519Key
    session: Session
    claimed_from: UserId | None = None
    """Whose one-time key it was started with; None: the other device started it, or another library did."""
    owner: UserId | None = None
    """Who is known to have the other end."""
    steps_for_anybody: int = 0
    """How often it may be encrypted on though that isn't known."""
    digest: bytes | None = None
    """Of the message that it was made from, if that has yet to be believed."""


class InboundSession(NewSession, kw_only=True, frozen=True):
    """A session made from a pre-key message, and what the message said."""

    plaintext: bytes


@attrs.frozen(kw_only=True)
class Create(Message[DeviceIdentity]):
    """Make the account, or take over one that was unpickled."""

    account: Account | None = None


@attrs.frozen(kw_only=True)
class OwnDevice:
    """What never changes about this device."""

    identity: DeviceIdentity
    signed_device_keys: JsonObject


@attrs.frozen(kw_only=True)
class LookUpOwnDevice(Message[OwnDevice]):
    """This device, as this turn sees it."""


@attrs.frozen(kw_only=True)
class MakeKeys(Message[UnpublishedKeys]):
    """Make the keys that are due and hand out all that wait."""

    now: int
    """Milliseconds since 1970."""


@attrs.frozen(kw_only=True)
class KeysPublished(Message[None]):
    """The server has taken these."""

    key_ids: tuple[KeyId, ...]
    one_time_key_count: int | None


@attrs.frozen(kw_only=True)
class CreateInboundSessions(Message[tuple[InboundSession | DecryptionError, ...]]):
    """Make sessions from pre-key messages, in order; each uses up its one-time key."""

    messages: tuple[OlmMessage, ...]
    first: bool = False
    """Whether it begins here what can be undone."""


@attrs.frozen(kw_only=True)
class UndoInboundSessions(Message[None]):
    """Have the account be as it was before the `first` sessions were made."""


@attrs.frozen(kw_only=True)
class CreateOutboundSessions(Message[tuple[Session | None, ...]]):
    """Make sessions from claimed keys; None for keys that no session can be made with. Leaves the account as it is."""

    keys: tuple[tuple[Curve25519Key, Curve25519Key], ...]
    """Identity key and one-time key."""


@attrs.frozen(kw_only=True)
class StoreSync(Message[bool]):
    """What a sync response said; whether its token was stored."""

    next_batch: str
    since: str | None
    one_time_key_count: int | None
    """None: it didn't say."""
    fallback_key_unused: bool | None


Step: TypeAlias = (
    Create
    | LookUpOwnDevice
    | MakeKeys
    | KeysPublished
    | CreateInboundSessions
    | UndoInboundSessions
    | CreateOutboundSessions
    | StoreSync
)
Asked: TypeAlias = IdentityKeys | SignedDeviceKeys | SyncToken | Step


class AccountActor(Actor[Asked]):
    """Owns the Olm account, and how far the device has read from the homeserver."""

    name: ClassVar[str] = "account"

    def __init__(self, environment: Environment) -> None:
        """It has loaded nothing."""
        store, capacity = environment.store, environment.capacity
        self._user_id = environment.user_id
        self._device_id = environment.device_id
        self._own_device: OwnDevice | None = None
        self._just_made = False
        self._saved: OwnAccount | None = None
        self._account = Cache[OwnAccount | None](Table.ACCOUNT, _AccountCodec(store), capacity(Table.ACCOUNT))
        self._sync = Cache[SyncState](Table.SYNC, _SyncCodec(), capacity(Table.SYNC))
        self._account_key = store.key(Table.ACCOUNT, "account")
        self._sync_key = store.key(Table.SYNC, "sync")
        super().__init__(environment, [self._account, self._sync])

    def wanted(self, message: Asked) -> Wanted:
        """The account, the sync state, or both."""
        match message:
            case IdentityKeys() | SignedDeviceKeys() | LookUpOwnDevice() if self.own_device is not None:
                return ()
            case SyncToken() | StoreSync():
                return ((self._sync, [self._sync_key]),)
            case UndoInboundSessions():
                return ()
            case MakeKeys() | KeysPublished():
                return (self._account, [self._account_key]), (self._sync, [self._sync_key])
            case _:
                return ((self._account, [self._account_key]),)

    def handle(self, message: Asked) -> Reply:  # noqa: C901, PLR0912 - one case a message
        """Answer one message."""
        match message:
            case IdentityKeys():
                device = self.own_device or self._known(self._account.committed(self._account_key))
                return message.reply(device.identity)
            case SignedDeviceKeys():
                device = self.own_device or self._known(self._account.committed(self._account_key))
                return message.reply(deepcopy(device.signed_device_keys))
            case LookUpOwnDevice():
                return message.reply(self.own_device or self._known(self._account.current(self._account_key)))
            case SyncToken():
                return message.reply(self._sync.committed(self._sync_key).next_batch)
            case Create(account=account):
                return message.reply(self._create(account))
            case MakeKeys(now=now):
                return message.reply(self._make_keys(now))
            case KeysPublished(key_ids=key_ids, one_time_key_count=count):
                self._published(key_ids, count)
                return message.reply(None)
            case CreateInboundSessions(messages=messages, first=first):
                own = self._current()
                if first:
                    self._saved = self._copy() if self._account.dirty else None
                return message.reply(tuple(self._create_inbound(own, olm) for olm in messages))
            case UndoInboundSessions():
                self._undo()
                return message.reply(None)
            case CreateOutboundSessions(keys=keys):
                own = self._current()
                return message.reply(tuple(_create_outbound(own.account, *pair) for pair in keys))
            case StoreSync():
                return message.reply(self._store_sync(message))
            case _:
                assert_never(message)

    def _current(self) -> OwnAccount:
        own = self._account.current(self._account_key)
        if own is None:
            raise NoAccount
        return own

    def _create(self, account: Account | None) -> DeviceIdentity:
        if self._account.current(self._account_key) is not None:
            raise AccountExists
        own = OwnAccount(account=account or Account())
        # another library's account may have keys that were made and not uploaded
        own.one_time_keys = self._sign_one_time_keys(own, known=set())
        self._account.put(self._account_key, own)
        self._just_made = True
        return self._known(own).identity

    @property
    def own_device(self) -> OwnDevice | None:
        """This device, if it is known by now and committed; it never changes."""
        return None if self._just_made else self._own_device

    def _known(self, own: OwnAccount | None) -> OwnDevice:
        if own is None:
            raise NoAccount
        if self._own_device is None:
            self._own_device = self._describe(own.account)
        return self._own_device

    def notify(self, notice: Notice) -> None:
        """Tell the actor something, which holds from now on."""
        super().notify(notice)
        self._saved = None
        if self._just_made and not isinstance(notice, Committed):
            self._own_device = None  # it may be another's by now
        if not isinstance(notice, Invalidate):
            self._just_made = False

    def _describe(self, account: Account) -> OwnDevice:
        identity = DeviceIdentity(
            user_id=self._user_id,
            device_id=self._device_id,
            curve25519=Curve25519Key(account.curve25519_key.to_base64()),
            ed25519=Ed25519Key(account.ed25519_key.to_base64()),
        )
        keys = {
            f"curve25519:{self._device_id}": identity.curve25519,
            f"ed25519:{self._device_id}": identity.ed25519,
        }
        device_keys: JsonObject = {
            "user_id": self._user_id,
            "device_id": self._device_id,
            "algorithms": [OLM, MEGOLM],
            "keys": keys,
        }
        return OwnDevice(identity=identity, signed_device_keys=self._signed(account, device_keys))

    # --- keys for upload ------------------------------------------------------------------------------------

    def _signed(self, account: Account, obj: JsonObject) -> JsonObject:
        signature = account.sign(signing_bytes(obj)).to_base64()
        return {**obj, "signatures": {self._user_id: {f"ed25519:{self._device_id}": signature}}}

    def _sign_one_time_keys(self, own: OwnAccount, known: set[str]) -> dict[KeyId, JsonObject]:
        return {
            KeyId(f"{ALGORITHM}:{own.mark}{key_id}"): self._signed(own.account, {"key": key.to_base64()})
            for key_id, key in own.account.one_time_keys.items()
            if key_id not in known
        }

    def _make_keys(self, now: int) -> UnpublishedKeys:
        own = self._current()
        sync = self._sync.current(self._sync_key)
        due = PUBLISHED_KEYS - (sync.one_time_key_count or 0)
        if not own.one_time_keys and due > 0:
            known = set(own.account.one_time_keys)
            own = self._changing()
            own.account.generate_one_time_keys(due)
            own.one_time_keys = self._sign_one_time_keys(own, known)
        if not own.fallback_keys and (
            own.fallback_made is None
            or sync.fallback_key_unused is False
            or now - own.fallback_made >= FALLBACK_KEY_MILLISECONDS
        ):
            own = self._changing()
            own.fallback_keys = self._make_fallback_key(own)
            own.fallback_made = now
        # copies: the asker may do with them what it likes
        return UnpublishedKeys(one_time_keys=deepcopy(own.one_time_keys), fallback_keys=deepcopy(own.fallback_keys))

    def _changing(self) -> OwnAccount:
        own = self._account.change(self._account_key)
        assert own is not None  # noqa: S101 - _current() has raised
        return own

    def _make_fallback_key(self, own: OwnAccount) -> dict[KeyId, JsonObject]:
        with_fallback = cast("Any", own.account)  # the binding has both, its stub has neither
        with_fallback.generate_fallback_key()
        keys: dict[str, Curve25519PublicKey] = with_fallback.fallback_key
        # vodozemac counts both kinds from 0; with the F, an id means one key for ever
        return {
            KeyId(f"{ALGORITHM}:F{own.mark}{key_id}"): self._signed(
                own.account, {"key": key.to_base64(), "fallback": True}
            )
            for key_id, key in keys.items()
        }

    def _published(self, key_ids: tuple[KeyId, ...], count: int | None) -> None:
        own = self._current()
        taken = own.one_time_keys.keys() & set(key_ids)
        fallback = own.fallback_keys.keys() & set(key_ids)
        if taken or fallback:
            own = self._changing()
            for key_id in taken:
                del own.one_time_keys[key_id]
            for key_id in fallback:
                del own.fallback_keys[key_id]
            if not own.one_time_keys and not own.fallback_keys:
                own.account.mark_keys_as_published()
        sync = self._sync.current(self._sync_key)
        told = (sync.one_time_key_count or 0) + len(taken) if count is None else count
        unused = True if fallback else sync.fallback_key_unused
        new = attrs.evolve(sync, one_time_key_count=told, fallback_key_unused=unused)
        if new != sync:
            self._sync.put(self._sync_key, new)

    # --- sessions -------------------------------------------------------------------------------------------

    def _create_inbound(self, own: OwnAccount, olm: OlmMessage) -> InboundSession | DecryptionError:
        assert olm.pre_key is not None  # noqa: S101 - no other starts a session
        assert olm.session_keys is not None  # noqa: S101 - it has them
        if not olm.session_keys.are_canonical:
            return MalformedMessage(reason="a key of the pre-key message is not spelt as Curve25519 writes it")
        try:
            identity_key = Curve25519PublicKey.from_base64(olm.sender_key)
        except ValueError:
            return MalformedMessage(reason="sender_key is no Curve25519 key")
        try:
            session, plaintext = own.account.create_inbound_session(identity_key, olm.pre_key)
        except ValueError as error:
            return UnknownOlmSession(reason=str(error))
        self._changing()
        for key_id, key in list(own.one_time_keys.items()):
            if key["key"] == olm.one_time_key:  # used before it was marked as published: it must not be uploaded again
                del own.one_time_keys[key_id]
        return InboundSession(sender_key=olm.sender_key, session=session, plaintext=plaintext, digest=olm.digest)

    def _copy(self) -> OwnAccount:
        """What this turn has made of the account so far; nobody changes what hangs on it."""
        own = self._current()
        account = Account.from_pickle(own.account.pickle(self._store.pickle_key), self._store.pickle_key)
        return attrs.evolve(
            own, account=account, one_time_keys={**own.one_time_keys}, fallback_keys={**own.fallback_keys}
        )

    def _undo(self) -> None:
        if self._saved is None:
            self._account.undo(self._account_key)
        else:
            self._account.put(self._account_key, self._saved)
            self._saved = self._copy()

    # --- sync -----------------------------------------------------------------------------------------------

    def _store_sync(self, told: StoreSync) -> bool:
        state = self._sync.current(self._sync_key)
        advance = told.since in (None, state.next_batch)
        # an older response may speak of the fallback key before the present one: that would be replaced once more, and
        # the one before it, which messages are on their way for, forgotten
        speaks_of_the_present_one = advance or state.next_batch is None
        new = SyncState(
            next_batch=told.next_batch if advance else state.next_batch,
            one_time_key_count=(
                state.one_time_key_count if told.one_time_key_count is None else told.one_time_key_count
            ),
            fallback_key_unused=told.fallback_key_unused if speaks_of_the_present_one else state.fallback_key_unused,
        )
        if new != state:
            self._sync.put(self._sync_key, new)
        return advance


def unpickle_account(pickle: str, pickle_key: bytes, pickle_format: str) -> Account:
    """An account from another library's pickle.

    Raises:
        MalformedPickle: It can't be read with that format and key.
    """
    try:
        if pickle_format == "libolm":
            return Account.from_libolm_pickle(pickle, pickle_key)
        return Account.from_pickle(pickle, pickle_key)
    except ValueError as error:
        raise MalformedPickle(what="account", reason=str(error)) from None


def _create_outbound(account: Account, identity_key: Curve25519Key, one_time: Curve25519Key) -> Session | None:
    try:
        return account.create_outbound_session(
            Curve25519PublicKey.from_base64(identity_key), Curve25519PublicKey.from_base64(one_time)
        )
    except ValueError:
        return None
