"""Copies of one room key, and which of them to keep.

The same session may reach us several times: from its maker (signed by the session's own key), from a key file
(unsigned), early or late. Two copies *connect* when the earlier one, moved forward, is the later one. Connected
copies are one: the earlier index is kept, and it is as trustworthy as the better of the two, since it can't lead to a
genuine ratchet without being it. Copies that don't connect are kept apart: one of them is a forgery, and only
decrypting tells which.
"""

from __future__ import annotations

import attrs
from vodozemac import ExportedSessionKey, InboundGroupSession, SessionKey

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
"""Of one session. Whoever sends more forgeries than that has them dropped."""


@attrs.frozen(kw_only=True)
class RoomKeyCopy:
    """One copy: the session from some index on, and where it came from."""

    session: InboundGroupSession = attrs.field(repr=False, eq=False)
    sender_key: Curve25519Key
    sender_ed25519: Ed25519Key
    sender: UserId | None
    """None if no device with ``sender_key`` was known."""
    sender_device: DeviceId | None
    imported: bool
    """From an export, not from the device."""
    signed: bool
    """By the session's own key, this copy or one that it connects to."""
    forwarding_chain: tuple[str, ...] = ()


def add_copy(copies: tuple[RoomKeyCopy, ...], new: RoomKeyCopy) -> tuple[tuple[RoomKeyCopy, ...], RoomKeyChange]:
    """The copies to keep once ``new`` has come, most trusted first, and what it was."""
    if not copies:
        return (new,), "new"
    first = min(copy.session.first_known_index for copy in copies)
    connected = [copy for copy in copies if _connected(copy.session, new.session)]
    apart = tuple(copy for copy in copies if copy not in connected)
    if not connected:
        kept = sorted((*copies, new), key=_trust, reverse=True)[:MOST_COPIES]
        return tuple(kept), "unconnected"
    merged = new
    for copy in connected:
        merged = _merged(copy, merged)
    change: RoomKeyChange = "better" if merged.session.first_known_index < first else "known"
    # a signature that was just learnt is worth storing, though no more can be decrypted
    if change == "known" and len(connected) == 1 and merged == connected[0]:
        return copies, "known"
    return tuple(sorted((merged, *apart), key=_trust, reverse=True)), change


def _connected(one: InboundGroupSession, other: InboundGroupSession) -> bool:
    index = max(one.first_known_index, other.first_known_index)
    exports = one.export_at(index), other.export_at(index)
    return None not in exports and exports[0].to_base64() == exports[1].to_base64()  # type: ignore[union-attr]


def _trust(copy: RoomKeyCopy) -> tuple[bool, bool, int]:
    return copy.signed, not copy.imported, -copy.session.first_known_index


def _merged(old: RoomKeyCopy, new: RoomKeyCopy) -> RoomKeyCopy:
    """The earlier session of two connected copies, with the better word on where it came from."""
    earlier = new if new.session.first_known_index < old.session.first_known_index else old
    better = new if _trust(new)[:2] > _trust(old)[:2] else old
    return attrs.evolve(better, session=earlier.session, signed=old.signed or new.signed)


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


def _with_id(session: InboundGroupSession, session_id: MegolmSessionId) -> InboundGroupSession:
    if session.session_id != session_id:
        raise RejectedRoomKey(reason="session_id is not that of session_key")
    return session
