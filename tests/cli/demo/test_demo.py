"""The demo, run for real: processes, SIGKILLs, recorded messages; and its control, which must fail."""

from __future__ import annotations

import json
import os
import select
import signal
import subprocess
import sys
from pathlib import Path

import attrs
import pytest

from olmstate.messages import JsonObject
from olmstate.storage import inspect_store

LARGE = Path(__file__).parents[2] / "recordings" / "large-2.json.gz"
NOTHING_WRONG = (
    "undecryptable",
    "reused_indices",
    "reused_olm_counters",
    "reused_one_time_keys",
    "colliding_key_ids",
    "stale_reads",
    "wrong_outcomes",
    "refused",
    "crashes",
)


@attrs.frozen
class Ran:
    """A run that has ended."""

    code: int
    lines: list[str]
    """Of its standard output."""
    stderr: str

    @property
    def shown(self) -> JsonObject:
        """What it told programs."""
        answer: JsonObject = json.loads(self.lines[-1])
        return answer


def environment(temporary: Path) -> dict[str, str]:
    return {**os.environ, "TMPDIR": str(temporary), "PYTHONPATH": os.pathsep.join(sys.path)}


def run_demo(temporary: Path, *arguments: str | Path) -> Ran:
    """Run it as a user does, with its temporary folder in ``temporary``."""
    command = [sys.executable, "-m", "olmstate.cli", "demo", *map(str, arguments)]
    done = subprocess.run(command, env=environment(temporary), capture_output=True, text=True, check=False)
    return Ran(done.returncode, done.stdout.splitlines(), done.stderr)


def assert_right(ran: Ran, *, processes: int, messages: int, kills: int, expected: int = 113) -> None:
    assert ran.code == 0, ran.stderr + "\n".join(ran.lines)
    shown = ran.shown
    assert (processes, messages, messages, kills) == (
        shown["processes"],
        shown["sent"],
        shown["read"],
        shown["kills"],
    )
    assert expected == shown["recorded_expected"] == shown["recorded_decrypted"]
    assert dict.fromkeys(NOTHING_WRONG, 0) == {name: shown[name] for name in NOTHING_WRONG}


def test_nothing_is_lost_reused_or_stale_though_a_process_is_killed(tmp_path: Path) -> None:
    ran = run_demo(tmp_path, "--processes", "3", "--messages", "60", "--kills", "2", "--seed", "1", "--json")

    assert_right(ran, processes=3, messages=60, kills=2)
    assert len(ran.lines) == 1
    assert ran.shown["invalidations"] > 0
    assert ran.shown["seed"] == 1
    assert "Everything is right" in ran.stderr
    assert [] == list(tmp_path.iterdir())


def test_one_process_that_is_killed_again_and_again_is_enough(tmp_path: Path) -> None:
    ran = run_demo(tmp_path, "--processes", "1", "--messages", "20", "--kills", "3", "--seed", "2", "--json")

    assert_right(ran, processes=1, messages=20, kills=3)


@pytest.mark.parametrize("seed", [1, 2])
def test_the_control_uses_indices_twice_and_fails(tmp_path: Path, seed: int) -> None:
    ran = run_demo(tmp_path, "--unsafe", "--messages", "120", "--kills", "1", "--seed", str(seed), "--json")

    assert ran.code == 1, ran.stderr
    assert ran.shown["unsafe"]
    assert ran.shown["reused_indices"] > 0
    assert ran.shown["crashes"] == ran.shown["refused"] == 0
    assert "NOT right" in ran.stderr
    assert [] == list(tmp_path.iterdir())


def test_people_get_a_table_and_may_keep_the_store(tmp_path: Path) -> None:
    ran = run_demo(tmp_path, "--processes", "2", "--messages", "10", "--kills", "0", "--keep")

    assert ran.code == 0, ran.stderr
    table = {what: value for what, _, value in (line.strip().partition("  ") for line in ran.lines)}
    assert table["messages sent"].strip() == "10"
    assert table["recorded events decrypted"].strip() == "113 of 113"
    assert ran.lines[-1].startswith("Everything is right")
    [folder] = tmp_path.iterdir()
    assert inspect_store(folder / "store").info.user_id == "@alice:rec.test"
    assert (folder / "key").stat().st_mode & 0o777 == 0o600
    assert folder.stat().st_mode & 0o777 == (folder / "store").stat().st_mode & 0o777 == 0o700
    logs = [path.read_text() for path in folder.glob("worker-*.log")]
    assert logs == ["", ""]


def test_a_file_that_is_no_recording_is_one_clear_line(tmp_path: Path) -> None:
    path = tmp_path / "no-recording"
    path.write_bytes(b"nothing")

    ran = run_demo(tmp_path, "--recording", path)

    assert (ran.code, ran.lines) == (1, [])
    assert ran.stderr.startswith("Error: ")
    assert len(ran.stderr.splitlines()) == 1


def children(pid: int) -> list[int]:
    """The processes that a process has started, while it runs."""
    listed = [path.read_text() for path in Path(f"/proc/{pid}/task").glob("*/children")]
    return [int(child) for each in listed for child in each.split()]


@pytest.mark.skipif(not Path("/proc/self/task").exists(), reason="children are found in /proc")
@pytest.mark.parametrize("sent", [signal.SIGINT, signal.SIGKILL])
def test_its_processes_end_with_it_however_it_ends(tmp_path: Path, sent: signal.Signals) -> None:
    command = [sys.executable, "-m", "olmstate.cli", "demo", "--processes", "2", "--messages", "100000"]
    with subprocess.Popen(
        command, env=environment(tmp_path), stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True
    ) as demo:
        assert demo.stderr is not None
        demo.stderr.readline()  # the first line of progress
        started = children(demo.pid)
        demo.send_signal(sent)
        output, errors = demo.communicate()

    assert len(started) >= 2
    assert output == ""
    if sent == signal.SIGINT:
        assert demo.returncode == 1
        assert errors.splitlines()[-1] == "Aborted!"
        assert "Traceback" not in errors
        assert [] == list(tmp_path.iterdir())
    for pid in started:
        wait_for_the_end_of(pid)


def wait_for_the_end_of(pid: int) -> None:
    """Return once the process has ended, however long that takes."""
    try:
        descriptor = os.pidfd_open(pid)
    except ProcessLookupError:
        return
    try:
        select.select([descriptor], [], [])
    finally:
        os.close(descriptor)


@pytest.mark.full
@pytest.mark.parametrize("seed", range(30))
def test_any_seed_is_right(tmp_path: Path, seed: int) -> None:
    ran = run_demo(tmp_path, "--seed", str(seed), "--json")

    assert_right(ran, processes=4, messages=400, kills=3)


@pytest.mark.full
@pytest.mark.parametrize("seed", range(10))
def test_the_control_fails_with_any_seed(tmp_path: Path, seed: int) -> None:
    ran = run_demo(tmp_path, "--unsafe", "--seed", str(seed), "--json")

    assert ran.code == 1
    assert ran.shown["reused_indices"] > 0


@pytest.mark.full
@pytest.mark.parametrize("seed", range(5))
def test_the_large_recording_is_right_too(tmp_path: Path, seed: int) -> None:
    ran = run_demo(tmp_path, "--recording", LARGE, "--kills", "10", "--seed", str(seed), "--json")

    assert_right(ran, processes=4, messages=400, kills=10, expected=2797)
