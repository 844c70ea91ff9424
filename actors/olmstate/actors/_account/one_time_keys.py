"""One-time keys once they were handed out for upload: which are on the server, which may be, and which are kept.

    made and handed out ──▶ UPLOAD ──┬─ marked, or evidence that it has landed ──▶ PUBLISHED ──┬─▶ used up
                                     └─ over, and no evidence ───────────────────▶ IN DOUBT ───┴─▶ forgotten

Rule: a key is handed out once. Its upload may come to nothing, its answer may be lost, its process may be killed:
somebody may have claimed the key all the same. A homeserver forgets the keys that were claimed, would take this one
anew, and give it to somebody else, whose message nobody could read. So keys in doubt stay for receiving, and new ones
are made.

What the server says of its count decides. It had at most so many before the upload, and claims take keys away only: if
it has more now, the upload has landed. So it has if somebody uses one of its keys. That it has no more proves nothing.

One upload at a time, over all processes: while the process lives that was handed the keys, others are handed none. Else
each of several would upload as many as the server lacks. The clock is for one that lives on and never uploads them.

Pure: nothing here makes keys, signs them or waits.
"""

from __future__ import annotations

import enum
from collections.abc import Callable, Collection
from typing import Final

import attrs

from olmstate.actors._wire.quiet_struct import QuietStruct
from olmstate.messages import Curve25519Key, KeyId

PATIENCE: Final = 10 * 60_000
"""Milliseconds after which an upload is over, though the process that was handed the keys lives."""
MOST_KEPT: Final = 200
"""Keys that were handed out and not used. An account of 200 takes 3 ms to load, and each more 17 µs. vodozemac would
keep 5,000, and forget the oldest then."""
MOST_IN_DOUBT: Final = 50
"""Of those, if there are too many; the rest may be on the server."""
FORGOTTEN_AT_ONCE: Final = 10
"""Each takes as long as a session: a third of a millisecond."""


class Fate(enum.Enum):
    """What became of an upload."""

    LANDED = enum.auto()
    IN_DOUBT = enum.auto()
    """It is over, and nobody knows whether it has landed."""
    UNKNOWN = enum.auto()
    """Nothing was heard since it was begun: the server must be asked how many keys it has."""
    UNDER_WAY = enum.auto()
    """In another process."""


class Upload(QuietStruct, kw_only=True, frozen=True):
    """Keys that were handed out for upload."""

    keys: dict[KeyId, Curve25519Key]
    owner: str
    """Token of the handle that they were handed to."""
    begun: int
    """Milliseconds since 1970."""
    count: int
    """How many the server had before, at most."""

    def fate(self, highest: int | None, *, now: int, asker: str, is_alive: Callable[[str], bool]) -> Fate:
        """What became of it.

        Args:
            highest: The most keys that the server has said since that it has; None: it has said nothing.
            now: Milliseconds since 1970.
            asker: Token of the handle that wants to upload.
            is_alive: Of another.
        """
        if highest is not None and highest > self.count:
            return Fate.LANDED
        if self.owner != asker and now - self.begun < PATIENCE and is_alive(self.owner):
            return Fate.UNDER_WAY
        return Fate.UNKNOWN if highest is None else Fate.IN_DOUBT


@attrs.define(kw_only=True)
class OneTimeKeys:
    """The keys that were handed out and not used. Public parts, the oldest first."""

    upload: Upload | None = None
    in_doubt: dict[KeyId, Curve25519Key] = attrs.field(factory=dict[KeyId, Curve25519Key])
    published: list[Curve25519Key] = attrs.field(factory=list[Curve25519Key])

    def copy(self) -> OneTimeKeys:
        """Another object of the same."""
        return OneTimeKeys(upload=self.upload, in_doubt={**self.in_doubt}, published=[*self.published])

    def names(self, key_ids: Collection[KeyId]) -> bool:
        """Whether `mark` would change anything."""
        upload = self.upload.keys if self.upload else {}
        return any(key_id in upload or key_id in self.in_doubt for key_id in key_ids)

    def mark(self, key_ids: Collection[KeyId]) -> int:
        """The server has taken these; how many of them are of the upload, which is over if any is."""
        wanted = frozenset(key_ids)
        upload = self.upload
        of_upload = {} if upload is None else {key_id: key for key_id, key in upload.keys.items() if key_id in wanted}
        if upload is not None and of_upload:
            self.in_doubt |= upload.keys
            self.upload = None
        for key_id in [key_id for key_id in self.in_doubt if key_id in wanted]:
            self.published.append(self.in_doubt.pop(key_id))
        return len(of_upload)

    def settle(self, *, landed: bool) -> int:
        """The upload is over; how many keys are known to be on the server now."""
        if self.upload is None:
            return 0
        keys = self.upload.keys
        if landed:
            return self.mark(keys)
        self.in_doubt |= keys
        self.upload = None
        return 0

    def use(self, key: Curve25519Key) -> int:
        """A session was made with a key; what that changes in the number of those that the server is known to have.

        It had the key. So an upload that it was in has landed.
        """
        landed = self.settle(landed=True) if self.upload is not None and key in self.upload.keys.values() else 0
        if key in self.published:
            self.published.remove(key)
            return landed - 1
        for key_id, known in self.in_doubt.items():
            if known == key:
                del self.in_doubt[key_id]
                break
        return landed

    def has(self, key: Curve25519Key) -> bool:
        """Whether it is one of them; if not, it may be a fallback key."""
        upload = self.upload.keys if self.upload else {}
        return key in self.published or key in upload.values() or key in self.in_doubt.values()

    @property
    def kept(self) -> int:
        """How many there are, but for those of the upload."""
        return len(self.published) + len(self.in_doubt)

    def room(self, wanted: int) -> int:
        """How many of ``wanted`` new keys may be made now."""
        return max(0, min(wanted, MOST_KEPT - self.kept + FORGOTTEN_AT_ONCE))

    def forget(self, new: int) -> list[Curve25519Key]:
        """The keys that go for ``new`` ones."""
        gone: list[Curve25519Key] = []
        while self.kept + new > MOST_KEPT and len(gone) < FORGOTTEN_AT_ONCE:
            if len(self.in_doubt) > MOST_IN_DOUBT or not self.published:
                gone.append(self.in_doubt.pop(next(iter(self.in_doubt))))
            else:
                gone.append(self.published.pop(0))
        return gone
