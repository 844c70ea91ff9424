"""Events: what subscribers get, after the commit that caused it.

``with supervisor.subscribe(RoomKeysReceived) as events:`` and then ``async for event in events:``.
"""

from __future__ import annotations

import attrs

from ._devices import DeviceAddress, DeviceTrust
from ._ids import DeviceId, Ed25519Key, MegolmSessionId, RoomId, UserId


@attrs.frozen(kw_only=True)
class Event:
    """Something that was committed."""


@attrs.frozen(kw_only=True)
class RoomKeysReceived(Event):
    """These sessions have come new or better."""

    room_keys: tuple[tuple[RoomId, MegolmSessionId], ...]


@attrs.frozen(kw_only=True)
class DevicesChanged(Event):
    """These devices have come or gone."""

    added: tuple[DeviceAddress, ...]
    removed: tuple[DeviceAddress, ...]


@attrs.frozen(kw_only=True)
class DeviceTrustChanged(Event):
    """Our user has decided about a device: see `SetDeviceTrust`."""

    user_id: UserId
    device_id: DeviceId
    trust: DeviceTrust


@attrs.frozen(kw_only=True)
class OwnDeviceReplaced(Event):
    """The homeserver has other keys under this device's own id: it has lost this device, or passes another off as it.

    They are not believed. Others can't write to this device any more, and may not believe what it sends: log in anew.
    """

    user_id: UserId
    device_id: DeviceId
    claimed_ed25519: Ed25519Key | None
    """As the server says; None if what it has there are no keys at all."""


@attrs.frozen(kw_only=True)
class ToDeviceDelayed(Event):
    """One device's messages, among those that are being taken in, are more work than a turn does for one.

    They wait for turns of their own, behind everybody else's, and are not lost: the asker is answered when all are
    done, and a sync's token is not stored before. Anybody can send such messages; a device that has lost its sessions
    does.
    """

    claimed_sender_key: str | None
    """The device's identity key, as the messages say."""
    events: int
    """How many of them wait; more may come."""


@attrs.frozen(kw_only=True)
class RoomKeyImportProgress(Event):
    """An import goes on."""

    done: int
    total: int


@attrs.frozen(kw_only=True)
class RoomKeyExportProgress(Event):
    """An export goes on. The last one of an export says how many keys it has."""

    done: int


@attrs.frozen(kw_only=True)
class StoreChanged(Event):
    """Another process, or another supervisor in this one, has written. Cached copies were dropped; nothing else was.

    While anybody subscribes to this event, the supervisor looks for such writes by itself.
    """

    generation: int
    tables: frozenset[str]
    """Data types that changed; all of them if ``whole``."""
    whole: bool
    """What changed isn't known by key."""
