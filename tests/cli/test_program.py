"""The program as a shell starts it."""

from __future__ import annotations

import os
import subprocess
import sys
from importlib.metadata import version
from pathlib import Path

import pytest

MODULES = pytest.mark.parametrize("module", ["olmstate", "olmstate.cli"])
ENVIRONMENT = {**os.environ, "PYTHONPATH": os.pathsep.join(sys.path)}


def program(module: str, *arguments: str | Path, output: int = subprocess.PIPE, **environment: str) -> tuple[int, str]:
    """Exit code, and what was said."""
    done = subprocess.run(
        [sys.executable, "-m", module, *map(str, arguments)],
        stdin=subprocess.DEVNULL,
        stdout=output,
        stderr=subprocess.PIPE,
        text=True,
        env={**ENVIRONMENT, **environment},
        check=False,
    )
    return done.returncode, (done.stdout or "") + done.stderr


@MODULES
def test_it_runs_as_a_module_and_says_its_version(module: str) -> None:
    assert (0, f"olmstate, version {version('olmstate')}\n") == program(module, "--version")


@MODULES
def test_a_command_line_that_makes_no_sense_is_exit_code_2(module: str) -> None:
    code, said = program(module, "inspekt")
    assert 2 == code
    assert "Usage: olmstate " in said
    assert "No such command" in said


@pytest.mark.parametrize("arguments", [("inspect",), ("inspect", "--json"), ("--help",), ("--version",)])
def test_an_output_that_cannot_be_written_is_one_line(arguments: tuple[str, ...], store: Path) -> None:
    # it was a traceback
    full = os.open("/dev/full", os.O_WRONLY)
    more = (store,) if arguments[0] == "inspect" else ()
    try:
        code, said = program("olmstate", *arguments, *more, output=full)
    finally:
        os.close(full)
    assert (1, "Error: [Errno 28] No space left on device") == (code, said.splitlines()[-1])
    assert "Traceback" not in said
    assert "Exception ignored" not in said


def test_a_shell_can_complete_commands_and_options() -> None:
    def completed(*words: str) -> str:
        code, said = program(
            "olmstate",
            _OLMSTATE_COMPLETE="bash_complete",
            COMP_WORDS=" ".join(("olmstate", *words)),
            COMP_CWORD=str(len(words)),
        )
        assert 0 == code
        return said

    assert {"plain,export-keys", "plain,import-keys"} <= {*completed("").split()}
    assert "plain,--force" in completed("export-keys", "--fo").split()


def test_nobody_to_ask_is_one_line(store: Path, key_file: Path, tmp_path: Path) -> None:
    code, said = program("olmstate", "export-keys", store, tmp_path / "keys.txt", "--key-file", key_file)
    assert 1 == code
    assert "OLMSTATE_EXPORT_PASSPHRASE" in said.splitlines()[-1]
    assert "Traceback" not in said
