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
        os._exit(0)
    os.waitpid(child, 0)

forking = threading.Thread(target=fork)
with no_fork:
    forking.start()
    forking.join(0.05)
    assert forking.is_alive(), "forked in the midst of it"
    fork()  # by this thread itself: a finalizer, say
forking.join()
fork()
"""


def test_a_fork_in_another_thread_waits_until_every_descriptor_has_a_handle() -> None:
    subprocess.run(
        [sys.executable, "-W", "ignore", "-c", PROGRAM],
        check=True,
        env={**os.environ, "PYTHONPATH": os.pathsep.join(sys.path)},
    )
