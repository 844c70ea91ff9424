"""The account actor owns the Olm account, and how far the device has read from the homeserver.

Its invariants:

- A one-time key is stored before anybody sees it, and handed out once: see `one_time_keys`. New ones are made only when
  it is known how many the server has.
- A one-time key is gone from the account in the same commit that stores the session made with it.
- A fallback key is handed out, the same, until it is on the server: see `fallback_key`.
- A key id stands for one key for ever. vodozemac counts them, and a restored backup counts from where it was made; so
  what a restored account makes has a mark of its own in its ids.
- The sync token moves only together with what it acknowledges, which is up to the operation: one turn, one commit.

The device's identity never changes: it is loaded once and never invalidated.
"""

from __future__ import annotations

import contextlib
import os
from collections.abc import Iterable, Sequence
from copy import deepcopy
from typing import Any, ClassVar, TypeAlias, assert_never, cast

import attrs
import msgspec
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
    Query,
    Reply,
    SignedDeviceKeys,
    SyncToken,
    UnknownOlmSession,
    UnpublishedKeys,
    UserId,
)
from olmstate.storage import Row, RowReader, Table

from .fallback_key import FallbackKey
from .one_time_keys import Fate, OneTimeKeys, Upload
from .stored import AccountRecord, FallbackRecord, SyncRecord, UploadRecord

ALGORITHM = "signed_curve25519"

FEW_KEYS = 25
"""One-time keys at the server that are worth telling of."""
PUBLISHED_KEYS = 50
"""How many one-time keys the server should hold."""
SILENCE = 3600 * 1000
"""Milliseconds without a word on how many the server has, after which it is asked, and asked again."""
MARK_BYTES = 4
ANYTHING = 2**53
"""More than any server has: what earlier versions handed out has no evidence on its side but its use."""

# --- what is stored -----------------------------------------------------------------------------------------


@attrs.define(kw_only=True)
class OwnAccount:
    """The account, and where its keys are."""

    account: Account
    keys: OneTimeKeys = attrs.field(factory=OneTimeKeys)
    fallback: FallbackKey = attrs.field(factory=FallbackKey)
    mark: str = ""
    """Begins the id of each key that is made from now on."""


class SyncState(QuietStruct, kw_only=True, frozen=True):
    """What the homeserver has last told."""

    next_batch: str | None = None
    one_time_key_count: int | None = None
    """One-time keys on the server, as far as is known; None: it has never said."""
    fallback_key_unused: bool | None = None
    """None: the server has not told."""
    highest_count: int | None = None
    """The most one-time keys that it has said that it has, since any were last handed out. None: it has said
    nothing."""
    silent_since: int | None = None
    """Since when its /sync responses don't say, or it has last been asked for that; None: the last one said."""


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
            keys=_one_time_keys(record, restored=restored),
            fallback=FallbackKey(
                waiting={KeyId(key_id): key for key_id, key in record.fallback_keys.items()},
                made=record.fallback_made,
                published=record.fallback.published,
                number=record.fallback.number,
                was_unused=record.fallback.was_unused,
                in_doubt=record.fallback.in_doubt or restored,
            ),
            # random, since the same backup may be restored twice; stored with the first keys that it is given to
            mark=os.urandom(MARK_BYTES).hex() if restored else record.mark,
        )

    def encode(self, partition: bytes, entry: OwnAccount | None) -> Iterable[Row]:
        if entry is not None:
            record = AccountRecord(
                pickle=entry.account.pickle(self._store.pickle_key),
                one_time_keys={},
                fallback_keys=cast("dict[str, dict[str, Any]]", entry.fallback.waiting),
                fallback_made=entry.fallback.made,
                mark=entry.mark,
                upload=_upload_record(entry.keys.upload),
                in_doubt=cast("dict[str, str]", entry.keys.in_doubt),
                published=cast("list[str]", entry.keys.published),
                fallback=FallbackRecord(
                    number=entry.fallback.number,
                    published=entry.fallback.published,
                    was_unused=entry.fallback.was_unused,
                    in_doubt=entry.fallback.in_doubt,
                ),
            )
            yield Row(partition, partition, dumps(record))


