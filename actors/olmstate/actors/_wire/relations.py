"""What an event relates to: in the clear part of an encrypted event, too (spec: Relationships between events).

The homeserver finds edits, replies, reactions and threads by it. What a sender left out of the encrypted part is copied
into it on reading; it is the homeserver's word then.
"""

from __future__ import annotations

from copy import deepcopy
from typing import Final

from olmstate.messages import JsonObject, MalformedMessage

from .untrusted_json import check_depth

RELATES_TO: Final = "m.relates_to"


def copy_to_clear(content: JsonObject, outer: JsonObject) -> None:
    """Show in the clear part what an event's content relates to."""
    if RELATES_TO in content:
        outer[RELATES_TO] = deepcopy(content[RELATES_TO])


def copy_from_clear(outer: JsonObject, content: JsonObject) -> None:
    """Add to a decrypted content what the clear part alone says that it relates to; not what is nested too deep."""
    if RELATES_TO in outer and RELATES_TO not in content:
        try:
            check_depth(outer[RELATES_TO])
        except MalformedMessage:
            return
        content[RELATES_TO] = deepcopy(outer[RELATES_TO])
