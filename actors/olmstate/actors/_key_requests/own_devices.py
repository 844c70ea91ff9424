"""Who may be asked for room keys and secrets, and be given some: our own user's other devices that are verified."""

from __future__ import annotations

from collections.abc import Mapping

from olmstate.actors._account.operations import own_device
from olmstate.actors._devices.operations import devices_of
from olmstate.actors._engine.turn import Turn
from olmstate.actors._identities.operations import known_identities
from olmstate.actors._rooms.strategies import Owners
from olmstate.actors._to_device.handlers import DecryptedEvent
from olmstate.messages import DeviceId, DeviceKeys, DeviceTrust, IdentityState


async def other_own_devices(turn: Turn) -> dict[DeviceId, DeviceKeys]:
    """All that are known."""
    own = (await own_device(turn)).identity
    known = dict((await devices_of(turn, [own.user_id]))[own.user_id])
    known.pop(own.device_id, None)
    return known


async def verified_own_devices(turn: Turn) -> dict[DeviceId, DeviceKeys]:
    """Those that our user has verified, or that our user's verified identity has signed; none that is blocked."""
    own = (await own_device(turn)).identity
    owners = Owners(own.user_id, await known_identities(turn, [own.user_id]))
    has_verified_identity = owners.state(own.user_id) is IdentityState.VERIFIED
    return {
        device_id: device
        for device_id, device in (await other_own_devices(turn)).items()
        if device.trust is DeviceTrust.VERIFIED
        or (device.trust is not DeviceTrust.BLOCKED and has_verified_identity and owners.is_signed(device))
    }


def sent_by(devices: Mapping[DeviceId, DeviceKeys], event: DecryptedEvent) -> DeviceId | None:
    """Which of these devices of ours has sent an event; None: another."""
    sender = event.payload.device
    device = None if sender is None else devices.get(sender.device_id)
    if sender is None or device is None or sender.user_id != device.user_id:
        return None
    return device.device_id if (sender.curve25519, sender.ed25519) == (device.curve25519, device.ed25519) else None
