"""Sync responses."""

from __future__ import annotations

from olmstate.actors._engine.capability import Capability
from olmstate.messages import ReceiveSync

from .operations import ReceiveSome, receive_some, receive_sync

CAPABILITY = Capability(
    commands=(ReceiveSome.by(receive_some),),
    procedures=(ReceiveSync.by(receive_sync),),
)
