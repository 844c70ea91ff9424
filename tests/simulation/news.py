"""Whether subscribers hear what askers are told: no more, no less, and nothing of a turn that failed.

Owns: `Ear`, somebody who hears what a supervisor publishes, and what each reply means for him.
Rule: events are published between a commit and its reply, so whoever has a reply has the events, too.
"""

from __future__ import annotations

from collections.abc import Iterable

import attrs
import trio

from olmstate.actors.testing import DEVICE, USER
from olmstate.messages import (
    AcceptVerification,
    AddDevices,
    AddRoomKey,
    CancelVerification,
    ConfirmVerification,
    DecryptedToDevice,
    DecryptToDevice,
    DeviceAddress,
    DevicesChanged,
    DeviceTrustChanged,
    Event,
    EventsReadable,
    ExportKeyFile,
    ExportRoomKeys,
    IdentitiesChanged,
    ImportCrossSigningKeys,
    ImportKeyFile,
    ImportRoomKeys,
    InboxReceived,
    MarkRequestFailed,
    MarkRequestSent,
    MarkVerificationMessageRefused,
    Message,
    OneTimeKeysLow,
    OwnDeviceReplaced,
    PinIdentity,
    PrivateCrossSigningKeysChanged,
    ReceiveSync,
    ReceiveVerificationEvent,
    RecoverFromSecretStorage,
    RequestGivenUp,
    RequestVerification,
    RoomKeyExportProgress,
    RoomKeyImportProgress,
    RoomKeyRequestRefused,
    RoomKeysReceived,
    RoomKeysWithheld,
    ScanQrCode,
    SecretRefused,
    SecretsReceived,
    SetDeviceTrust,
    StartSas,
    ToDeviceDelayed,
    ToDeviceOutcome,
    VerificationChanged,
    WithdrawVerification,
)
from tests.faults.history import Json

OWN_EVENTS = (
    ToDeviceDelayed,
    RoomKeysReceived,
    RoomKeysWithheld,
    OneTimeKeysLow,
    EventsReadable,
    InboxReceived,
    RoomKeyRequestRefused,
    SecretRefused,
    SecretsReceived,
    DevicesChanged,
    DeviceTrustChanged,
    OwnDeviceReplaced,
    IdentitiesChanged,
    RequestGivenUp,
    RoomKeyExportProgress,
    RoomKeyImportProgress,
    RequestGivenUp,
    IdentitiesChanged,
    PrivateCrossSigningKeysChanged,
    VerificationChanged,
)
"""Events of what was asked; a `StoreChanged` is of what others did."""
LETTERS = ("m.test", "org.example.letter")
"""Types of events that are the app's."""


@attrs.define
class News:
    """What some events say."""

    room_keys: list[str] = attrs.field(factory=list[str])
    """Session ids."""
    devices: list[DevicesChanged] = attrs.field(factory=list[DevicesChanged])
    replaced: int = 0
    """Times that a server was said to have other keys under this device's id."""
    progress: list[RoomKeyImportProgress] = attrs.field(factory=list[RoomKeyImportProgress])
    exported: list[int] = attrs.field(factory=list[int])
    """Keys in an export, so far."""
    given_up: list[RequestGivenUp] = attrs.field(factory=list[RequestGivenUp])
    identities: list[IdentitiesChanged] = attrs.field(factory=list[IdentitiesChanged])
    private_keys: list[PrivateCrossSigningKeysChanged] = attrs.field(factory=list[PrivateCrossSigningKeysChanged])
    trusts: list[DeviceTrustChanged] = attrs.field(factory=list[DeviceTrustChanged])
    verifications: list[VerificationChanged] = attrs.field(factory=list[VerificationChanged])
    letters: list[str] = attrs.field(factory=list[str])
    """Types of events for the app that have come into the inbox."""


NOTHING = News()
ROOM_KEYS = ("m.room_key", "m.forwarded_room_key")
"""Types of events that bring one; whoever forwards one in a scenario was asked for it."""


@attrs.define
class Ear:
    """One subscription."""

    _channel: trio.MemoryReceiveChannel[Event]
    ignored: set[str] = attrs.field(factory=set[str])
    """Sessions whose keys others than the asker have brought."""
    heard: set[type[Event]] = attrs.field(factory=set[type[Event]])
    """Of which kinds, ever."""

    def hear(self) -> News:  # noqa: C901, PLR0912 - one case an event
        """What has come since the last time."""
        news = News()
        while self._channel.statistics().current_buffer_used:
            event = self._channel.receive_nowait()
            self.heard.add(type(event))
            match event:
                case RoomKeysReceived():
                    sessions = [session_id for _, session_id in event.room_keys]
                    news.room_keys.extend(each for each in sessions if each not in self.ignored)
                case DevicesChanged():
                    news.devices.append(event)
                case OwnDeviceReplaced():
                    news.replaced += 1
                case RoomKeyImportProgress():
                    news.progress.append(event)
                case RoomKeyExportProgress():
                    news.exported.append(event.done)
                case RequestGivenUp():
                    news.given_up.append(event)
                case IdentitiesChanged():
                    news.identities.append(event)
                case PrivateCrossSigningKeysChanged():
                    news.private_keys.append(event)
                case DeviceTrustChanged():
                    news.trusts.append(event)
                case VerificationChanged():
                    news.verifications.append(event)
                case InboxReceived():
                    news.letters.extend(each for _, each in event.events if each in LETTERS)
                case RoomKeysWithheld() | OneTimeKeysLow():
                    pass  # of which no reply says anything
                case ToDeviceDelayed():
                    pass  # how long a reply takes, which says nothing of it
                case EventsReadable() | RoomKeyRequestRefused() | SecretRefused() | SecretsReceived():
                    pass  # of what was parked, or asked for, before, which no reply says
                case _:
                    raise AssertionError(event)
        return news


