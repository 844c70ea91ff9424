"""The page on security says nothing that no test shows, and leaves out no field of what is decrypted.

Below each of its statements, comments name the tests: ``% path::name`` in a list, ``% Type.field: path::name`` under a
table.
"""

from __future__ import annotations

import re
import subprocess
import sys
from collections import defaultdict
from pathlib import Path

import attrs
import pytest

from olmstate.messages import DecryptedRoomEvent, DecryptedToDevice, EncryptionInfo
from tests.docs.pages import DOCS, ENVIRONMENT, ROOT

PAGE = DOCS / "security.md"
FIELDS = re.compile(r"^### `(?P<type>\w+)`$")


@attrs.define
class Page:
    """What is on it."""

    statements: dict[str, list[str]] = attrs.field(factory=dict[str, list[str]])
    """Of lists, by their first lines, and the tests of each."""
    rows: dict[str, list[str]] = attrs.field(factory=lambda: defaultdict[str, list[str]](list))
    """The fields in the table of each type."""
    fields: dict[str, str] = attrs.field(factory=dict[str, str])
    """The test of each row, by type and field."""

    @property
    def tests(self) -> set[str]:
        """All that are named."""
        return {test for tests in self.statements.values() for test in tests} | set(self.fields.values())


def read_page() -> Page:
    page = Page()
    statement = type_name = ""
    for line in PAGE.read_text(encoding="utf-8").splitlines():
        if heading := FIELDS.match(line):
            type_name = heading["type"]
        if line.startswith("- "):
            statement = line
            page.statements[statement] = []
        elif comment := re.match(r"^  % (tests/\S+)$", line):
            page.statements[statement].append(comment[1])
        elif comment := re.match(r"^% (\w+\.\w+): (tests/\S+)$", line):
            page.fields[comment[1]] = comment[2]
        elif row := re.match(r"^\| `(\w+)` \|", line):
            page.rows[type_name].append(row[1])
        else:
            assert "tests/" not in line, "a test is named in a form that nobody reads"
    return page


def test_each_statement_names_the_tests_that_show_it() -> None:
    page = read_page()
    assert len(page.statements) >= 40
    assert [] == [statement for statement, tests in page.statements.items() if not tests]
    assert {f"{name}.{field}" for name, fields in page.rows.items() for field in fields} == page.fields.keys()


@pytest.mark.parametrize("decrypted", [EncryptionInfo, DecryptedRoomEvent, DecryptedToDevice])
def test_each_field_of_what_is_decrypted_is_in_a_table(decrypted: type[attrs.AttrsInstance]) -> None:
    assert [field.name for field in attrs.fields(decrypted)] == read_page().rows[decrypted.__name__]


def test_the_tests_that_are_named_can_be_run() -> None:
    named = sorted(read_page().tests)
    command = (sys.executable, "-m", "pytest", "--collect-only", "--quiet", "-p", "no:cacheprovider", *named)
    collected = subprocess.run(command, capture_output=True, text=True, check=False, cwd=ROOT, env=ENVIRONMENT)
    assert 0 == collected.returncode, collected.stdout
    found = {line.partition("[")[0] for line in collected.stdout.splitlines()}
    assert [] == [test for test in named if test not in found]


def test_what_names_the_tests_is_not_shown(html: Path) -> None:
    text = (html / "security.html").read_text(encoding="utf-8")
    assert "DecryptedRoomEvent.event_id:" not in text
    assert "tests/hostile" not in text
    # comments within lists don't cut them into lists of one
    assert text.count("<ul") < len(read_page().statements)
