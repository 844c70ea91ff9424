"""Other devices' public keys."""

from __future__ import annotations

from olmstate.actors._engine.capability import Capability
from olmstate.messages import AddDevices, Devices, DevicesChanged, DeviceTrustChanged, OwnDeviceReplaced, SetDeviceTrust

from .actor import DevicesActor
from .operations import add_devices, set_device_trust

CAPABILITY = Capability(
    actor=DevicesActor,
    commands=(AddDevices.by(add_devices), SetDeviceTrust.by(set_device_trust)),
    queries=(Devices.answered_by(DevicesActor),),
    events=(DevicesChanged, DeviceTrustChanged, OwnDeviceReplaced),
)
