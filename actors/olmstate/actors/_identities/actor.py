"""The identities actor owns the public cross-signing keys of users, ours too, and how far each is trusted.

Its invariants:

- What it stores has been checked: the master key has signed the others (`identity.check_identity`).
- An identity that an answer leaves out stays as it was. One that comes is stored with what is to be remembered of the
  one before, in the same commit: that it was pinned, and that it was verified once.
- States are worked out when they are asked for, from two rows: the user's and ours (`known`).
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import ClassVar, TypeAlias, assert_never

from olmstate.actors._engine.actor import Actor, Environment, Wanted
from olmstate.actors._engine.cache import Cache
from olmstate.actors._engine.records import dumps, loads, restore
from olmstate.actors._wire import untrusted_json
from olmstate.actors._wire.quiet_struct import QuietStruct
from olmstate.messages import (
    Ed25519Key,
    Identity,
    MalformedMessage,
    Message,
    Query,
    Reply,
    UnknownIdentity,
    UserId,
    UserIdentity,
)
from olmstate.storage import Row, Table

from .identity import CrossSigningKey, Usage, parse_key
from .identity import Identity as Keys
from .known import KnownIdentity, identity_state
from .stored import IdentityRecord
from .trust import OtherFacts, OwnFacts


class IdentityCodec:
    """Of the identities actor, and of those who have a view of its table."""

    def decode(self, partition: bytes, rows: Sequence[Row]) -> KnownIdentity | None:  # noqa: ARG002 - one row at most
        return _known(loads(rows[0], IdentityRecord)) if rows else None

    def encode(self, partition: bytes, entry: KnownIdentity | None) -> Iterable[Row]:
        yield Row(partition, partition, None if entry is None else dumps(_record(entry)))


def _known(record: IdentityRecord) -> KnownIdentity:
    identity = None
    if record.master is not None and record.self_signing is not None:
        identity = Keys(
            user_id=record.user_id,
            master=_key(record.master, record.user_id, Usage.MASTER),
            self_signing=_key(record.self_signing, record.user_id, Usage.SELF_SIGNING),
            user_signing=None
            if record.user_signing is None
            else _key(record.user_signing, record.user_id, Usage.USER_SIGNING),
        )
    master_key = None if identity is None else identity.master.public_key
    return KnownIdentity(
        user_id=record.user_id,
        identity=identity,
        own=OwnFacts(master_key=master_key, trusted_master_key=record.trusted_master_key),
        other=OtherFacts(
            master_key=master_key, pinned_master_key=record.pinned_master_key, was_verified=record.was_verified
        ),
        trusted_signers=record.trusted_signers,
        withdrawn_signer=record.withdrawn_signer,
        compared_again=record.compared_again,
        unusable=record.unusable,
    )


def _key(signed: bytes, user_id: UserId, usage: Usage) -> CrossSigningKey:
    return restore(Table.IDENTITIES, _parsed, signed, user_id, usage)


def _parsed(signed: bytes, user_id: UserId, usage: Usage) -> CrossSigningKey:
    try:
        return parse_key(untrusted_json.loads(signed), user_id, usage)
    except MalformedMessage as error:
        raise ValueError(str(error)) from error


def _record(known: KnownIdentity) -> IdentityRecord:
    identity = known.identity
    user_signing = None if identity is None else identity.user_signing
    pinned = known.other.pinned_master_key
    trusted = known.own.trusted_master_key
    return IdentityRecord(
        user_id=known.user_id,
        master=None if identity is None else identity.master.signed,
        self_signing=None if identity is None else identity.self_signing.signed,
        user_signing=None if user_signing is None else user_signing.signed,
        trusted_master_key=None if trusted is None else Ed25519Key(trusted),
        trusted_signers=known.trusted_signers,
        pinned_master_key=None if pinned is None else Ed25519Key(pinned),
        was_verified=known.other.was_verified,
        withdrawn_signer=known.withdrawn_signer,
        compared_again=known.compared_again,
        unusable=known.unusable,
    )


# --- what it is asked ---------------------------------------------------------------------------------------


class LookUpIdentities(QuietStruct, Message[tuple[KnownIdentity | None, ...]], kw_only=True, frozen=True):
    """What is known of these users' identities, as this turn sees it."""

    users: tuple[UserId, ...]


class StoreIdentities(QuietStruct, Message[tuple[UserId, ...]], kw_only=True, frozen=True):
    """Checked identities have come, or were published by us; whose differ from what was known."""

    identities: tuple[Keys, ...]


class OwnIdentityAnswered(QuietStruct, Message[None], kw_only=True, frozen=True):
    """The homeserver was asked for our own identity, and `StoreIdentities` has taken it, if it can be."""

    refused: bool
    """There is one, and it can't."""


