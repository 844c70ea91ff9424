"""Repairing Olm sessions that one of their two sides can't use any more."""

from __future__ import annotations

from olmstate.actors._engine.capability import Capability
from olmstate.actors._to_device.handlers import OLM_TROUBLE, ON_PLAIN, Handler, OlmTrouble

from .actor import UnwedgingActor
from .operations import greet, mend, receive_no_olm, share_again

CAPABILITY = Capability(
    actor=UnwedgingActor,
    additions=(
        OLM_TROUBLE.add(OlmTrouble(undecryptable=mend, renewed=share_again, started=greet)),
        ON_PLAIN.add(Handler(("m.room_key.withheld",), receive_no_olm)),
    ),
)
