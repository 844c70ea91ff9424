"""What the devices actor stores."""

from __future__ import annotations

from typing import ClassVar

from olmstate.actors._engine.records import Record
from olmstate.messages import Curve25519Key, DeviceId, DeviceTrust, Ed25519Key, UserId
from olmstate.storage import Table


class DeviceRecord(Record, kw_only=True, frozen=True):
    """A device whose self-signature was checked."""

    table: ClassVar[Table] = Table.DEVICES

    user_id: UserId
    device_id: DeviceId
    curve25519: Curve25519Key
    ed25519: Ed25519Key
    algorithms: tuple[str, ...] = ()
    gone: bool = False
    """The server doesn't list it any more. It is kept, so that another can't come in its place."""
    listed: bool = False
    """Its Ed25519 key is in `Table.DEVICE_FINGERPRINTS`."""
    cross_signed_by: Ed25519Key | None = None
    """The self-signing key whose signature on it was checked."""
    signed_json: bytes | None = None
    """Of own devices: canonical JSON of what is signed of them, unknown fields too."""
    trust: DeviceTrust = DeviceTrust.UNSET
