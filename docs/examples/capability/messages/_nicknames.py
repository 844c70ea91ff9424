"""Messages about nicknames: how other users like to be called."""

from __future__ import annotations

import attrs

from ._events import SharedEvent
from ._field_types import checked
from ._ids import UserId
from ._message import Command, Query


@attrs.frozen(kw_only=True, field_transformer=checked)
class Nickname(Query[str | None]):
    """How a user likes to be called; None if nobody has said so.

    Returns:
        str | None
    """

    user_id: UserId


@attrs.frozen(kw_only=True, field_transformer=checked)
class SetNickname(Command[bool]):
    """Call a user by a nickname from now on.

    Returns:
        bool: Whether that is another than before.
    """

    user_id: UserId
    nickname: str


@attrs.frozen(kw_only=True)
class NicknameChanged(SharedEvent):
    """A user has another nickname."""

    user_id: UserId
    nickname: str
