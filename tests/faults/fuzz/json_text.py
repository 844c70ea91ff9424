"""JSON that somebody else wrote: the parser, and what walks a parsed value."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterable
from contextlib import suppress
from typing import Final

from olmstate.actors._wire.payload import encode_payload
from olmstate.actors._wire.signatures import canonical_json, signing_bytes
from olmstate.actors._wire.untrusted_json import (
    MAX_DEPTH,
    array_of,
    boolean,
    check_depth,
    integer,
    is_object,
    json_object,
    loads,
    optional,
    string,
    strings,
)
from olmstate.messages import Json, JsonObject, MalformedContent, MalformedMessage
from tests.faults.fuzz.device import recording
from tests.faults.fuzz.target import Target, dump

GETTERS: Final[tuple[Callable[[JsonObject, str], Json], ...]] = (
    json_object,
    array_of,
    strings,
    string,
    integer,
    boolean,
)


def _seeds() -> Iterable[bytes]:
    yield from (b"[" * depth + b"]" * depth for depth in (1, MAX_DEPTH, MAX_DEPTH + 1, 3000))
    yield b'{"a":' * 900
    yield rb'{"a":"[[[{\"\\","b":["\ud800","\ud83d\ude00",1e400,-0,1E5,NaN]}'
    yield b'\xef\xbb\xbf{"":""}'
    yield b"1" * 4300
    yield b"-" + b"1" * 4301
    yield dump(recording().raw["alice"]["signed_device_keys"])
    for sync in recording().syncs[:3]:
        for event in sync["to_device"]["events"][:2]:
            yield dump(event)


def _run(data: bytes) -> None:
    try:
        value = loads(data)
    except MalformedMessage:
        with suppress(MalformedMessage):
            loads(data.decode("utf-8", "replace"))
        return
    assert json.dumps(value) == json.dumps(json.loads(data.decode()))
    check_depth(value)
    if not is_object(value):
        return
    for get in GETTERS:
        for field in (*value, "missing"):
            with suppress(MalformedMessage):
                get(value, field)
            with suppress(MalformedMessage):
                optional(get, value, field)
    with suppress(MalformedMessage):
        assert json.loads(canonical_json(value)) == value
        signing_bytes(value)
    with suppress(MalformedContent):
        assert json.dumps(json.loads(encode_payload(value))) == json.dumps(value)


TARGET = Target(seeds=_seeds, run=_run)
