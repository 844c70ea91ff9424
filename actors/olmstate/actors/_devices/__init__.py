"""Other devices' public keys."""

from __future__ import annotations

from olmstate.actors._engine.capability import Capability
from olmstate.messages import AddDevices, Devices, DevicesChanged, OwnDeviceReplaced

from .actor import DevicesActor
from .operations import add_devices

CAPABILITY = Capability(
    actor=DevicesActor,
    commands=(AddDevices.by(add_devices),),
    queries=(Devices.answered_by(DevicesActor),),
    events=(
        DevicesChanged,
        OwnDeviceReplaced,
    ),
)
