"""What a step wants done. Values: who carries them out stores them first."""

from __future__ import annotations

from typing import TypeAlias

from olmstate.actors._wire.quiet_struct import QuietStruct
from olmstate.messages import JsonObject

from .emoji import Emoji


class Send(QuietStruct, frozen=True, kw_only=True):
    """Send a message of the flow.

    It must be stored in the commit of its step, and go out, as often as it takes, under one transaction id: a peer
    may not see two versions of a step. Of one flow, messages go out in the order of their numbers.
    """

    type: str
    content: JsonObject
    number: int
    """Of the flow's messages, from 0."""
    user_id: str
    """The peer's."""
    devices: tuple[str, ...]
    """To-device: each of these gets it."""
    room_id: str | None
    """Not None: once, to this room; encrypted, if it is, also for the peer's unverified devices."""


class Prompt(QuietStruct, frozen=True, kw_only=True):
    """Ask the user to take the request, or the start that came without one."""

    methods: tuple[str, ...]
    """The requester's, those that we know; where nothing fits, the user can only reject."""
    until: int
    """ms; then the question goes away."""


class ShowSas(QuietStruct, frozen=True, kw_only=True):
    """Show the string, in the ways that both sides have; `show.sas_of` gives it again."""

    emoji: tuple[Emoji, ...] | None
    """Seven, or None: one side hasn't got them."""
    decimals: tuple[int, int, int] | None


class ShowQr(QuietStruct, frozen=True, kw_only=True):
    """Show the code; `show.qr_code_of` gives it again."""

    data: bytes


class AskScanned(QuietStruct, frozen=True, kw_only=True):
    """Ask the user whether the peer's device says that it has scanned our code."""


class AskForKeys(QuietStruct, frozen=True, kw_only=True):
    """Query the user's devices, then take the same event again, with `record.Keys.queried`."""

    user_id: str
    device_id: str


class Verified(QuietStruct, frozen=True, kw_only=True):
    """Mark these keys as verified, and no others, whatever is known by their ids now."""

    user_id: str
    device_id: str | None
    """None: only the master key."""
    ed25519: str | None
    """The device's."""
    master_key: str | None
    """The user's; between own devices our own identity's."""


class Ended(QuietStruct, frozen=True, kw_only=True):
    """The flow is over: tell the user. Its state and code are in the flow."""


class Ignored(QuietStruct, frozen=True, kw_only=True):
    """Nothing was done; for the journal."""

    reason: str


Effect: TypeAlias = Send | Prompt | ShowSas | ShowQr | AskScanned | AskForKeys | Verified | Ended | Ignored
