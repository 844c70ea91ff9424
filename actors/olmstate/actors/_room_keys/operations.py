"""Adding, importing and exporting room keys (spec: Key exports).

An import may be of 100,000 keys, and an export as long: both run in the asker's task as many short steps, so that
nobody else waits for them. What an import that was cut short has stored stays.
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Iterable, Sequence
from itertools import chain
from typing import TypeVar

import attrs
import trio

from olmstate.actors._account.operations import own_identity
from olmstate.actors._engine.capability import Asking
from olmstate.actors._engine.slices import SlicesOf, in_slices
from olmstate.actors._engine.turn import Turn
from olmstate.actors._room_keys.actor import (
    AddRoomKeys,
    ChangedClaims,
    DecryptSome,
    GroupRoomKeys,
    InboundGroupSessionsActor,
    LookUpRoomKeys,
    MoreClaims,
    MoreClaimsPage,
    NewRoomKey,
    RoomKeyEntry,
    RoomKeysPage,
)
from olmstate.actors._room_keys.claims import Claim
from olmstate.actors._room_keys.copies import RoomKeyCopy, export, session_from_export, session_from_room_key
from olmstate.actors._room_keys.message_indices import BLOCK, index_of, steps_between
from olmstate.actors._room_keys.points import tell_of_room_keys
from olmstate.actors._room_keys.receiving import keep_room_keys
from olmstate.actors._wire.algorithms import MEGOLM
from olmstate.actors._wire.curve25519 import curve25519_key
from olmstate.actors._wire.key_file import Derivation, FileKeys, SealedFile, finish, read_sessions, write_key_file
from olmstate.actors._wire.quiet_struct import QuietStruct
from olmstate.actors._wire.shares import surplus
from olmstate.actors._wire.signatures import ed25519_key
from olmstate.actors._wire.untrusted_json import (
    as_object,
    check_depth,
    is_object,
    json_object,
    optional,
    string,
    strings,
)
from olmstate.actors._wire.weight import CHARACTERS_AS_ONE, weight
from olmstate.messages import (
    AddRoomKey,
    Command,
    Curve25519Key,
    DecryptedRoomEvent,
    DecryptionError,
    DecryptRoomEvents,
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
    RoomKeyExportProgress,
    RoomKeyImportProgress,
    RoomKeysImported,
)
from olmstate.storage import Position, in_thread

R = TypeVar("R")

EVENTS_AT_ONCE = 28
"""Decrypted without giving other tasks a chance: a millisecond."""
STEPS_AS_ONE = 250
"""Of the ratchet. Its sender decides how far it has to go for an event, and it may be a thousand steps."""
CHUNK = 200
"""Keys a turn: about 10 ms of checking, so that others get theirs in between."""
AT_ONCE = 16
"""Keys checked without giving other tasks a chance, or fewer that are large: below a millisecond."""
PAGE = 32
"""Keys read and exported without giving other tasks a chance: about a millisecond."""
CLAIMS_FORWARDED = 64
"""Of one session. Each is a message, on which the other side's ratchet goes on."""


async def add_room_key(turn: Turn, command: AddRoomKey) -> RoomKeyChange:
    """Store one room key."""
    claim = _claim_of(command)
    own = await own_identity(turn)
    if own is not None and (claim.sender_key == own.curve25519 or claim.ed25519 == own.ed25519):
        raise RejectedRoomKey(reason="its sender's keys are this device's own")
    copy = RoomKeyCopy(session=session_from_room_key(command.session_key, command.session_id), signed=True)
    new = NewRoomKey(room_id=command.room_id, session_id=command.session_id, copy=copy, claim=claim)
    (change,) = await turn[InboundGroupSessionsActor].ask(AddRoomKeys(room_keys=(new,)))
    session = ((command.room_id, command.session_id),)
    await tell_of_room_keys(turn, *([(), session] if change == "known" else [session]))
    return change


