"""Private cross-signing keys, and secret storage."""

from __future__ import annotations

from olmstate.actors._engine.capability import Capability

from .actor import CommittedPrivateKeys, SecretsActor

CAPABILITY = Capability(actor=SecretsActor, queries=(CommittedPrivateKeys.answered_by(SecretsActor),))
