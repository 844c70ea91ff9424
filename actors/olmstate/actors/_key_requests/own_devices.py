"""Which devices may be asked for room keys, and be given some: our own user's other ones that are verified."""

from __future__ import annotations

from olmstate.actors._account.operations import own_device
from olmstate.actors._devices.operations import devices_of
from olmstate.actors._engine.turn import Turn
from olmstate.actors._identities.operations import known_identities
from olmstate.actors._rooms.strategies import Owners
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
