"""Adding, importing and exporting room keys (spec: Key exports).

An import may be of 100,000 keys, and an export as long: both run in the asker's task as many short steps, so that
nobody else waits for them. What an import that was cut short has stored stays.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from typing import TypeVar

import attrs

from olmstate.actors._account.operations import own_identity
from olmstate.actors._engine.capability import Asking
from olmstate.actors._engine.turn import Turn
from olmstate.actors._room_keys.actor import (
    AddRoomKeys,
    InboundGroupSessionsActor,
    MoreClaimsPage,
    NewRoomKey,
    RoomKeyEntry,
    RoomKeysPage,
)
from olmstate.actors._room_keys.claims import Claim
from olmstate.actors._room_keys.copies import RoomKeyCopy, export, session_from_export, session_from_room_key
from olmstate.actors._wire.algorithms import MEGOLM
from olmstate.actors._wire.key_file import decrypt_key_file, encrypt_key_file
from olmstate.actors._wire.untrusted_json import as_object, check_depth, json_object, optional, string, strings
from olmstate.messages import (
    AddRoomKey,
    Command,
    Curve25519Key,
    DeviceIdentity,
    Ed25519Key,
    ExportKeyFile,
    ExportRoomKeys,
    ImportKeyFile,
    ImportRoomKeys,
    Json,
    JsonObject,
    MalformedMessage,
    MegolmSessionId,
    RejectedRoomKey,
    RoomId,
    RoomKeyChange,
    RoomKeyImportProgress,
    RoomKeysImported,
    RoomKeysReceived,
)
from olmstate.storage import in_thread

R = TypeVar("R")

CHUNK = 200
"""Keys a turn: about 10 ms of checking, so that others get theirs in between."""


async def add_room_key(turn: Turn, command: AddRoomKey) -> RoomKeyChange:
    """Store one room key."""
    _check_texts(command)
    own = await own_identity(turn)
    if own is not None and (command.sender_key == own.curve25519 or command.sender_ed25519 == own.ed25519):
        raise RejectedRoomKey(reason="its sender's keys are this device's own")
    copy = RoomKeyCopy(session=session_from_room_key(command.session_key, command.session_id), signed=True)
    claim = Claim(sender_key=command.sender_key, ed25519=command.sender_ed25519, sender=command.sender)
    new = NewRoomKey(room_id=command.room_id, session_id=command.session_id, copy=copy, claim=claim)
    (change,) = await turn[InboundGroupSessionsActor].ask(AddRoomKeys(room_keys=(new,)))
    if change != "known":
        turn.events.append(RoomKeysReceived(room_keys=((command.room_id, command.session_id),)))
    return change


def _check_texts(command: AddRoomKey) -> None:
    """Refuse what an import would refuse: what was stored can be exported, and an export can be imported."""
    given = attrs.asdict(command)
    try:
        for field in ("room_id", "sender_key", "sender_ed25519", "sender"):
            string(given, field)
    except MalformedMessage as error:
        raise RejectedRoomKey(reason=error.reason) from None


# --- importing ----------------------------------------------------------------------------------------------


@attrs.frozen(kw_only=True)
class ImportChunk(Command[RoomKeysImported]):
    """One step of an import."""

    keys: tuple[Json, ...] = attrs.field(repr=False)


async def import_chunk(turn: Turn, command: ImportChunk) -> RoomKeysImported:
    """Take in exported room keys, each apart."""
    own = await own_identity(turn)
    new: list[NewRoomKey] = []
    for key in command.keys:
        try:
            new.append(_exported(key, own))
        except (MalformedMessage, RejectedRoomKey):
            continue
    changes = await turn[InboundGroupSessionsActor].ask(AddRoomKeys(room_keys=tuple(new)))
    received = tuple(
        (key.room_id, key.session_id) for key, change in zip(new, changes, strict=True) if change != "known"
    )
    if received:
        turn.events.append(RoomKeysReceived(room_keys=received))
    return RoomKeysImported(total=len(command.keys), imported=len(received), rejected=len(command.keys) - len(new))


def _exported(key: Json, own: DeviceIdentity | None) -> NewRoomKey:
    """One entry of an export (spec: Key export format)."""
    check_depth(key)
    key = as_object(key, "the exported key")
    if key.get("algorithm") != MEGOLM:
        raise RejectedRoomKey(reason="not a Megolm session")
    session_id = MegolmSessionId(string(key, "session_id"))
    sender_key = Curve25519Key(string(key, "sender_key"))
    ed25519 = Ed25519Key(string(json_object(key, "sender_claimed_keys"), "ed25519"))
    claim = Claim(
        sender_key=sender_key,
        ed25519=ed25519,
        sender=None,
        own=own is not None and (sender_key, ed25519) == (own.curve25519, own.ed25519),
        forwarding_chain=optional(strings, key, "forwarding_curve25519_key_chain") or (),
    )
    session = session_from_export(string(key, "session_key"), session_id)
    return NewRoomKey(
        room_id=RoomId(string(key, "room_id")),
        session_id=session_id,
        copy=RoomKeyCopy(session=session, signed=False, exported=(claim,)),
        claim=None,
    )


# --- procedures, in the asker's task ------------------------------------------------------------------------


async def import_room_keys(supervisor: Asking, procedure: ImportRoomKeys) -> RoomKeysImported:
    """Take in exported room keys, a chunk a turn."""
    imported = rejected = 0
    for start in range(
        0, max(1, len(procedure.keys)), CHUNK
    ):  # nothing is a step, too: it says whether the store works
        chunk = procedure.keys[start : start + CHUNK]
        done = await supervisor.ask(ImportChunk(keys=chunk))
        imported += done.imported
        rejected += done.rejected
        supervisor.publish(RoomKeyImportProgress(done=start + len(chunk), total=len(procedure.keys)))
    return RoomKeysImported(total=len(procedure.keys), imported=imported, rejected=rejected)


async def import_key_file(supervisor: Asking, procedure: ImportKeyFile) -> RoomKeysImported:
    """Decrypt a key file and take in what it holds."""
    keys: Sequence[Json] = await in_thread(lambda: decrypt_key_file(procedure.file, procedure.passphrase))
    return await supervisor.ask(ImportRoomKeys(keys=tuple(keys)))


async def export_room_keys(supervisor: Asking, procedure: ExportRoomKeys) -> tuple[JsonObject, ...]:
    """All room keys, page by page, of each the most trusted copy first, and with it what its senders say."""
    more_claims = await _more_claims(supervisor)
    keys: list[JsonObject] = []
    after, page = await supervisor.ask(RoomKeysPage())
    while page:
        keys.extend(
            exported
            for entry in page
            if procedure.room_id in (None, entry.room_id)
            for exported in _exports(entry, more_claims)
        )
        after, page = await supervisor.ask(RoomKeysPage(after=after))
    return tuple(keys)


async def _more_claims(supervisor: Asking) -> dict[tuple[RoomId, str], tuple[Claim, ...]]:
    """The claims that are kept apart from their sessions; there are hardly ever any."""
    found: dict[tuple[RoomId, str], tuple[Claim, ...]] = {}
    after, page = await supervisor.ask(MoreClaimsPage())
    while page:
        for entry in page:
            named = entry.room_id, entry.session_id
            found[named] = (*found.get(named, ()), *entry.claims)
        after, page = await supervisor.ask(MoreClaimsPage(after=after))
    return found


def _exports(entry: RoomKeyEntry, more_claims: Mapping[tuple[RoomId, str], tuple[Claim, ...]]) -> Iterable[JsonObject]:
    """Each copy as often as there are claims on it: an export names no users, so that each may be the one."""
    for copy in entry.copies:
        claims = copy.exported
        if copy.signed:
            claims = (*entry.claims, *more_claims.get((entry.room_id, copy.session.session_id), ()), *claims)
        elif entry.copies[0].signed:
            continue  # beside a signed one, what doesn't connect is a forgery
        session_key = export(copy.session)
        by_keys: dict[tuple[Curve25519Key, Ed25519Key], Claim] = {}
        for claim in claims:
            by_keys.setdefault((claim.sender_key, claim.ed25519), claim)
        for claim in by_keys.values():
            yield _export(entry.room_id, copy.session.session_id, session_key, claim)


def _export(room_id: RoomId, session_id: str, session_key: str, claim: Claim) -> JsonObject:
    """A copy from its first index, with one claim on it."""
    return {
        "algorithm": MEGOLM,
        "room_id": room_id,
        "session_id": session_id,
        "session_key": session_key,
        "sender_key": claim.sender_key,
        "sender_claimed_keys": {"ed25519": claim.ed25519},
        "forwarding_curve25519_key_chain": list(claim.forwarding_chain),
    }


async def export_key_file(supervisor: Asking, procedure: ExportKeyFile) -> str:
    """All room keys as an encrypted file."""
    keys = await supervisor.ask(ExportRoomKeys(room_id=procedure.room_id))
    return await in_thread(lambda: encrypt_key_file(list(keys), procedure.passphrase, rounds=procedure.rounds))
