"""Account data that concerns encryption: what our user's clients keep for each other at the homeserver."""

from __future__ import annotations

from olmstate.actors._engine.capability import Capability
from olmstate.actors._requests.points import ANSWERS, REFUSALS, Answer, Refusal
from olmstate.messages import RequestKind

from .actor import AccountDataActor, CommittedAccountData
from .operations import (
    FetchAccountData,
    fetch_account_data,
    fetch_refused,
    take_fetch_answer,
    take_write_answer,
    write_refused,
)

CAPABILITY = Capability(
    actor=AccountDataActor,
    commands=(FetchAccountData.by(fetch_account_data),),
    queries=(CommittedAccountData.answered_by(AccountDataActor),),
    additions=(
        ANSWERS.add(Answer(kind=RequestKind.ACCOUNT_DATA_GET, take=take_fetch_answer)),
        REFUSALS.add(
            Refusal(kind=RequestKind.ACCOUNT_DATA_GET, take=fetch_refused, answers=frozenset({404})),
        ),
        ANSWERS.add(Answer(kind=RequestKind.ACCOUNT_DATA, take=take_write_answer)),
        REFUSALS.add(Refusal(kind=RequestKind.ACCOUNT_DATA, take=write_refused)),
    ),
)
