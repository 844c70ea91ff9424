"""Every name of the vocabulary is in the reference, with what its source says of it."""

from __future__ import annotations

import inspect
import re
from pathlib import Path
from typing import get_args

import pytest
from docs.extensions.vocabulary import errors_in, read_vocabulary

import olmstate.messages
from olmstate.messages import OlmStateError

EXPORTED = sorted(olmstate.messages.__all__)
VOCABULARY = read_vocabulary()
MESSAGES = [name for name, entry in VOCABULARY.items() if entry.reply not in ("", "R")]


@pytest.fixture(scope="module")
def entries(html: Path) -> dict[str, str]:
    """The HTML of each entry, by name."""
    page = (html / "messages.html").read_text(encoding="utf-8")
    parts = re.split(r'<dt class="[^"]*" id="olmstate\.messages\.(\w+)">', page)
    return dict(zip(parts[1::2], parts[2::2], strict=True))


def test_the_reference_has_every_exported_name_once_and_no_other(entries: dict[str, str]) -> None:
    assert EXPORTED == sorted(entries)


def words(entry: str) -> str:
    """An entry's text."""
    return " ".join(re.sub(r"<[^>]+>", "", entry).replace("&#39;", "'").split())


@pytest.mark.parametrize("name", EXPORTED)
def test_an_entry_says_what_is_carried_what_comes_back_and_what_goes_wrong(name: str, entries: dict[str, str]) -> None:
    described = VOCABULARY[name]
    entry = words(entries[name])
    assert entry.startswith(f"{described.kind} {name}")
    for field in (*described.fields, *described.properties):
        assert re.search(rf"\b{field.name} \(", entry), field.name
    for error, _ in described.errors:
        assert issubclass(getattr(olmstate.messages, error), OlmStateError)
        assert error in entry
    if described.reply:
        assert f"Reply: {described.reply}" in entry


@pytest.mark.parametrize("name", MESSAGES)
def test_the_reply_of_an_entry_is_the_one_that_type_checkers_see(name: str) -> None:
    exported = getattr(olmstate.messages, name)
    bases: tuple[object, ...] = exported.__orig_bases__
    [[reply]] = [get_args(base) for base in bases]
    assert reply == (eval(VOCABULARY[name].reply, dict(vars(olmstate.messages))) or type(None))  # noqa: S307


@pytest.mark.parametrize("name", MESSAGES)
def test_help_and_the_hover_of_a_message_name_its_reply(name: str) -> None:
    documentation = inspect.getdoc(getattr(olmstate.messages, name)) or ""
    section = documentation.partition("Returns:\n")[2].strip()
    assert section.startswith(VOCABULARY[name].reply)


def test_every_message_has_a_reply_and_every_kind_is_there() -> None:
    sendable = {"command", "query", "procedure"}
    assert sendable | {"message", "event", "error", "value", "type"} == {entry.kind for entry in VOCABULARY.values()}
    generic = {"Command", "Query", "Procedure"}
    assert generic | set(MESSAGES) == {name for name, entry in VOCABULARY.items() if entry.kind in sendable}


def test_errors_are_read_with_their_reasons_over_several_lines_or_without() -> None:
    section = "    NoAccount: The store\n        is empty.\n    MissingRoomKey, ReplayedMessage,\n    MalformedMessage."
    names = ("NoAccount", "MissingRoomKey", "ReplayedMessage", "MalformedMessage")
    assert list(zip(names, ("The store is empty.", "", "", ""), strict=True)) == list(errors_in(section))


def test_a_section_of_errors_that_cannot_be_read_is_no_entry() -> None:
    with pytest.raises(ValueError, match="can't be read"):
        list(errors_in("    whatever comes to mind"))
