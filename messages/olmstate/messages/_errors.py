"""Every error that leaves the library, split by whose fault it is.

`StoreError`: the disk, the lock, or who opened the store. `EncryptionError` and `DecryptionError`: what was asked, or
what a peer sent; the device's state is as it was. `ActorStopped`: no answer will come. `InternalError`: we failed, and
nobody else. No exception of vodozemac, sqlite3 or cryptography escapes. No error carries a key, a plaintext or a
passphrase.
"""

from __future__ import annotations

from typing import ClassVar

import attrs

from ._ids import DeviceId, Ed25519Key, MegolmSessionId, RoomId, UserId


@attrs.define(kw_only=True, eq=False)
class OlmStateError(Exception):
    """The root of the tree."""

    text: ClassVar[str] = "olmstate failed"

    def __str__(self) -> str:
        return self.text.format_map(attrs.asdict(self, recurse=False))


# --- the store ----------------------------------------------------------------------------------------------


@attrs.define(kw_only=True, eq=False)
class StoreError(OlmStateError):
    """The store can't be used, or not now. Nothing left the library."""


@attrs.define(kw_only=True, eq=False)
class StoreBusy(StoreError):
    """Another process holds the lock, and doesn't let it go. Nobody steals it; ask again, or look at that process.

    It is no sign of many who wait in turn: as long as others get the lock, one waits on.
    """

    holder_pid: int | None
    """None: nobody can be named, as when the lock was just being handed over, or it is SQLite's own."""
    waited: float
    """Seconds since the lock was asked for, or since another got it last, whichever was later."""

    def __str__(self) -> str:
        holder = "others" if self.holder_pid is None else f"process {self.holder_pid}"
        return f"the store was locked by {holder} for {self.waited:.1f} s"


@attrs.define(kw_only=True, eq=False)
class StorePoisoned(StoreError):
    """This handle must not be used any more: the disk may differ from what it believes. Open the store anew."""

    text = "this handle on the store can't be trusted any more: {reason}; open the store anew"
    reason: str


@attrs.define(kw_only=True, eq=False)
class StoreCorrupt(StoreError):
    """What the store holds isn't what was written; reading it again gave the same, and the system can read its files.

    Keep the files, also if a backup is there: a backup lacks what came after it, and messages that it can't read any
    more may still be readable from them (`olmstate export-keys`).
    """

    text = "the store is damaged: {reason}"
    reason: str


@attrs.define(kw_only=True, eq=False)
class StoreFull(StoreError):
    """No room on the disk. The turn was rolled back; make room and ask again."""

    text = "no room left on the store's disk"


@attrs.define(kw_only=True, eq=False)
class StoreUnavailable(StoreError):
    """The operating system refused to read or write: missing folder, no permission, read-only, an I/O error.

    Nothing was written, and nothing says that the store is damaged. Look at the disk, and ask again.
    """

    text = "the store can't be read or written: {reason}"
    reason: str


@attrs.define(kw_only=True, eq=False)
class UnsupportedFilesystem(StoreError):
    """The folder is on a network file system, whose locks can't be relied on."""

    text = "{path} is on {filesystem}: the store needs a local file system"
    path: str
    filesystem: str


@attrs.define(kw_only=True, eq=False)
class WrongDevice(StoreError):
    """The store belongs to another device than the one that opened it."""

    text = "the store belongs to {user_id} {device_id}"
    user_id: UserId
    device_id: DeviceId


@attrs.define(kw_only=True, eq=False)
class WrongKey(StoreError):
    """The key or passphrase doesn't open the store, or the store isn't sealed, or it is and no key was given."""

    text = "{reason}"
    reason: str = "that key does not open the store"


@attrs.define(kw_only=True, eq=False)
class SchemaTooNew(StoreError):
    """A newer olmstate wrote the store. Upgrade; nothing was changed."""

    text = "the store has schema {found}, this version knows up to {supported}"
    found: int
    supported: int


# --- the account --------------------------------------------------------------------------------------------


