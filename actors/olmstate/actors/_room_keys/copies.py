"""Copies of one room key, and which of them to keep.

The same session may reach us several times: from its maker (signed by the session's own key), from a key file
(unsigned), early or late. Two copies *connect* when the earlier one, moved forward, is the later one. Connected
copies are one: the earlier index is kept, and it is as trustworthy as the better of the two, since from where they meet
it is the genuine ratchet. Copies that don't connect are kept apart: one of them is a forgery, and only
decrypting tells which.

Whose the session is, is another question: see `claims`. What an export says of that holds for the copy that it is of,
and for those that connect. Whoever sends a signed copy has shown that they have the session, and their claim is on all
that are signed.
"""

from __future__ import annotations

from collections.abc import Sequence

from vodozemac import ExportedSessionKey, InboundGroupSession, SessionKey

from olmstate.actors._wire.quiet_struct import QuietStruct
from olmstate.messages import MegolmSessionId, RejectedRoomKey, RoomKeyChange

from .claims import Claim, add_exported, without

MOST_COPIES = 4
"""Of one session, that don't connect. Whoever makes more forgeries than that has them dropped."""


class RoomKeyCopy(QuietStruct, kw_only=True, frozen=True, eq=False, gc=False):
    """One copy: the session from some index on."""

    session: InboundGroupSession
    signed: bool
    """By the session's own key, this copy or one that it connects to."""
    exported: tuple[Claim, ...] = ()
    """What exports say of whose it is; one at the least if it isn't signed."""


def add_copy(
    copies: tuple[RoomKeyCopy, ...], new: RoomKeyCopy, claims: Sequence[Claim] = ()
) -> tuple[tuple[RoomKeyCopy, ...], RoomKeyChange]:
    """The copies to keep, most trusted first, and what ``new`` was; ``copies`` itself if nothing is to be stored.

    Args:
        copies: Those that there are.
        new: One more.
        claims: Of those who have sent a signed copy. What exports say beside that goes.
    """
    if not copies:
        return (new,), "new"
    connected = [copy for copy in copies if _connected(copy.session, new.session)]
    if not connected:
        return _best([*copies, new]), "unconnected"
    earliest = min((copy.session for copy in (*connected, new)), key=_first)
    better = all(_first(earliest) < _first(copy.session) for copy in connected)
    signed = any(copy.signed for copy in (*connected, new))
    exported = connected[0].exported
    for copy in (*connected[1:], new):
        exported = add_exported(exported, copy.exported)
    if signed:
        exported = without(exported, claims)
    known = connected[0]
    if len(connected) == 1 and not better and (signed, exported) == (known.signed, known.exported):
        return copies, "known"
    merged = RoomKeyCopy(session=earliest, signed=signed, exported=exported)
    return _best([merged, *(copy for copy in copies if copy not in connected)]), "better" if better else "known"


def _connected(one: InboundGroupSession, other: InboundGroupSession) -> bool:
    index = max(_first(one), _first(other))
    exports = one.export_at(index), other.export_at(index)
    return None not in exports and exports[0].to_base64() == exports[1].to_base64()  # type: ignore[union-attr]


def _first(session: InboundGroupSession) -> int:
    return session.first_known_index


def _best(copies: list[RoomKeyCopy]) -> tuple[RoomKeyCopy, ...]:
    return tuple(sorted(copies, key=_trust, reverse=True)[:MOST_COPIES])


def _trust(copy: RoomKeyCopy) -> tuple[bool, int]:
    return copy.signed, -_first(copy.session)


def session_from_room_key(session_key: str, session_id: MegolmSessionId) -> InboundGroupSession:
    """A session from an ``m.room_key``; its signature is checked.

    Raises:
        RejectedRoomKey: It isn't one, or has another id.
    """
    try:
        session = InboundGroupSession(SessionKey(session_key))
    except ValueError:
        raise RejectedRoomKey(reason="session_key is not a session key") from None
    return _with_id(session, session_id)


def session_from_export(session_key: str, session_id: MegolmSessionId) -> InboundGroupSession:
    """A session from an export.

    Raises:
        RejectedRoomKey: It isn't one, or has another id.
    """
    try:
        session = InboundGroupSession.import_session(ExportedSessionKey(session_key))
    except ValueError:
        raise RejectedRoomKey(reason="session_key is not an exported session key") from None
    return _with_id(session, session_id)


def export(session: InboundGroupSession) -> str:
    """A session from its first index on, in the form that `session_from_export` takes (spec: 165 bytes in base64)."""
    exported = session.export_at(session.first_known_index)
    assert exported is not None  # noqa: S101 - the first known index is known
    return exported.to_base64()


def _with_id(session: InboundGroupSession, session_id: MegolmSessionId) -> InboundGroupSession:
    if session.session_id != session_id:
        raise RejectedRoomKey(reason="session_id is not that of session_key")
    return session
