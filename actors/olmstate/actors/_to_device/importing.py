"""Taking over another library's account, and the Olm sessions that it has with other devices."""

from __future__ import annotations

from vodozemac import Session

from olmstate.actors._account.actor import AccountActor, Create, NewSession, unpickle_account
from olmstate.actors._engine.turn import Turn
from olmstate.actors._to_device.actor import STEPS_FOR_ANYBODY, AddSessions, OlmSessionsActor
from olmstate.actors._wire.curve25519 import curve25519_key
from olmstate.messages import (
    Curve25519Key,
    DeviceIdentity,
    ImportAccount,
    MalformedMessage,
    MalformedPickle,
    OlmSessionPickle,
)


async def import_account(turn: Turn, command: ImportAccount) -> DeviceIdentity:
    """Take over another library's account and its Olm sessions; all or nothing."""
    account = unpickle_account(command.pickle, command.pickle_key, command.format)
    sessions = tuple(
        NewSession(
            sender_key=_sender_key(pickled),
            session=_unpickle(pickled, command),
            owner=pickled.user_id,
            steps_for_anybody=STEPS_FOR_ANYBODY,
        )
        for pickled in command.olm_sessions
    )
    identity = await turn[AccountActor].ask(Create(account=account))
    if sessions:
        await turn[OlmSessionsActor].ask(AddSessions(sessions=sessions))
    return identity


def _sender_key(pickled: OlmSessionPickle) -> Curve25519Key:
    try:
        return curve25519_key(pickled.sender_key, "sender_key")
    except MalformedMessage as error:
        raise MalformedPickle(what="Olm session", reason=error.reason) from None


def _unpickle(pickled: OlmSessionPickle, command: ImportAccount) -> Session:
    try:
        if command.format == "libolm":
            return Session.from_libolm_pickle(pickled.pickle, command.pickle_key)
        return Session.from_pickle(pickled.pickle, command.pickle_key)
    except ValueError as error:
        raise MalformedPickle(what="Olm session", reason=str(error)) from None