@attrs.define(kw_only=True, eq=False)
class AccountError(OlmStateError):
    """The device's own account doesn't allow what was asked."""


@attrs.define(kw_only=True, eq=False)
class NoAccount(AccountError):
    """The store is empty: send `CreateAccount` or `ImportAccount` first."""

    text = "the store has no account yet"


@attrs.define(kw_only=True, eq=False)
class AccountExists(AccountError):
    """A device has one account for its whole life."""

    text = "the store has an account already"


@attrs.define(kw_only=True, eq=False)
class MalformedPickle(AccountError):
    """A pickle that can't be read: damaged, of another format, or sealed with another pickle key."""

    text = "the {what} pickle can't be read: {reason}"
    what: str
    reason: str


# --- encryption ---------------------------------------------------------------------------------------------


@attrs.define(kw_only=True, eq=False)
class EncryptionError(OlmStateError):
    """What was asked can't be encrypted. No ratchet moved."""


@attrs.define(kw_only=True, eq=False)
class RoomKeyNotShared(EncryptionError):
    """The room has no outbound session that may be used: none yet, one due for rotation, or one not shared yet.

    Send `ShareRoomKey`, send and answer its requests, then encrypt again.
    """

    text = "no usable room key has been shared in {room_id}"
    room_id: RoomId


@attrs.define(kw_only=True, eq=False)
class RoomKeyReplaced(EncryptionError):
    """The outbound session that was named is not the room's present one any more."""

    text = "{session_id} is no longer the outbound session of {room_id}"
    room_id: RoomId
    session_id: MegolmSessionId


@attrs.define(kw_only=True, eq=False)
class MalformedContent(EncryptionError):
    """The content to encrypt is no JSON object that Matrix allows."""

    text = "the content can't be encrypted: {reason}"
    reason: str


@attrs.define(kw_only=True, eq=False)
class UnknownDevice(EncryptionError):
    """The device's keys aren't in the store: query them and send `AddDevices`."""

    text = "no device keys are known for {user_id} {device_id}"
    user_id: UserId
    device_id: DeviceId


# --- what others signed -------------------------------------------------------------------------------------


@attrs.define(kw_only=True, eq=False)
class InvalidSignature(OlmStateError):
    """Signed JSON whose signature is missing or wrong (spec: Signing JSON)."""

    text = "invalid signature: {reason}"
    reason: str


@attrs.define(kw_only=True, eq=False)
class UnknownIdentity(OlmStateError):
    """No cross-signing identity of this user is known, or none with the master key that was named."""

    text = "no such cross-signing identity of {user_id} is known"
    user_id: UserId


@attrs.define(kw_only=True, eq=False)
class DeviceKeyChanged(OlmStateError):
    """A known device came with another Ed25519 or Curve25519 key; the first ones stay: devices never change keys."""

    text = "{user_id} {device_id}, whose fingerprint is {ed25519}, came with another key than before"
    user_id: UserId
    device_id: DeviceId
    ed25519: Ed25519Key


# --- decryption ---------------------------------------------------------------------------------------------


@attrs.define(kw_only=True, eq=False)
class DecryptionError(OlmStateError):
    """An event can't be decrypted, or must not be believed."""


@attrs.define(kw_only=True, eq=False)
class MissingRoomKey(DecryptionError):
    """The session's room key hasn't come. It may yet."""

    text = "no room key for session {session_id} in {room_id}"
    room_id: RoomId
    session_id: MegolmSessionId


@attrs.define(kw_only=True, eq=False)
class RoomKeyWithheld(DecryptionError):
    """The sender said that we won't get the room key, or not from this event on (spec: m.room_key.withheld).

    A key that comes all the same counts. The notice came in clear: code and reason are the sender's word, as the
    homeserver delivers it. ``m.no_olm``, that the sender could make no Olm session, names no room key; so an event of
    theirs is `MissingRoomKey`, and a new session is begun.
    """

    text = "the room key was withheld: {code}"
    code: str
    """``m.blacklisted``, ``m.unverified``, ``m.unauthorised`` or ``m.unavailable``; or another, of at most 255
    characters."""
    reason: str | None = None
    """A text for people, for a code that you don't know; its first 1,000 characters."""
    first_known_index: int | None = None
    """From this message index on, the key is there all the same, and this event is an earlier one. None: it is not
    there at all."""