def _claim_of(command: AddRoomKey) -> Claim:
    """Refuse what an import would refuse: what was stored can be exported, and an export can be imported."""
    given = attrs.asdict(command)
    try:
        for field in ("room_id", "sender"):
            string(given, field)
        return Claim(
            sender_key=curve25519_key(command.sender_key, "sender_key"),
            ed25519=ed25519_key(command.sender_ed25519, "sender_ed25519"),
            sender=command.sender,
        )
    except MalformedMessage as error:
        raise RejectedRoomKey(reason=error.reason) from None


# --- decrypting ---------------------------------------------------------------------------------------------


async def decrypt_room_events(
    supervisor: Asking, procedure: DecryptRoomEvents
) -> tuple[DecryptedRoomEvent | DecryptionError, ...]:
    """Decrypt any number of events, each apart. Each is decrypted with what is known when its own turn comes."""
    outcomes: list[DecryptedRoomEvent | DecryptionError] = []
    if not procedure.events:  # whoever asks hears whether anybody still answers, and of what the store knows by now
        return await supervisor.ask(DecryptSome(events=()))
    async for some in SlicesOf(procedure.events, EVENTS_AT_ONCE, _WorkToDecrypt()):
        decrypted = await supervisor.ask(DecryptSome(events=some, required_trust=procedure.required_trust))
        outcomes += decrypted
    return tuple(outcomes)


class _WorkToDecrypt:
    """How much work events are that are decrypted one after another."""

    def __init__(self) -> None:
        self._last: dict[str, int] = {}
        """The message index of the last event of each session."""

    def __call__(self, named: tuple[RoomId, Json]) -> int:
        _, event = named
        content = event.get("content") if is_object(event) else None
        if not is_object(content):
            return 1
        ciphertext, session_id = content.get("ciphertext"), content.get("session_id")
        if not isinstance(ciphertext, str) or not isinstance(session_id, str):
            return 1
        index, last = index_of(ciphertext) or 0, self._last.get(session_id, 0)
        self._last[session_id] = index
        steps = index - last if last <= index < last + BLOCK else steps_between(last, index)
        return 1 + steps // STEPS_AS_ONE + len(ciphertext) // CHARACTERS_AS_ONE


# --- importing ----------------------------------------------------------------------------------------------


class ImportChunk(QuietStruct, Command[RoomKeysImported], kw_only=True, frozen=True):
    """One step of an import."""

    keys: tuple[Json, ...]


async def import_chunk(turn: Turn, command: ImportChunk) -> RoomKeysImported:
    """Take in exported room keys, each apart."""
    own = await own_identity(turn)
    new: list[NewRoomKey] = []
    async for keys in SlicesOf(command.keys, AT_ONCE, weight):
        for key in keys:
            try:
                new.append(room_key_from_export(key, own))
            except (MalformedMessage, RejectedRoomKey):
                continue
    received: list[tuple[RoomId, MegolmSessionId]] = []
    async for some in SlicesOf(new, AT_ONCE):
        received += await keep_room_keys(turn, some)
    await tell_of_room_keys(turn, received)
    return RoomKeysImported(total=len(command.keys), imported=len(received), rejected=len(command.keys) - len(new))


def room_key_from_export(key: Json, own: DeviceIdentity | None) -> NewRoomKey:
    """One entry of an export (spec: Key export format).

    Raises:
        MalformedMessage, RejectedRoomKey: It is none.
    """
    check_depth(key)
    key = as_object(key, "the exported key")
    if key.get("algorithm") != MEGOLM:
        raise RejectedRoomKey(reason="not a Megolm session")
    session_id = MegolmSessionId(string(key, "session_id"))
    # as devices have theirs, or nobody's would be like it
    sender_key = curve25519_key(string(key, "sender_key"), "sender_key")
    ed25519 = ed25519_key(string(json_object(key, "sender_claimed_keys"), "ed25519"), "sender_claimed_keys")
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


class GroupChunk(QuietStruct, Command[None], kw_only=True, frozen=True):
    """One step of having room keys found by their room."""

    room_keys: tuple[tuple[RoomId, MegolmSessionId], ...]


async def group_chunk(turn: Turn, command: GroupChunk) -> None:
    """Have some room keys be found by their room."""
    await turn[InboundGroupSessionsActor].ask(GroupRoomKeys(room_keys=command.room_keys))


# --- procedures, in the asker's task ------------------------------------------------------------------------


