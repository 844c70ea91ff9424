"""Olm and Megolm messages that were read before, written anew field by field: nothing may be read a second time.

An input is JSON: which message, and its fields as ``[number, value, octets that a number is longer]``. A value that is
the name of a genuine one stands for that, since keys and ciphertexts are others in every process.
"""

from __future__ import annotations

import functools
from collections.abc import Iterable, Mapping
from typing import Any

from vodozemac import AnyOlmMessage, GroupSession, MegolmMessage

from olmstate.actors._wire.untrusted_json import is_array, is_object
from olmstate.messages import (
    DecryptedRoomEvent,
    DecryptedToDevice,
    DecryptRoomEvents,
    DecryptToDevice,
    Json,
    JsonObject,
    PrepareOneTimeKeys,
    ReplayedMessage,
    ReplayedToDevice,
)
from olmstate.storage import Rows, Table
from tests.faults.fuzz.device import ROOM, Device, lived, on_device
from tests.faults.fuzz.sealed import PICKLE_KEY
from tests.faults.fuzz.target import Target, dump, parse
from tests.operations.spelling import field, parse_fields, without_keys
from tests.peer.encoding import b64, unb64

KEYS: list[Json] = [[1, "one-time key", 0], [2, "base key", 0], [3, "identity key", 0], [4, "within", 0]]
OLM: list[Json] = [[1, "ratchet key", 0], [2, "index", 0], [4, "ciphertext", 0]]
MEGOLM: list[Json] = [[1, "index", 0], [2, "ciphertext", 0]]
UNKNOWN: list[Json] = [[5, 1, 0], [6, "AAAA", 9], [2047, 2**63, 3]]
MAC, SIGNATURE = 8, 64
LARGEST_FIELDS = 40


def _seeds() -> Iterable[bytes]:
    for session in ("there", "dropped"):
        for kind in (0, 1):
            for keys, within in (
                (KEYS, OLM),
                (KEYS[::-1], OLM[::-1]),
                ([*KEYS, *UNKNOWN], [*UNKNOWN, *OLM]),
                ([[4, "AAAA", 0], *KEYS], [[2, 7, 0], *OLM]),
                ([[number, name, 9] for number, name, _ in KEYS], [[number, name, 9] for number, name, _ in OLM]),
            ):
                yield dump({"session": session, "type": kind, "keys": keys, "within": within})
    for within in (MEGOLM, MEGOLM[::-1], [*MEGOLM, *UNKNOWN], [[1, 5, 0], *MEGOLM]):
        yield dump({"type": "megolm", "within": within})


def _run(data: bytes) -> None:
    given = parse(data)
    told: JsonObject = given if is_object(given) else {}
    if told.get("type") == "megolm":
        _run_megolm(told)
    else:
        _run_olm(told)


# --- Olm ----------------------------------------------------------------------------------------------------


def _run_olm(told: JsonObject) -> None:
    own = lived().identity.curve25519
    body = unb64(lived().first_pre_key["content"]["ciphertext"][own]["body"])
    keys, genuine = dict(parse_fields(body[1:])), without_keys(body)
    inner = dict(parse_fields(genuine[1:-MAC]))
    within = genuine[:1] + _spelt(
        told.get("within"), {"ratchet key": inner[1], "index": inner[2], "ciphertext": inner[4]}
    )
    within += genuine[-MAC:]
    kind = 1 if told.get("type") == 1 else 0
    named = {"one-time key": keys[1], "base key": keys[2], "identity key": keys[3], "within": within}
    spelt = within if kind else body[:1] + _spelt(told.get("keys"), named)
    dropped = told.get("session") == "dropped"
    is_the_same = _olm_as_understood(kind, spelt) == genuine and not (kind and dropped)
    event = lived().bob.olm_event(lived().identity, b"", lived().bob.sessions[0])
    event["content"]["ciphertext"][own] = {"type": kind, "body": b64(spelt)}

    async def decrypt(device: Device) -> None:
        for outcome in await device.supervisor.ask(DecryptToDevice(events=(event, event))):
            assert not isinstance(outcome, DecryptedToDevice), "it was decrypted twice"
            assert isinstance(outcome, ReplayedToDevice) or not is_the_same, "it is the same, and was not known again"

    on_device(decrypt, rows=_without_the_session() if dropped else None)


def _olm_as_understood(kind: int, body: bytes) -> bytes | None:
    try:
        _, canonical = AnyOlmMessage.from_parts(kind, body).to_parts()
    except ValueError:
        return None
    return canonical if kind else without_keys(canonical)


@functools.cache
def _without_the_session() -> Rows:
    """The device after bob has begun so many sessions since that the first one was dropped."""
    found: list[Rows] = []
    bob, own = lived().bob, lived().identity

    async def drop(device: Device) -> None:
        (fallback,) = (await device.supervisor.ask(PrepareOneTimeKeys())).fallback_keys.values()
        sessions = [bob.start_session(own, fallback) for _ in range(10)]
        events = tuple(bob.event(own, session=session) for session in sessions)
        del bob.sessions[-10:]
        outcomes = await device.supervisor.ask(DecryptToDevice(events=events))
        assert {DecryptedToDevice} == set(map(type, outcomes))
        found.append({table: device.disk.rows(table) for table in Table})

    on_device(drop, rows=lived().rows)
    return found[0]


# --- Megolm -------------------------------------------------------------------------------------------------


def _run_megolm(told: JsonObject) -> None:
    group = GroupSession.from_pickle(lived().group.pickle(PICKLE_KEY), PICKLE_KEY)
    event = lived().bob.room_event(ROOM, group, event_id="$first")
    body = unb64(event["content"]["ciphertext"])
    tail = MAC + SIGNATURE
    inner = dict(parse_fields(body[1:-tail]))
    spelt = body[:1] + _spelt(told.get("within"), {"index": inner.get(1, 0), "ciphertext": inner[2]}) + body[-tail:]
    again = {**event, "event_id": "$again", "content": {**event["content"], "ciphertext": b64(spelt)}}
    is_the_same = _megolm_as_understood(spelt) == body

    async def decrypt(device: Device) -> None:
        first, second = await device.supervisor.ask(DecryptRoomEvents(events=((ROOM, event), (ROOM, again))))
        assert isinstance(first, DecryptedRoomEvent), first
        assert not isinstance(second, DecryptedRoomEvent), "it was decrypted twice"
        assert isinstance(second, ReplayedMessage) or not is_the_same, "it is the same, and was not known again"

    on_device(decrypt)


def _megolm_as_understood(body: bytes) -> bytes | None:
    try:
        return unb64(MegolmMessage.from_base64(b64(body)).to_base64())
    except ValueError:
        return None


# --- fields -------------------------------------------------------------------------------------------------


def _spelt(fields: Json, named: Mapping[str, Any]) -> bytes:
    """The fields as bytes; what is no field is left out."""
    parts: list[bytes] = []
    for each in fields[:LARGEST_FIELDS] if is_array(fields) else ():
        if is_array(each) and len(each) == 3:
            number, value, longer = each
            if isinstance(value, str):
                value = named.get(value, value)
            if isinstance(value, str):
                value = value.encode("utf-8", "surrogatepass")
            if (
                _is_small(number, 2**29)
                and _is_small(longer, 10)
                and (isinstance(value, bytes) or _is_small(value, 2**64))
            ):
                parts.append(field(number, value, longer=longer))
    return b"".join(parts)


def _is_small(value: Json, limit: int) -> bool:
    return isinstance(value, int) and 0 <= value < limit


TARGET = Target(seeds=_seeds, run=_run)
