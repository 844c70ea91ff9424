"""What the world outside a device has seen of it: the one place that decides whether something was lost or reused.

Owns: the journal, a file of JSON lines beside the store, and the two people whom the device talks to, who are bare
    vodozemac. Everything that leaves the device is written to the journal first, then judged. The history of who held
    the lock, saw which generation and committed what (`tests.faults.history`) is in the same file, so that both end at
    the same moment.
Rule: a line is one `write` in append mode, so it survives the death of whoever wrote it; and what the
    world knows is nothing but its lines, so that another process, or one that lives before a power cut, goes on from
    just the lines that there are.
Why: what a process believed before it was killed proves nothing. What others got from it does.
"""

from __future__ import annotations

import dataclasses
import json
import os
from collections.abc import Collection, Mapping
from pathlib import Path
from typing import Self, cast

import attrs
from vodozemac import InboundGroupSession, SessionKey

from olmstate.messages import DeviceAddress, DeviceId, DeviceIdentity, JsonObject, KeyId, RoomId, UserId
from tests.faults.checker import check
from tests.faults.history import Entry, Kind, Log, digest
from tests.faults.wire import decode, megolm_index, olm_step
from tests.operations.peer import Peer, Room, read_room_event

ALICE = UserId("@alice:example.org")
ALICE_DEVICE = DeviceId("ALICEDEV")
LETTER = "org.example.letter"
"""A type that is the app's."""


class Violated(AssertionError):
    """Something that must never happen has happened."""


def require(holds: object, what: str) -> None:
    """Raise `Violated` unless ``holds``."""
    if not holds:
        raise Violated(what)


@attrs.frozen(kw_only=True)
class Sync:
    """A /sync response that the homeserver has made."""

    since: str | None
    next_batch: str
    response: JsonObject = attrs.field(repr=False)
    readable: tuple[tuple[RoomId, JsonObject], ...] = attrs.field(repr=False)
    """Room events that its room keys decrypt; their content's ``body`` is their event id."""
    letter: int
    """Number of the event for the app that it brings."""


@attrs.frozen(kw_only=True)
class Backup:
    """A backup that the device was asked for."""

    folder: Path
    secrets: tuple[bytes, ...] = attrs.field(repr=False)
    """What opened the store at each try; one of them opens the backup."""
    finished: bool
    """Whether the owner was told that it is there."""
    sent: int
    """Messages that the device had sent before, and so on."""
    imported: int
    syncs: int
    taken: str | None
    keys: frozenset[str]


def _judge(entries: list[Entry], excused: tuple[str, ...]) -> None:
    # two may have found out at once that somebody else has committed
    elsewhere = {entry.data["generation"]: entry for entry in reversed(entries) if entry.kind == "elsewhere"}
    told_once = [e for e in entries if e.kind != "elsewhere" or elsewhere[e.data["generation"]] is e]
    violations = [violation for violation in check(told_once) if violation.rule not in excused]
    require(not violations, "\n".join(map(str, violations)))


