"""The line in front of the lock: who entered first is the head first."""

from __future__ import annotations

from contextlib import ExitStack, closing
from typing import TYPE_CHECKING

import pytest

from olmstate.messages import StoreUnavailable
from olmstate.storage.lock.line import PLACES, Line
from tests.storage.handles import descriptors

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator
    from pathlib import Path


@pytest.fixture
def enter(tmp_path: Path) -> Iterator[Callable[[], Line]]:
    with ExitStack() as opened:
        yield lambda: opened.enter_context(closing(Line(tmp_path)))


def test_the_first_in_an_empty_line_is_the_head(enter: Callable[[], Line]) -> None:
    first, second = enter(), enter()

    assert first.move_up()
    assert not second.move_up()
    assert first.move_up()  # and stays it


def test_nobody_in_the_line_is_overtaken_whoever_tries_first(enter: Callable[[], Line]) -> None:
    head, *others = [enter() for _ in PLACES]
    newcomer = enter()
    assert head.move_up()
    for one in others:
        assert not one.move_up()
    assert not newcomer.move_up()

    for nth, expected in enumerate(others):
        head.leave()
        # Those behind try first, and can't pass those before them.
        assert not any(one.move_up() for one in reversed([*others[nth + 1 :], newcomer]))
        assert expected.move_up()
        for one in [*others[nth + 1 :], newcomer]:
            assert not one.move_up()
        head = expected
    head.leave()
    assert newcomer.move_up()


def test_who_comes_back_begins_at_the_end(enter: Callable[[], Line]) -> None:
    head, second = enter(), enter()
    assert head.move_up()
    assert not second.move_up()

    head.leave()
    assert not head.move_up()  # the place behind the second is free, the head's is kept from it
    assert second.move_up()


def test_who_leaves_from_the_midst_leaves_room(enter: Callable[[], Line]) -> None:
    head, second, third = enter(), enter(), enter()
    for one in (head, second, third):
        one.move_up()

    second.leave()
    head.leave()

    assert third.move_up()


def test_leaving_without_a_place_changes_nothing(enter: Callable[[], Line]) -> None:
    head, other = enter(), enter()
    assert head.move_up()

    other.leave()

    assert not other.move_up()


def test_a_line_is_taken_while_anybody_else_is_in_it(enter: Callable[[], Line]) -> None:
    looking, head, second = enter(), enter(), enter()
    assert not looking.is_taken()

    head.move_up()
    second.move_up()
    assert looking.is_taken()
    head.leave()
    assert looking.is_taken()
    second.leave()
    assert not looking.is_taken()


def test_a_line_that_can_not_be_made_keeps_no_file_open(tmp_path: Path) -> None:
    (tmp_path / PLACES[-1]).mkdir()
    before = descriptors()

    with pytest.raises(StoreUnavailable):
        Line(tmp_path)

    assert before == descriptors()
