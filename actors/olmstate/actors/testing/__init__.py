"""For tests of programs that use olmstate, and for its own: a store in memory, trouble on demand, actors one by one.

`MemoryStore` has the protocol of the store on disk. Handles on one `MemoryDisk` stand for processes, steps take
*virtual* time, and a `Faults` plan lets any step fail, be cancelled, or be overtaken by another process's write. With
`olmstate.actors.run_supervisor` it carries a whole supervisor; with `ActorsUnderTest` and `run_actor`, a single actor.

Nothing here needs pytest; pytest-trio's ``autojump_clock`` makes the virtual time pass at once.

Example:
    While Alice's devices are being loaded, another process writes. What was read is dropped and read again:

    >>> import trio, trio.testing
    >>> from olmstate.messages import Devices
    >>> async def main() -> None:
    ...     disk, faults = MemoryDisk(), Faults()
    ...     actors = ActorsUnderTest(MemoryStore(disk, faults=faults, latency=random_latency(seed=1)))
    ...
    ...     def write_from_elsewhere() -> None:
    ...         disk.write_from_elsewhere(keys_known=False)
    ...         actors.refresh()
    ...
    ...     faults.at("read", write_from_elsewhere, when="after")
    ...     async with run_actor(actors.devices) as devices:
    ...         await devices.ask(Devices(user_id=USER))
    ...     print([step.operation for step in faults.steps])
    >>> trio.run(main, clock=trio.testing.MockClock(autojump_threshold=0))
    ['read', 'look', 'read']
"""

from __future__ import annotations

from ._actors import DEVICE, USER, ActorsUnderTest, run_actor
from ._faults import Fault, Faults, Latency, Operation, Step, When, random_latency
from ._memory_lock import MemoryLock
from ._memory_store import MemoryDisk, MemoryStore

__all__ = [
    "DEVICE",
    "USER",
    "ActorsUnderTest",
    "Fault",
    "Faults",
    "Latency",
    "MemoryDisk",
    "MemoryLock",
    "MemoryStore",
    "Operation",
    "Step",
    "When",
    "random_latency",
    "run_actor",
]
