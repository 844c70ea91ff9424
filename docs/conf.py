"""How Sphinx builds these pages.

Owns: the extensions, the theme, and what counts as a page.
Rule: a build reads nothing but this repository and has no warnings.
Why: documentation that builds only on some machines, or only on some days, is not tested. Links into the
documentation of Trio and attrs need their inventories from the net, so they are there when asked for, with
`OLMSTATE_DOCS_ONLINE=1 make docs`; otherwise a reference such as {py:class}`trio.Event` stands as plain code.
"""

from __future__ import annotations

import os
import sys
from importlib.metadata import version as version_of
from pathlib import Path

project = "olmstate"
author = "The olmstate authors"
copyright = "2026, The olmstate authors"
release = version_of("olmstate")
version = release

sys.path[:0] = [str(Path(__file__).parent), str(Path(__file__).parents[1])]  # extensions, and the benchmark's records
extensions = [
    "extensions.message_reference",
    "extensions.overview",
    "extensions.performance",
    "extensions.state_diagrams",
    "extensions.tuned_numbers",
    "myst_parser",
    "sphinx.ext.autodoc",
    "sphinx.ext.napoleon",
    "sphinx.ext.intersphinx",
    "sphinx_click",
    "sphinx_copybutton",
]
exclude_patterns = ["_build", "examples", "node"]

myst_enable_extensions = ["colon_fence", "deflist", "fieldlist"]
myst_heading_anchors = 3

default_role = "py:obj"  # how docstrings name things
autodoc_member_order = "bysource"
autodoc_typehints = "description"
autodoc_typehints_description_target = "documented"
napoleon_google_docstring = True
napoleon_numpy_docstring = False

intersphinx_mapping = (
    {
        "python": ("https://docs.python.org/3", None),
        "trio": ("https://trio.readthedocs.io/en/stable", None),
        "attrs": ("https://www.attrs.org/en/stable", None),
    }
    if os.environ.get("OLMSTATE_DOCS_ONLINE")
    else {}
)

html_theme = "furo"
html_theme_options = {"light_css_variables": {"code-font-size": "80%"}}  # the 88 columns of examples fit
copybutton_exclude = ".linenos, .gp, .go"  # a console's prompt and what was printed are not what one types
html_title = f"olmstate {release}"
html_copy_source = False
html_show_sphinx = False
