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
from olmstate.actors._engine.slices import in_slices
from olmstate.actors._engine.turn import Turn
from olmstate.actors._wire.json_parts import answer
from olmstate.actors._wire.untrusted_json import if_sound, integer, is_object
from olmstate.messages import (
    CreateAccount,
    DeviceIdentity,
    Json,
    MarkKeysPublished,
    NoAccount,
    PrepareAccount,
    PrepareOneTimeKeys,
    UnpublishedKeys,
)


async def create_account(turn: Turn, command: CreateAccount) -> DeviceIdentity:  # noqa: ARG001 - it has nothing
    """Make the account."""
    return await turn[AccountActor].ask(Create())


async def prepare_account(turn: Turn, command: PrepareAccount) -> DeviceIdentity:  # noqa: ARG001 - it has nothing
    """The account that is there, or a new one."""
    known = await own_identity(turn)
    return await turn[AccountActor].ask(Create()) if known is None else known


async def prepare_one_time_keys(turn: Turn, command: PrepareOneTimeKeys) -> UnpublishedKeys:  # noqa: ARG001 - it has nothing
    """Make the keys that are due."""
    return await turn[AccountActor].ask(MakeKeys(now=turn.now))


async def own_device(turn: Turn) -> OwnDevice:
    """This device: never changes, so the actor is asked only until it is known."""
    known = turn[AccountActor].own_device
    if known is None:
        known = await turn[AccountActor].ask(LookUpOwnDevice())
    return known


async def own_identity(turn: Turn) -> DeviceIdentity | None:
    """This device's keys; None while there is no account yet."""
    try:
        return (await own_device(turn)).identity
    except NoAccount:
        return None


async def mark_keys_published(turn: Turn, command: MarkKeysPublished) -> None:
    """The server has taken keys."""
    counts = command.one_time_key_counts
    if counts is not None:
        counts = await in_slices(answer(counts, "the counts"))
        counts = counts.get("one_time_key_counts", counts)
    count = None if counts is None else one_time_key_count(counts)
    await turn[AccountActor].ask(KeysPublished(key_ids=command.key_ids, one_time_key_count=count, now=turn.now))


def one_time_key_count(counts: Json) -> int | None:
    """How many one-time keys a server has, by the counts that it tells; None: it doesn't say, or not in a number.

    One that doesn't say should have none (spec). But some never say.
    """
    if not is_object(counts):
        return None
    count = if_sound(integer, counts, ALGORITHM)
    return None if count is None or count < 0 else count
