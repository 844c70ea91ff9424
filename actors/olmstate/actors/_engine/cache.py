"""One table's entries in memory: what is cached, what a turn has changed, and what must be loaded again.

    ABSENT ──load──▶ CLEAN ──change──▶ DIRTY ──committed──▶ CLEAN
       ▲──────invalidate (another wrote it)──────┘ │
       └──────────roll back (our turn failed)──────┘

The rules that make it safe:

1. A clean entry equals a committed one. Queries see nothing else.
2. `Cache.change` *moves* an entry out of the clean ones: ratchets are objects that change in place, so a changed one
   must never be found by a query, nor survive a turn that fails. Whoever asks meanwhile loads the committed one
   again.
3. What is being loaded while it is invalidated is not taken in: it may be older than the write that invalidated it.
4. A *view* is a cache of a table that another actor owns. It holds committed entries only, and nobody changes them
   through it. What its own process commits invalidates it as what others commit does.

An entry is what one *partition* of rows decodes to; a partition without rows has an entry too ("there is none"), which
is cached and invalidated like any other. Pure state: nothing here waits.
"""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Collection, Iterable, Iterator, Mapping, Sequence
from itertools import islice
from typing import Generic, Protocol, TypeVar, runtime_checkable

from olmstate.actors._wire.steps import Steps
from olmstate.messages import CacheStatistics
from olmstate.storage import Row, Table

E = TypeVar("E")

ROWS_AT_ONCE = 24
"""Decoded or encoded without giving other tasks a chance: half a millisecond."""
BYTES_AT_ONCE = 12 * 1024
"""The same, of rows that are large."""
BYTES_AS_A_ROW = 4 * 1024
"""Of a row that is large: to decode so many more takes as long as to decode another one."""


class Codec(Protocol[E]):
    """How a partition's rows become an entry, and what of a changed entry must be written."""

    def decode(self, partition: bytes, rows: Sequence[Row]) -> E:
        """The entry for ``rows``, which may be none.

        Raises:
            StoreCorrupt: What was read can't be used; see `loads` and `restore`.
        """
        ...

    def encode(self, partition: bytes, entry: E) -> Iterable[Row]:
        """The rows of a changed entry that differ from what is stored.

        Asked once a turn: an entry whose rows aren't committed is dropped.
        """
        ...


@runtime_checkable
class RowwiseCodec(Codec[E], Protocol[E]):
    """The same of a table whose partitions may have very many rows: an entry can be decoded a part at a time."""

    def add(self, entry: E, rows: Sequence[Row]) -> None:
        """Take more rows of the same partition into ``entry``, which `Codec.decode` has made and nobody has seen."""
        ...


def _slices(rows: Sequence[Row]) -> Iterator[Sequence[Row]]:
    """Some ``rows`` at a time, and fewer where they are large."""
    start = size = 0
    for position, row in enumerate(rows):
        if position - start == ROWS_AT_ONCE or size > BYTES_AT_ONCE:
            yield rows[start:position]
            start, size = position, 0
        size += len(row.value or b"")
    yield rows[start:]


class ChangeCounter:
    """How often entries of some caches were changed, ever: equal numbers mean that nothing was in between."""

    def __init__(self) -> None:
        """Nothing was, so far."""
        self.number = 0


