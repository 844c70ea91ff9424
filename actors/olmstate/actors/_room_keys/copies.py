"""Copies of one room key, and which of them to keep.

The same session may reach us several times: from its maker (signed by the session's own key), from a key file
(unsigned), early or late. Two copies *connect* when the earlier one, moved forward, is the later one. Connected
copies are one: the earlier index is kept, and it is as trustworthy as the better of the two, since from where they meet
it is the genuine ratchet. Copies that don't connect are kept apart: one of them is a forgery, and only
decrypting tells which.

Who was given a session's key can pass it on as if he had made it. So of connected copies one is kept for each user
whose device says that the session is its own, or whom an export names; a message is read as its sender's, or not at
all.
"""

from __future__ import annotations

import msgspec
from vodozemac import ExportedSessionKey, InboundGroupSession, SessionKey

from olmstate.actors._wire.quiet_struct import QuietStruct
from olmstate.messages import (
    Curve25519Key,
    DeviceId,
    Ed25519Key,
    MegolmSessionId,
    RejectedRoomKey,
    RoomKeyChange,
    UserId,
)

MOST_COPIES = 4
"""Of one session. Whoever sends more forgeries, or more claims, than that has them dropped."""


class RoomKeyCopy(QuietStruct, kw_only=True, frozen=True, eq=False, gc=False):
    """One copy: the session from some index on, and where it came from."""

    session: InboundGroupSession
    sender_key: Curve25519Key
    sender_ed25519: Ed25519Key
    sender: UserId | None
    """None if no device with ``sender_key`` was known, or two users' were, when an export was taken in."""
    sender_device: DeviceId | None
    imported: bool
    """From an export, not from the device."""
    signed: bool
    """By the session's own key, this copy or one that it connects to."""
    forwarding_chain: tuple[str, ...] = ()


def add_copy(copies: tuple[RoomKeyCopy, ...], new: RoomKeyCopy) -> tuple[tuple[RoomKeyCopy, ...], RoomKeyChange]:
    """The copies to keep, most trusted first, and what ``new`` was; ``copies`` itself if nothing is to be stored."""
    if not copies:
        return (new,), "new"
    connected = [copy for copy in copies if _connected(copy.session, new.session)]
    if not connected:
        return _best([*copies, new]), "unconnected"
    earliest = min((copy.session for copy in (*connected, new)), key=_first)
    better = _first(earliest) < min(_first(copy.session) for copy in connected)
    claims = _claims([*connected, new])
    if claims == connected and not better and all(_first(copy.session) == _first(earliest) for copy in connected):
        return copies, "known"
    signed = any(copy.signed for copy in (*connected, new))
    apart = [copy for copy in copies if copy not in connected]
    merged = [msgspec.structs.replace(claim, session=earliest, signed=signed) for claim in claims]
    if better:
        return _best([*merged, *apart]), "better"
    named = {copy.sender for copy in connected} - {None}
    another_claim = named and new.sender not in {None, *named}
    return _best([*merged, *apart]), "unconnected" if another_claim else "known"


def _connected(one: InboundGroupSession, other: InboundGroupSession) -> bool:
    index = max(_first(one), _first(other))
    exports = one.export_at(index), other.export_at(index)
    return None not in exports and exports[0].to_base64() == exports[1].to_base64()  # type: ignore[union-attr]


def _first(session: InboundGroupSession) -> int:
    return session.first_known_index


def _claims(connected: list[RoomKeyCopy]) -> list[RoomKeyCopy]:
    """The first copy for each user, better from his device than from an export, or, if no user is named, the first."""
    claims: dict[UserId, RoomKeyCopy] = {}
    for copy in sorted(connected, key=lambda copy: copy.imported):
        if copy.sender is not None:
            claims.setdefault(copy.sender, copy)
    return list(claims.values()) or connected[:1]


def _best(copies: list[RoomKeyCopy]) -> tuple[RoomKeyCopy, ...]:
    return tuple(sorted(copies, key=_trust, reverse=True)[:MOST_COPIES])


def _trust(copy: RoomKeyCopy) -> tuple[bool, bool, int]:
    return copy.signed, not copy.imported, -_first(copy.session)


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
