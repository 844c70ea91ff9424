"""What a JSON value weighs: with its size, wherever in it that is, and found quickly."""

from __future__ import annotations

from collections.abc import Callable
from functools import partial

import pytest

from olmstate.actors._wire.weight import ALONE, CHARACTERS_AS_ONE, LARGE, weight
from olmstate.messages import Json
from tests.cost.longest_step import calls_of
from tests.operations.peer import Peer

PLACES: dict[str, Callable[[str], Json]] = {
    "text": lambda text: text,
    "value": lambda text: {"a": {"b": text}},
    "key": lambda text: {"a": [{text: None}]},
    "parts": lambda text: [{"a": list(text[: len(text) // 8])}],
    "tuple": lambda text: ((text,),),
}


def test_what_everybody_sends_weighs_one() -> None:
    assert 1 == weight(Peer().device_keys())
    assert [1, 1, 1] == [weight(value) for value in (None, 1.5, True)]


@pytest.mark.parametrize("place", PLACES)
def test_more_weighs_more_wherever_it_is(place: str) -> None:
    lighter, heavier = (weight(PLACES[place]("x" * number * CHARACTERS_AS_ONE)) for number in (2, 10))
    assert 1 < lighter < heavier < ALONE


@pytest.mark.parametrize("place", PLACES)
def test_what_is_very_large_has_a_slice_for_itself_and_is_not_looked_at(place: str) -> None:
    value = PLACES[place]("x" * 100 * LARGE)
    assert ALONE == weight(value)
    assert calls_of(partial(weight, value)) < LARGE


def test_parts_that_are_shared_are_looked_at_no_more_than_that() -> None:
    value: Json = []
    for _ in range(100):
        value = [value, value]
    assert ALONE == weight(value)
