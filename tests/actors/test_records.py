"""How values are written: any text, nothing that shows."""

from __future__ import annotations

import pytest

from olmstate.actors._engine.records import dumps, loads
from olmstate.actors._wire.quiet_struct import QuietStruct
from olmstate.storage import Row


class Secret(QuietStruct, kw_only=True, frozen=True):
    """Of a version that has added a field."""

    pickle: str
    added_later: bool = True


def test_a_records_repr_shows_nothing_of_it() -> None:
    assert "Secret(...)" == repr(Secret(pickle="a secret"))


@pytest.mark.parametrize("text", ["plain", "\N{SNOWMAN}", "lone \ud800 surrogate"])
def test_any_text_is_read_as_it_was_written(text: str) -> None:
    assert Secret(pickle=text) == loads(Row(b"", b"", dumps(Secret(pickle=text))), Secret)


def test_a_field_that_an_older_version_did_not_write_has_its_default() -> None:
    assert Secret(pickle="old", added_later=True) == loads(Row(b"", b"", b'{"pickle": "old", "gone": 1}'), Secret)
