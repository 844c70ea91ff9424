"""Untrusted JSON: values or `MalformedMessage`, never another exception, never a crash."""

from __future__ import annotations

import json
import math
import subprocess
import sys
from contextlib import suppress
from functools import partial
from typing import TYPE_CHECKING

import pytest
from hypothesis import given
from hypothesis import strategies as st

from olmstate.actors._wire.untrusted_json import (
    MAX_DEPTH,
    array_of,
    as_object,
    boolean,
    check_depth,
    check_text_keys,
    integer,
    is_array,
    is_object,
    is_plain,
    json_object,
    loads,
    optional,
    string,
    strings,
)
from olmstate.messages import Json, JsonObject, MalformedMessage
from tests.cost.longest_step import calls_of

if TYPE_CHECKING:
    from collections.abc import Callable

# Brackets, quotes and backslashes in every order are what a count of nesting can stumble over.
texts = st.text(st.sampled_from('[]{}"\\/u,: é\ud800\n')) | st.text()
leaves = st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False, allow_infinity=False) | texts
values = st.recursive(leaves, lambda inner: st.lists(inner) | st.dictionaries(texts, inner), max_leaves=30)


def depth(value: Json) -> int:
    if is_object(value):
        return 1 + max(map(depth, value.values()), default=0)
    if is_array(value):
        return 1 + max(map(depth, value), default=0)
    return 0


def nested(levels: int, innermost: Json = "", *, in_objects: bool = False) -> Json:
    for _ in range(levels):
        innermost = {"a": innermost} if in_objects else [innermost]
    return innermost


@given(values)
def test_what_json_writes_is_read_back(value: Json) -> None:
    written = json.dumps(value)
    assert json.loads(written) == loads(written) == loads(written.encode())


@given(values, st.booleans())
def test_nesting_is_counted_exactly_whatever_the_strings_hold(value: Json, in_objects: bool) -> None:  # noqa: FBT001
    within = nested(MAX_DEPTH - depth(value), value, in_objects=in_objects)
    for ensure_ascii in (True, False):
        assert json.loads(json.dumps(within)) == loads(json.dumps(within, ensure_ascii=ensure_ascii))
        with pytest.raises(MalformedMessage, match="deeper"):
            loads(json.dumps([within], ensure_ascii=ensure_ascii))


def test_many_brackets_side_by_side_are_not_deep() -> None:
    assert 1000 == len(loads("[" + ",".join(['{"[":[]}'] * 1000) + "]"))


@given(st.binary() | st.text() | texts)
def test_garbage_gives_a_value_or_the_typed_error(garbage: bytes | str) -> None:
    with suppress(MalformedMessage):
        loads(garbage)


@given(values, st.data())
def test_damaged_json_gives_a_value_or_the_typed_error(value: Json, data: st.DataObject) -> None:
    written = bytearray(json.dumps(nested(MAX_DEPTH, value)).encode())
    written[data.draw(st.integers(0, len(written) - 1))] = data.draw(st.integers(0, 255))
    with suppress(MalformedMessage):
        loads(bytes(written))


@pytest.mark.parametrize("opening", ["[", '{"a":', '[{"a":'])
@pytest.mark.parametrize("levels", [MAX_DEPTH + 1, 10_000, 100_000, 1_000_000])
def test_deep_nesting_is_refused_whether_it_is_closed_or_not(opening: str, levels: int) -> None:
    with pytest.raises(MalformedMessage, match="deeper"):
        loads(opening * levels)


def test_deep_nesting_is_refused_where_the_stack_is_small() -> None:
    # In a process of its own: what is tested here is that the process survives.
    program = """if True:
        import sys, threading
        from olmstate.actors._wire.untrusted_json import loads
        from olmstate.messages import MalformedMessage
        def read():
            try:
                loads("[" * 100_000 + "]" * 100_000)
            except MalformedMessage:
                print("refused")
        threading.stack_size(256 * 1024)
        thread = threading.Thread(target=read)
        thread.start()
        thread.join()
    """
    path = f"import sys; sys.path[:] = {sys.path!r}\n"
    run = subprocess.run([sys.executable, "-c", path + program], capture_output=True, text=True, check=False)
    assert (0, "refused\n", "") == (run.returncode, run.stdout, run.stderr)


@pytest.mark.parametrize(
    ("data", "reason"),
    [
        (b"", "not JSON"),
        (b'{"a":1} x', "not JSON"),
        (b"{'a':1}", "not JSON"),
        (b'{"a":"\n"}', "not JSON"),
        (b"\xff", "not UTF-8"),
        (b'"\xed\xa0\x80"', "not UTF-8"),  # a surrogate that is encoded, not escaped
        ('{"a":1}'.encode("utf-16"), "not UTF-8"),
        ('{"a":1}'.encode("utf-16-le"), "not JSON"),
        ('{"a":1}'.encode("utf-8-sig"), "not JSON"),
        (b"[NaN]", "not JSON"),
        (b"[Infinity]", "not JSON"),
        (b"[-Infinity]", "not JSON"),
        (b"[1e999]", "not JSON"),
        (b"1" * 5000, "not JSON"),  # more digits than Python turns into an integer
    ],
)
def test_what_is_no_json_is_refused_with_its_reason(data: bytes, reason: str) -> None:
    with pytest.raises(MalformedMessage) as caught:
        loads(data)
    assert reason == caught.value.reason


