"""What was measured on: figures mean nothing without it.

Rule: what is read here may be published. No host name, no path, no user.
"""

from __future__ import annotations

import os
import platform
import statistics
from datetime import UTC, datetime
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path

import attrs
from sqlite_utils import Database

from tests.bench.bare import BareStore
from tests.bench.measure import Watch

LIBRARIES = ("olmstate", "vodozemac", "trio", "cryptography", "sqlite-utils", "filelock", "matrix-nio")
COMMITS = 30


@attrs.frozen(kw_only=True)
class Machine:
    """Hardware, systems and versions."""

    date: str
    processor: str
    cores: int
    """That this process may use."""
    load: float
    """Processes that wanted to run in the minute before."""
    kernel: str
    filesystem: str
    """Of the folder that stores are made in."""
    commit_seconds: float
    """What one durable commit of a small row takes there: the median."""
    python: str
    sqlite: str
    libraries: dict[str, str]

    def is_like(self, other: Machine) -> bool:
        """Whether figures of both belong on one page."""
        return self._compared == other._compared

    @property
    def _compared(self) -> tuple[object, ...]:
        return self.processor, self.cores, self.filesystem, self.python, self.sqlite

    def lines(self) -> list[tuple[str, str]]:
        """What, and which, for people."""
        return [
            ("date", self.date),
            ("processor", f"{self.processor}, {self.cores} cores"),
            ("load before", f"{self.load:.1f}"),
            ("kernel", self.kernel),
            ("file system", f"{self.filesystem}, {self.commit_seconds * 1e6:,.0f} µs for a durable commit of one row"),
            ("Python, SQLite", f"{self.python}, {self.sqlite}"),
            ("libraries", ", ".join(f"{name} {number}" for name, number in self.libraries.items())),
        ]


def this_machine(folder: Path) -> Machine:
    """The one that this runs on; ``folder`` is where stores are made."""
    return Machine(
        date=datetime.now(UTC).date().isoformat(),
        processor=_processor(),
        cores=len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1,
        load=os.getloadavg()[0],
        kernel=f"{platform.system()} {platform.release()} {platform.machine()}",
        filesystem=_filesystem(folder),
        commit_seconds=_commit_seconds(folder),
        python=f"{platform.python_implementation()} {platform.python_version()}",
        sqlite=_sqlite(),
        libraries={name: number for name in LIBRARIES if (number := _version(name))},
    )


def _processor() -> str:
    try:
        lines = Path("/proc/cpuinfo").read_text(encoding="utf-8").splitlines()
    except OSError:
        return platform.processor()
    names = [line.partition(":")[2].strip() for line in lines if line.startswith("model name")]
    return names[0] if names else platform.processor()


def _filesystem(folder: Path) -> str:
    """Its type, as the kernel names it (proc(5), mountinfo); empty where that isn't told."""
    device = folder.stat().st_dev
    try:
        mounts = Path("/proc/self/mountinfo").read_text(encoding="utf-8", errors="surrogateescape").splitlines()
    except OSError:
        return ""
    for mount in mounts:
        fields = mount.split(" ")
        if fields[2] == f"{os.major(device)}:{os.minor(device)}":
            return fields[fields.index("-", 6) + 1]
    return ""


def _sqlite() -> str:
    """Of the copy that stores use, which needn't be Python's own."""
    database = Database(memory=True)
    (number,) = database.conn.execute("SELECT sqlite_version()").fetchone()
    database.close()
    return str(number)


def _commit_seconds(folder: Path) -> float:
    store = BareStore(folder / "commits.sqlite")
    took: list[float] = []
    for number in range(COMMITS):
        watch = Watch()
        store.commit([("key", str(number))])
        took.append(watch.seconds())
    store.close()
    return statistics.median(took)


def _version(library: str) -> str | None:
    try:
        return version(library)
    except PackageNotFoundError:
        return None