class TrustIdentity(QuietStruct, Message[bool], kw_only=True, frozen=True):
    """A user's master key was compared: ours is verified by that; another's is once our signature on it is seen.

    The reply is whether anything has changed.
    """

    user_id: UserId
    master_key: Ed25519Key


class AgreeToIdentity(QuietStruct, Message[None], kw_only=True, frozen=True):
    """Our user agrees to a user's identity; with ``withdraw``, and that it isn't verified.

    Raises:
        UnknownIdentity: None with that master key is known.
    """

    user_id: UserId
    master_key: Ed25519Key
    withdraw: bool


class CommittedIdentity(QuietStruct, Query[KnownIdentity | None], kw_only=True, frozen=True):
    """What is known of a user's identity; no turn is needed."""

    user_id: UserId


Asked: TypeAlias = (
    Identity
    | CommittedIdentity
    | LookUpIdentities
    | StoreIdentities
    | OwnIdentityAnswered
    | TrustIdentity
    | AgreeToIdentity
)


class IdentitiesActor(Actor[Asked]):
    """Owns the public cross-signing keys of users, and how far each is trusted."""

    name: ClassVar[str] = "identities"

    def __init__(self, environment: Environment) -> None:
        """It has loaded nothing."""
        capacity = environment.capacity(Table.IDENTITIES)
        self._identities = Cache[KnownIdentity | None](Table.IDENTITIES, IdentityCodec(), capacity)
        self._own = environment.user_id
        super().__init__(environment, [self._identities])

    def _partition(self, user_id: UserId) -> bytes:
        return self._store.key(Table.IDENTITIES, user_id)

    def wanted(self, message: Asked) -> Wanted:
        """The users named, and our own."""
        match message:
            case Identity(user_id=user_id) | TrustIdentity(user_id=user_id) | AgreeToIdentity(user_id=user_id):
                users: Iterable[UserId] = (user_id, self._own)
            case CommittedIdentity(user_id=user_id):
                users = (user_id,)
            case OwnIdentityAnswered():
                users = (self._own,)
            case LookUpIdentities(users=users):
                pass
            case StoreIdentities(identities=identities):
                users = (*(identity.user_id for identity in identities), self._own)
            case _:
                assert_never(message)
        return ((self._identities, [self._partition(user_id) for user_id in users]),)

    def handle(self, message: Asked) -> Reply:
        """Answer one message."""
        match message:
            case Identity(user_id=user_id):
                known = self._identities.committed(self._partition(user_id))
                return message.reply(_told(known, self._identities.committed(self._partition(self._own))))
            case CommittedIdentity(user_id=user_id):
                return message.reply(self._identities.committed(self._partition(user_id)))
            case LookUpIdentities(users=users):
                return message.reply(tuple(self._identities.current(self._partition(user)) for user in users))
            case StoreIdentities(identities=identities):
                return message.reply(tuple(keys.user_id for keys in identities if self._seen(keys)))
            case OwnIdentityAnswered(refused=refused):
                self._put(self._known(self._own).own_answered(refused=refused))
                return message.reply(None)
            case TrustIdentity(user_id=user_id, master_key=master_key):
                known = self._known(user_id)
                return message.reply(
                    self._put(known.own_verified(master_key) if user_id == self._own else known.compared(master_key))
                )
            case AgreeToIdentity():
                self._agree(message)
                return message.reply(None)
            case _:
                assert_never(message)

    def _known(self, user_id: UserId) -> KnownIdentity:
        return self._identities.current(self._partition(user_id)) or KnownIdentity(user_id=user_id)

    def _seen(self, keys: Keys) -> bool:
        known = self._known(keys.user_id)
        if keys.user_id == self._own:
            return self._put(known.own_seen(keys))
        return self._put(known.seen(keys, self._known(self._own)))

    def _agree(self, message: AgreeToIdentity) -> None:
        known, own = self._known(message.user_id), self._known(self._own)
        if known.identity is None or known.identity.master.public_key != message.master_key:
            raise UnknownIdentity(user_id=message.user_id)
        if message.user_id == self._own:
            self._put(known.own_withdrawn() if message.withdraw else known)
        else:
            self._put(known.withdrawn(own) if message.withdraw else known.pinned(own))

    def _put(self, known: KnownIdentity) -> bool:
        """Store it, if it is another than before."""
        partition = self._partition(known.user_id)
        if known == (self._identities.current(partition) or KnownIdentity(user_id=known.user_id)):
            return False
        self._identities.put(partition, known)
        return True


def _told(known: KnownIdentity | None, own: KnownIdentity | None) -> UserIdentity | None:
    if known is None or known.identity is None:
        return None
    state, keys = identity_state(known, own), known.identity
    assert state is not None  # noqa: S101 - there is an identity
    return UserIdentity(
        user_id=known.user_id,
        master_key=keys.master.public_key,
        self_signing_key=keys.self_signing.public_key,
        user_signing_key=None if keys.user_signing is None else keys.user_signing.public_key,
        state=state,
    )