class Cache(Generic[E]):
    """The entries of one table, by partition; least recently used ones go first."""

    def __init__(self, table: Table, codec: Codec[E], capacity: int, *, view: bool = False) -> None:
        """A cache of at most ``capacity`` clean entries between messages; 0 loads each entry each time."""
        self.table = table
        self.view = view
        self._codec = codec
        self._capacity = capacity
        self._clean: OrderedDict[bytes, E] = OrderedDict()
        self._dirty: dict[bytes, E] = {}
        self._loading: set[bytes] = set()
        self._loaded = self._hits = self._misses = self._invalidated = self._invalidated_whole = self._evicted = 0
        self.changes = ChangeCounter()
        """Counted here; an actor has its caches count with all others."""
        self.touched = False
        """Whether the running turn has changed anything, be it undone since."""

    # --- loading --------------------------------------------------------------------------------------------

    def missing(self, partitions: Iterable[bytes], *, committed: bool) -> list[bytes]:
        """Those of ``partitions`` that must be loaded before they can be used; they count as being loaded from now on.

        ``committed``: what this turn has changed is missing too, for a query that must not see it.
        """
        absent = [
            key for key in dict.fromkeys(partitions) if key not in self._clean and (committed or key not in self._dirty)
        ]
        self._loading.update(absent)
        return absent

    def holds(self, partitions: Iterable[bytes], *, committed: bool) -> bool:
        """Whether none of ``partitions`` is `missing`."""
        for key in partitions:  # noqa: SIM110 - each message comes by here, and a generator costs more than its work
            if key not in self._clean and (committed or key not in self._dirty):
                return False
        return True

    def fill(self, rows: Mapping[bytes, Sequence[Row]]) -> Steps[None]:
        """Take in what was read; partitions that were invalidated since `missing` named them stay absent."""
        decoded = 0
        for partition, partition_rows in rows.items():
            if partition in self._loading:
                if len(partition_rows) > 1:
                    entry = yield from self._decode(partition, partition_rows)
                else:
                    entry = self._codec.decode(partition, partition_rows)
                if partition in self._loading:  # still
                    self._loading.discard(partition)
                    self._loaded += 1
                    self._clean[partition] = entry
            decoded += 1 + len(partition_rows)
            for row in partition_rows[:ROWS_AT_ONCE]:
                decoded += len(row.value or b"") // BYTES_AS_A_ROW
            if decoded > ROWS_AT_ONCE:
                decoded = 0
                yield

    def _decode(self, partition: bytes, rows: Sequence[Row]) -> Steps[E]:
        if not isinstance(self._codec, RowwiseCodec):
            return self._codec.decode(partition, rows)
        codec: RowwiseCodec[E] = self._codec
        slices = _slices(rows)
        entry = codec.decode(partition, next(slices))
        for some in slices:
            yield
            codec.add(entry, some)
        return entry

    def trim(self) -> None:
        """Drop the least recently used entries beyond capacity; a message that is loading its own loads them again."""
        over = len(self._clean) - self._capacity
        if over > 0:
            for partition in list(islice(self._clean, over)):
                del self._clean[partition]
            self._evicted += over

    def count(self, *, wanted: int, missed: int) -> None:
        """Note that a message wanted ``wanted`` entries, of which ``missed`` had to be loaded."""
        self._hits += wanted - missed
        self._misses += missed

    # --- using ----------------------------------------------------------------------------------------------

    def committed(self, partition: bytes) -> E:
        """The committed entry; the only thing that a query may see. It must be loaded and must not be changed."""
        entry = self._clean[partition]
        self._clean.move_to_end(partition)
        return entry

    def peek(self, partition: bytes, *, committed: bool) -> E | None:
        """The entry if it is loaded, for deciding what else to load; ``committed`` as for `missing`."""
        clean = self._clean.get(partition)
        return clean if committed else self._dirty.get(partition, clean)

    def current(self, partition: bytes) -> E:
        """The entry as this turn sees it: changed or committed. It must be loaded and must not be changed."""
        if partition in self._dirty:
            return self._dirty[partition]
        return self.committed(partition)

    def all_changed(self) -> Collection[E]:
        """What this turn has changed; not to be changed."""
        return self._dirty.values()

    def change(self, partition: bytes) -> E:
        """The entry, to be changed in place in this turn."""
        self.changes.number += 1
        self.touched = True
        if partition not in self._dirty:
            self._dirty[partition] = self._clean.pop(partition)
        return self._dirty[partition]

    def put(self, partition: bytes, entry: E) -> None:
        """Replace the entry in this turn."""
        self.changes.number += 1
        self.touched = True
        self._clean.pop(partition, None)
        self._dirty[partition] = entry

    def undo(self, partition: bytes) -> None:
        """Forget what this turn has changed of the entry; it is loaded again when it is asked for."""
        self._dirty.pop(partition, None)

    def changed(self, partition: bytes) -> E | None:
        """The entry if this turn has changed it."""
        return self._dirty.get(partition)

    # --- the turn's end -------------------------------------------------------------------------------------

    @property
    def dirty(self) -> bool:
        """Whether this turn has changed an entry."""
        return bool(self._dirty)

    def changed_rows(self) -> Steps[list[Row]]:
        """What this turn must write. What is invalidated in between may be in it: then the turn is fenced."""
        rows: list[Row] = []
        count = size = 0
        for partition in tuple(self._dirty):
            if partition not in self._dirty:
                continue
            for row in self._codec.encode(partition, self._dirty[partition]):
                rows.append(row)
                count += 1
                size += len(row.value or b"")
                if count == ROWS_AT_ONCE or size > BYTES_AT_ONCE:
                    count = size = 0
                    yield
        return rows

    def commit(self, written: Mapping[Table, Collection[bytes]] | None = None) -> None:
        """This turn's changes are on the disk: they are clean now. ``written`` is what a view must drop."""
        if self.view:
            if written is not None and (keys := written.get(self.table)):
                self.invalidate(keys)
            return
        self._loading.difference_update(self._dirty)  # what a query was loading meanwhile is older
        over = max(0, len(self._dirty) - self._capacity)  # what `trim` would drop, and it may be very much
        self._clean.update(islice(self._dirty.items(), over, None))
        self._evicted += over
        self._dirty.clear()

    def roll_back(self) -> None:
        """This turn has failed: its changed entries are gone, and are loaded again when they are asked for."""
        self._dirty.clear()

    def invalidate(self, partitions: Collection[bytes] | None) -> None:
        """Another has written ``partitions`` (None: anything): drop our copies.

        Also those that a turn has changed: it can't commit any more.
        """
        if partitions is None:
            self._invalidated_whole += 1
            self._clean.clear()
            self._dirty.clear()
            self._loading.clear()
            return
        # most often there is nothing of them: others' tables are in most commits, and there may be thousands of keys
        for partition in partitions:
            if partition in self._clean:
                del self._clean[partition]
                self._invalidated += 1
            if partition in self._dirty:
                del self._dirty[partition]
        self._loading.difference_update(partitions)

    def drop_clean(self) -> None:
        """The store failed: clean copies may no longer equal it. What a turn has changed is the turn's, and stays."""
        self._invalidated_whole += 1
        self._clean.clear()
        self._loading.clear()

    def statistics(self) -> CacheStatistics:
        """The counters."""
        return CacheStatistics(
            capacity=self._capacity,
            cached=len(self._clean) + len(self._dirty),
            loaded=self._loaded,
            hits=self._hits,
            misses=self._misses,
            invalidated=self._invalidated,
            invalidated_whole=self._invalidated_whole,
            evicted=self._evicted,
        )
