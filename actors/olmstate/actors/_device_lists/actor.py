"""The device lists actor owns whose devices are kept up to date, and whose are outdated.

Its invariants:

- Whoever is tracked anew is outdated. Of those who aren't tracked, only who is asked for once is, until an answer comes
  or nobody waits for one any more.
- Each invalidation of a user has a token of its own. A query remembers the tokens of its users, and its answer makes
  only those up to date whose token is still the same: whoever changed since may have changed after the answer.
- The mark of an outdated user is stored no later than the sync token that told of it, and goes in the commit that
  stores the user's devices.

Outdated users are one partition of their own table, since they are few and each process looks whether there are any.
"""

from __future__ import annotations

import secrets
from collections.abc import Sequence
from operator import attrgetter
from typing import ClassVar, TypeAlias, assert_never

from olmstate.actors._engine.actor import Actor, Environment, PageQuery, Wanted
from olmstate.actors._engine.cache import Cache
from olmstate.actors._engine.named_records import NamedRecords, NamedRecordsCodec
from olmstate.actors._engine.records import OneRecordCodec, loads
from olmstate.actors._wire.quiet_struct import QuietStruct
from olmstate.messages import Message, OutdatedUsers, Query, Reply, UserId
from olmstate.storage import Position, Row, Table

from .stored import OutdatedUserRecord, TrackedUserRecord

_TOKEN_BYTES = 8


_Outdated: TypeAlias = NamedRecords[UserId, OutdatedUserRecord]
"""All outdated users, each with the token of what made it so."""


# --- what it is asked ---------------------------------------------------------------------------------------


class Track(QuietStruct, Message[tuple[UserId, ...]], kw_only=True, frozen=True):
    """Track users, who are outdated if they weren't tracked; which ones."""

    users: tuple[UserId, ...]


class Untrack(QuietStruct, Message[None], kw_only=True, frozen=True):
    """Stop tracking users."""

    users: tuple[UserId, ...]


class AskOnce(QuietStruct, Message[None], kw_only=True, frozen=True):
    """These users' devices are to be queried, whether they are tracked or not."""

    users: tuple[UserId, ...]


class AskNoMore(QuietStruct, Message[None], kw_only=True, frozen=True):
    """Those of these users who aren't tracked needn't be queried any more."""

    users: tuple[UserId, ...]


class Invalidated(QuietStruct, Message[None], kw_only=True, frozen=True):
    """These users' devices have changed; of those who aren't tracked, or asked for once, nobody cares."""

    users: tuple[UserId, ...]


class UpToDate(QuietStruct, Message[None], kw_only=True, frozen=True):
    """These users' devices are known as of the invalidation with this token."""

    invalidations: dict[UserId, str]


class Invalidations(QuietStruct, Message[dict[UserId, str]], kw_only=True, frozen=True):
    """All outdated users, and the token of each one's last invalidation, as this turn sees them."""


class NotUpToDate(QuietStruct, Query[tuple[UserId, ...]], kw_only=True, frozen=True):
    """Which of these users are outdated, or not tracked."""

    users: tuple[UserId, ...]


class TrackedUsersPage(PageQuery[tuple[Position, tuple[UserId, ...]]], kw_only=True, frozen=True):
    """Some of all tracked users, and where to go on; none at the end."""

    table: Table = Table.TRACKED_USERS


Asked: TypeAlias = (
    Track
    | Untrack
    | AskOnce
    | AskNoMore
    | Invalidated
    | UpToDate
    | Invalidations
    | NotUpToDate
    | OutdatedUsers
    | TrackedUsersPage
)


