"""What a device can do: one line a capability. A capability imports only from those before it."""

from __future__ import annotations

from . import (
    _account,
    _account_data,
    _device_lists,
    _devices,
    _identities,
    _inbox,
    _key_requests,
    _parked_events,
    _requests,
    _room_keys,
    _room_settings,
    _rooms,
    _secret_requests,
    _secret_storage,
    _secrets,
    _sync,
    _to_device,
    _unwedging,
    _verification,
    _withheld,
)

CAPABILITIES = (
    _requests.CAPABILITY,
    _account.CAPABILITY,
    _account_data.CAPABILITY,
    _identities.CAPABILITY,
    _devices.CAPABILITY,
    _device_lists.CAPABILITY,
    _secrets.CAPABILITY,
    _secret_storage.CAPABILITY,
    _to_device.CAPABILITY,
    _inbox.CAPABILITY,
    _room_keys.CAPABILITY,
    _parked_events.CAPABILITY,
    _withheld.CAPABILITY,
    _room_settings.CAPABILITY,
    _rooms.CAPABILITY,
    _unwedging.CAPABILITY,
    _key_requests.CAPABILITY,
    _verification.CAPABILITY,
    _secret_requests.CAPABILITY,
    _sync.CAPABILITY,
)
