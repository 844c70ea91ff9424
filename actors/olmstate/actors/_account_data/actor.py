"""The account data actor owns what is known of our user's account data at the homeserver, of a few types.

Its invariants:

- What is stored is what the homeserver said last, or what this device has stored a request for: that one comes true
  once the request is answered, and is forgotten if it is refused.
- None of it is believed. It is the homeserver's to change: whoever reads it checks it.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from typing import ClassVar, TypeAlias, assert_never

import attrs

from olmstate.actors._engine.actor import Actor, Environment, Wanted
from olmstate.actors._engine.cache import Cache
from olmstate.actors._engine.records import OneRecordCodec, restore
from olmstate.actors._wire.quiet_struct import QuietStruct
from olmstate.messages import JsonObject, Message, Query, Reply
from olmstate.storage import Table

from .stored import AccountDataRecord


@attrs.frozen
class Known:
    """What is known of account data of one type."""

    content: JsonObject | None
    """None: the homeserver has none."""


class LookUpAccountData(QuietStruct, Message[tuple[Known | None, ...]], kw_only=True, frozen=True):
    """What is known of each of these types, as this turn sees it; None: nothing."""

    types: tuple[str, ...]


class CommittedAccountData(QuietStruct, Query[tuple[Known | None, ...]], kw_only=True, frozen=True):
    """The same; no turn is needed."""

    types: tuple[str, ...]


class StoreAccountData(QuietStruct, Message[None], kw_only=True, frozen=True):
    """What the homeserver has of these types, or will have; None: that isn't known any more."""

    known: Mapping[str, Known | None]


Asked: TypeAlias = LookUpAccountData | CommittedAccountData | StoreAccountData


class AccountDataActor(Actor[Asked]):
    """Owns what is known of our user's account data."""

    name: ClassVar[str] = "account_data"

    def __init__(self, environment: Environment) -> None:
        """It has loaded nothing."""
        capacity = environment.capacity(Table.ACCOUNT_DATA)
        self._known = Cache[AccountDataRecord | None](Table.ACCOUNT_DATA, OneRecordCodec(AccountDataRecord), capacity)
        super().__init__(environment, [self._known])

    def _partition(self, data_type: str) -> bytes:
        return self._store.key(Table.ACCOUNT_DATA, data_type)

    def wanted(self, message: Asked) -> Wanted:
        """The types named."""
        types = message.known if isinstance(message, StoreAccountData) else message.types
        return ((self._known, [self._partition(data_type) for data_type in types]),)

    def handle(self, message: Asked) -> Reply:
        """Answer one message."""
        match message:
            case LookUpAccountData(types=types):
                return message.reply(tuple(_known(self._known.current(self._partition(each))) for each in types))
            case CommittedAccountData(types=types):
                return message.reply(tuple(_known(self._known.committed(self._partition(each))) for each in types))
            case StoreAccountData(known=known):
                for data_type, each in known.items():
                    self._put(data_type, each)
                return message.reply(None)
            case _:
                assert_never(message)

    def _put(self, data_type: str, known: Known | None) -> None:
        partition = self._partition(data_type)
        record = None
        if known is not None:
            content = None if known.content is None else json.dumps(known.content, sort_keys=True).encode()
            record = AccountDataRecord(content=content)
        if record != self._known.current(partition):
            self._known.put(partition, record)


def _known(record: AccountDataRecord | None) -> Known | None:
    if record is None:
        return None
    return Known(None if record.content is None else restore(Table.ACCOUNT_DATA, json.loads, record.content))
