"""Structure-aware mutation: JSON in, JSON out, of nearly the same shape.

Most changes to the bytes of a JSON text make it no JSON. These change a value, a key or the bytes within base64, so
that what is behind the parser is reached.
"""

from __future__ import annotations

import base64
import binascii
import copy
import json
import random
from collections.abc import Callable
from typing import Any, Final

from olmstate.actors._wire.untrusted_json import is_array, is_object
from olmstate.messages import Json

Slot = tuple[Any, Any]
"""A container and the key or index of one of its values."""

VALUES: Final[tuple[Json, ...]] = (
    *(None, True, False, 0, 1, 2, 3, -1, 255, 2**31, 2**32, 2**53, 2**63, 2**64, 10**400, -(10**30), 1.0, 1e308, -0.5),
    *(
        "",
        "\0",
        "\ud800",
        "é",
        "\U0001f600",
        "a" * 300,
        "=",
        "AA",
        "A" * 43,
        "A" * 44,
        "A" * 86,
        [],
        {},
        [[]],
        {"": {}},
    ),
    *("m.room.encrypted", "m.room_key", "m.room_key.withheld", "m.forwarded_room_key", "m.dummy"),
    *(
        "m.olm.v1.curve25519-aes-sha2",
        "m.megolm.v1.aes-sha2",
        "signed_curve25519:F0",
        "signed_curve25519",
        "@alice:rec.test",
    ),
)
KEYS: Final = (
    *(
        "type",
        "content",
        "sender",
        "algorithm",
        "ciphertext",
        "body",
        "sender_key",
        "session_id",
        "session_key",
        "event_id",
    ),
    *(
        "room_id",
        "keys",
        "ed25519",
        "recipient",
        "recipient_keys",
        "sender_device_keys",
        "code",
        "signatures",
        "",
        "\ud800",
    ),
    *("device_unused_fallback_key_types", "device_one_time_keys_count", "to_device", "events", "next_batch", "key"),
    *("sender_claimed_keys", "forwarding_curve25519_key_chain", "user_id", "device_id", "algorithms", "fallback"),
)
LENGTHS: Final = (0, 1, 8, 16, 31, 32, 33, 34, 64, 65, 96, 97, 128, 165, 229)
DEPTHS: Final = (3, 120, 127, 128, 129, 130, 513, 900)


def mutate(data: bytes, rng: random.Random, largest: int) -> bytes | None:
    """Other JSON, at most ``largest`` bytes of it; None if ``data`` is no JSON or the change came out too large."""
    try:
        whole: list[Json] = [json.loads(data)]
        for _ in range(rng.choice((1, 1, 1, 2, 4))):
            _change(whole, rng)
        mutated = json.dumps(whole[0], ensure_ascii=rng.random() < 0.5, separators=(",", ":"))
        octets = mutated.encode("utf-8", "surrogatepass")
    except (ValueError, RecursionError):
        return None
    return octets if len(octets) <= largest else None


def _change(whole: list[Json], rng: random.Random) -> None:
    slots = _slots(whole)
    container, at = rng.choice(slots)
    value = container[at]
    changes: list[Callable[[], None]] = [
        lambda: _put(container, at, copy.deepcopy(rng.choice(VALUES))),
        lambda: _put(container, at, copy.deepcopy(_value(rng.choice(slots)))),
        lambda: _put(container, at, _nested(value, rng)),
    ]
    if container is not whole:
        changes.append(lambda: container.__delitem__(at))
    if isinstance(value, str):
        changes += [lambda: _put(container, at, _text(value, rng))] * 6
    if isinstance(value, int):
        changes += [lambda: _put(container, at, value + rng.choice((-1, 1, 255, 2**32)))] * 2
    if is_object(container):
        fields = container
        changes.append(lambda: _put(fields, _key(at, slots, rng), fields.pop(at)))
        changes.append(lambda: _put(fields, rng.choice(KEYS), copy.deepcopy(_value(rng.choice(slots)))))
    elif container is not whole:
        items: list[Json] = container
        changes += [lambda: items.insert(rng.randint(0, len(items)), copy.deepcopy(value))] * 2
        changes.append(lambda: rng.shuffle(items))
    rng.choice(changes)()


def _slots(whole: list[Json]) -> list[Slot]:
    found: list[Slot] = []
    todo: list[Any] = [whole]
    for container in todo:
        at_each: list[Any] = list(container) if is_object(container) else list(range(len(container)))
        for at in at_each:
            found.append((container, at))
            if is_object(container[at]) or is_array(container[at]):
                todo.append(container[at])
    return found


def _value(slot: Slot) -> Json:
    container, at = slot
    return container[at]


def _put(container: Any, at: Any, value: Json) -> None:  # noqa: ANN401 - an object or an array
    container[at] = value


def _key(key: str, slots: list[Slot], rng: random.Random) -> str:
    others = [at for _, at in slots if isinstance(at, str)]
    return rng.choice((rng.choice(KEYS), rng.choice(others), _text(key, rng)))


def _nested(value: Json, rng: random.Random) -> Json:
    for _ in range(rng.choice(DEPTHS)):
        value = {"a": value} if rng.random() < 0.5 else [value]
    return value


def _text(text: str, rng: random.Random) -> str:
    if rng.random() < 0.7:  # most strings of ours are base64
        try:
            octets = bytearray(base64.b64decode(text + "=" * (-len(text) % 4), validate=True))
        except (binascii.Error, ValueError):
            pass
        else:
            return _spelt(_octets(octets, rng), rng)
    at = rng.randint(0, len(text))
    return rng.choice(
        (
            text[:at],
            text[at:],
            text + rng.choice(("=", "==", " ", "\0", "\ud800", "é")),
            text[:at] + chr(rng.choice((rng.randrange(128), rng.randrange(0x11000)))) + text[at + 1 :],
            text * 2,
        )
    )


def _octets(octets: bytearray, rng: random.Random) -> bytes:
    kind = rng.randrange(5)
    if kind == 0:
        return bytes(octets).ljust(64, b"\1")[: rng.choice(LENGTHS)]
    at = rng.randrange(len(octets)) if octets else 0
    if kind == 1 or not octets:
        return bytes(octets[:at]) + rng.randbytes(rng.randint(1, 4)) + bytes(octets[at:])
    if kind == 2:
        return bytes(octets[:at])
    octets[at] = rng.randrange(256) if kind == 3 else octets[at] ^ 1 << rng.randrange(8)
    return bytes(octets)


def _spelt(octets: bytes, rng: random.Random) -> str:
    padded = base64.b64encode(octets).decode("ascii")
    return padded if rng.random() < 0.1 else padded.rstrip("=")
