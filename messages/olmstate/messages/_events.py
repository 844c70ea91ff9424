"""Events: what subscribers get, after the commit that caused it.

``with supervisor.subscribe(RoomKeysReceived) as events:`` and then ``async for event in events:``. Those of a
`SharedEvent` are heard in every process of the store, in the order of their commits.
"""

from __future__ import annotations

import attrs

from ._devices import DeviceAddress, DeviceTrust
from ._ids import DeviceId, Ed25519Key, MegolmSessionId, RoomId, UserId


@attrs.frozen(kw_only=True)
class Event:
    """Something that was committed, or that goes on."""


@attrs.frozen(kw_only=True)
class SharedEvent(Event):
    """Something that was committed, by any process of the store; subscribers in all of them hear of it.

    It is stored in the commit that it tells of, and kept for some thousand commits. So a subscriber that comes back
    gets what it missed: ``supervisor.subscribe(RoomKeysReceived, Lagged, since=position)``.
    """

    position: int | None = attrs.field(default=None, eq=False)
    """How far whoever has dealt with this event has come: keep it, and give it as ``since`` after a restart. It is the
    generation of the event's commit; for all but the last event that a subscriber hears of a commit, that of the commit
    before, so that whoever stops in between hears them again."""


@attrs.frozen(kw_only=True)
class Lagged(Event):
    """A subscriber was too slow, or away for too long: some events can't be told any more. Look anew at what they tell.

    Only those that subscribe to it are told.
    """

    position: int | None
    """Nothing that was committed later is missing; to be kept like that of a `SharedEvent`. None: no shared events are
    missing, but some that only this process hears."""


@attrs.frozen(kw_only=True)
class RoomKeysReceived(SharedEvent):
    """These sessions have come new or better."""

    room_keys: tuple[tuple[RoomId, MegolmSessionId], ...]


@attrs.frozen(kw_only=True)
class RoomKeysWithheld(SharedEvent):
    """Somebody says why they don't share these sessions' keys with this device (spec: ``m.room_key.withheld``).

    It is their word, and came in clear: the key may come all the same.
    """

    room_keys: tuple[tuple[RoomId, MegolmSessionId, UserId, str], ...]
    """Each with who says so, and the code."""


@attrs.frozen(kw_only=True)
class OneTimeKeysLow(SharedEvent):
    """The homeserver has fewer than 25 one-time keys of this device left, and had more when it last said so.

    With a transport they are topped up in the background. Without one, `PrepareOneTimeKeys` makes an upload.
    """

    count: int
    """As the server says."""


@attrs.frozen(kw_only=True)
class DevicesChanged(SharedEvent):
    """These devices have come or gone."""

    added: tuple[DeviceAddress, ...]
    removed: tuple[DeviceAddress, ...]


@attrs.frozen(kw_only=True)
class DeviceTrustChanged(SharedEvent):
    """Our user has decided about a device: see `SetDeviceTrust`."""

    user_id: UserId
    device_id: DeviceId
    trust: DeviceTrust


@attrs.frozen(kw_only=True)
class OwnDeviceReplaced(SharedEvent):
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

    claimed_sender: str | None
    """The device's user, as the messages say."""
    claimed_sender_key: str | None
    """Its identity key, as they say. Anybody can send under another's."""
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
