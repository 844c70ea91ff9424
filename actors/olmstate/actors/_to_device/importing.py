"""Taking over another library's account, and the Olm sessions that it has with other devices."""

from __future__ import annotations

from vodozemac import Session

from olmstate.actors._account.actor import AccountActor, Create, NewSession, unpickle_account
from olmstate.actors._engine.turn import Turn
from olmstate.actors._to_device.actor import AddSessions, OlmSessionsActor
from olmstate.messages import DeviceIdentity, ImportAccount, MalformedPickle, OlmSessionPickle


async def import_account(turn: Turn, command: ImportAccount) -> DeviceIdentity:
    """Take over another library's account and its Olm sessions; all or nothing."""
    account = unpickle_account(command.pickle, command.pickle_key, command.format)
    sessions = tuple(
        NewSession(sender_key=pickled.sender_key, session=_unpickle(pickled, command))
        for pickled in command.olm_sessions
    )
    identity = await turn[AccountActor].ask(Create(account=account))
    if sessions:
        await turn[OlmSessionsActor].ask(AddSessions(sessions=sessions))
    return identity


def _unpickle(pickled: OlmSessionPickle, command: ImportAccount) -> Session:
    try:
        if command.format == "libolm":
            return Session.from_libolm_pickle(pickled.pickle, command.pickle_key)
        return Session.from_pickle(pickled.pickle, command.pickle_key)
    except ValueError as error:
        raise MalformedPickle(what="Olm session", reason=str(error)) from None
