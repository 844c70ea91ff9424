"""What a command says and where: results on stdout, everything else on stderr.

With ``--json``, stdout gets one JSON object as its last line and nothing else; the words for people go to stderr.
"""

from __future__ import annotations

import json

import attrs
import click

from olmstate.messages import JsonObject


def printable(text: str) -> str:
    """What others have written, without what moves a terminal's cursor or turns text around."""
    return "".join(character if character.isprintable() else "\N{REPLACEMENT CHARACTER}" for character in text)


json_option = click.option(
    "--json", "as_json", is_flag=True, help="Print one JSON object as the last line of standard output."
)


@attrs.frozen
class Output:
    """One command's output."""

    as_json: bool
    taken: bool = False
    """Stdout gets something else."""

    def __attrs_post_init__(self) -> None:
        """Make sure that stdout gets one thing."""
        if self.as_json and self.taken:
            raise click.UsageError("--json and - both want standard output.")

    def say(self, text: str) -> None:
        """Tell people."""
        click.echo(text, err=self.as_json or self.taken)

    def finish(self, result: JsonObject) -> None:
        """Tell programs, if asked to."""
        if self.as_json:
            click.echo(json.dumps(result))
