"""A fork in another thread can't slip in between opening a descriptor and knowing of it."""

from __future__ import annotations

import os
import subprocess
import sys

# In a process of its own: forking a process with threads is just what newer Pythons warn of.
PROGRAM = """
import os, threading
from olmstate.storage._fork import no_fork

def fork():
    if not (child := os.fork()):
        os._exit(0 if is_free_to_others() == (not inside) else 1)
    assert os.waitpid(child, 0)[1] == 0

def is_free_to_others():
    taken = []
    other = threading.Thread(target=lambda: taken.append(no_fork.acquire(blocking=False)))
    other.start()
    other.join()
    return taken == [True]

inside = False
forking = threading.Thread(target=fork)
with no_fork:
    forking.start()
    forking.join(0.05)
    assert forking.is_alive(), "forked in the midst of it"
    inside = True
    fork()  # by this thread itself: a finalizer, say
    inside = False
forking.join()
fork()
"""


def test_a_fork_in_another_thread_waits_until_every_descriptor_has_a_handle() -> None:
    subprocess.run(
        [sys.executable, "-W", "ignore", "-c", PROGRAM],
        check=True,
        timeout=60,  # seconds; a deadlock is what this test is there to find
        env={**os.environ, "PYTHONPATH": os.pathsep.join(sys.path)},
    )
