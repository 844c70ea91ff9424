"""The names of the two algorithms, and of the events that they make (spec: Messaging Algorithms)."""

from __future__ import annotations

OLM = "m.olm.v1.curve25519-aes-sha2"
MEGOLM = "m.megolm.v1.aes-sha2"
ENCRYPTED = "m.room.encrypted"
