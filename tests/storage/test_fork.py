"""A fork can't slip in between opening a descriptor and knowing of it."""

from __future__ import annotations

import os
import subprocess
import sys

# In a process of its own: forking a process with threads is just what newer Pythons warn of.
PRELUDE = """
import os, threading
from olmstate.storage.lock.fork import no_fork

threading.excepthook = lambda _: os._exit(1)

def fork(free_to_others):
    if not (child := os.fork()):
        os._exit(0 if are_others_free() == free_to_others else 1)
    assert os.waitpid(child, 0)[1] == 0

def are_others_free():
    taken = []
    other = threading.Thread(target=lambda: taken.append(no_fork.acquire(blocking=False)))
    other.start()
    other.join()
    return taken == [True]
"""


def run(program: str) -> None:
    subprocess.run(
        [sys.executable, "-W", "ignore", "-c", PRELUDE + program],
        check=True,
        timeout=60,  # seconds; a deadlock is what these tests are there to find
        env={**os.environ, "PYTHONPATH": os.pathsep.join(sys.path)},
    )


def test_a_fork_in_another_thread_waits_until_every_descriptor_has_a_handle() -> None:
    run("""
forking = threading.Thread(target=fork, args=(True,))
with no_fork:
    forking.start()
    forking.join(0.05)
    assert forking.is_alive()
forking.join()
""")


def test_a_fork_by_the_thread_itself_does_not_wait_for_itself() -> None:
    run("""
with no_fork:
    fork(False)
fork(True)
""")
