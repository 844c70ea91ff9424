"""The program as a shell starts it."""

from __future__ import annotations

import os
import subprocess
import sys
from importlib.metadata import version
from pathlib import Path

import pytest

from tests.cli.conftest import make_store

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


def closed(*descriptors: int, arguments: tuple[str | Path, ...], **environment: str) -> tuple[int, str]:
    """As `program`, with standard streams that were closed."""
    shell = " ".join(f"{descriptor}>&-" for descriptor in descriptors)
    done = subprocess.run(
        ["/bin/sh", "-c", f'exec "$@" {shell}', "sh", sys.executable, "-m", "olmstate", *map(str, arguments)],
        stdin=subprocess.DEVNULL,
        capture_output=True,
        text=True,
        env={**ENVIRONMENT, **environment},
        check=False,
    )
    return done.returncode, done.stdout + done.stderr


def test_an_output_that_is_closed_is_one_line(store: Path) -> None:
    # nothing was said, and all was well; files of the store had its descriptor
    assert (1, "Error: [Errno 9] Bad file descriptor\n") == closed(1, arguments=("inspect", store))
    assert (1, "") == closed(0, 1, 2, arguments=("inspect", store))


def test_an_input_that_is_closed_has_nothing_to_read(store: Path, key_file: Path, tmp_path: Path) -> None:
    # these were tracebacks
    code, said = closed(0, arguments=("export-keys", store, tmp_path / "keys.txt", "--key-file", key_file))
    assert 1 == code
    assert "OLMSTATE_EXPORT_PASSPHRASE" in said.splitlines()[-1]
    arguments = ("import-keys", store, "-", "--key-file", key_file)
    code, said = closed(0, arguments=arguments, OLMSTATE_EXPORT_PASSPHRASE="a passphrase")
    assert (1, "Error: malformed key file") == (code, said.splitlines()[-1][:25])


@pytest.mark.parametrize("output", ["/dev/full", "&-"])
def test_keys_that_cannot_be_written_are_one_line(output: str, store: Path, key_file: Path) -> None:
    # the first had Python complain once more when it ended, and the second was a traceback
    arguments = ("export-keys", store, "-", "--key-file", key_file, "--rounds", "100000")
    done = subprocess.run(
        ["/bin/sh", "-c", f'exec "$@" >{output}', "sh", sys.executable, "-m", "olmstate", *arguments],
        capture_output=True,
        text=True,
        env={**ENVIRONMENT, "OLMSTATE_EXPORT_PASSPHRASE": "a passphrase"},
        check=False,
    )
    assert 1 == done.returncode
    assert "Error: - can't be written: " in done.stderr.splitlines()[-1]
    assert "Traceback" not in done.stderr


def test_what_the_terminal_has_no_letters_for_is_written_as_an_escape(tmp_path: Path) -> None:
    # it was a traceback
    folder = tmp_path / os.fsdecode(b"st\xffre")
    make_store(folder, None, ())
    code, said = program("olmstate", "inspect", folder, PYTHONIOENCODING="utf-8:strict")
    assert 0 == code
    assert "st\\udcffre" in said


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
