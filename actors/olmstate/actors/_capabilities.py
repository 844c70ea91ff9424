"""What a device can do: one line a capability. A capability imports only from those before it."""

from __future__ import annotations

from . import (
    _account,
    _device_lists,
    _devices,
    _identities,
    _requests,
    _room_keys,
    _rooms,
    _secrets,
    _sync,
    _to_device,
    _unwedging,
    _verification,
)

CAPABILITIES = (
    _requests.CAPABILITY,
    _account.CAPABILITY,
    _identities.CAPABILITY,
    _devices.CAPABILITY,
    _device_lists.CAPABILITY,
    _secrets.CAPABILITY,
    _to_device.CAPABILITY,
    _room_keys.CAPABILITY,
    _rooms.CAPABILITY,
    _unwedging.CAPABILITY,
    _verification.CAPABILITY,
    _sync.CAPABILITY,
)
