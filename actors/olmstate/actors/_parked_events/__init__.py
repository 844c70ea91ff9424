"""Room events that wait for their keys."""

from __future__ import annotations

from olmstate.actors._engine.capability import Capability
from olmstate.actors._room_keys.points import SESSIONS_LEARNT
from olmstate.messages import EventsReadable, ForgetParkedEvents, ParkedEvents, ParkEvents

from .actor import ParkedContents, ParkedEventsActor, ParkedRecords
from .operations import forget_parked_events, list_parked_events, park_events, sessions_learnt

CAPABILITY = Capability(
    actor=ParkedEventsActor,
    commands=(ForgetParkedEvents.by(forget_parked_events), ParkEvents.by(park_events)),
    queries=(ParkedContents.answered_by(ParkedEventsActor), ParkedRecords.answered_by(ParkedEventsActor)),
    procedures=(ParkedEvents.by(list_parked_events),),
    events=(EventsReadable,),
    additions=(SESSIONS_LEARNT.add(sessions_learnt),),
)
