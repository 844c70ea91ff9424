"""Messages about Olm sessions: encrypting to devices and decrypting from them."""

from __future__ import annotations

from typing import TypeAlias

import attrs

from ._account import DeviceIdentity
from ._devices import DeviceAddress
from ._errors import DecryptionError, OlmStateError
from ._field_types import checked
from ._ids import Curve25519Key, DeviceId, JsonObject, UserId
from ._message import Command, Procedure, Query
from ._senders import SenderState


@attrs.frozen(kw_only=True)
class OlmSessionsCreated:
    """What became of a /keys/claim response."""

    created: tuple[DeviceAddress, ...]
    rejected: dict[DeviceAddress, OlmStateError]


@attrs.frozen(kw_only=True, field_transformer=checked)
class CreateOlmSessions(Command[OlmSessionsCreated]):
    """Start an Olm session with each device that a one-time or fallback key was claimed for.

    The device's keys must be known (`AddDevices`); the claimed key's signature is checked with them.

    Returns:
        OlmSessionsCreated: What became of a /keys/claim response.

    Raises:
        NoAccount: The store is empty.
        MalformedMessage: The response isn't one, or its ``one_time_keys`` aren't of the form
            ``{user: {device: {key id: key}}}``.
    """

    one_time_keys: JsonObject | str | bytes
    """A ``/keys/claim`` response, parsed or as it came; or its ``one_time_keys`` alone."""


@attrs.frozen(kw_only=True)
class SessionsMissing:
    """Devices that can't be written to yet."""

    devices: tuple[DeviceAddress, ...]
    """Known ones without an Olm session."""
    claim: JsonObject | None
    """What to ask ``POST /keys/claim`` for; give the answer to `CreateOlmSessions`. Left out is who is being asked
    already, by whichever process, and who had no key, or whose server failed, a short while ago. None: nobody else."""


@attrs.frozen(kw_only=True, field_transformer=checked)
class MissingSessions(Query[SessionsMissing]):
    """Which of these devices there is no Olm session with.

    For those who go step by step: `EncryptForRoom` claims keys itself. Ask before `ShareRoomKey`, which tells the
    devices that it can't reach that there is no session.

    Returns:
        SessionsMissing: Devices that can't be written to yet.

    Raises:
        NoAccount: The store is empty.
    """

    users: tuple[UserId, ...] = ()
    """All their devices, as far as they are known, and if there are any users, our own user's other ones."""
    devices: tuple[DeviceAddress, ...] = ()
    """These, too, if they are known."""


@attrs.frozen(kw_only=True)
class EncryptedToDevice:
    """Bodies for ``/sendToDevice/m.room.encrypted``."""

    messages: dict[UserId, dict[DeviceId, JsonObject]] = attrs.field(repr=False)
    missing: tuple[DeviceAddress, ...]
    """Devices without an Olm session or known keys: claim a key for each, `CreateOlmSessions`, ask again."""


@attrs.frozen(kw_only=True, field_transformer=checked)
class EncryptToDevice(Command[EncryptedToDevice]):
    """Encrypt one event to many devices.

    Returns:
        EncryptedToDevice: Bodies for ``/sendToDevice/m.room.encrypted``.

    Raises:
        NoAccount: The store is empty.
        MalformedContent: ``content`` is no JSON object that Matrix allows.
    """

    devices: tuple[DeviceAddress, ...]
    type: str
    content: JsonObject = attrs.field(repr=False)


@attrs.frozen(kw_only=True, slots=False)  # one for each message: with slots it takes longer to make
class DecryptedToDevice:
    """An Olm message that was decrypted, and in which nothing contradicts what is known.

    An ``m.room_key`` may come from a device that isn't known yet. Everything else comes from one that is, or that sent
    its signed keys along (spec: Validation of incoming decrypted events).
    """

    type: str
    """Of the payload."""
    content: JsonObject = attrs.field(repr=False)
    """Of the payload; an ``m.room_key``'s ``session_key`` is left out, since the store has it."""
    sender_state: SenderState
    """How well founded it is that it is the device's user who sent it."""
    sender_device: DeviceIdentity | None
    """The known device that sent it: the only user, device and fingerprint that are more than a claim. None if no known
    device of the claimed sender has its keys."""
    claimed_sender: UserId
    """As the payload says, and the homeserver."""
    sender_key: Curve25519Key
    """Whoever sent it has this key: no other decrypts it."""


