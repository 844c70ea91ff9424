"""What the demo has seen, and whether all of it is right.

Owns: every count, every problem, the verdict, and how they are shown.
Rule: what is counted was seen from outside, by the homeserver or by an independent reader. No process of the device is
asked whether it did well.
"""

from __future__ import annotations

import enum
from collections import Counter
from collections.abc import Hashable

import attrs

from olmstate.messages import JsonObject

MOST_EXAMPLES = 3
"""Examples of a problem that are shown."""


class Problem(enum.StrEnum):
    """What must not happen."""

    UNDECRYPTABLE = "undecryptable"
    REUSED_INDICES = "reused_indices"
    REUSED_OLM_COUNTERS = "reused_olm_counters"
    REUSED_ONE_TIME_KEYS = "reused_one_time_keys"
    COLLIDING_KEY_IDS = "colliding_key_ids"
    STALE_READS = "stale_reads"
    WRONG_OUTCOMES = "wrong_outcomes"
    """What came out differs from the recording, or from what was sent."""
    REFUSED = "refused"
    """A process answered with an error where none was due."""
    CRASHES = "crashes"
    """A process ended that nobody had killed."""


WORDS = {
    Problem.UNDECRYPTABLE: "undecryptable that should not be",
    Problem.REUSED_INDICES: "Megolm indices used twice",
    Problem.REUSED_OLM_COUNTERS: "Olm counters used twice",
    Problem.REUSED_ONE_TIME_KEYS: "one-time keys used twice",
    Problem.COLLIDING_KEY_IDS: "key ids with two keys",
    Problem.STALE_READS: "stale reads",
    Problem.WRONG_OUTCOMES: "other outcomes than recorded or sent",
    Problem.REFUSED: "requests refused for no reason",
    Problem.CRASHES: "processes that crashed",
}


@attrs.define(kw_only=True)
class Report:
    """The counts of one run."""

    processes: int
    messages: int
    """That are to be sent."""
    kills_wanted: int
    seed: int
    unsafe: bool
    recorded_expected: int
    """Recorded room events that can be read."""
    recorded_syncs: int

    sent: int = 0
    read: int = 0
    """By the independent reader."""
    received_syncs: int = 0
    recorded_decrypted: int = 0
    to_device_sent: int = 0
    sessions_started: int = 0
    """By other devices, each with a one-time key of its own."""
    kills: int = 0
    invalidations_whole: int = 0
    invalidations_by_key: int = 0
    lock_waits: int = 0
    longest_lock_wait: float = 0.0
    """Seconds."""
    seconds: float = 0.0
    sending_seconds: float = 0.0
    """From the first message sent to the last."""

    problems: Counter[Problem] = attrs.field(factory=Counter[Problem])
    examples: dict[Problem, list[str]] = attrs.field(factory=dict[Problem, list[str]])
    _once: set[tuple[Problem, Hashable]] = attrs.field(factory=set[tuple[Problem, Hashable]])

    def found(self, problem: Problem, example: str, *, once: Hashable = None) -> None:
        """Note a problem; only one for the same ``once``."""
        if once is not None:
            if (problem, once) in self._once:
                return
            self._once.add((problem, once))
        self.problems[problem] += 1
        examples = self.examples.setdefault(problem, [])
        if len(examples) < MOST_EXAMPLES:
            examples.append(example)

    @property
    def missing(self) -> list[str]:
        """What was to be done and wasn't."""
        pairs = [
            ("messages sent", self.sent, self.messages),
            ("messages read", self.read, self.messages),
            ("recorded syncs received", self.received_syncs, self.recorded_syncs),
            ("recorded events decrypted", self.recorded_decrypted, self.recorded_expected),
            ("kills", self.kills, self.kills_wanted),
        ]
        return [f"{done:,} of {wanted:,} {what}" for what, done, wanted in pairs if done != wanted]

    @property
    def right(self) -> bool:
        """Whether everything was done and nothing was wrong."""
        return not self.problems and not self.missing

    @property
    def messages_per_second(self) -> float:
        """Sent and read, by all processes together."""
        return self.sent / self.sending_seconds if self.sending_seconds else 0.0

    def as_json(self) -> JsonObject:
        """For programs."""
        return {
            "right": self.right,
            "processes": self.processes,
            "messages": self.messages,
            "sent": self.sent,
            "read": self.read,
            "recorded_syncs": self.received_syncs,
            "recorded_expected": self.recorded_expected,
            "recorded_decrypted": self.recorded_decrypted,
            **{problem.value: self.problems[problem] for problem in Problem},
            "to_device_sent": self.to_device_sent,
            "sessions_started": self.sessions_started,
            "kills": self.kills,
            "invalidations": self.invalidations_whole + self.invalidations_by_key,
            "invalidations_whole": self.invalidations_whole,
            "invalidations_by_key": self.invalidations_by_key,
            "lock_waits": self.lock_waits,
            "longest_lock_wait": round(self.longest_lock_wait, 4),
            "messages_per_second": round(self.messages_per_second, 1),
            "seconds": round(self.seconds, 2),
            "seed": self.seed,
            "unsafe": self.unsafe,
        }

    def as_table(self) -> str:
        """For people."""
        rows = [
            ("processes", f"{self.processes}"),
            ("messages sent", f"{self.sent:,}"),
            ("read by the reader", f"{self.read:,}"),
            ("recorded syncs received", f"{self.received_syncs:,} of {self.recorded_syncs:,}"),
            ("recorded events decrypted", f"{self.recorded_decrypted:,} of {self.recorded_expected:,}"),
            ("Olm messages sent", f"{self.to_device_sent:,}"),
            ("Olm sessions started by others", f"{self.sessions_started:,}"),
            *((WORDS[problem], f"{self.problems[problem]:,}") for problem in Problem),
            ("kills", f"{self.kills:,}"),
            ("invalidations, whole / by key", f"{self.invalidations_whole:,} / {self.invalidations_by_key:,}"),
            ("waits for the lock", f"{self.lock_waits:,}, the longest {self.longest_lock_wait * 1000:.1f} ms"),
            ("messages a second", f"{self.messages_per_second:,.0f}"),
            ("seconds", f"{self.seconds:.1f}"),
            ("seed", f"{self.seed}"),
        ]
        width = max(len(what) for what, _ in rows)
        return "\n".join(f"  {what:<{width}}  {value}" for what, value in rows)

    def verdict(self) -> str:
        """One line that says it all, and examples of what is wrong."""
        if self.right:
            return "Everything is right: nothing was lost, nothing reused, nothing stale."
        lines = ["NOT right:"]
        lines += [f"  only {what}" for what in self.missing]
        for problem, number in self.problems.items():
            lines.append(f"  {number:,} {WORDS[problem]}, for example")
            lines += [f"      {example}" for example in self.examples[problem]]
        return "\n".join(lines)