def _one_time_keys(record: AccountRecord, *, restored: bool) -> OneTimeKeys:
    stored = record.upload
    if stored is None and record.one_time_keys:
        keys = {key_id: str(key["key"]) for key_id, key in record.one_time_keys.items()}
        stored = UploadRecord(keys=keys, owner="", begun=0, count=ANYTHING)
    own = OneTimeKeys(
        upload=None if stored is None else _upload(stored),
        in_doubt={KeyId(key_id): Curve25519Key(key) for key_id, key in record.in_doubt.items()},
        published=[Curve25519Key(key) for key in record.published],
    )
    if restored:  # the original knows what became of it, and this one never will
        own.settle(landed=False)
    return own


def _upload(record: UploadRecord) -> Upload:
    keys = {KeyId(key_id): Curve25519Key(key) for key_id, key in record.keys.items()}
    return Upload(keys=keys, owner=record.owner, begun=record.begun, count=record.count)


def _upload_record(upload: Upload | None) -> UploadRecord | None:
    if upload is None:
        return None
    keys = cast("dict[str, str]", upload.keys)
    return UploadRecord(keys=keys, owner=upload.owner, begun=upload.begun, count=upload.count)


class _SyncCodec:
    def decode(self, partition: bytes, rows: Sequence[Row]) -> SyncState:  # noqa: ARG002 - one row, one state
        if not rows:
            return SyncState()
        record = loads(rows[0], SyncRecord)
        return SyncState(
            next_batch=record.next_batch,
            one_time_key_count=record.one_time_key_count,
            fallback_key_unused=record.fallback_key_unused,
            highest_count=record.highest_count,
            silent_since=record.silent_since,
        )

    def encode(self, partition: bytes, entry: SyncState) -> Iterable[Row]:
        record = SyncRecord(
            next_batch=entry.next_batch,
            one_time_key_count=entry.one_time_key_count,
            fallback_key_unused=entry.fallback_key_unused,
            highest_count=entry.highest_count,
            silent_since=entry.silent_since,
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


class Create(QuietStruct, Message[DeviceIdentity], kw_only=True, frozen=True):
    """Make the account, or take over one that was unpickled."""

    account: Account | None = None


class OwnDevice(QuietStruct, kw_only=True, frozen=True):
    """What never changes about this device."""

    identity: DeviceIdentity
    signed_device_keys: JsonObject


class LookUpOwnDevice(QuietStruct, Message[OwnDevice], kw_only=True, frozen=True):
    """This device, as this turn sees it."""


class MakeKeys(QuietStruct, Message[UnpublishedKeys], kw_only=True, frozen=True):
    """Hand out the keys that are due."""

    now: int
    """Milliseconds since 1970."""


class AreKeysDue(QuietStruct, Query[bool], kw_only=True, frozen=True):
    """Whether there is something to upload, or to ask the server about; no turn is needed."""

    now: int
    """Milliseconds since 1970."""


class IsPublished(QuietStruct, Query[bool], kw_only=True, frozen=True):
    """Whether the server is known to have the device's keys, and its fallback key; no turn is needed."""


class KeysPublished(QuietStruct, Message[None], kw_only=True, frozen=True):
    """The server has taken these."""

    key_ids: tuple[KeyId, ...]
    one_time_key_count: int | None
    """How many it has now; None: it didn't say."""
    now: int
    """Milliseconds since 1970."""


class CreateInboundSessions(
    QuietStruct, Message[tuple[InboundSession | DecryptionError, ...]], kw_only=True, frozen=True
):
    """Make sessions from pre-key messages, in order; each uses up its one-time key."""

    messages: tuple[OlmMessage, ...]
    first: bool = False
    """Whether it begins here what can be undone."""


class UndoInboundSessions(QuietStruct, Message[None], kw_only=True, frozen=True):
    """Have the account be as it was before the `first` sessions were made."""


class CreateOutboundSessions(QuietStruct, Message[tuple[Session | None, ...]], kw_only=True, frozen=True):
    """Make sessions from claimed keys; None for keys that no session can be made with. Leaves the account as it is."""

    keys: tuple[tuple[Curve25519Key, Curve25519Key], ...]
    """Identity key and one-time key."""


class StoredSync(QuietStruct, kw_only=True, frozen=True):
    """What became of what a sync response said."""

    token_stored: bool
    ran_low: bool
    """The server has few one-time keys left, and had enough when it last said."""


class StoreSync(QuietStruct, Message[StoredSync], kw_only=True, frozen=True):
    """What a sync response said."""

    next_batch: str
    since: str | None
    one_time_key_count: int | None
    """None: it didn't say."""
    fallback_key_unused: bool | None
    now: int
    """Milliseconds since 1970."""


Step: TypeAlias = (
    Create
    | LookUpOwnDevice
    | AreKeysDue
    | IsPublished
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
        self._saved: tuple[OwnAccount | None, SyncState | None] = (None, None)
        self._presence = environment.presence
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
            case AreKeysDue() | MakeKeys() | KeysPublished() | CreateInboundSessions():
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
            case IsPublished():
                own = self._account.committed(self._account_key)
                return message.reply(own is not None and own.fallback.is_published)
            case AreKeysDue(now=now):
                return message.reply(self._are_keys_due(now))
            case MakeKeys(now=now):
                return message.reply(self._make_keys(now))
            case KeysPublished():
                self._published(message)
                return message.reply(None)
            case CreateInboundSessions(messages=messages, first=first):
                own = self._current()
                if first:
                    self._save()
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
        own = OwnAccount(account=account or Account(), fallback=FallbackKey(number=0 if account is None else 1))
        # another library's account may have keys that it has made, and perhaps uploaded
        own.keys.in_doubt = _unpublished(own)
        own.account.mark_keys_as_published()
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

    def noticed(self, notice: Notice) -> None:
        """Forget what was saved, and a device that it may not be."""
        self._saved = (None, None)
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

    def _make_keys(self, now: int) -> UnpublishedKeys:
        own = self._current()
        sync = self._sync.current(self._sync_key)
        count_wanted = sync.silent_since is not None and now - sync.silent_since >= SILENCE
        if own.keys.upload is not None:
            fate = own.keys.upload.fate(
                sync.highest_count, now=now, asker=self._presence.token, is_alive=self._presence.is_alive
            )
            if fate is Fate.UNDER_WAY:
                return UnpublishedKeys(one_time_keys={}, fallback_keys={})
            if fate is Fate.UNKNOWN:
                count_wanted = True
            else:
                own = self._changing()
                own.keys.settle(landed=fate is Fate.LANDED)
                self._presence.sweep()
        return UnpublishedKeys(
            one_time_keys=self._make_one_time_keys(own, sync, now),
            fallback_keys=self._make_fallback_keys(own, sync, now),
            count_wanted=count_wanted,
        )

    def _are_keys_due(self, now: int) -> bool:
        """Whether `_make_keys` would hand something out, or want the count."""
        own, sync = self._account.committed(self._account_key), self._sync.committed(self._sync_key)
        if own is None:
            return False
        if own.keys.upload is not None:
            fate = own.keys.upload.fate(
                sync.highest_count, now=now, asker=self._presence.token, is_alive=self._presence.is_alive
            )
            return fate is not Fate.UNDER_WAY
        return bool(
            own.keys.room(PUBLISHED_KEYS - (sync.one_time_key_count or 0))
            or own.fallback.waiting
            or own.fallback.is_due(unused=sync.fallback_key_unused, now=now)
            or (sync.silent_since is not None and now - sync.silent_since >= SILENCE)
        )

    def _make_one_time_keys(self, own: OwnAccount, sync: SyncState, now: int) -> dict[KeyId, JsonObject]:
        new = own.keys.room(PUBLISHED_KEYS - (sync.one_time_key_count or 0))
        if own.keys.upload is not None or not new:
            return {}
        owner = self._presence.announce()
        own = self._changing()
        for key in own.keys.forget(new):
            _use_up(own.account, key)
        own.account.generate_one_time_keys(new)
        keys = _unpublished(own)
        own.account.mark_keys_as_published()  # as far as vodozemac is concerned
        own.keys.upload = Upload(keys=keys, owner=owner, begun=now, count=sync.one_time_key_count or 0)
        self._sync.put(self._sync_key, msgspec.structs.replace(sync, highest_count=None))
        return {key_id: self._signed(own.account, {"key": key}) for key_id, key in keys.items()}

    def _make_fallback_keys(self, own: OwnAccount, sync: SyncState, now: int) -> dict[KeyId, JsonObject]:
        if own.fallback.has_landed(unused=sync.fallback_key_unused):
            own = self._changing()
            own.fallback.publish(now)
        elif own.fallback.waiting and not own.fallback.in_doubt:
            own = self._changing()
            own.fallback.in_doubt = True
        elif own.fallback.is_due(unused=sync.fallback_key_unused, now=now):
            own = self._changing()
            own.fallback = FallbackKey(
                waiting=self._make_fallback_key(own),
                made=now,
                number=own.fallback.number + 1,
                was_unused=sync.fallback_key_unused,
            )
        # a copy: whoever is given it may do with it what they like
        return deepcopy(own.fallback.waiting)

    def _changing(self) -> OwnAccount:
        own = self._account.change(self._account_key)
        assert own is not None  # noqa: S101 - _current() has raised
        return own

    def _make_fallback_key(self, own: OwnAccount) -> dict[KeyId, JsonObject]:
        with_fallback = cast("Any", own.account)  # the binding has both, its stub has neither
        with_fallback.generate_fallback_key()
        keys: dict[str, Curve25519PublicKey] = with_fallback.fallback_key
        # vodozemac counts both kinds from 0; with the F, an id means one key for ever
        made = {
            KeyId(f"{ALGORITHM}:F{own.mark}{key_id}"): self._signed(
                own.account, {"key": key.to_base64(), "fallback": True}
            )
            for key_id, key in keys.items()
        }
        own.account.mark_keys_as_published()
        return made

    def _published(self, message: KeysPublished) -> None:
        own = self._current()
        sync = self._sync.current(self._sync_key)
        landed = 0
        if own.keys.names(message.key_ids):
            own = self._changing()
            landed = own.keys.mark(message.key_ids)
        unused = sync.fallback_key_unused
        if own.fallback.waiting.keys() & set(message.key_ids):
            own = self._changing()
            own.fallback.publish(message.now)
            unused = True
        new = msgspec.structs.replace(
            _told(sync, message.one_time_key_count, message.now, also=landed), fallback_key_unused=unused
        )
        if new != sync:
            self._sync.put(self._sync_key, new)

    # --- sessions -------------------------------------------------------------------------------------------

    def _create_inbound(self, own: OwnAccount, olm: OlmMessage) -> InboundSession | DecryptionError:
        assert olm.pre_key is not None  # noqa: S101 - no other starts a session
        assert olm.session_keys is not None  # noqa: S101 - it has them
        one_time_key = olm.one_time_key
        assert one_time_key is not None  # noqa: S101 - nor without this one
        # a fallback key begins as many sessions as there are names for one
        if not olm.session_keys.are_canonical or not (own.keys.has(one_time_key) or olm.session_keys.are_made):
            return MalformedMessage(reason="a key of the pre-key message is not as Curve25519 makes it")
        try:
            identity_key = Curve25519PublicKey.from_base64(olm.sender_key)
        except ValueError:
            return MalformedMessage(reason="sender_key is no Curve25519 key")
        try:
            session, plaintext = own.account.create_inbound_session(identity_key, olm.pre_key)
        except ValueError as error:
            return UnknownOlmSession(reason=str(error))
        self._changing()
        change = own.keys.use(one_time_key)
        if change:
            sync = self._sync.current(self._sync_key)
            count = max(0, (sync.one_time_key_count or 0) + change)
            self._sync.put(self._sync_key, msgspec.structs.replace(sync, one_time_key_count=count))
        return InboundSession(sender_key=olm.sender_key, session=session, plaintext=plaintext, digest=olm.digest)

    def _save(self) -> None:
        """Make sure that all that is done from now on can be undone: what this turn hasn't changed is in the store."""
        own, sync = self._account.changed(self._account_key), self._sync.changed(self._sync_key)
        self._saved = (None if own is None else self._copy(own), sync)

    def _copy(self, own: OwnAccount) -> OwnAccount:
        """Another object of the same; nobody changes the signed keys that hang on it."""
        account = Account.from_pickle(own.account.pickle(self._store.pickle_key), self._store.pickle_key)
        return attrs.evolve(
            own,
            account=account,
            keys=own.keys.copy(),
            fallback=attrs.evolve(own.fallback, waiting={**own.fallback.waiting}),
        )

    def _undo(self) -> None:
        own, sync = self._saved
        if own is None:
            self._account.undo(self._account_key)
        else:
            self._account.put(self._account_key, self._copy(own))
        if sync is None:
            self._sync.undo(self._sync_key)
        else:
            self._sync.put(self._sync_key, sync)

    # --- sync -----------------------------------------------------------------------------------------------

    def _store_sync(self, told: StoreSync) -> StoredSync:
        state = self._sync.current(self._sync_key)
        advance = told.since in (None, state.next_batch)
        # an older response may speak of the fallback key before the present one: that would be replaced once more, and
        # the one before it, which messages are on their way for, forgotten
        speaks_of_the_present_one = advance or state.next_batch is None
        new = msgspec.structs.replace(
            _told(state, told.one_time_key_count, told.now),
            next_batch=told.next_batch if advance else state.next_batch,
            fallback_key_unused=told.fallback_key_unused if speaks_of_the_present_one else state.fallback_key_unused,
        )
        if new != state:
            self._sync.put(self._sync_key, new)
        before, now = state.one_time_key_count, told.one_time_key_count
        ran_low = now is not None and now < FEW_KEYS and (before is None or before >= FEW_KEYS)
        return StoredSync(token_stored=advance, ran_low=ran_low)


def _told(state: SyncState, count: int | None, now: int, *, also: int | None = None) -> SyncState:
    """What is known after a word of the server's.

    A sync that leaves the count out says that it is 0 (spec). But some leave it out always. So it is no reason to make
    more keys, and enough not to wait for an upload's answer; and the server is asked, at once if its last sync may have
    said, else each hour.

    Args:
        state: What was known before.
        count: How many one-time keys it has; None: it doesn't say. What it had, it has.
        now: Milliseconds since 1970.
        also: Of the answer to an upload: so many are known to be there now, beside those that were; ``count`` has them.
    """
    asked = also is not None
    if count is not None:
        return msgspec.structs.replace(
            state,
            one_time_key_count=count,
            highest_count=max(count, state.highest_count or 0),
            silent_since=now if asked and state.silent_since is not None else None,
        )
    if asked:
        return msgspec.structs.replace(
            state,
            one_time_key_count=(state.one_time_key_count or 0) + also if also else state.one_time_key_count,
            silent_since=None if state.silent_since is None else now,
        )
    silent_since = state.silent_since
    if silent_since is None:
        silent_since = now if state.one_time_key_count is None else now - SILENCE
    return msgspec.structs.replace(state, highest_count=state.highest_count or 0, silent_since=silent_since)


def _unpublished(own: OwnAccount) -> dict[KeyId, Curve25519Key]:
    """The one-time keys that vodozemac has made last, and that it wasn't told of that they were handed out."""
    return {
        KeyId(f"{ALGORITHM}:{own.mark}{key_id}"): Curve25519Key(key.to_base64())
        for key_id, key in own.account.one_time_keys.items()
    }


def _use_up(account: Account, key: Curve25519Key) -> None:
    """Forget a one-time key: there is no other way than to have somebody make a session with it."""
    somebody = Account()
    session = somebody.create_outbound_session(account.curve25519_key, Curve25519PublicKey.from_base64(key))
    message = session.encrypt(b"").to_pre_key()
    if message is not None:
        with contextlib.suppress(ValueError):  # it is used up
            account.create_inbound_session(somebody.curve25519_key, message)


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