def test_of_a_key_that_comes_twice_the_last_value_counts() -> None:
    assert {"a": 2} == loads('{"a":1,"a":2}')


def test_a_lone_surrogate_survives_a_round_trip() -> None:
    written = '{"body":"\\ud800 \\udc00"}'
    assert written == json.dumps(loads(written.encode()), separators=(",", ":"))


@pytest.mark.parametrize("secret", [b'{"body":"s3cret', b'{"body":"s3cret\xff"}'])
def test_the_error_carries_nothing_of_the_text(secret: bytes) -> None:
    with pytest.raises(MalformedMessage) as caught:
        loads(secret)
    assert "s3cret" not in repr(caught.value) + str(caught.value)
    # json and UTF-8 errors hold all of it, and whoever prints a chain of errors would print it.
    assert caught.value.__context__ is None
    assert caught.value.__cause__ is None


@pytest.mark.parametrize("in_objects", [False, True])
def test_a_parsed_value_may_be_as_deep_as_a_text(in_objects: bool) -> None:  # noqa: FBT001
    check_depth(nested(MAX_DEPTH, in_objects=in_objects))
    for levels in (MAX_DEPTH + 1, 10_000):
        with pytest.raises(MalformedMessage, match="deeper"):
            check_depth(nested(levels, in_objects=in_objects))


@given(values)
def test_a_shallow_value_passes(value: Json) -> None:
    check_depth(value)


def test_depth_hidden_in_tuples_is_found() -> None:
    value: Json = ()
    for _ in range(MAX_DEPTH):
        value = (value,)
    with pytest.raises(MalformedMessage, match="deeper"):
        check_depth({"a": value})


def test_a_value_that_contains_itself_is_refused_at_once() -> None:
    # Twice in each level: a walk that did not know it again would take 2**128 steps.
    endless: list[Json] = []
    endless += [endless, endless]
    with pytest.raises(MalformedMessage, match="deeper"):
        check_depth(endless)


def shared(levels: int) -> Json:
    """So many levels of pairs whose halves are the same: `2**levels` parts if each is counted as often as it is met."""
    value: Json = ["leaf"]
    for _ in range(levels):
        value = [value, value]
    return value


@pytest.mark.parametrize("check", [check_depth, check_text_keys, is_plain])
def test_shared_parts_are_walked_once(check: Callable[[Json], object]) -> None:
    few, many = shared(20), shared(100)
    with suppress(MalformedMessage):
        # 20 levels would be a million parts
        assert calls_of(lambda: check(few)) < 10_000
    with suppress(MalformedMessage):
        assert calls_of(lambda: check(many)) < 10_000


def test_a_part_that_is_shared_by_many_levels_is_walked_once() -> None:
    value: Json = ["leaf"] * 1100
    costs: list[int] = []
    for levels in (50, 100):
        chain = value
        for _ in range(levels):
            chain = [chain, value, *(["leaf"] for _ in range(10))]
        costs.append(calls_of(partial(check_depth, chain)))
    assert costs[1] < 2.1 * costs[0]


def test_what_would_be_written_very_large_because_its_parts_are_shared_is_refused() -> None:
    check_depth(shared(15))
    with pytest.raises(MalformedMessage, match="shared"):
        check_depth(shared(60))
    with pytest.raises(MalformedMessage, match="shared"):
        check_depth([["x" * 2**16] * 2] * 1000)
    check_depth([["x" * 2**16] for _ in range(1000)])  # as large, and truly there


def test_depth_is_found_behind_a_part_that_was_measured_elsewhere() -> None:
    deep = nested(MAX_DEPTH - 2, in_objects=False)
    wide: list[Json] = [[] for _ in range(2000)]
    check_depth([deep, [deep], *wide])
    with pytest.raises(MalformedMessage, match="deeper"):
        check_depth([deep, [[deep]], *wide])


GETTERS: dict[str, tuple[Callable[[JsonObject, str], Json], list[Json]]] = {
    "object": (json_object, [{}, {"a": 1}]),
    "array": (array_of, [[], [1, "a"]]),
    "strings": (strings, [("a", "é"), ()]),
    "string": (string, ["", "a", "é"]),
    "integer": (integer, [0, -1, 2**70]),
    "boolean": (boolean, [True, False]),
}
WRONG: dict[str, list[Json]] = {
    "object": [None, [], "a", 1, True],
    "array": [None, {}, "a", 1, True],
    "strings": [None, {}, "a", ["a", 1], [None], ["\ud800"]],
    "string": [None, {}, [], 1, True, b"a", "\ud800"],
    "integer": [None, {}, "1", 1.0, True, 2**1024, -(10**4301)],
    "boolean": [None, {}, "true", 0, 1],
}


