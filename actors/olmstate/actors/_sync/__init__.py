"""Sync responses."""

from __future__ import annotations

from olmstate.actors._engine.capability import Capability
from olmstate.messages import ReceiveSync

from .operations import receive_sync

CAPABILITY = Capability(commands=(ReceiveSync.by(receive_sync),))
