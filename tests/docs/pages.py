"""The pages and the example files that the tests of this folder read."""

from __future__ import annotations

import importlib.util
import os
import re
from pathlib import Path
from types import ModuleType

ROOT = Path(__file__).parents[2]
DOCS = ROOT / "docs"
EXAMPLES = DOCS / "examples"
SOURCE_ROOTS = os.pathsep.join(str(ROOT / root) for root in ("actors", "messages", "storage"))
ENVIRONMENT = {**os.environ, "PYTHONPATH": SOURCE_ROOTS}
"""For programs that import olmstate: this tree's, installed or not."""


def pages() -> list[Path]:
    """Every page of the documentation, and the README."""
    return [
        ROOT / "README.md",
        *(page for page in sorted(DOCS.rglob("*.md")) if not {"_build", "node_modules"} & {*page.parts}),
    ]


def fences(page: Path, language: str) -> list[str]:
    """The contents of a page's fenced blocks of a language."""
    text = page.read_text(encoding="utf-8")
    return re.findall(rf"^```{re.escape(language)}\n(.*?)^```$", text, flags=re.MULTILINE | re.DOTALL)


def example(name: str) -> ModuleType:
    """An example, imported from its file."""
    spec = importlib.util.spec_from_file_location(f"example_{name}", EXAMPLES / f"{name}.py")
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module