class Homeserver:
    """The world, as the lines of ``journal`` tell it; a new one if there are none.

    A method that the device's client calls raises `Violated` if what it was given should never have left the device.
    """

    def __init__(self, journal: Path) -> None:
        self.journal = journal
        self.device: DeviceIdentity | None = None
        self.peers: dict[UserId, Peer] = {}
        self.keys: dict[str, JsonObject] = {}
        """Uploaded keys by id, used up or not."""
        self.published: set[str] = set()
        self.claimable: dict[str, JsonObject] = {}
        """One-time keys by id. What was claimed is forgotten, and taken anew if it is offered."""
        self.syncs: list[Sync] = []
        self._syncs_made = 0
        self.taken: str | None = None
        """The token of the last sync that the device said it has taken in."""
        self.shared: dict[tuple[str, str], set[UserId]] = {}
        """Who has the key of (room, session), by the device's own word."""
        self.sent: list[tuple[RoomId, JsonObject]] = []
        self.released: dict[str, int] = {}
        """Largest released index by session."""
        self.imported: list[tuple[RoomId, JsonObject]] = []
        self.letters_read: set[int] = set()
        """Those that the app has dealt with; it then acknowledges them."""
        self.schema = 0
        """The newest that the store was seen to have."""
        self.secrets: list[bytes] = []
        """Keys that may open the store; the last is the newest. More than one: a change was begun and not answered."""
        self.backups: list[Backup] = []
        self._room_keys: dict[tuple[str, str], InboundGroupSession] = {}
        self._megolm: set[tuple[str, int]] = set()
        self._olm: set[tuple[str, int]] = set()
        self._taken: set[str] = set()
        """Ids of requests: what comes again under one is delivered once."""
        self.log = self.open_log()
        """Of what the world does itself."""
        self._reads: list[tuple[Kind, JsonObject]] = []
        for line in journal.read_bytes().splitlines() if journal.exists() else ():
            self._apply(json.loads(line))

    @classmethod
    def new(cls, journal: Path, secret: bytes) -> Self:
        """A world in which nothing has happened, but that Bob and Carol exist and the store's key was chosen."""
        people = [Peer(f"@{name}:example.org", name.upper()) for name in ("bob", "carol")]
        self = cls(journal)
        self._record("people", people=[peer.snapshot() for peer in people])
        self.secret_begun(secret)
        self.secret_changed(secret)
        return self

    def _record(self, what: str, **fields: object) -> None:
        event = {"what": what, **fields}
        with self.journal.open("ab", buffering=0) as journal:
            journal.write(json.dumps(event).encode() + b"\n")
        self._apply(event)

    def _apply(self, event: JsonObject) -> None:
        getattr(self, f"_apply_{event['what']}")(event)

    # --- the history ----------------------------------------------------------------------------------------

    def open_log(self) -> Log:
        """A log for one that uses the store, in the name of a process of its own."""
        return Log(self, f"{os.getpid()}-{os.urandom(4).hex()}")

    def append(self, entry: Entry) -> None:
        """Keep one entry of the history."""
        self._record("history", **dataclasses.asdict(entry))

    def _apply_history(self, event: JsonObject) -> None:
        pass  # judged as a whole

    def judge(self, *excused: str) -> None:
        """Judge the history of all who ever wrote to the journal.

        Args:
            excused: Rules that the fault itself has broken.

        Raises:
            Violated: A rule was broken.
        """
        entries: list[Entry] = []
        for line in self.journal.read_bytes().splitlines():
            event = json.loads(line)
            if event["what"] == "restored":  # what follows is the history of another store
                _judge(entries, excused)
                entries = []
            if event["what"] == "history":
                entries.append(Entry(event["t"], event["process"], event["kind"], event["data"]))
        _judge(entries, excused)

    # --- people ---------------------------------------------------------------------------------------------

    def _apply_people(self, event: JsonObject) -> None:
        for snapshot in event["people"]:
            peer = Peer.of(snapshot)
            self.peers[peer.user_id] = peer

    @property
    def addresses(self) -> tuple[DeviceAddress, ...]:
        """Everybody's."""
        return tuple(peer.address for peer in self.peers.values())

    # --- the account ----------------------------------------------------------------------------------------

    def saw_device(self, device: DeviceIdentity) -> None:
        """The device has told who it is."""
        self._record("device", **attrs.asdict(device))

    def _apply_device(self, event: JsonObject) -> None:
        device = DeviceIdentity(**{field: value for field, value in event.items() if field != "what"})
        require(self.device in (None, device), "the device has another identity than before")
        self.device = device

    @property
    def known_device(self) -> DeviceIdentity:
        """The device, which has told who it is."""
        assert self.device is not None
        return self.device

    def upload(self, keys: Mapping[KeyId, JsonObject]) -> None:
        """``/keys/upload``: nothing says yet that the device knows of its success."""
        self._record("uploaded", keys=dict(keys))

    def _apply_uploaded(self, event: JsonObject) -> None:
        for key_id, key in event["keys"].items():
            require(self.keys.get(key_id, key) == key, f"{key_id} was uploaded with two different keys")
            require(key_id not in self.published, f"{key_id} was uploaded again, after it was marked as published")
            if not key.get("fallback"):
                require(key_id not in self.keys, f"{key_id} was offered twice: somebody may have claimed it")
                self.claimable[key_id] = key
            self.keys[key_id] = key

    def marked_published(self, key_ids: tuple[KeyId, ...]) -> None:
        """The device knows that the server has these keys."""
        self._record("published", key_ids=list(key_ids))

    def _apply_published(self, event: JsonObject) -> None:
        self.published.update(event["key_ids"])

    @property
    def key_counts(self) -> dict[str, int]:
        """One-time keys that are left, as /sync and /keys/upload tell it."""
        return {"signed_curve25519": len(self.claimable)}

    # --- /sync ----------------------------------------------------------------------------------------------

    def next_sync(self, token: str | None) -> Sync:
        """Answer /sync: again what followed ``token``, as often as it is asked for, else something new."""
        for sync in self.syncs:
            if sync.since == token:
                return sync
        number = self._syncs_made
        bob = self.peers[UserId("@bob:example.org")]
        room = Room(bob, RoomId(f"!of-bob-{number}:example.org"))
        events: list[JsonObject] = []
        # every other sync starts an Olm session, as far as there are keys for it; the others go on with the last
        if number % 2 == 0 or not bob.sessions:
            key_id = next(iter(self.claimable))
            bob.start_session(self.known_device, self.claimable[key_id])
        else:
            key_id = None
        events.append(bob.event(self.known_device, "m.room_key", room.room_key))
        events.append(bob.event(self.known_device, LETTER, {"number": number}))
        events.append({"type": "m.room.encrypted", "sender": bob.user_id, "content": {"algorithm": "broken"}})
        readable = [room.send(event_id=f"${number}-{index}") for index in range(2)]
        response = {
            "next_batch": f"batch-{number}",
            "to_device": {"events": events},
            "device_one_time_keys_count": {"signed_curve25519": len(self.claimable) - (key_id is not None)},
            "device_unused_fallback_key_types": ["signed_curve25519"],
        }
        self.log.write("batch", token=response["next_batch"], room_keys=[room.session_id])
        self._record(
            "sync",
            since=token,
            next_batch=response["next_batch"],
            response=response,
            readable=[[room.room_id, event] for event in readable],
            letter=number,
            claimed=key_id,
            people=[bob.snapshot()],
        )
        return self.syncs[-1]

    def _apply_sync(self, event: JsonObject) -> None:
        self._apply_people(event)
        if event["claimed"] is not None:
            require(self.claimable.pop(event["claimed"], None), f"{event['claimed']} was claimed twice")
        self._syncs_made += 1
        self.syncs.append(
            Sync(
                since=event["since"],
                next_batch=event["next_batch"],
                response=event["response"],
                readable=tuple((RoomId(room_id), content) for room_id, content in event["readable"]),
                letter=event["letter"],
            )
        )

    def sync_taken(self, sync: Sync) -> None:
        """The device says that it has taken in ``sync``."""
        self._record("taken", next_batch=sync.next_batch)

    def _apply_taken(self, event: JsonObject) -> None:
        self.taken = event["next_batch"]

    def read_letters(self, numbers: Collection[int]) -> None:
        """The app has dealt with these."""
        self._record("letters", numbers=sorted(numbers))

    def _apply_letters(self, event: JsonObject) -> None:
        self.letters_read.update(event["numbers"])

    def taken_until(self, token: str | None) -> list[Sync]:
        """The syncs that a device with this token must have taken in, all of them."""
        if token is None:
            require(self.taken is None, f"the sync token was {self.taken} and is gone")
            return []
        tokens = [sync.next_batch for sync in self.syncs]
        require(token in tokens, f"the sync token is {token}, which the homeserver never gave")
        position = tokens.index(token)
        if self.taken is not None:
            require(position >= tokens.index(self.taken), f"the sync token went back from {self.taken} to {token}")
        return self.syncs[: position + 1]

    # --- what the device sends ------------------------------------------------------------------------------

    def claim(self, user_id: UserId) -> JsonObject:
        """``one_time_keys`` of a /keys/claim response, with a key of this user's device."""
        peer = self.peers[user_id]
        key = peer.one_time_key()
        self._record("people", people=[peer.snapshot()])
        return {user_id: {peer.device_id: key}}

    def to_device(
        self, messages: Mapping[UserId, Mapping[DeviceId, JsonObject]], transaction_id: str | None = None
    ) -> None:
        """``/sendToDevice``: delivered at once, and once if it comes twice under one id."""
        if transaction_id in self._taken:
            return
        self._reads = []
        self._record("to_device", messages=messages, transaction_id=transaction_id)
        for kind, data in self._reads:
            self.log.write(kind, **data)

    def _apply_to_device(self, event: JsonObject) -> None:
        if event["transaction_id"] is not None:
            self._taken.add(event["transaction_id"])
        for user_id, devices in event["messages"].items():
            peer = self.peers[user_id]
            for content in devices.values():
                ciphertext = content["ciphertext"][peer.curve25519]
                step = olm_step(ciphertext["type"], decode(ciphertext["body"]))
                position = step.ratchet_key, step.counter
                require(position not in self._olm, f"Olm ratchet key and counter were used twice: {position}")
                self._olm.add(position)
                try:
                    payload = peer.read(content)
                except (AssertionError, ValueError) as error:
                    raise Violated(f"{user_id} can't read a to-device message: {error}") from error
                read = {"hash": digest(decode(ciphertext["body"])), "digest": digest(payload["content"])}
                self._reads.append(("read", read))
                if payload["type"] == "m.room_key":
                    self._keep(user_id, payload["content"])

    def _keep(self, user_id: str, content: JsonObject) -> None:
        session = InboundGroupSession(SessionKey(content["session_key"]))
        known = self._room_keys.get((user_id, session.session_id))
        if known is None or session.first_known_index < known.first_known_index:
            self._room_keys[user_id, session.session_id] = session
        room_key = {
            "session": session.session_id,
            "index": session.first_known_index,
            "session_key": content["session_key"],
            "reader": user_id,
        }
        self._reads.append(("room_key", room_key))

    def marked_shared(self, room_id: RoomId, session_id: str, devices: tuple[DeviceAddress, ...]) -> None:
        """The device knows that these have the room key."""
        self._record("shared", room_id=room_id, session_id=session_id, users=[device.user_id for device in devices])

    def _apply_shared(self, event: JsonObject) -> None:
        self.shared.setdefault((event["room_id"], event["session_id"]), set()).update(event["users"])

    def room_event(self, room_id: RoomId, content: JsonObject) -> None:
        """``/rooms/…/send``: everybody reads it."""
        self._record("room_event", room_id=room_id, content=content)

    def _apply_room_event(self, event: JsonObject) -> None:
        content, room_id = cast("JsonObject", event["content"]), RoomId(event["room_id"])
        session_id: str = content["session_id"]
        index = megolm_index(content["ciphertext"])
        require((session_id, index) not in self._megolm, f"message index {index} of {session_id} was used twice")
        self._megolm.add((session_id, index))
        self.released[session_id] = max(self.released.get(session_id, -1), index)
        for user_id in self.peers:
            session = self._room_keys.get((user_id, session_id))
            require(session, f"{user_id} never got the key of {session_id}")
            try:
                _, payload = read_room_event(cast("InboundGroupSession", session), content)
            except ValueError as error:
                raise Violated(f"{user_id} can't read index {index} of {session_id}: {error}") from error
            require(payload["room_id"] == room_id, f"index {index} of {session_id} was encrypted for another room")
        event_id = f"$sent-{len(self._megolm)}"
        self.sent.append(
            (room_id, {"type": "m.room.encrypted", "event_id": event_id, "sender": ALICE, "content": content})
        )

    # --- room keys from a file ------------------------------------------------------------------------------

    def exported_keys(self, number: int) -> tuple[list[JsonObject], list[tuple[RoomId, JsonObject]]]:
        """Some room keys as another client exports them, and an event for each."""
        bob = self.peers[UserId("@bob:example.org")]
        rooms = [Room(bob, RoomId("!old:example.org")) for _ in range(number)]
        events = [(room.room_id, room.send(event_id=f"$old-{room.session_id}")) for room in rooms]
        return [room.export() for room in rooms], events

    def keys_imported(self, events: list[tuple[RoomId, JsonObject]]) -> None:
        """The device says that it has taken in the keys of these events."""
        self._record("imported", events=events)

    def _apply_imported(self, event: JsonObject) -> None:
        self.imported.extend((RoomId(room_id), content) for room_id, content in event["events"])

    # --- the store as its owner sees it ---------------------------------------------------------------------

    def secret_begun(self, secret: bytes) -> None:
        """The owner is about to have the store sealed with another key."""
        self._record("secret_begun", secret=secret.hex())

    def _apply_secret_begun(self, event: JsonObject) -> None:
        self.secrets.append(bytes.fromhex(event["secret"]))

    def secret_changed(self, secret: bytes) -> None:
        """Only this key opens the store from now on."""
        self._record("secret_changed", secret=secret.hex())

    def _apply_secret_changed(self, event: JsonObject) -> None:
        self.secrets = [bytes.fromhex(event["secret"])]

    def is_migration(self, schema: int) -> bool:
        """Whether a store with this schema was migrated since it was last seen."""
        return 0 < self.schema < schema

    def schema_seen(self, schema: int) -> None:
        """Remember the store's schema."""
        if schema != self.schema:
            self._record("schema", schema=schema)

    def _apply_schema(self, event: JsonObject) -> None:
        self.schema = event["schema"]

    def restored(self) -> None:
        """From now on the device lives on the last backup: what it was told and has learnt since that was made is gone.

        The homeserver has forgotten the syncs that were taken in since, as they do once they are acknowledged.
        """
        self._record("restored")

    def _apply_restored(self, _: JsonObject) -> None:
        backup = self.backups.pop()
        self.taken, self.syncs = backup.taken, self.syncs[: backup.syncs]
        self.letters_read.update(sync.letter for sync in self.syncs)  # a backup leaves the inbox out
        self.sent, self.imported = self.sent[: backup.sent], self.imported[: backup.imported]
        self.claimable = {key_id: key for key_id, key in self.claimable.items() if key_id in backup.keys}

    def next_backup(self) -> Path:
        """Where the next backup belongs: where the last one does, as long as nobody knows what became of it."""
        return self.journal.with_name(f"backup-{sum(backup.finished for backup in self.backups)}")

    def backup_begun(self, folder: Path) -> None:
        """The owner asks for a backup in ``folder``."""
        self._record("backup", name=folder.name, secret=self.secrets[-1].hex(), finished=False)

    def backup_made(self, folder: Path) -> None:
        """The owner was told that ``folder`` holds a backup."""
        self._record("backup", name=folder.name, secret=self.secrets[-1].hex(), finished=True)

    def _apply_backup(self, event: JsonObject) -> None:
        folder = self.journal.with_name(event["name"])
        earlier = tuple(secret for backup in self.backups if backup.folder == folder for secret in backup.secrets)
        self.backups = [backup for backup in self.backups if backup.folder != folder]
        secrets = (*earlier, bytes.fromhex(event["secret"]))
        self.backups.append(
            Backup(
                folder=folder,
                secrets=secrets,
                finished=event["finished"],
                sent=len(self.sent),
                imported=len(self.imported),
                syncs=len(self.syncs),
                taken=self.taken,
                keys=frozenset(self.keys),
            )
        )
