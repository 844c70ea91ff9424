"""Many processes open one store for the first time, at the same moment; each commits once.

    python open_race.py PROCESSES FOLDER

They are forked by one, since starting Python anew would take each a second, and so spread them. Prints how many rows
there are in the end.
"""

from __future__ import annotations

import os
import sys
import traceback
from pathlib import Path

import trio

from olmstate.storage import open_store
from tests.storage.handles import ALICE, DEVICE, KEY, device, put, values


async def open_and_commit(folder: Path, number: int) -> None:
    """What each of them does. Under load, some wait long."""
    store = await open_store(folder, user_id=ALICE, device_id=DEVICE, key=KEY, lock_timeout=60)
    await put(store, device(number))
    await store.aclose()


async def count_rows(folder: Path) -> int:
    """What all of them have written."""
    store = await open_store(folder, key=KEY)
    rows = await values(store)
    await store.aclose()
    return len(rows)


def main() -> None:
    """Fork them, let them go, wait for all."""
    processes, folder = int(sys.argv[1]), Path(sys.argv[2])
    waiting, gate = os.pipe()
    children = list[int]()
    for number in range(processes):
        if child := os.fork():
            children.append(child)
            continue
        os.close(gate)
        os.read(waiting, 1)  # until all of them are here
        try:
            trio.run(open_and_commit, folder, number)
        except BaseException:  # noqa: BLE001 - whatever it is, no child may go on as its parent
            traceback.print_exc()
            os._exit(1)
        os._exit(0)
    os.close(gate)
    statuses = [os.waitpid(child, 0)[1] for child in children]
    if any(statuses):
        sys.exit(1)
    print(trio.run(count_rows, folder), "rows")


if __name__ == "__main__":
    main()
