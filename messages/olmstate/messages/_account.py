"""Messages about the device's own Olm account: identity keys, one-time keys, fallback key."""

from __future__ import annotations

from typing import Literal

import attrs

from ._devices import DeviceTrust
from ._field_types import checked, not_negative
from ._ids import Curve25519Key, DeviceId, Ed25519Key, JsonObject, KeyId, UserId
from ._message import Command, Procedure, Query


@attrs.frozen(kw_only=True)
class DeviceIdentity:
    """Who this device is. Never changes once the account exists."""

    user_id: UserId
    device_id: DeviceId
    curve25519: Curve25519Key
    ed25519: Ed25519Key


@attrs.frozen(kw_only=True)
class CreateAccount(Command[DeviceIdentity]):
    """Make a new Olm account in an empty store. `PrepareAccount` does so only if there is none.

    Returns:
        DeviceIdentity: Who this device is. Never changes once the account exists.

    Raises:
        AccountExists: The store has one.
    """


@attrs.frozen(kw_only=True)
class PrepareAccount(Command[DeviceIdentity]):
    """This device's account, made if there is none: what a program begins with, the first time and each time.

    Nothing is written if there is one. If several processes ask at once, one makes it, and all get the same. With a
    transport, begin with `PublishAccount`.

    Returns:
        DeviceIdentity: Who this device is. Never changes once the account exists.
    """


@attrs.frozen(kw_only=True, field_transformer=checked)
class PublishAccount(Procedure[DeviceIdentity]):
    """This device's account, made if there is none, and known to the homeserver.

    A program with a transport begins with it, the first time and each time.

    **Ask it before the device is seen in rooms:** before it joins one, and before its first sync. Others encrypt to the
    devices that the homeserver knows when they send. What is sent before ours is among them, it can never read.

    Waits until the homeserver has the device's keys and its fallback key, with which anybody can begin an Olm session.
    If it has, nothing is asked and nothing is written. An upload that another process has begun is waited for.

    Returns:
        DeviceIdentity: Who this device is. Never changes once the account exists.

    Raises:
        NoTransport: The account isn't published, and there is no transport: send `OutgoingRequests` by hand.
        RequestRefused: The homeserver refused.
        RequestDelayed: It could not be published in time. The account is made, and the upload is tried again in the
            background.
    """

    patience: float = attrs.field(default=60.0, validator=not_negative)
    """Seconds to wait."""


@attrs.frozen(kw_only=True, field_transformer=checked)
class OlmSessionPickle:
    """An Olm session to import beside its account."""

    sender_key: Curve25519Key
    """The other device's identity key."""
    user_id: UserId | None = None
    """Whose device that is. If it isn't said, only a few messages are encrypted on the session before one was decrypted
    on it and says so: anybody can publish another's identity key."""
    pickle: str = attrs.field(repr=False)


@attrs.frozen(kw_only=True, field_transformer=checked)
class ImportedDevice:
    """Another device, as the other library knew it."""

    user_id: UserId
    device_id: DeviceId
    curve25519: Curve25519Key
    ed25519: Ed25519Key
    trust: DeviceTrust = DeviceTrust.UNSET


@attrs.frozen(kw_only=True, field_transformer=checked)
class ImportAccount(Command[DeviceIdentity]):
    """Take over an account that another library has kept, with its Olm sessions and what it knew of other devices.

    The other library must not use the account any more: two owners reuse ratchet steps.

    Returns:
        DeviceIdentity: Who this device is. Never changes once the account exists.

    Raises:
        AccountExists: The store has an account.
        MalformedPickle: Account or session can't be read with that format and key, or a ``sender_key`` is no
            Curve25519 key.
        MalformedMessage: A device's key is none.
    """

    pickle: str = attrs.field(repr=False)
    pickle_key: bytes = attrs.field(repr=False)
    """32 bytes for ``vodozemac``, any length for ``libolm``."""
    format: Literal["vodozemac", "libolm"] = "vodozemac"
    olm_sessions: tuple[OlmSessionPickle, ...] = ()
    """The one to encrypt on comes last of its device's."""
    devices: tuple[ImportedDevice, ...] = ()
    """Others' and our user's own. Their keys are believed, and what comes with other keys later is refused; that no
    signature came with them makes no difference, since queries bring one. What `SetDeviceTrust` would say of them holds
    from the first message on."""


@attrs.frozen(kw_only=True)
class IdentityKeys(Query[DeviceIdentity]):
    """This device's user id, device id and public keys.

    Returns:
        DeviceIdentity: Who this device is. Never changes once the account exists.

    Raises:
        NoAccount: The store is empty.
    """


@attrs.frozen(kw_only=True)
class SignedDeviceKeys(Query[JsonObject]):
    """``device_keys`` for ``/keys/upload``, signed by the device.

    Returns:
        JsonObject

    Raises:
        NoAccount: The store is empty.
    """


@attrs.frozen(kw_only=True)
class UnpublishedKeys:
    """``one_time_keys`` and ``fallback_keys`` for ``/keys/upload``, signed."""

    one_time_keys: dict[KeyId, JsonObject]
    """Never handed out again: upload them once. Whatever becomes of that, don't try the same keys again."""
    fallback_keys: dict[KeyId, JsonObject]
    count_wanted: bool = False
    """The server must say how many one-time keys it has: nobody knows what became of an upload, or its /sync responses
    don't tell. Upload, though there may be nothing to: the answer has the count. A /sync response that tells will
    do."""

    @property
    def is_due(self) -> bool:
        """Whether to send an upload."""
        return self.count_wanted or bool(self.one_time_keys or self.fallback_keys)

    @property
    def key_ids(self) -> tuple[KeyId, ...]:
        """What to name in `MarkKeysPublished` once the server has taken them."""
        return (*self.one_time_keys, *self.fallback_keys)


@attrs.frozen(kw_only=True)
class PrepareOneTimeKeys(Command[UnpublishedKeys]):
    """The keys that the server should have and has not.

    Makes one-time keys up to 50 on the server, by what it has last said. **A key that somebody may have claimed is
    never handed out again**: homeservers forget claimed keys, take them anew and give them to somebody else. So each is
    handed out once. If its upload isn't answered by `MarkKeysPublished`, what the server says of its count decides what
    became of it; keys in doubt stay for receiving. Until then, and while another process that lives was handed keys
    within the last ten minutes, there are no more.

    Makes a fallback key when the server says that it is used up or the last is 7 days old, an hour after the last at
    the earliest. It is handed out again until it is marked: it is for everybody, and the server has one.

    Returns:
        UnpublishedKeys: ``one_time_keys`` and ``fallback_keys`` for ``/keys/upload``, signed.

    Raises:
        NoAccount: The store is empty.
    """


@attrs.frozen(kw_only=True, field_transformer=checked)
class MarkKeysPublished(Command[None]):
    """The server has answered an upload, and has these keys. Ids that are not waiting are passed over.

    Without ids: the answer to an upload of nothing, which says how many keys the server has.

    Returns:
        None: It was done, and is on the disk.

    Raises:
        NoAccount: The store is empty.
        MalformedMessage: The answer is no JSON object.
    """

    key_ids: tuple[KeyId, ...]
    one_time_key_counts: JsonObject | str | bytes | None = None
    """The server's answer, parsed or as it came; or its ``one_time_key_counts`` alone. A count that is no number says
    nothing, and harms nothing."""