def _type_and_sender(event: JsonObject) -> str:
    """What of an event may be shown: anybody can send one, of any size, with a secret in it by mistake."""
    shown = {field: event[field][:80] for field in ("type", "sender") if isinstance(event.get(field), str)}
    return f"{ascii(shown)[:-1]}{', ' if shown else ''}…}}"


@attrs.frozen(kw_only=True)
class PlainToDevice:
    """A to-device event that came unencrypted. Never believe keys or secrets in one."""

    event: JsonObject = attrs.field(repr=_type_and_sender)


@attrs.frozen(kw_only=True)
class ReplayedToDevice:
    """An Olm message that was decrypted before: delivered twice, no alarm.

    Another process may have decrypted it, a push helper say. If it was for the app, it is in the `Inbox`.

    Of normal messages (not of pre-key ones) the last 128 of a device are known; an older one is undecryptable.
    """

    claimed_sender: str | None
    claimed_sender_key: str | None


@attrs.frozen(kw_only=True)
class UndecryptableToDevice:
    """An Olm message that can't be decrypted, or that is not believed.

    If the error is `UnknownSender`, query the claimed sender's devices, send `AddDevices`, and hand the event in again.
    """

    claimed_sender: str | None
    claimed_sender_key: str | None
    error: DecryptionError


ToDeviceOutcome: TypeAlias = DecryptedToDevice | PlainToDevice | ReplayedToDevice | UndecryptableToDevice


@attrs.frozen(kw_only=True, field_transformer=checked)
class DecryptToDevice(Command[tuple[ToDeviceOutcome, ...]]):
    """Decrypt to-device events in their order, each apart: a bad one never harms the others.

    Room keys and withheld notices in them are stored in the same commit, as `ReceiveSync` does, and so are events for
    the app, in the `Inbox`; no sync token moves.

    Returns:
        tuple[ToDeviceOutcome, ...]

    Raises:
        NoAccount: The store is empty.
    """

    events: tuple[JsonObject, ...] = attrs.field(repr=False)


@attrs.frozen(kw_only=True)
class SentToDevice:
    """What became of an event for devices."""

    delivered: bool
    """The homeserver has it. If not, it is stored, and goes out when the server can be reached; without a transport, it
    is among the `OutgoingRequests`. Don't ask again: it would be sent twice."""
    missing: tuple[DeviceAddress, ...]
    """Devices that it was not sent to: unknown, blocked, or without an Olm session, which can't be begun now."""


@attrs.frozen(kw_only=True, field_transformer=checked)
class SendToDevice(Procedure[SentToDevice]):
    """Send one event to devices, encrypted, and do all that this takes.

    Users whose devices are unknown or have changed are queried, one-time keys of devices without an Olm session are
    claimed. Then the event is encrypted and stored in one commit, and delivered. From that commit on it goes out, by
    the same transaction id each time, also if this process is killed: another that has the store open sends it, or the
    next one that opens it. So a homeserver that has it passes over a repetition. Events for one device go out in the
    order in which they were stored.

    Returns:
        SentToDevice: What became of an event for devices.

    Raises:
        NoAccount: The store is empty.
        MalformedContent: ``content`` is no JSON object that Matrix allows.
        NoTransport: Devices or keys must be asked for first, and there is no transport: send `OutgoingRequests`, then
            ask again. Nothing of the event is stored.
        RequestRefused: The homeserver refused a request. `RequestGivenUp` names the devices that the event doesn't
            reach; it reaches the others.
    """

    devices: tuple[DeviceAddress, ...]
    type: str
    content: JsonObject = attrs.field(repr=False)
    patience: float = 30.0
    """Seconds to wait for each of the homeserver's answers."""
