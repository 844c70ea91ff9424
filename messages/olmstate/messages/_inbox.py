"""Messages about the inbox: to-device events that are the app's, kept until it has dealt with them.

An event is put there in the commit that took it in, so that it outlives the app; any process can read it there, also
when another has taken it in. It stays until it is acknowledged.
"""

from __future__ import annotations

from typing import TypeAlias

import attrs

from ._events import SharedEvent
from ._field_types import between, checked
from ._message import Command, Query
from ._to_device import DecryptedToDevice, PlainToDevice

InboxContent: TypeAlias = DecryptedToDevice | PlainToDevice


@attrs.frozen(kw_only=True)
class InboxEvent:
    """A to-device event that waits in the inbox."""

    number: int
    """Its place: each event's is larger than those of all that came before. No other event ever has it."""
    received: int
    """When: milliseconds since 1970."""
    event: InboxContent
    """As it was told to whoever took it in. But ``sender_device`` is the one that is known now."""


@attrs.frozen(kw_only=True)
class InboxPage:
    """Some of what waits in the inbox."""

    events: tuple[InboxEvent, ...]
    """In the order in which they came; of one response, those that came encrypted first."""
    more: bool
    """There are others behind them: ask again with ``after``, or once these are acknowledged."""
    lost: int
    """How many events have been dropped, ever, since the inbox had no room for them. If it has grown, some are gone
    that nobody had acknowledged."""


@attrs.frozen(kw_only=True, field_transformer=checked)
class Inbox(Query[InboxPage]):
    """To-device events that nobody has acknowledged, in the order in which they came.

    These are events whose type olmstate does nothing about itself, and those that you want too (`KeepInInbox`). At most
    1,000 are kept, and 8 MiB of them. What is more is dropped: the oldest that came in clear, or, if there is none, the
    oldest of the sender who has the most there. So nobody can push out what others have sent. `InboxReceived` and
    `InboxPage.lost` tell how many were.

    Returns:
        InboxPage: Some of what waits in the inbox.
    """

    types: tuple[str, ...] | None = None
    """Only events of these types. Programs that share a device can each have their own."""
    after: int = 0
    """Only events behind this number. That is for paging: what is dealt with is acknowledged."""
    limit: int = attrs.field(default=100, validator=between(1, 100))
    """So many at most: from 1 to 100. Of large ones fewer are given: not more than 256 KiB, but always one."""


@attrs.frozen(kw_only=True, field_transformer=checked)
class AcknowledgeInbox(Command[None]):
    """The app has dealt with these events of the inbox: they go. Of other numbers, nothing happens.

    Returns:
        None: It was done, and is on the disk.
    """

    numbers: tuple[int, ...]


@attrs.frozen(kw_only=True, field_transformer=checked)
class KeepInInbox(Command[None]):
    """Have events of these types be kept in the inbox from now on, or not, whoever takes them in.

    Without it, events are kept whose type olmstate does nothing about itself. Secrets that it has stored, as the key in
    an ``m.room_key``, are left out. What others can make this device keep is bounded; a type that comes often, and that
    nobody reads, is better not kept.

    Returns:
        None: It was done, and is on the disk. A restored backup doesn't know of it.
    """

    types: tuple[str, ...]
    keep: bool = True


@attrs.frozen(kw_only=True)
class InboxReceived(SharedEvent):
    """Events have come into the inbox, or were dropped since it has no room."""

    events: tuple[tuple[int, str], ...]
    """Number and type of each."""
    lost: int
    """How many were dropped with that; they may be among ``events``, or older."""
