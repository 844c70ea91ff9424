"""A cache under every order of loads, changes, commits, rollbacks and invalidations: a clean entry equals the store's.

The model is two dictionaries: what is stored, and what the present turn has changed.
"""

from __future__ import annotations

from collections.abc import Sequence

import pytest
from hypothesis import settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, invariant, precondition, rule

from olmstate.actors._engine.cache import Cache
from olmstate.actors._wire.steps import at_once
from olmstate.messages import StoreCorrupt
from olmstate.storage import Row, Table
from tests.actors.notes import Note, NoteCodec, row

PARTITIONS = st.sampled_from([b"a", b"b", b"c", b"d"])
SOME = st.frozensets(PARTITIONS, min_size=1)


class Machine(RuleBasedStateMachine):
    """An actor's use of a cache, one message at a time; commits and notices come whenever they like."""

    def __init__(self) -> None:
        super().__init__()
        self.capacity = 2
        self.cache = Cache[Note](Table.DEVICES, NoteCodec(), self.capacity)
        self.stored: dict[bytes, str] = {}
        self.changed: dict[bytes, str] = {}
        self.on_its_way: dict[bytes, list[Row]] | None = None
        self.count = 0

    def text(self) -> str:
        self.count += 1
        return str(self.count)

    def loading(self) -> bool:
        return self.on_its_way is not None

    def idle(self) -> bool:
        return self.on_its_way is None

    def of_turn(self, partition: bytes) -> str:
        return self.changed.get(partition, self.stored.get(partition, ""))

    # --- one message ----------------------------------------------------------------------------------------

    @precondition(idle)
    @rule(wanted=SOME, committed=st.booleans())
    def begin_to_load(self, wanted: frozenset[bytes], committed: bool) -> None:  # noqa: FBT001 - a query's load
        missing = self.cache.missing(wanted, committed=committed)
        assert (missing == []) == self.cache.holds(wanted, committed=committed)
        self.on_its_way = {key: [row(key.decode(), self.stored[key])] if key in self.stored else [] for key in missing}

    @precondition(loading)
    @rule()
    def take_in(self) -> None:
        assert self.on_its_way is not None
        at_once(self.cache.fill(self.on_its_way))
        self.on_its_way = None

    @precondition(idle)
    @rule(partition=PARTITIONS)
    def query(self, partition: bytes) -> None:
        if self.cache.holds([partition], committed=True):
            assert self.stored.get(partition, "") == self.cache.committed(partition).text
            entry = self.cache.peek(partition, committed=True)
            assert entry is self.cache.committed(partition)

    @precondition(idle)
    @rule(partition=PARTITIONS)
    def look_in_turn(self, partition: bytes) -> None:
        entry = self.cache.peek(partition, committed=False)
        assert (entry is not None) == self.cache.holds([partition], committed=False)
        if entry is not None:
            assert self.of_turn(partition) == self.cache.current(partition).text == entry.text

    @precondition(idle)
    @rule(partition=PARTITIONS)
    def change(self, partition: bytes) -> None:
        if self.cache.holds([partition], committed=False):
            self.cache.change(partition).text = self.changed[partition] = self.text()

    @precondition(idle)
    @rule(partition=PARTITIONS)
    def put(self, partition: bytes) -> None:
        self.changed[partition] = self.text()
        self.cache.put(partition, Note(self.changed[partition]))

    @precondition(idle)
    @rule()
    def end_message(self) -> None:
        self.cache.trim()
        assert self.cache.statistics().cached <= self.capacity + len(self.changed)

    # --- at any time ----------------------------------------------------------------------------------------

    @rule()
    def commit(self) -> None:
        rows = {row.key: row.value for row in at_once(self.cache.changed_rows())}
        assert {key: text.encode() for key, text in self.changed.items()} == rows
        self.stored.update(self.changed)
        self.changed.clear()
        self.cache.commit()

    @rule()
    def roll_back(self) -> None:
        self.changed.clear()
        self.cache.roll_back()

    @rule(written=SOME, told=st.booleans())
    def write_from_elsewhere(self, written: frozenset[bytes], told: bool) -> None:  # noqa: FBT001 - by key
        for partition in written:
            self.stored[partition] = self.text()
        for partition in written if told else list(self.changed):
            self.changed.pop(partition, None)
        self.cache.invalidate(written if told else None)

    @rule()
    def drop_clean(self) -> None:
        self.cache.drop_clean()
        assert self.cache.statistics().cached == len(self.changed)

    @invariant()
    def is_dirty_if_the_turn_has_changed_something(self) -> None:
        assert bool(self.changed) == self.cache.dirty


TestCache = Machine.TestCase
TestCache.settings = settings(stateful_step_count=40)


def test_a_value_that_can_not_be_read_names_the_table_and_nothing_of_the_value() -> None:
    cache = Cache[Note](Table.DEVICES, NoteCodec(), 10)
    cache.missing([b"a"], committed=True)
    with pytest.raises(StoreCorrupt) as caught:
        at_once(cache.fill({b"a": [Row(b"a", b"a", b"secret\xff")]}))
    assert "devices" in str(caught.value)
    assert "secret" not in str(caught.value)


def test_a_codecs_own_bug_is_no_damage_to_the_store() -> None:
    class Wrong(NoteCodec):
        def decode(self, partition: bytes, rows: Sequence[Row]) -> Note:  # noqa: ARG002 - it fails before
            raise KeyError(partition)

    cache = Cache[Note](Table.DEVICES, Wrong(), 10)
    cache.missing([b"a"], committed=True)
    with pytest.raises(KeyError):
        at_once(cache.fill({b"a": [row("a", "a1")]}))


def test_an_entry_that_was_not_asked_for_is_not_taken_in() -> None:
    cache = Cache[Note](Table.DEVICES, NoteCodec(), 10)
    at_once(cache.fill({b"a": [row("a", "a1")]}))
    assert cache.statistics().cached == 0
    assert cache.statistics().loaded == 0


def test_the_copy_from_before_a_change_is_gone_with_it() -> None:
    cache = Cache[Note](Table.DEVICES, NoteCodec(), 10)
    cache.missing([b"a"], committed=True)
    at_once(cache.fill({b"a": [row("a", "a1")]}))
    cache.put(b"a", Note("a2"))
    assert not cache.holds([b"a"], committed=True)
    assert 1 == cache.statistics().cached


def test_the_statistics_say_what_happened() -> None:
    cache = Cache[Note](Table.DEVICES, NoteCodec(), 1)
    cache.count(wanted=3, missed=len(cache.missing([b"a", b"b"], committed=True)))
    at_once(cache.fill({b"a": [row("a", "a1")], b"b": [row("b", "b1")]}))
    cache.trim()
    cache.invalidate([b"b", b"nobody"])
    cache.invalidate(None)
    statistics = cache.statistics()
    assert (statistics.capacity, statistics.cached, statistics.loaded) == (1, 0, 2)
    assert (statistics.hits, statistics.misses, statistics.evicted) == (1, 2, 1)
    assert (statistics.invalidated, statistics.invalidated_whole) == (1, 1)