async def import_room_keys(supervisor: Asking, procedure: ImportRoomKeys) -> RoomKeysImported:
    """Take in exported room keys, a chunk a turn."""
    return await _import(supervisor, [procedure.keys], total=len(procedure.keys))


async def _import(supervisor: Asking, parts: Iterable[Sequence[Json]], *, total: int) -> RoomKeysImported:
    done = imported = rejected = 0
    waiting: list[Json] = []
    for part in parts:
        waiting += part
        start = 0
        while len(waiting) - start >= (CHUNK if done + len(waiting) - start < total else 1):
            chunk = tuple(waiting[start : start + CHUNK])
            start += len(chunk)
            result = await supervisor.ask(ImportChunk(keys=chunk))
            imported += result.imported
            rejected += result.rejected
            done += len(chunk)
            supervisor.publish(RoomKeyImportProgress(done=done, total=total))
        del waiting[:start]
        await trio.lowlevel.checkpoint()
    if not total:  # nothing is a step, too: it says whether the store works
        await supervisor.ask(ImportChunk(keys=()))
    return RoomKeysImported(total=total, imported=imported, rejected=rejected)


async def import_key_file(supervisor: Asking, procedure: ImportKeyFile) -> RoomKeysImported:
    """Decrypt a key file and take in what it holds."""
    file = await in_slices(SealedFile.read(procedure.file))
    keys = await derive_in_thread(procedure.passphrase, file.derivation)
    await in_slices(file.check(keys))
    total = 0
    # all is read before anything is stored, and read again rather than kept: 100,000 parsed keys take 200 MB
    for some in read_sessions(file, keys):
        total += len(some)
        await trio.lowlevel.checkpoint()
    return await _import(supervisor, read_sessions(file, keys), total=total)


async def derive_in_thread(passphrase: str, derivation: Derivation) -> FileKeys:
    """A key file's keys. Who is cancelled doesn't wait for them: the thread ends by itself."""
    return await in_thread(lambda: FileKeys.derive(passphrase, derivation), abandon_on_cancel=True)


async def export_room_keys(supervisor: Asking, procedure: ExportRoomKeys) -> tuple[JsonObject, ...]:
    """All room keys, page by page, of each the most trusted copy first, and with it what its senders say."""
    keys: list[JsonObject] = []
    await _export(supervisor, procedure.room_id, keys.extend)
    return tuple(keys)


async def export_key_file(supervisor: Asking, procedure: ExportKeyFile) -> str:
    """All room keys as an encrypted file."""
    derivation = Derivation.new(procedure.rounds)
    writer = write_key_file(derivation, await derive_in_thread(procedure.passphrase, derivation))
    next(writer)
    await _export(supervisor, procedure.room_id, writer.send)
    return finish(writer)


async def _export(supervisor: Asking, room_id: RoomId | None, take: Callable[[Sequence[JsonObject]], object]) -> None:
    """Hand all room keys, or a room's, to ``take``, some at a time."""
    group = None
    if room_id is not None:
        await _group_all(supervisor)
        group = (room_id,)
    done = 0
    after, page = await supervisor.ask(RoomKeysPage(limit=PAGE, group=group))
    while page:
        exported: list[JsonObject] = []
        for entry in page:
            exported += _exports(entry, await _more_claims(supervisor.ask, entry))
        take(exported)
        done += len(exported)
        supervisor.publish(RoomKeyExportProgress(done=done))
        after, page = await supervisor.ask(RoomKeysPage(after=after, limit=PAGE, group=group))


async def _group_all(supervisor: Asking) -> None:
    """Have those room keys be found by their room that an early version has written; later there are none."""
    after, page = await supervisor.ask(RoomKeysPage(limit=PAGE, group=()))
    while page:
        names = tuple((entry.room_id, MegolmSessionId(entry.copies[0].session.session_id)) for entry in page)
        await supervisor.ask(GroupChunk(room_keys=names))
        after, page = await supervisor.ask(RoomKeysPage(after=after, limit=PAGE, group=()))


