"""How much work a turn does for to-device events, and for each who sends them.

Owns: the unit, what things cost in it, and the budgets.
Rule: what is over a budget waits for a later turn. In a turn, one message of each sender is tried whatever it costs, so
that none waits for ever.
Why: anybody can send messages that are dear. A normal message that no session decrypts is tried on all of a device's,
and may say that it is 2,000 steps ahead, which vodozemac then goes. A hundred such messages took half a second under
the lock.

A unit is a failed attempt of a message that is not ahead, 60 µs. A success costs next to nothing.
"""

from __future__ import annotations

from typing import Final

from olmstate.actors._wire.olm_message import OlmMessage

NEW_SESSION: Final = 3
STEPS_A_UNIT: Final = 250
MOST_STEPS: Final = 2000
"""That vodozemac goes along."""

SLICE: Final = 12
"""Units without giving other tasks a chance, and so at most 8 more: a millisecond."""
SENDER: Final = 250
"""Units a turn for one device's messages, by the user and key that their envelopes name: 15 ms."""
TURN: Final = 1000
"""Units a turn: 60 ms. A hundred new sessions take 300."""


def attempt(olm: OlmMessage) -> int:
    """What it costs to find that a session doesn't decrypt a message."""
    return 1 + min(olm.chain_index, MOST_STEPS) // STEPS_A_UNIT
