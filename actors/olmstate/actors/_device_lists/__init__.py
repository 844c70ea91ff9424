"""Whose devices are tracked, and the queries that keep them up to date."""

from __future__ import annotations

from olmstate.actors._engine.capability import Capability
from olmstate.actors._requests.points import ANSWERS, REFUSALS, UPKEEP, Answer, Refusal, Upkeep
from olmstate.messages import OutdatedUsers, RequestKind, TrackUsers, UpdateDevices

from .actor import DeviceListsActor, NotUpToDate
from .operations import (
    PrepareQueries,
    changes_refused,
    halve_query,
    make_queries,
    prepare_queries,
    queries_due,
    query_refused,
    take_changes,
    take_query_answer,
    track_users,
)
from .procedures import update_devices

CAPABILITY = Capability(
    actor=DeviceListsActor,
    commands=(PrepareQueries.by(prepare_queries), TrackUsers.by(track_users)),
    queries=(NotUpToDate.answered_by(DeviceListsActor), OutdatedUsers.answered_by(DeviceListsActor)),
    procedures=(UpdateDevices.by(update_devices),),
    additions=(
        ANSWERS.add(Answer(kind=RequestKind.KEYS_QUERY, take=take_query_answer)),
        ANSWERS.add(Answer(kind=RequestKind.KEYS_CHANGES, take=take_changes)),
        REFUSALS.add(Refusal(kind=RequestKind.KEYS_CHANGES, take=changes_refused)),
        REFUSALS.add(Refusal(kind=RequestKind.KEYS_QUERY, take=query_refused, halve=halve_query, leaves_out=True)),
        UPKEEP.add(Upkeep(due=queries_due, make=make_queries)),
    ),
)
