"""The message reference: the directive ``vocabulary``, which describes exported names of `olmstate.messages`.

    .. vocabulary:: CreateAccount IdentityKeys DeviceIdentity

Owns: how an entry looks.
Rule: the page chooses groups and order; everything said about a name comes from its source (`vocabulary`).
Why: autodoc knows a class, but not what matters of a message: what kind it is, what comes back, what can go wrong.
"""

from __future__ import annotations

import ast
import re
from collections.abc import Iterator
from typing import Any, ClassVar

from docutils import nodes
from docutils.parsers.rst import directives
from docutils.statemachine import StringList
from sphinx import addnodes
from sphinx.application import Sphinx
from sphinx.domains.python import PyClasslike
from sphinx.domains.python._object import PyField, PyGroupedField, PyTypedField
from sphinx.util.docfields import Field
from sphinx.util.docutils import SphinxDirective
from sphinx.util.nodes import nested_parse_with_titles
from sphinx.util.typing import OptionSpec

import olmstate.messages

from .source import Name, files_of
from .vocabulary import Entry, read_vocabulary

_REFERENCE = re.compile(r"(?<!`)`([A-Za-z_]+)`(?![`_])")
_NESTED = "   "


class _ReplyField(PyField):
    """A type with links in it, set like the types of fields: typography leaves its dots alone."""

    def make_xrefs(self, rolename: str, domain: str, target: str, *_: object, **context: Any) -> list[nodes.Node]:  # noqa: ANN401 - Sphinx's
        context["innernode"], context["contnode"] = addnodes.literal_emphasis, None
        return super().make_xrefs(rolename, domain, target, **context)


class EntryDirective(PyClasslike):
    """One entry: a class to cross-references, with its own kind before its name."""

    option_spec: ClassVar[OptionSpec] = {**PyClasslike.option_spec, "kind": directives.unchanged}
    doc_field_types: ClassVar[list[Field]] = [
        _ReplyField("reply", label="Reply", names=("reply",), bodyrolename="class", has_arg=False),
        PyGroupedField("error", label="Errors", names=("error",), rolename="class", can_collapse=True),
        PyTypedField("field", label="Fields", names=("field",), typenames=("fieldtype",), typerolename="class"),
        PyTypedField(
            "property", label="Made from them", names=("property",), typenames=("propertytype",), typerolename="class"
        ),
    ]

    def get_signature_prefix(self, sig: str) -> list[nodes.Node]:  # noqa: ARG002 - Sphinx's
        """The kind."""
        return [nodes.Text(self.options["kind"]), addnodes.desc_sig_space()]

    def handle_signature(self, sig: str, signode: addnodes.desc_signature) -> tuple[str, str]:
        """The name without its module, which the page has named."""
        names = super().handle_signature(sig, signode)
        for module in list(signode.findall(addnodes.desc_addname)):
            signode.remove(module)
        return names

    def add_target_and_index(self, name_cls: tuple[str, str], sig: str, signode: addnodes.desc_signature) -> None:
        """Registered as a class: that is what references look for."""
        self.objtype = "class"
        super().add_target_and_index(name_cls, sig, signode)


class Vocabulary(SphinxDirective):
    """Describe the names given."""

    has_content = False
    required_arguments = 1
    final_argument_whitespace = True

    def run(self) -> list[nodes.Node]:
        """Write each entry as reStructuredText, and parse that."""
        vocabulary = read_vocabulary()
        lines = [".. py:currentmodule:: olmstate.messages", ""]
        for name in self.arguments[0].split():
            entry = vocabulary.get(name)
            if entry is None:
                raise self.error(f"olmstate.messages exports no {name}")
            lines += _entry(entry, vocabulary)
        lines += [".. py:currentmodule:: None", ""]
        for file in files_of(olmstate.messages):
            self.env.note_dependency(str(file))
        node = nodes.container()
        nested_parse_with_titles(self.state, StringList(lines, source="olmstate.messages"), node)
        return node.children


def _entry(entry: Entry, vocabulary: dict[str, Entry]) -> Iterator[str]:
    yield f".. py:entry:: {entry.name}"
    yield f"{_NESTED}:kind: {entry.kind}"
    yield ""
    for line in _linked(entry.text, vocabulary).splitlines():
        yield f"{_NESTED}{line}"
    yield ""
    for line in _details(entry, vocabulary):
        yield f"{_NESTED}{line}"
    yield ""


def _details(entry: Entry, vocabulary: dict[str, Entry]) -> Iterator[str]:
    if entry.stands_for:
        yield f"Stands for ``{entry.stands_for}``."
    if entry.returns and entry.reply not in vocabulary and entry.reply != "None":
        yield f"Replies: {_linked(entry.returns, vocabulary)}"
    if entry.says:
        yield f"Says: *{entry.says}*"
    yield ""
    for field in entry.fields:
        yield from _field("field", field, vocabulary)
    for field in entry.properties:
        yield from _field("property", field, vocabulary)
    if entry.reply:
        yield f":reply: {entry.reply}"
    for error, when in entry.errors:
        text = when or vocabulary[error].text.partition("\n")[0]
        yield f":error {error}: {_linked(text, vocabulary)}"


def _field(role: str, field: Name, vocabulary: dict[str, Entry]) -> Iterator[str]:
    text = " ".join(_linked(field.text, vocabulary).split())
    default = _default(field)
    yield f":{role} {field.name}: {text}{' ' if text and default else ''}{default}"
    yield f":{role}type {field.name}: {field.annotation}"


def _default(field: Name) -> str:
    match field.value:
        case None | ast.Call(func=ast.Attribute(attr="field")):
            return ""
        case value:
            return f"Default: ``{ast.unparse(value)}``."


def _linked(text: str, vocabulary: dict[str, Entry]) -> str:
    """`Name` as a link where it is an entry, else as code."""

    def link(found: re.Match[str]) -> str:
        return f":py:class:`{found[1]}`" if found[1] in vocabulary else f"``{found[1]}``"

    return _REFERENCE.sub(link, text)


def setup(app: Sphinx) -> dict[str, Any]:
    """Register the directive."""
    app.add_directive_to_domain("py", "entry", EntryDirective)
    app.add_directive("vocabulary", Vocabulary)
    return {"parallel_read_safe": True, "parallel_write_safe": True}
