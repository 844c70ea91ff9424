"""A handle lives as long as its process, by the kernel's word."""

from __future__ import annotations

import os
import signal
import stat
import subprocess
import sys
from pathlib import Path

import pytest

from olmstate.messages import StorePoisoned
from olmstate.storage.lock.presence import PREFIX, Presence
from tests.storage.processes import ENVIRONMENT

ANNOUNCER = """
import sys
from pathlib import Path
from olmstate.storage.lock.presence import Presence
presence = Presence(Path(sys.argv[1]))
print(presence.announce(), flush=True)
sys.stdin.read()
"""


def files(folder: Path) -> list[str]:
    return sorted(path.name for path in folder.iterdir())


def test_a_handle_that_was_never_announced_is_not_alive_and_leaves_no_file(tmp_path: Path) -> None:
    presence, other = Presence(tmp_path), Presence(tmp_path)
    assert not other.is_alive(presence.token)
    assert not presence.is_alive(presence.token)
    assert [] == files(tmp_path)


def test_a_handle_is_alive_for_itself_and_for_others_until_it_is_closed(tmp_path: Path) -> None:
    presence, other = Presence(tmp_path), Presence(tmp_path)
    token = presence.announce()
    assert token == presence.announce()
    assert presence.is_alive(token)
    assert other.is_alive(token)
    presence.close()
    presence.close()
    assert not other.is_alive(token)
    assert [] == files(tmp_path)


def test_its_file_is_for_its_owner_alone_whatever_the_umask(tmp_path: Path) -> None:
    before = os.umask(0)
    try:
        presence = Presence(tmp_path)
        token = presence.announce()
    finally:
        os.umask(before)
    assert 0o600 == stat.S_IMODE((tmp_path / f"{PREFIX}{token}").stat().st_mode)
    presence.close()


def test_a_killed_process_is_dead_at_once_and_a_frozen_one_is_not(tmp_path: Path) -> None:
    process = subprocess.Popen(
        [sys.executable, "-c", ANNOUNCER, str(tmp_path)],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        text=True,
        env=ENVIRONMENT,
    )
    with process:
        assert process.stdout is not None
        token = process.stdout.readline().strip()
        presence = Presence(tmp_path)
        process.send_signal(signal.SIGSTOP)
        os.waitid(os.P_PID, process.pid, os.WSTOPPED | os.WNOWAIT)
        presence.sweep()
        assert presence.is_alive(token)
        process.kill()
        process.wait()
        assert not presence.is_alive(token)
        assert [PREFIX + token] == files(tmp_path)
        presence.sweep()
        assert [] == files(tmp_path)


def test_sweeping_leaves_ones_own_file_and_those_of_the_living(tmp_path: Path) -> None:
    presence, other = Presence(tmp_path), Presence(tmp_path)
    tokens = sorted(PREFIX + each.announce() for each in (presence, other))
    (tmp_path / "lock").touch()
    presence.sweep()
    assert [*tokens, "lock"] == files(tmp_path)
    presence.close()
    other.close()


@pytest.mark.parametrize("token", ["", "..", "../lock", "0123456789abcde", "0123456789abcdeg", "0123456789abcdef\n"])
def test_what_is_no_token_names_no_file(tmp_path: Path, token: str) -> None:
    (tmp_path / "lock").touch()
    assert not Presence(tmp_path).is_alive(token)


def test_a_forked_child_neither_announces_itself_nor_keeps_its_parent_alive(tmp_path: Path) -> None:
    program = f"""
import os
from pathlib import Path
from olmstate.messages import StorePoisoned
from olmstate.storage.lock.presence import Presence
folder = Path({str(tmp_path)!r})
presence = Presence(folder)
token = presence.announce()
reading, writing = os.pipe()
child = os.fork()
if child:
    os.write(1, (token + "\\n").encode())
    os._exit(0)
try:
    presence.announce()
except StorePoisoned:
    os.write(1, b"refused\\n")
os.close(writing)
os.read(0, 1)
"""
    process = subprocess.Popen(
        [sys.executable, "-W", "ignore", "-c", program],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        text=True,
        env=ENVIRONMENT,
    )
    with process:
        assert process.stdout is not None
        lines = {process.stdout.readline().strip() for _ in range(2)}
        process.wait()  # the parent is gone; the child waits for its input
        (token,) = lines - {"refused"}
        assert "refused" in lines
        assert not Presence(tmp_path).is_alive(token)
        assert process.stdin is not None


def test_a_poisoned_handle_says_so(tmp_path: Path) -> None:
    presence = Presence(tmp_path)
    presence.announce()
    presence.poison()
    with pytest.raises(StorePoisoned):
        presence.announce()
