"""How values are written: any text, nothing that shows."""

from __future__ import annotations

from typing import ClassVar

import pytest

from olmstate.actors._engine.records import Record, dumps, loads, restore
from olmstate.messages import StoreCorrupt
from olmstate.storage import Row, Table


class Secret(Record, kw_only=True, frozen=True):
    """Of a version that has added a field."""

    table: ClassVar[Table] = Table.DEVICES

    pickle: str
    added_later: bool = True


def test_a_records_repr_shows_nothing_of_it() -> None:
    assert "Secret(...)" == repr(Secret(pickle="a secret"))


@pytest.mark.parametrize("text", ["plain", "\N{SNOWMAN}", "lone \ud800 surrogate"])
def test_any_text_is_read_as_it_was_written(text: str) -> None:
    assert Secret(pickle=text) == loads(Row(b"", b"", dumps(Secret(pickle=text))), Secret)


def test_a_field_that_an_older_version_did_not_write_has_its_default() -> None:
    assert Secret(pickle="old", added_later=True) == loads(Row(b"", b"", b'{"pickle": "old", "gone": 1}'), Secret)


@pytest.mark.parametrize(
    "value", [b"", b"no JSON", b"\xff", b'{"pickle": 1}', b'{"pickle": "\\ud800", "added_later": 1}']
)
def test_what_is_no_such_record_is_a_damaged_store_that_names_the_table_alone(value: bytes) -> None:
    with pytest.raises(StoreCorrupt) as caught:
        loads(Row(b"", b"", value), Secret)
    assert "a value in devices can't be read" == caught.value.reason


def test_only_what_was_read_is_called_damaged() -> None:
    with pytest.raises(StoreCorrupt):
        restore(Table.DEVICES, int, "no number")
    with pytest.raises(TypeError):
        restore(Table.DEVICES, len, 5)  # type: ignore[arg-type]  # pyright: ignore[reportArgumentType]