async def _more_claims(
    ask: Callable[[MoreClaimsPage], Awaitable[tuple[Position, tuple[MoreClaims, ...]]]],
    entry: RoomKeyEntry,
    choose: Callable[[list[Claim]], list[Claim]] = list[Claim],
) -> list[Claim]:
    """The claims on a session that are kept apart from it, and there are hardly ever any; those that are chosen."""
    found: list[Claim] = []
    if not entry.more_claims:
        return found
    session_id = entry.copies[0].session.session_id
    for group in ((entry.room_id, session_id), (entry.room_id,), ()):
        after, page = await ask(MoreClaimsPage(group=group, limit=PAGE))
        while page:
            found = choose([*found, *_claims_on(entry.room_id, session_id, page)])
            after, page = await ask(MoreClaimsPage(after=after, group=group, limit=PAGE))
    return found


def _claims_on(room_id: RoomId, session_id: str, more: Iterable[MoreClaims]) -> Iterable[Claim]:
    return chain.from_iterable(each.claims for each in more if (each.room_id, each.session_id) == (room_id, session_id))


def _shared_out(claims: list[Claim]) -> list[Claim]:
    """Those that are forwarded, each once: of equals, what comes first."""
    claims = list(dict.fromkeys(claims))  # what a turn adds to is in a page, too
    gone = set(surplus([(claim, claim.sender, 0) for claim in reversed(claims)], number=CLAIMS_FORWARDED))
    return [claim for claim in claims if claim not in gone]


async def forwarded_keys(turn: Turn, session: tuple[RoomId, MegolmSessionId]) -> list[JsonObject]:
    """The most trusted copy of a session as entries of an export: once for each claim on it; none if there is no key.

    Whoever was given the key can have claimed it first, and an entry names no user. With that one alone, its maker's
    messages would be nobody's where it arrives. So where there are too many claims, those go of whoever has the most.
    What this device has made is nobody else's.
    """
    actor = turn[InboundGroupSessionsActor]
    (entry,) = await actor.ask(LookUpRoomKeys(sessions=(session,)))
    if entry is None:
        return []
    copy = entry.copies[0]
    if entry.claims and entry.claims[0].own:
        return _exported_for_each(entry.room_id, copy, entry.claims[:1])
    more = await _more_claims(actor.ask, entry, _shared_out)
    async for some in SlicesOf(await actor.ask(ChangedClaims()), PAGE):
        more = _shared_out([*more, *_claims_on(*session, some)])
    return _exported_for_each(entry.room_id, copy, _shared_out(_claims_on_copy(entry, copy, more)))


def _exports(entry: RoomKeyEntry, more: Sequence[Claim]) -> Iterable[JsonObject]:
    """Each copy as often as there are claims on it: an export names no users, so that each may be the one."""
    for copy in entry.copies:
        if copy.signed or not entry.copies[0].signed:  # beside a signed one, what doesn't connect is a forgery
            yield from _exported_for_each(entry.room_id, copy, _claims_on_copy(entry, copy, more))


def _claims_on_copy(entry: RoomKeyEntry, copy: RoomKeyCopy, more: Sequence[Claim]) -> list[Claim]:
    """Those on one copy, of each pair of keys the first; ``more`` are kept apart from the session."""
    if copy.signed:
        claims = (*entry.claims, *more, *copy.exported)
    else:
        claims = (*copy.exported, *(claim for claim in more if claim.sender is None))
    by_keys: dict[tuple[Curve25519Key, Ed25519Key], Claim] = {}
    for claim in claims:
        by_keys.setdefault((claim.sender_key, claim.ed25519), claim)
    return list(by_keys.values())


def _exported_for_each(room_id: RoomId, copy: RoomKeyCopy, claims: Iterable[Claim]) -> list[JsonObject]:
    """A copy from its first index, once for each claim on it."""
    session_id, session_key = copy.session.session_id, export(copy.session)
    return [
        {
            "algorithm": MEGOLM,
            "room_id": room_id,
            "session_id": session_id,
            "session_key": session_key,
            "sender_key": claim.sender_key,
            "sender_claimed_keys": {"ed25519": claim.ed25519},
            "forwarding_curve25519_key_chain": list(claim.forwarding_chain),
        }
        for claim in claims
    ]
