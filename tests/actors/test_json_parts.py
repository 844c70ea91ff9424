"""JSON that is parsed a part at a time: the same values, and the same refusals, as from one call."""

from __future__ import annotations

import inspect
import json
from typing import Any

import pytest
from hypothesis import HealthCheck, example, given, settings
from hypothesis import strategies as st

from olmstate.actors._wire import json_parts
from olmstate.actors._wire.json_parts import AT_ONCE, FREED_AT_ONCE, PART, free, loads_in_parts
from olmstate.actors._wire.steps import Steps, at_once
from olmstate.actors._wire.untrusted_json import MAX_DEPTH, loads
from olmstate.messages import Json, MalformedMessage
from tests.actors.test_untrusted_json import nested, values
from tests.cost.longest_step import lines_of

tiny_parts = settings(suppress_health_check=[HealthCheck.function_scoped_fixture])


@pytest.fixture
def tiny(monkeypatch: pytest.MonkeyPatch) -> pytest.MonkeyPatch:
    """Nothing is small enough to be parsed at once; a test says how large a part is."""
    monkeypatch.setattr(json_parts, "AT_ONCE", 0)
    return monkeypatch


def read(data: bytes | str) -> Json:
    return at_once(loads_in_parts(data, max_depth=MAX_DEPTH))


def lines_of_each(steps: Steps[Json]) -> list[int]:
    lines: list[int] = []
    while inspect.getgeneratorstate(steps) != inspect.GEN_CLOSED:
        lines.append(lines_of(lambda: next(steps, None)))
    return lines


def outcome(parse: Any, data: bytes | str) -> tuple[str, str]:  # noqa: ANN401 - either parser
    try:
        return "read", json.dumps(parse(data))
    except MalformedMessage as error:
        return "refused", error.reason


@tiny_parts
@given(value=values, size=st.integers(1, 9), indent=st.none() | st.just(1))
def test_what_json_writes_is_read_wherever_it_is_cut(
    value: Json, size: int, indent: int | None, tiny: pytest.MonkeyPatch
) -> None:
    tiny.setattr(json_parts, "PART", size)
    for ensure_ascii in (True, False):
        written = json.dumps(value, indent=indent, ensure_ascii=ensure_ascii)
        assert json.loads(written) == read(written)
        if ensure_ascii:
            assert json.loads(written) == read(written.encode())


@tiny_parts
@given(value=values, size=st.integers(1, 9), data=st.data())
def test_what_is_damaged_is_refused_as_by_one_call(
    value: Json, size: int, data: st.DataObject, tiny: pytest.MonkeyPatch
) -> None:
    tiny.setattr(json_parts, "PART", size)
    written = bytearray(json.dumps(value).encode())
    written[data.draw(st.integers(0, len(written) - 1))] = data.draw(st.sampled_from(b'[]{}",:1eN\xff \\'))
    assert outcome(loads, bytes(written)) == outcome(read, bytes(written))


@tiny_parts
@given(size=st.integers(1, 9), garbage=st.text(st.sampled_from('[]{}",:1 e-.ntrue\\')))
@example(size=1, garbage="[1,]")
@example(size=1, garbage='{"a":1,}')
@example(size=1, garbage='{"a"}')
@example(size=1, garbage="[,]")
@example(size=1, garbage="[1}")
@example(size=1, garbage="{]")
@example(size=1, garbage="[] 1")
@example(size=1, garbage="{1:2}")
@example(size=1, garbage="")
def test_garbage_is_refused_as_by_one_call(size: int, garbage: str, tiny: pytest.MonkeyPatch) -> None:
    tiny.setattr(json_parts, "PART", size)
    assert outcome(loads, garbage) == outcome(read, garbage)


@pytest.mark.parametrize("in_objects", [True, False])
def test_nesting_is_counted_within_what_was_entered(in_objects: bool) -> None:  # noqa: FBT001
    filler = "x" * AT_ONCE
    for levels in (MAX_DEPTH - 1, MAX_DEPTH):
        value = [nested(levels, [filler, filler] if levels < MAX_DEPTH - 1 else filler, in_objects=in_objects)]
        if levels < MAX_DEPTH:
            assert value == read(json.dumps(value))
        else:
            with pytest.raises(MalformedMessage, match="deeper"):
                read(json.dumps(value))


@pytest.mark.parametrize("opening", ["[", '{"a":', '[{"a":'])
def test_deep_nesting_is_refused_whether_it_is_closed_or_not(opening: str) -> None:
    with pytest.raises(MalformedMessage, match="deeper"):
        read(opening * 100_000)


def test_of_a_key_that_comes_twice_the_last_value_counts() -> None:
    filler = "x" * AT_ONCE
    assert {"a": 2, "b": filler} == read(json.dumps({"b": filler})[:-1] + ',"a":1,"a":2}')


@pytest.mark.parametrize("part", [{"a": [1.5, None, "é" * 50]}, "x" * 1_000, 12345678901234, [[["abc"]]] * 3])
def test_a_step_is_no_longer_in_a_large_text(part: Json) -> None:
    longest: list[int] = []
    for number in (2 * AT_ONCE, 4 * AT_ONCE):
        many = [part] * (number // len(json.dumps(part)))
        lines = lines_of_each(loads_in_parts(json.dumps({"a": {"b": many}}), max_depth=MAX_DEPTH))
        assert len(lines) >= number // PART
        longest.append(max(lines))
    assert longest[1] <= 1.1 * longest[0]


@pytest.mark.parametrize("wide", [True, False])
def test_what_is_freed_goes_a_little_at_a_time(wide: bool) -> None:  # noqa: FBT001
    events = [{"type": "m.test", "content": {"body": "hello"}} for _ in range(20 * FREED_AT_ONCE)]
    rooms: Json = {"join": {f"!{each}": {"events": [event]} for each, event in enumerate(events)} if wide else [events]}
    assert 20 <= sum(1 for _ in free(rooms)) + 1
    large = rooms["join"] if wide else rooms["join"][0]
    assert len(large) <= FREED_AT_ONCE
