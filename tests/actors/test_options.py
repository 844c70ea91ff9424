"""Numbers that make no sense are refused where they are given: a negative ``drain`` hung at each exit."""

from __future__ import annotations

import math
from typing import Any

import pytest

from olmstate.actors import Options
from olmstate.storage import Table

NO_SECONDS: dict[str, Any] = {
    "negative": -1,
    "a little negative": -1e-9,
    "nan": math.nan,
    "infinite": math.inf,
    "minus infinite": -math.inf,
    "huge": 10**4301,
}
NO_NUMBERS: dict[str, Any] = {"None": None, "text": "5", "bytes": b"5", "true": True, "list": [5], "complex": 5j}
NO_CAPACITIES: dict[str, Any] = {
    "negative": {Table.DEVICES: -1},
    "float": {Table.DEVICES: 100.5},
    "whole float": {Table.DEVICES: 100.0},
    "nan": {Table.DEVICES: math.nan},
    "None": {Table.DEVICES: None},
    "true": {Table.DEVICES: True},
    "text": {Table.DEVICES: "100"},
    "no table": {"device": 100},
    "number": {5: 100},
}


@pytest.mark.parametrize("name", ["lock_timeout", "write_behind", "watch", "drain"])
@pytest.mark.parametrize("value", NO_SECONDS.values(), ids=NO_SECONDS)
def test_what_is_no_time_is_a_value_error_that_names_the_option(name: str, value: Any) -> None:  # noqa: ANN401
    with pytest.raises(ValueError, match=f"^Options.{name} must be a finite number of seconds, not below 0$"):
        Options(**{name: value})


@pytest.mark.parametrize("name", ["lock_timeout", "write_behind", "watch", "drain"])
@pytest.mark.parametrize("value", NO_NUMBERS.values(), ids=NO_NUMBERS)
def test_what_is_no_number_is_a_type_error(name: str, value: Any) -> None:  # noqa: ANN401
    with pytest.raises(TypeError, match=f"^Options.{name} must be a number of seconds, not {type(value).__name__}$"):
        Options(**{name: value})


def test_looking_without_a_pause_is_refused() -> None:
    with pytest.raises(ValueError, match="watch must be more than 0"):
        Options(watch=0)


def test_no_waiting_at_all_is_fine() -> None:
    Options(lock_timeout=0, write_behind=0.0, drain=0)


@pytest.mark.parametrize("value", NO_CAPACITIES.values(), ids=NO_CAPACITIES)
def test_what_is_no_number_of_entries_of_a_data_type_is_a_value_error(value: Any) -> None:  # noqa: ANN401
    with pytest.raises(ValueError, match=r"^Options.capacities "):
        Options(capacities=value)


def test_capacities_that_are_no_mapping_and_a_clock_that_is_no_function_are_type_errors() -> None:
    wrong: dict[str, Any] = {"capacities": 100, "wall_clock": 1_700_000_000_000}
    for name, value in wrong.items():
        with pytest.raises(TypeError, match=f"^Options.{name} must be a "):
            Options(**{name: value})


def test_a_data_type_may_be_named_by_its_text() -> None:
    capacities: Any = {"devices": 0}
    assert 0 == Options(capacities=capacities).capacity(Table.DEVICES)
