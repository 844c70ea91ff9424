"""Telling devices that they get no room key, and why (spec: Reporting that decryption keys are withheld)."""

from __future__ import annotations

from olmstate.actors._engine.capability import Capability

from .actor import WithheldNoticesActor

CAPABILITY = Capability(actor=WithheldNoticesActor)
