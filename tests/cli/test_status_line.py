"""The line about progress: written over on a terminal, whole lines elsewhere."""

from __future__ import annotations

import io

from olmstate.cli._status_line import StatusLine


class Terminal(io.StringIO):
    """A stream that says it is one."""

    def isatty(self) -> bool:
        return True


def test_on_a_terminal_a_line_is_written_over_and_taken_away() -> None:
    terminal = Terminal()
    status = StatusLine(terminal)
    status.show("half-way")
    status.show("done")
    status.clear()
    assert "\rhalf-way\rdone    \r    \r" == terminal.getvalue()


def test_nothing_is_taken_away_where_nothing_is() -> None:
    terminal = Terminal()
    StatusLine(terminal).clear()
    assert not terminal.getvalue()


def test_a_line_that_a_terminal_would_wrap_is_cut() -> None:
    terminal = Terminal()
    StatusLine(terminal).show("x" * 10_000)
    assert len(terminal.getvalue()) < 1_000


def test_elsewhere_lines_are_whole() -> None:
    stream = io.StringIO()
    status = StatusLine(stream)
    status.show("half-way")
    status.clear()
    status.show("done")
    assert "half-way\ndone\n" == stream.getvalue()


def test_a_line_is_not_shown_again_too_soon() -> None:
    stream = io.StringIO()
    status = StatusLine(stream, other_seconds=3600.0)
    status.show_now_and_then("at once")
    assert not stream.getvalue()
    always = StatusLine(stream, other_seconds=0.0)
    always.show_now_and_then("one")
    always.show_now_and_then("two")
    assert "one\ntwo\n" == stream.getvalue()