@pytest.mark.parametrize("kind", GETTERS)
def test_a_getter_gives_what_has_the_right_type(kind: str) -> None:
    get, rights = GETTERS[kind]
    for right in rights:
        assert right == get({"field": right}, "field")
        assert right == optional(get, {"field": right}, "field")


@pytest.mark.parametrize("kind", GETTERS)
def test_a_getter_refuses_what_has_another_type(kind: str) -> None:
    get, _ = GETTERS[kind]
    for wrong in WRONG[kind]:
        with pytest.raises(MalformedMessage, match=r"'field' is not an? "):
            get({"field": wrong}, "field")


@pytest.mark.parametrize("kind", GETTERS)
def test_a_getter_names_the_field_that_is_missing(kind: str) -> None:
    with pytest.raises(MalformedMessage, match="'field' is missing"):
        GETTERS[kind][0]({}, "field")


def test_an_optional_field_may_be_missing_or_null_but_not_wrong() -> None:
    assert optional(string, {}, "reason") is None
    assert optional(string, {"reason": None}, "reason") is None
    with pytest.raises(MalformedMessage, match="'reason' is not a string"):
        optional(string, {"reason": 1}, "reason")


def test_the_root_must_be_an_object() -> None:
    assert {"a": 1} == as_object({"a": 1}, "the payload")
    with pytest.raises(MalformedMessage, match="the payload is not an object"):
        as_object([], "the payload")


def test_an_error_names_the_field_and_never_its_value() -> None:
    with pytest.raises(MalformedMessage) as caught:
        integer({"session_key": "s3cret"}, "session_key")
    assert "malformed message: 'session_key' is not an integer" == str(caught.value)


def test_an_untrusted_name_is_cut_short_and_printable() -> None:
    with pytest.raises(MalformedMessage) as caught:
        string({}, "ed25519:é\ud800" + "A" * 100_000)
    assert str(caught.value).isascii()
    assert len(str(caught.value)) < 200


class Text(str):
    """Text to Python; some encoders ask for its very type."""

    __slots__ = ()


class Object(dict[str, object]):
    """The same, of an object."""


@pytest.mark.parametrize(
    "value", [{}, {"a": [1, 2.5, None, True, "b", {"c": ()}]}, {"a": -0.0}, [[]], {"\ud800": 2**70}]
)
def test_what_json_is_parsed_to_is_plain(value: Json) -> None:
    assert is_plain(value)


@pytest.mark.parametrize(
    "value",
    [
        {1: "a"},
        {"a": {Text("b"): 1}},
        {"a": Text("b")},
        {"a": Object()},
        {"a": [math.nan]},
        {"a": math.inf},
        {"a": b"bytes"},
        {"a": {1, 2}},
        {"a": object()},
    ],
)
def test_what_encoders_may_write_differently_or_not_at_all_is_not_plain(value: Json) -> None:
    assert not is_plain(value)


@pytest.mark.parametrize("number", [1.5, -0.0, 2**53, -(2**53)])
def test_numbers_that_canonical_json_does_not_have_are_not_plain_there(number: float) -> None:
    assert is_plain([number])
    assert not is_plain([number], canonical=True)
    assert is_plain([2**53 - 1, -(2**53) + 1, True], canonical=True)


def test_what_is_nested_too_deep_or_without_end_is_not_plain() -> None:
    for in_objects in (True, False):
        assert is_plain(nested(MAX_DEPTH, in_objects=in_objects))
        assert not is_plain(nested(MAX_DEPTH + 1, in_objects=in_objects))
    endless: list[Json] = []
    endless += [endless] * 100
    assert not is_plain(endless)


NUMBERS = [
    "0",
    "-0",
    "1.0",
    "-0.0",
    "1E5",
    "1e-999",
    "9007199254740993",
    str(2**64),
    str(-(2**63) - 1),
    "1" * 300,
    "0.1",
]
TEXTS = [
    '"\\ud83d\\ude00"',
    '"\x7f"',
    '"\\u0000"',
    '{"a":1,"a":2}',
    ' {"a" : [ ] } ',
    '"é"',
    "3.141592653589793238462643",
]


@pytest.mark.parametrize("text", [*NUMBERS, *TEXTS])
def test_both_decoders_read_the_same(text: str) -> None:
    assert repr(json.loads(text)) == repr(loads(text)) == repr(loads(text.encode()))


@given(st.text(st.sampled_from('[]{}"\\:,0123456789.eE+-tfn aulrs\ud800é\x00')) | st.text())
def test_what_only_one_decoder_reads_is_read_as_it_always_was(text: str) -> None:
    try:
        expected = json.loads(text, parse_constant=refuse)
    except ValueError:
        with pytest.raises(MalformedMessage):
            loads(text)
    else:
        if "inf" not in repr(expected):
            assert repr(expected) == repr(loads(text))


def refuse(constant: str) -> None:
    raise ValueError(constant)