@attrs.define(kw_only=True, eq=False)
class UnknownMessageIndex(DecryptionError):
    """Sent before the first index that our copy of the room key can decrypt."""

    text = "message index {message_index} is before the first known one, {first_known_index}"
    message_index: int
    first_known_index: int


@attrs.define(kw_only=True, eq=False)
class ReplayedMessage(DecryptionError):
    """This ciphertext was decrypted before, under another event id (Megolm), or at all (Olm)."""

    text = "the message was decrypted before"


@attrs.define(kw_only=True, eq=False)
class MismatchedRoom(DecryptionError):
    """The encrypted payload names another room than the one that the event came from."""

    text = "the message was encrypted for another room than {room_id}"
    room_id: RoomId


@attrs.define(kw_only=True, eq=False)
class UnknownSender(DecryptionError):
    """No known device of the sender has the message's keys, and it is no room key, which may come from an unknown one.

    Query that user's devices and send `AddDevices`. Nothing was used up: hand the event in again.
    """

    text = "no known device of {user_id} has the message's keys"
    user_id: UserId


@attrs.define(kw_only=True, eq=False)
class MismatchedSender(DecryptionError):
    """The payload, the event and the sender's device keys don't agree on who sent it."""

    text = "the sender can't be believed: {reason}"
    reason: str


@attrs.define(kw_only=True, eq=False)
class UntrustedSender(DecryptionError):
    """Who sent it is less trusted than was required. It may be more trusted later."""

    text = "the sender is not trusted: {state}"
    state: str
    """The name of a `SenderState`."""


@attrs.define(kw_only=True, eq=False)
class MismatchedRecipient(DecryptionError):
    """The message, or the payload in it, is for another device."""

    text = "the message is not for this device: {reason}"
    reason: str


@attrs.define(kw_only=True, eq=False)
class UnknownOlmSession(DecryptionError):
    """No Olm session with that device decrypts the message, and it starts none."""

    text = "no Olm session decrypts the message: {reason}"
    reason: str


@attrs.define(kw_only=True, eq=False)
class MalformedMessage(DecryptionError):
    """Bytes or JSON of the wrong shape, or a MAC or signature that doesn't hold."""

    text = "malformed message: {reason}"
    reason: str


@attrs.define(kw_only=True, eq=False)
class RejectedRoomKey(DecryptionError):
    """A room key that isn't one, or that contradicts the one that we have under the same id."""

    text = "the room key was not accepted: {reason}"
    reason: str


# --- key files ----------------------------------------------------------------------------------------------


@attrs.define(kw_only=True, eq=False)
class KeyFileError(OlmStateError):
    """An encrypted key file can't be used (spec: Key exports)."""


@attrs.define(kw_only=True, eq=False)
class MalformedKeyFile(KeyFileError):
    """Not a key file, or one that asks for more work than allowed."""

    text = "malformed key file: {reason}"
    reason: str


@attrs.define(kw_only=True, eq=False)
class WrongPassphrase(KeyFileError):
    """The passphrase doesn't open the key file, or the file was changed."""

    text = "the passphrase does not open the key file"


# --- actors -------------------------------------------------------------------------------------------------


@attrs.define(kw_only=True, eq=False)
class InternalError(OlmStateError):
    """A bug: of olmstate's, or of a function that was given to it. Please report it, with its cause.

    What was asked has changed nothing, and the supervisor goes on. The cause, unlike the error itself, may quote what
    was asked.
    """

    text = "olmstate has a bug: {reason}"
    reason: str
    """Which exception, and where."""


@attrs.define(kw_only=True, eq=False)
class ActorStopped(OlmStateError):
    """No reply will come: the supervisor was closed or has failed. Whether a command ran is unknown."""

    text = "the supervisor has stopped"