def contradiction(message: Message[Json], reply: Json, heard: News, *, more: bool = False) -> str | None:
    """What is wrong with the events that a message has caused, by its reply; None if they are right.

    Args:
        message: What was asked.
        reply: What came.
        heard: What was published meanwhile.
        more: Something else, of which nobody was told, may have been done in that time.
    """
    match message:
        case ImportRoomKeys() | ImportKeyFile():
            keys, done = len(heard.room_keys), [step.done for step in heard.progress]
            right = reply.imported == keys and done == sorted(set(done)) and done[-1:] == [reply.total]
            enough = reply.imported <= keys and reply.total in done
        case ExportRoomKeys():
            right = heard.exported == sorted(set(heard.exported)) and heard.exported[-1:] == [len(reply)][: len(reply)]
            enough = not reply or len(reply) in heard.exported
        case ExportKeyFile():
            return None  # nobody can see how many keys are in it
        case ReceiveVerificationEvent() | MarkVerificationMessageRefused():
            return None  # the reply doesn't tell whether that was known before
        case MarkRequestSent() | MarkRequestFailed():
            return None  # the reply doesn't tell what the request was about, and it may have been answered before
        case _:
            told = _told(message, reply, heard)
            right = told == heard
            enough = set(told.room_keys) <= set(heard.room_keys) and all(each in heard.devices for each in told.devices)
            enough = enough and all(each in heard.identities for each in told.identities)
            enough = enough and all(each in heard.private_keys for each in told.private_keys)
            enough = enough and told.replaced <= heard.replaced and len(told.letters) <= len(heard.letters)
            enough = enough and all(each in heard.verifications for each in told.verifications)
    return None if right or (more and enough) else f"{reply} was replied, and {heard} heard"


def _letters(outcomes: Iterable[ToDeviceOutcome]) -> list[str]:
    return [each.type for each in outcomes if isinstance(each, DecryptedToDevice) and each.type in LETTERS]


def _told(message: Message[Json], reply: Json, heard: News) -> News:
    match message:
        case AddRoomKey():
            return News(room_keys=[] if reply == "known" else [message.session_id])
        case ReceiveSync():
            return News(room_keys=[session_id for _, session_id in reply.room_keys], letters=_letters(reply.to_device))
        case DecryptToDevice():
            decrypted = [outcome for outcome in reply if isinstance(outcome, DecryptedToDevice)]
            secrets = any(each.type == "m.secret.send" for each in decrypted)  # its reply doesn't tell what it was for
            return News(
                room_keys=[each.content["session_id"] for each in decrypted if each.type in ROOM_KEYS],
                letters=_letters(reply),
                identities=heard.identities if secrets else [],
                private_keys=heard.private_keys if secrets else [],
            )
        case AddDevices():
            changed = [DevicesChanged(added=reply.added, removed=reply.removed)]
            own = DeviceAddress(user_id=USER, device_id=DEVICE)
            # its reply says nothing of identities
            heard_of = (
                heard.identities if isinstance(message.response, dict) and "master_keys" in message.response else []
            )
            return News(
                identities=heard_of,
                devices=changed if reply.added or reply.removed else [],
                replaced=int(own in reply.rejected),
            )
        case ImportCrossSigningKeys() | RecoverFromSecretStorage():
            keys_told = reply if isinstance(message, ImportCrossSigningKeys) else reply.keys
            told = [PrivateCrossSigningKeysChanged(keys=keys_told)]
            return News(identities=heard.identities, private_keys=told)  # ours is verified by that, if it wasn't
        case PinIdentity() | WithdrawVerification():
            return News(identities=[IdentitiesChanged(users=(message.user_id,))])
        case SetDeviceTrust():
            told_of = DeviceTrustChanged(user_id=message.user_id, device_id=message.device_id, trust=message.trust)
            return News(trusts=[told_of] if heard.trusts else [])  # nothing of what was so already
        case (
            RequestVerification()
            | AcceptVerification()
            | StartSas()
            | ScanQrCode()
            | ConfirmVerification()
            | CancelVerification()
        ):
            stage = VerificationChanged(user_id=reply.user_id, flow_id=reply.flow_id, stage=reply.stage)
            return News(verifications=[stage], trusts=heard.trusts)  # the last step may have verified a device
        case _:
            return News()
