"""What another library has kept of a device, as its reader finds it. Nothing of it is checked yet."""

from __future__ import annotations

from collections.abc import Iterable, Sequence

import attrs

from olmstate.messages import DeviceTrust


@attrs.frozen(kw_only=True)
class FoundAccount:
    """An account."""

    user_id: str
    device_id: str
    pickle: str = attrs.field(repr=False)
    sync_token: str = ""
    """Where its syncs have got to; empty: nobody knows."""
    row: object = None
    """What its reader finds the rest by."""


@attrs.frozen(kw_only=True)
class FoundSession:
    """An Olm session."""

    session_id: str
    sender_key: str
    pickle: str = attrs.field(repr=False)


@attrs.frozen(kw_only=True)
class FoundRoomKey:
    """An inbound group session."""

    session_id: str
    room_id: str
    sender_key: str
    ed25519: str
    forwarding_chain: Sequence[str]
    pickle: str = attrs.field(repr=False)


@attrs.frozen(kw_only=True)
class FoundDevice:
    """Another device."""

    user_id: str
    device_id: str
    curve25519: str
    ed25519: str
    trust: DeviceTrust
    gone: bool = False
    """Its owner has it no more. Olm sessions with it are still its owner's."""


@attrs.frozen(kw_only=True)
class Found:
    """Everything, each part read when it is asked for."""

    account: FoundAccount
    accounts: int
    """How many there are where it was found."""
    sessions: Iterable[FoundSession]
    """The most recently used one of a device comes last."""
    room_keys: Iterable[FoundRoomKey]
    devices: Iterable[FoundDevice]


def text(value: object) -> str:
    """What stands in a field: text that UTF-8 can hold, whatever is there."""
    if isinstance(value, bytes):
        return value.decode("utf-8", "replace")
    return value.encode("utf-8", "replace").decode() if isinstance(value, str) else ""