class DeviceListsActor(Actor[Asked]):
    """Owns whose devices are tracked, and which of these users are outdated."""

    name: ClassVar[str] = "device_lists"

    def __init__(self, environment: Environment) -> None:
        """It has loaded nothing."""
        store, capacity = environment.store, environment.capacity
        codec = OneRecordCodec(TrackedUserRecord)
        self._tracked = Cache[TrackedUserRecord | None](Table.TRACKED_USERS, codec, capacity(Table.TRACKED_USERS))
        outdated = NamedRecordsCodec(store, OutdatedUserRecord, attrgetter("user_id"))
        self._outdated = Cache[_Outdated](Table.OUTDATED_USERS, outdated, capacity(Table.OUTDATED_USERS))
        self._all_outdated = store.key(Table.OUTDATED_USERS, "outdated users")
        super().__init__(environment, [self._tracked, self._outdated])

    def _key(self, user_id: UserId) -> bytes:
        return self._store.key(Table.TRACKED_USERS, user_id)

    def wanted(self, message: Asked) -> Wanted:
        """The outdated users, and whether those named are tracked."""
        outdated = (self._outdated, [self._all_outdated])
        match message:
            case Track() | Untrack() | AskNoMore() | Invalidated() | NotUpToDate():
                return outdated, (self._tracked, [self._key(user_id) for user_id in message.users])
            case AskOnce() | UpToDate() | Invalidations() | OutdatedUsers():
                return (outdated,)
            case TrackedUsersPage():
                return ()
            case _:
                assert_never(message)

    def handle(self, message: Asked) -> Reply:  # noqa: C901 - one case a message
        """Answer one message."""
        match message:
            case Track(users=users):
                return message.reply(self._track(users))
            case Untrack(users=users):
                self._untrack(users)
                return message.reply(None)
            case AskOnce(users=users):
                self._invalidate(users)
                return message.reply(None)
            case AskNoMore(users=users):
                self._forget([user_id for user_id in users if self._tracked.current(self._key(user_id)) is None])
                return message.reply(None)
            case Invalidated(users=users):
                known = self._outdated.current(self._all_outdated).by_name
                self._invalidate([user for user in users if user in known or self._tracked.current(self._key(user))])
                return message.reply(None)
            case UpToDate(invalidations=invalidations):
                known = self._outdated.current(self._all_outdated).by_name
                tokens = {user_id: known[user_id].invalidation for user_id in invalidations if user_id in known}
                self._forget([user_id for user_id, token in tokens.items() if token == invalidations[user_id]])
                return message.reply(None)
            case Invalidations():
                outdated = self._outdated.current(self._all_outdated).by_name
                return message.reply({user_id: record.invalidation for user_id, record in outdated.items()})
            case NotUpToDate(users=users):
                outdated = self._outdated.committed(self._all_outdated).by_name
                return message.reply(
                    tuple(
                        user_id
                        for user_id in users
                        if user_id in outdated or self._tracked.committed(self._key(user_id)) is None
                    )
                )
            case OutdatedUsers():
                return message.reply(tuple(self._outdated.committed(self._all_outdated).by_name))
            case TrackedUsersPage():
                return message.reply(self.decoded_page(message.table, _tracked_user))
            case _:
                assert_never(message)

    def _track(self, users: tuple[UserId, ...]) -> tuple[UserId, ...]:
        new = [user for user in dict.fromkeys(users) if self._tracked.current(self._key(user)) is None]
        for user_id in new:
            self._tracked.put(self._key(user_id), TrackedUserRecord(user_id=user_id))
        self._invalidate(new)
        return tuple(new)

    def _untrack(self, users: tuple[UserId, ...]) -> None:
        known = [user for user in dict.fromkeys(users) if self._tracked.current(self._key(user)) is not None]
        for user_id in known:
            self._tracked.put(self._key(user_id), None)
        self._forget(known)

    def _invalidate(self, users: Sequence[UserId]) -> None:
        if users:
            new = {
                user_id: OutdatedUserRecord(user_id=user_id, invalidation=secrets.token_hex(_TOKEN_BYTES))
                for user_id in users
            }
            self._outdated.change(self._all_outdated).put(new)

    def _forget(self, users: Sequence[UserId]) -> None:
        if not self._outdated.current(self._all_outdated).by_name.keys().isdisjoint(users):
            self._outdated.change(self._all_outdated).drop(users)


def _tracked_user(row: Row) -> UserId:
    return loads(row, TrackedUserRecord).user_id
