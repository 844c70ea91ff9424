"""The device's account: making it, importing it, keys for upload."""

from __future__ import annotations

from vodozemac import Session

from olmstate.actors._account.actor import ALGORITHM, Create, KeysPublished, unpickle_account
from olmstate.actors._to_device.actor import AddSessions, NewSession
from olmstate.actors._turn import Turn
from olmstate.actors._wire.untrusted_json import as_object, integer, optional
from olmstate.messages import (
    DeviceIdentity,
    ImportAccount,
    Json,
    MalformedMessage,
    MalformedPickle,
    MarkKeysPublished,
    OlmSessionPickle,
)


async def import_account(turn: Turn, command: ImportAccount) -> DeviceIdentity:
    """Take over another library's account and its Olm sessions; all or nothing."""
    account = unpickle_account(command.pickle, command.pickle_key, command.format)
    sessions = tuple(
        NewSession(sender_key=pickled.sender_key, session=_unpickle(pickled, command))
        for pickled in command.olm_sessions
    )
    identity = await turn.actors.account.ask(Create(account=account))
    if sessions:
        await turn.actors.olm_sessions.ask(AddSessions(sessions=sessions))
    return identity


def _unpickle(pickled: OlmSessionPickle, command: ImportAccount) -> Session:
    try:
        if command.format == "libolm":
            return Session.from_libolm_pickle(pickled.pickle, command.pickle_key)
        return Session.from_pickle(pickled.pickle, command.pickle_key)
    except ValueError as error:
        raise MalformedPickle(what="Olm session", reason=str(error)) from None


async def mark_keys_published(turn: Turn, command: MarkKeysPublished) -> None:
    """The server has taken keys."""
    counts = command.one_time_key_counts
    count = None if counts is None else one_time_key_count(counts)
    await turn.actors.account.ask(KeysPublished(key_ids=command.key_ids, one_time_key_count=count))


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
