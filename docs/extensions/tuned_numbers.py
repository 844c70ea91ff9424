"""The table of numbers that were tuned: the directive ``tuned-numbers``."""

from __future__ import annotations

from typing import Any

from docutils import nodes
from sphinx.application import Sphinx
from sphinx.util.docutils import SphinxDirective

from .tuned import ROOT, read_tuned


class TunedNumbers(SphinxDirective):
    """The table."""

    has_content = False

    def run(self) -> list[nodes.Node]:
        """Make it."""
        body = nodes.tbody()
        for tuned in read_tuned():
            self.env.note_dependency(str(ROOT / tuned.file))
            name = nodes.paragraph("", "", nodes.literal(text=tuned.name), nodes.Text(f" = {tuned.value}"))
            texts = _plain(tuned.text), _short(tuned.file), tuned.run
            cells = (name, *(nodes.paragraph(text=text) for text in texts))
            body += nodes.row("", *(nodes.entry("", cell) for cell in cells))
        titles = ("number", "what it is", "where", "run")
        head = nodes.thead("", nodes.row("", *(nodes.entry("", nodes.paragraph(text=title)) for title in titles)))
        columns = [nodes.colspec(colwidth=width) for width in (3, 6, 3, 2)]
        return [nodes.table("", nodes.tgroup("", *columns, head, body, cols=len(columns)))]


def _plain(text: str) -> str:
    return " ".join(text.split()).replace("`", "")


def _short(file: str) -> str:
    return file.split("olmstate/", 1)[1]


def setup(app: Sphinx) -> dict[str, Any]:
    """Register the directive."""
    app.add_directive("tuned-numbers", TunedNumbers)
    return {"parallel_read_safe": True, "parallel_write_safe": True}
