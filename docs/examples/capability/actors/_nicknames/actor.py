"""The nicknames actor owns how users like to be called. The partition is the user."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from typing import ClassVar, TypeAlias, assert_never

from olmstate.actors._engine.actor import Actor, Environment, Wanted
from olmstate.actors._engine.cache import Cache
from olmstate.actors._engine.records import dumps, loads
from olmstate.actors._wire.quiet_struct import QuietStruct
from olmstate.messages import Message, Nickname, Reply, UserId
from olmstate.storage import Row, Table

from .stored import NicknameRecord


class _Codec:
    """One row a user who has a nickname; an entry of None stands for no row."""

    def decode(self, partition: bytes, rows: Sequence[Row]) -> str | None:
        del partition  # the row is the user's
        return loads(rows[0], NicknameRecord).nickname if rows else None

    def encode(self, partition: bytes, entry: str | None) -> Iterable[Row]:
        yield Row(
            partition,
            partition,
            None if entry is None else dumps(NicknameRecord(nickname=entry)),
        )


class StoreNicknames(
    QuietStruct, Message[tuple[UserId, ...]], kw_only=True, frozen=True
):
    """A step of an operation: remember these, and say whose are new."""

    nicknames: Mapping[UserId, str]


Asked: TypeAlias = Nickname | StoreNicknames


class NicknamesActor(Actor[Asked]):
    """See the module."""

    name: ClassVar[str] = "nicknames"

    def __init__(self, environment: Environment) -> None:
        """It has loaded nothing."""
        capacity = environment.capacity(Table.NICKNAMES)
        self._nicknames = Cache[str | None](Table.NICKNAMES, _Codec(), capacity)
        super().__init__(environment, [self._nicknames])

    def _partition(self, user_id: UserId) -> bytes:
        return self._store.key(Table.NICKNAMES, user_id)

    def wanted(self, message: Asked) -> Wanted:
        """The users named."""
        match message:
            case Nickname(user_id=user_id):
                return ((self._nicknames, [self._partition(user_id)]),)
            case StoreNicknames(nicknames=nicknames):
                return (
                    (
                        self._nicknames,
                        [self._partition(user_id) for user_id in nicknames],
                    ),
                )
            case _:
                assert_never(message)

    def handle(self, message: Asked) -> Reply:
        """Answer one message."""
        match message:
            case Nickname(user_id=user_id):
                return message.reply(
                    self._nicknames.committed(self._partition(user_id))
                )
            case StoreNicknames(nicknames=nicknames):
                return message.reply(tuple(self._store_new(nicknames)))
            case _:
                assert_never(message)

    def _store_new(self, nicknames: Mapping[UserId, str]) -> Iterator[UserId]:
        for user_id, nickname in nicknames.items():
            partition = self._partition(user_id)
            if self._nicknames.current(partition) != nickname:
                self._nicknames.put(partition, nickname)
                yield user_id
