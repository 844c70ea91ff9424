"""Tables of text on a page."""

from __future__ import annotations

from collections.abc import Iterable, Sequence

from docutils import nodes


def table_of(head: Sequence[str], rows: Iterable[Sequence[str]], widths: Sequence[int] | None = None) -> nodes.table:
    """A table; without a head if that says nothing, and with columns of one width if nothing else is said."""
    group = nodes.tgroup(cols=len(head))
    group += [nodes.colspec(colwidth=width) for width in widths or [1] * len(head)]
    if any(head):
        group += nodes.thead("", _row(head))
    group += nodes.tbody("", *(_row(row) for row in rows))
    return nodes.table("", group)


def _row(cells: Sequence[str]) -> nodes.row:
    return nodes.row("", *(nodes.entry("", nodes.paragraph("", cell)) for cell in cells))
