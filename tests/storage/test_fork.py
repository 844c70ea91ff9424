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


def test_ctrl_c_in_a_child_that_was_just_forked_leaves_no_handle_of_its_parent_usable() -> None:
    # Python passes over an exception in a hook, and over what is left of the hook
    run("""
import signal
from olmstate.storage.lock.fork import poison_in_child

class Handle:
    poisoned = False
    def poison(self):
        signal.raise_signal(signal.SIGINT)
        self.poisoned = True

handles = [Handle() for _ in range(100)]
for handle in handles:
    poison_in_child(handle)
if not (child := os.fork()):
    os._exit(0 if all(handle.poisoned for handle in handles) else 1)
assert os.waitpid(child, 0)[1] == 0
assert not any(handle.poisoned for handle in handles)
assert signal.getsignal(signal.SIGINT) is signal.default_int_handler
""")


def test_handles_that_are_gone_are_forgotten() -> None:
    run("""
from olmstate.storage.lock import fork as module

class Handle:
    def poison(self):
        pass

kept = [Handle() for _ in range(10)]
for handle in kept:
    module.poison_in_child(handle)
for _ in range(10_000):
    module.poison_in_child(Handle())
assert len(module._handles) < 300, len(module._handles)
assert set(kept) <= {known() for known in module._handles}
""")
