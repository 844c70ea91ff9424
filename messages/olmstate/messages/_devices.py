"""Messages about other devices' public keys."""

from __future__ import annotations

import enum
from functools import cached_property

import attrs

from ._errors import OlmStateError
from ._field_types import checked
from ._ids import Curve25519Key, DeviceId, Ed25519Key, JsonObject, UserId
from ._message import Command, Query


@attrs.frozen(kw_only=True, order=True, cache_hash=True, field_transformer=checked)
class DeviceAddress:
    """Where a to-device message goes."""

    user_id: UserId
    device_id: DeviceId


class DeviceTrust(enum.StrEnum):
    """What our user has decided about a device, here and for all processes. No homeserver can change it."""

    UNSET = "unset"
    """Nothing."""
    VERIFIED = "verified"
    """Its fingerprint was compared. A verification that succeeds sets it, too."""
    BLOCKED = "blocked"
    """It gets no room keys."""
    IGNORED = "ignored"
    """What is wrong with it is no reason to keep room keys from it, nor to refuse to send."""


@attrs.frozen(kw_only=True)
class DeviceKeys:
    """A device whose self-signature was checked."""

    user_id: UserId
    device_id: DeviceId
    curve25519: Curve25519Key
    ed25519: Ed25519Key
    algorithms: tuple[str, ...] = ()
    cross_signed_by: Ed25519Key | None = None
    """The self-signing key of its owner that has signed it. It counts for as long as that is the owner's
    `UserIdentity.self_signing_key`."""
    signed_json: bytes | None = attrs.field(default=None, repr=False)
    """Of the own user's devices: canonical JSON of what its signatures are over."""
    trust: DeviceTrust = DeviceTrust.UNSET
    """See `SetDeviceTrust`."""

    @cached_property
    def address(self) -> DeviceAddress:
        """Where it is reached."""
        return DeviceAddress(user_id=self.user_id, device_id=self.device_id)


@attrs.frozen(kw_only=True)
class DevicesAdded:
    """What a /keys/query response changed."""

    added: tuple[DeviceAddress, ...]
    removed: tuple[DeviceAddress, ...]
    rejected: dict[DeviceAddress, OlmStateError]
    """Devices that were not taken in, and why: a bad signature, a wrong shape, a changed key."""


@attrs.frozen(kw_only=True, field_transformer=checked)
class AddDevices(Command[DevicesAdded]):
    """Take in a ``/keys/query`` response.

    Each device's self-signature is checked (spec: Tracking the device list for a user). A user's devices that the
    response leaves out are removed. A device that comes with another Ed25519 or Curve25519 key than before is refused,
    and what was known of it stays (`DeviceKeyChanged`).

    Returns:
        DevicesAdded: What a /keys/query response changed.

    Raises:
        MalformedMessage: The response isn't one.
    """

    response: JsonObject | str | bytes = attrs.field(repr=False)
    """Parsed, or as it came."""


@attrs.frozen(kw_only=True, field_transformer=checked)
class Devices(Query[tuple[DeviceKeys, ...]]):
    """Devices of a user, or of several, as far as they are known: user by user, each one's by device id.

    Returns:
        tuple[DeviceKeys, ...]
    """

    user_id: UserId | None = None
    users: tuple[UserId, ...] = ()
    """Several; a ValueError if nobody is named."""

    def __attrs_post_init__(self) -> None:
        """Make sure that somebody is meant."""
        if self.user_id is None and not self.users:
            raise ValueError("Devices.user_id or Devices.users must name somebody")

    @property
    def named(self) -> tuple[UserId, ...]:
        """All of them, each once."""
        return tuple(dict.fromkeys(self.users if self.user_id is None else (self.user_id, *self.users)))


@attrs.frozen(kw_only=True, field_transformer=checked)
class SetDeviceTrust(Command[None]):
    """Decide about a device. It stays decided when the device is gone and comes back: it has the same keys then.

    A blocked device gets no room keys any more: in each room whose key it has, the next `EncryptForRoom` or
    `ShareRoomKey` makes a new one.

    Returns:
        None

    Raises:
        UnknownDevice: No such device is known.
    """

    user_id: UserId
    device_id: DeviceId
    trust: DeviceTrust
