"""What a fuzz target is, and which there are.

A target takes bytes from outside to where the library takes them in, and judges what happens. Rule: it returns, or it
has found something. Documented errors are suppressed there where the documentation names them, and nowhere else.
"""

from __future__ import annotations

import importlib
import json
from collections.abc import Callable, Iterable
from typing import Final

import attrs

from olmstate.messages import Json

NAMES: Final = (
    "json_text",
    "sync",
    "to_device",
    "olm_payload",
    "spelling",
    "room_event",
    "megolm_payload",
    "keys_query",
    "keys_claim",
    "keys_upload",
    "room_keys",
    "withheld",
    "key_requests",
    "parked_events",
    "key_file",
    "secret_storage",
    "secret_requests",
    "pickle",
    "demo_recording",
)
"""Each is a module beside this one with a `Target` called ``TARGET``."""


@attrs.frozen(kw_only=True)
class Target:
    """One place where bytes come in."""

    seeds: Callable[[], Iterable[bytes]]
    """Valid inputs, and known bad ones."""
    run: Callable[[bytes], None]
    """Raises if one input does what no input may do."""
    json_at: int = 0
    """Where an input's JSON begins. If there is some, it is mutated as such more often than not."""


def load(name: str) -> Target:
    """The target of one of `NAMES`."""
    target = importlib.import_module(f"tests.faults.fuzz.{name}").TARGET
    assert isinstance(target, Target)
    return target


def dump(value: Json) -> bytes:
    """JSON of a seed; ASCII, so that lone surrogates can be written."""
    return json.dumps(value, separators=(",", ":")).encode("ascii")


def parse(data: bytes) -> Json:
    """An input of a target that takes parsed JSON, parsed as a client's HTTP library does; None if it is none."""
    try:
        return json.loads(data)
    except (ValueError, RecursionError):
        return None
