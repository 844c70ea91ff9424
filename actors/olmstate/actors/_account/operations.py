"""The device's account: making it, and keys for upload."""

from __future__ import annotations

from olmstate.actors._account.actor import (
    ALGORITHM,
    AccountActor,
    Create,
    KeysPublished,
    LookUpOwnDevice,
    MakeKeys,
    OwnDevice,
)
from olmstate.actors._engine.turn import Turn
from olmstate.actors._wire.untrusted_json import as_object, integer, optional
from olmstate.messages import (
    CreateAccount,
    DeviceIdentity,
    Json,
    MalformedMessage,
    MarkKeysPublished,
    PrepareOneTimeKeys,
    UnpublishedKeys,
)


async def create_account(turn: Turn, command: CreateAccount) -> DeviceIdentity:  # noqa: ARG001 - it has nothing
    """Make the account."""
    return await turn[AccountActor].ask(Create())


async def prepare_one_time_keys(turn: Turn, command: PrepareOneTimeKeys) -> UnpublishedKeys:  # noqa: ARG001 - it has nothing
    """Make the keys that are due."""
    return await turn[AccountActor].ask(MakeKeys(now=turn.now))


async def own_device(turn: Turn) -> OwnDevice:
    """This device: never changes, so the actor is asked only until it is known."""
    known = turn[AccountActor].own_device
    if known is None:
        known = await turn[AccountActor].ask(LookUpOwnDevice())
    return known


async def mark_keys_published(turn: Turn, command: MarkKeysPublished) -> None:
    """The server has taken keys."""
    counts = command.one_time_key_counts
    count = None if counts is None else one_time_key_count(counts)
    await turn[AccountActor].ask(KeysPublished(key_ids=command.key_ids, one_time_key_count=count))


def one_time_key_count(counts: Json) -> int:
    """How many one-time keys a server has, by the counts that it tells; None: it has none of any algorithm.

    Raises:
        MalformedMessage: Not an object, or the count is no integer, or negative.
    """
    if counts is None:
        return 0
    count = optional(integer, as_object(counts, "the counts"), ALGORITHM) or 0
    if count < 0:
        raise MalformedMessage(reason="a count is negative")
    return count
