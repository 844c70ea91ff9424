"""How every command ends: one clear line and exit code 1, whatever went wrong."""

from __future__ import annotations

import click
import pytest
import trio
from click.testing import CliRunner

from olmstate.cli import main
from olmstate.cli._commands import commands, run
from olmstate.messages import OlmStateError, StoreBusy, StoreFull


def test_every_command_is_there_and_explains_itself() -> None:
    assert {"backup", "change-passphrase", "demo", "export-keys", "import-keys", "inspect"} <= set(commands.commands)
    for name in commands.commands:
        result = CliRunner().invoke(main, [name, "--help"])
        assert result.exit_code == 0
        assert len(result.output.splitlines()) > 4


def test_a_module_adds_its_own_command() -> None:
    error = StoreBusy(holder_pid=4711, waited=5.0)

    @commands.command("fail-on-purpose")
    def fail() -> None:
        raise error

    try:
        result = CliRunner().invoke(main, ["fail-on-purpose"])
    finally:
        del commands.commands["fail-on-purpose"]

    assert result.exit_code == 1
    assert result.stdout == ""
    assert result.stderr == f"Error: {error}\n"


async def fail_together(*errors: BaseException) -> None:
    async def fail(error: BaseException) -> None:
        raise error  # without a checkpoint, so that the first one to fail doesn't cancel the others

    async with trio.open_nursery() as nursery:
        for error in errors:
            nursery.start_soon(fail, error)


@pytest.mark.parametrize("error", [StoreFull(), click.ClickException("no"), BrokenPipeError(), KeyboardInterrupt()])
def test_an_error_of_a_task_comes_out_as_it_was_raised(error: BaseException) -> None:
    async def nested() -> None:
        async with trio.open_nursery() as nursery:
            nursery.start_soon(fail_together, error)

    with pytest.raises(type(error)):
        run(nested)


def test_ctrl_c_goes_before_what_it_caused() -> None:
    with pytest.raises(KeyboardInterrupt):
        run(lambda: fail_together(StoreFull(), KeyboardInterrupt(), ZeroDivisionError()))


def test_a_commands_own_words_go_before_what_they_caused() -> None:
    with pytest.raises(click.ClickException, match="no"):
        run(lambda: fail_together(StoreFull(), click.ClickException("no")))
    with pytest.raises(ExceptionGroup):
        run(lambda: fail_together(click.ClickException("no"), ZeroDivisionError()))


class Interrupting:
    """A descriptor during whose making somebody presses Ctrl-C."""

    def __set_name__(self, owner: type, name: str) -> None:
        raise KeyboardInterrupt


async def import_interrupted() -> None:
    type("Imported", (), {"field": Interrupting()})


def test_ctrl_c_in_the_midst_of_an_import_is_one() -> None:
    # Python 3.11 makes it a RuntimeError: it was a traceback
    @commands.command("import-on-purpose")
    def import_it() -> None:
        trio.run(import_interrupted)

    try:
        result = CliRunner().invoke(main, ["import-on-purpose"])
    finally:
        del commands.commands["import-on-purpose"]
    assert (1, "") == (result.exit_code, result.stdout)
    assert "Aborted!" in result.stderr

    async def in_a_task() -> None:
        async with trio.open_nursery() as nursery:
            nursery.start_soon(import_interrupted)

    with pytest.raises(KeyboardInterrupt):
        run(in_a_task)


def test_of_several_of_the_librarys_errors_one_is_told() -> None:
    with pytest.raises(OlmStateError):
        run(lambda: fail_together(StoreFull(), StoreBusy(holder_pid=None, waited=0.0)))


def test_a_bug_is_never_hidden_behind_an_error_of_the_librarys() -> None:
    with pytest.raises(ExceptionGroup) as raised:
        run(lambda: fail_together(StoreFull(), ZeroDivisionError()))
    assert raised.value.subgroup(ZeroDivisionError) is not None


def test_the_result_comes_back() -> None:
    async def answer() -> int:
        await trio.lowlevel.checkpoint()
        return 42

    assert run(answer) == 42
