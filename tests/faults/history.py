"""What processes did to a store, written down outside of it: the evidence that the checker judges.

Owns: `Entry`, the logs that entries are appended to, and how a history is read back.
Rule: an entry is written when what it tells has happened for sure, or, where it says so, just before it can begin. So
what is in a history is true even if its process was killed behind any of its entries.
Why: a process that is killed can't explain itself; what it has told before must be enough to judge it.

A log is a file a process, opened with ``O_APPEND``: one JSON object a line, one ``write`` a line. Every line has:

    t        nanoseconds of the machine's monotonic clock, the same for all processes (in a simulation: a counter)
    pid      the process, and
    token    which of its starts, since process ids come again
    kind     one of those below
    data     an object with the kind's own fields

The lock and the store, from `RecordingLock` and `RecordingStore`:

    locked       the cross-process lock is ours
    unlocked     about to let it go
    seen         ``generation``, ``begun``: what the store said to whoever began to look then
    committing   ``seen``, ``rows``: about to commit rows that derive from a generation; what follows is one of the next
                 three, or nothing, if the process was killed
    committed    ``generation``: they are durable
    refused      ``error``: nothing of them was written
    unknown      ``error``: nobody knows
    elsewhere    ``generation``, ``rows``: a test has written to the store without asking for the lock
    stored       ``generation``, ``rows``: all that the store holds, read by a test: at the start, after a recovery, at
                 the end

A row is ``[table, key, partition, value, more]``. The value is what the checker understands of it (a session's id, the
sync token, a device's key), None for a row that is deleted. ``more`` is, for an outbound session, ``{"next": index}``,
the first index that who loads it uses; for the account, ``{"keys": {key id: public key}}``, keys that wait for upload.

What is asked, from `RecordingSupervisor`:

    asked        ``ask``, ``message``: number and type; about to be asked
    replied      ``ask``, ``generation``: the store's generation that its supervisor knew then
    failed       ``ask``, ``error``: the type of the typed error that came instead, and ``text``
    cancelled    ``ask``: its asker was
    answer       ``ask``, ``table``, ``partition``, ``values``: what the reply says that the store holds there
    identity     ``ask``, ``curve25519``, ``ed25519``: whom the reply says the device to be
    sent         ``ask``, ``protocol``, ``digest`` (of the content, None: not known), and for ``megolm``: ``session``,
                 ``index``, ``ciphertext``; for ``olm``: ``ratchet_key``, ``counter``, ``hash`` of the ciphertext
    decrypted    ``ask``, ``protocol``, and for ``megolm``: ``session``, ``index``, ``event``; for ``olm``: ``hash``
    one_time_key ``ask``, ``key``, ``session``: used up by a pre-key message that was decrypted; the session is named
                 by all of the message's keys
    uploaded     ``ask``, ``key_id``, ``key``, ``fallback``: handed out for upload
    room_key     ``session``, ``index``, ``session_key``, ``reader``: who was given a Megolm session's key, from which
                 index on; ``ask`` if a reply gave it
    announced    ``sessions``: an event says that these room keys were received

What the test around them knows:

    read         ``hash``, ``digest``: an independent reader has decrypted an Olm message
    batch        ``token``, ``room_keys``: a /sync response with that ``next_batch`` brings these sessions; written
                 before anybody is given it
    fallback     ``key``: a fallback key that was uploaded before the history begins
    calm         no fault strikes from now on: from here, everybody must get through
"""

from __future__ import annotations

import dataclasses
import hashlib
import json
import os
import time
from collections.abc import Callable, Iterable
from pathlib import Path
from typing import Any, Literal, Protocol, TypeAlias

Json: TypeAlias = Any
"""What JSON can say."""

Kind: TypeAlias = Literal[
    "locked",
    "unlocked",
    "seen",
    "committing",
    "committed",
    "refused",
    "unknown",
    "elsewhere",
    "stored",
    "asked",
    "replied",
    "failed",
    "cancelled",
    "answer",
    "identity",
    "sent",
    "decrypted",
    "one_time_key",
    "uploaded",
    "room_key",
    "announced",
    "read",
    "batch",
    "fallback",
    "calm",
]


@dataclasses.dataclass(frozen=True, slots=True)
class Entry:
    """One thing that happened."""

    t: int
    process: str
    """``pid-token``."""
    kind: Kind
    data: dict[str, Json]

    def __str__(self) -> str:
        fields = " ".join(f"{name}={_short(value)}" for name, value in self.data.items())
        return f"{self.t:>12} {self.process:<8} {self.kind:<12} {fields}"


def _short(value: Json) -> str:
    text = value if isinstance(value, str) else json.dumps(value)
    return text if len(text) <= MOST_SHOWN else f"{text[:MOST_SHOWN]}…"


MOST_SHOWN = 200
"""Characters of a field in a printed entry."""


class Sink(Protocol):
    """Where entries go."""

    def append(self, entry: Entry, /) -> None:
        """Keep one."""
        ...


class Log:
    """What one process, or what stands for one, writes its entries with."""

    def __init__(self, sink: Sink, process: str, clock: Callable[[], int] = time.monotonic_ns) -> None:
        """Write to ``sink`` in the name of ``process``."""
        self._sink = sink
        self._clock = clock
        self.process = process

    def now(self) -> int:
        """When an entry would be written."""
        return self._clock()

    def write(self, kind: Kind, **data: Json) -> None:
        """Append one entry."""
        self._sink.append(Entry(self._clock(), self.process, kind, data))


class FileSink:
    """A file of this process's own in ``folder``, which a history is read back from."""

    def __init__(self, folder: Path, process: str) -> None:
        """Open it; it is never closed, so that whatever the process still does is told."""
        flags = os.O_WRONLY | os.O_APPEND | os.O_CREAT | os.O_CLOEXEC
        self._file = os.open(folder / f"{process}.jsonl", flags, 0o600)

    def append(self, entry: Entry) -> None:
        """One line, in one write."""
        pid, _, token = entry.process.partition("-")
        line = {"t": entry.t, "pid": int(pid), "token": token, "kind": entry.kind, "data": entry.data}
        os.write(self._file, json.dumps(line, separators=(",", ":")).encode() + b"\n")


def open_log(folder: Path) -> Log:
    """The log of this process; of a process that forks, its child opens another."""
    process = f"{os.getpid()}-{os.urandom(4).hex()}"
    return Log(FileSink(folder, process), process)


def read_history(folder: Path) -> list[Entry]:
    """All entries of all processes, in the order of time. A last line that a kill has cut short is left out."""
    entries: list[Entry] = []
    for path in sorted(folder.glob("*.jsonl")):
        entries.extend(_parse(line) for line in path.read_bytes().split(b"\n")[:-1])
    return in_order(entries)


def _parse(line_bytes: bytes) -> Entry:
    line: dict[str, Json] = json.loads(line_bytes)
    return Entry(line["t"], f"{line['pid']}-{line['token']}", line["kind"], line["data"])


def in_order(entries: Iterable[Entry]) -> list[Entry]:
    """By time; entries of one process stay in the order in which it wrote them."""
    return sorted(entries, key=lambda entry: entry.t)


def digest(value: object) -> str:
    """What a history keeps of a content or a ciphertext."""
    data = value if isinstance(value, bytes) else json.dumps(value, sort_keys=True).encode()
    return hashlib.blake2b(data, digest_size=12).hexdigest()
