"""All that a run found, as it is kept: the documentation's table and plots are made from such a file."""

from __future__ import annotations

import json
import re
from collections.abc import Mapping
from pathlib import Path

import attrs
import click
import msgspec

from olmstate.messages import JsonObject
from tests.bench.job import Outcome, Picture, Result
from tests.bench.machine import Machine

DIGITS = 4
"""That a measured number has: more than it can be trusted for."""


@attrs.frozen(kw_only=True)
class Record:
    """A run."""

    machine: Machine
    rounds: int
    jobs: Mapping[str, Outcome]

    @property
    def results(self) -> tuple[Result, ...]:
        """Of all jobs."""
        return tuple(result for outcome in self.jobs.values() for result in outcome.results)

    @property
    def pictures(self) -> tuple[Picture, ...]:
        """Of all jobs."""
        return tuple(picture for outcome in self.jobs.values() for picture in outcome.pictures)

    @property
    def missed(self) -> list[str]:
        """Labels of what fell short of its target."""
        return [result.label for result in self.results if not result.met]

    def with_jobs_of(self, later: Record) -> Record:
        """This one, with what a later run on the same machine has found.

        Raises:
            click.ClickException: It isn't the same: the figures of one page must compare.
        """
        if not self.machine.is_like(later.machine):
            raise click.ClickException("the file's figures are of another machine or another Python")
        return attrs.evolve(self, jobs={**self.jobs, **later.jobs})

    def as_json(self) -> JsonObject:
        """As it is kept."""
        shown: JsonObject = json.loads(msgspec.json.encode(self), parse_float=_rounded)
        return {**shown, "missed": self.missed}

    def write(self, path: Path) -> None:
        """Keep it in a file, with a row of numbers on one line."""
        text = json.dumps(self.as_json(), indent=1, ensure_ascii=False)
        rows = re.sub(r"\[([-+\d.e,\s]+)\]", lambda row: f"[{' '.join(row[1].split())}]", text)
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(f"{rows}\n", encoding="utf-8")


def read_record(path: Path) -> Record:
    """What `Record.write` has kept.

    Raises:
        click.ClickException: The file holds no such thing.
    """
    try:
        return msgspec.json.decode(path.read_bytes(), type=Record)
    except msgspec.DecodeError as error:
        raise click.ClickException(f"{path} is no file that the benchmark has saved") from error


def _rounded(number: str) -> float:
    return float(f"{float(number):.{DIGITS}g}")
