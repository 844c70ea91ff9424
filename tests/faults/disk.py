"""What a disk may hold when the power fails, from the record of what a process has written and synced.

The model is what POSIX promises and no more, so it is harsher than most file systems:

- What was written to a file and then synced (``fsync``, ``fdatasync``) is there. Of what was written since, any set of
  sectors is: none, all, those in the midst of a write, a later write without an earlier one.
- A file that was made longer since its last sync has its old length, or reaches to some sector that is there (the gaps
  are zeros), or has its full length with zeros at the end.
- A file that was cut since is cut or not. What was written behind a cut is there only if the cut is, since a file
  system hands out the same room again only after it has noted that it is free.
- A name that was made, changed or removed is so for sure once its folder was synced; syncing the file is not enough.
  Of the changes to one folder since, the first ones are made and the others are not: file systems note such changes in
  their order. A rename is one change. Two folders know nothing of each other.
- Of ``-shm``, which nobody syncs, nothing is left, or garbage.
"""

from __future__ import annotations

import itertools
import random
import re
from collections.abc import Callable, Iterable, Iterator, Mapping
from pathlib import Path
from typing import Final, TypeAlias

import attrs

from tests.faults.strace import Call, calls

SECTORS: Final = (512, 4096)
"""Bytes that a disk writes as a whole or not at all."""
LENGTHENED: Final = 0.25
"""How often a file has its new length though not all that was written."""
IN_ORDER: Final = 0.25
"""How often what was written first is there, and what was written last is not."""
SHARED_MEMORY: Final = "-shm"
SHARED_MEMORY_BYTES: Final = 32768


# --- what was done ------------------------------------------------------------------------------------------


@attrs.frozen
class Written:
    """Bytes were written to a file."""

    file: int
    offset: int
    data: bytes = attrs.field(repr=False)


@attrs.frozen
class Cut:
    """A file was given a length."""

    file: int
    length: int


@attrs.frozen
class Synced:
    """A file was synced."""

    file: int


@attrs.frozen
class Named:
    """A folder's entries were changed, all at once: a file's number, or None where there is none any more."""

    folder: str
    entries: Mapping[str, int | None]


@attrs.frozen
class FolderMade:
    """A folder was made."""

    folder: str
    """The one that it is in."""
    name: str


@attrs.frozen
class FolderSynced:
    """A folder was synced."""

    folder: str


@attrs.frozen
class Told:
    """The process has told somebody something: lines of the homeserver's journal. Nobody forgets that."""

    line: bytes = attrs.field(repr=False)


Step: TypeAlias = Written | Cut | Synced | Named | FolderMade | FolderSynced | Told


# --- from strace --------------------------------------------------------------------------------------------

_HEX = re.compile(r"(?:\\x[0-9a-f]{2})+")
_FD = re.compile(r"^\d+<((?:\\x[0-9a-f]{2})+)>(\(deleted\))?")
_STRING = re.compile(r'"((?:\\x[0-9a-f]{2})*)"')

OPTIONS: Final = ("-y", "-xx", "-s", str(1 << 20))
"""Strace's: paths of descriptors, and all bytes of everything."""


def _bytes(text: str) -> bytes:
    return bytes.fromhex(text.replace("\\x", ""))


@attrs.define
class Recorder:
    """Turns calls into steps. Files have numbers, since their names change."""

    root: Path
    journal: Path
    files: dict[str, int]
    """The present names, as paths below ``root``."""
    steps: list[Step] = attrs.field(factory=list[Step])
    _made: int = 0

    def record(self, call: Call) -> None:
        """Take in one call."""
        if call.result is None or call.result < 0:
            return  # it has failed
        match call.name:
            case "openat":
                self._opened(call)
            case "mkdir":
                path = self._path(call)
                self.steps.append(FolderMade(str(path.parent), path.name))
            case "rename":
                source, target = (Path(_bytes(text).decode()) for text in _STRING.findall(call.arguments))
                self._renamed(self._below(source), self._below(target))
            case "unlink":
                path = self._path(call)
                del self.files[str(path)]
                self.steps.append(Named(str(path.parent), {path.name: None}))
            case "write" | "pwrite64" | "ftruncate" | "fsync" | "fdatasync":
                self._used(call)
            case "chmod" | "fchmod" | "flock" | "fcntl":
                pass
            case _:
                raise ValueError(f"{call.name} is not modelled")

    def _below(self, path: Path) -> Path:
        return path.relative_to(self.root)

    def _path(self, call: Call) -> Path:
        (text,) = _STRING.findall(call.arguments)
        return self._below(Path(_bytes(text).decode()))

    def _opened(self, call: Call) -> None:
        path = self._path(call)
        assert "O_TRUNC" not in call.arguments
        if "O_CREAT" in call.arguments and str(path) not in self.files and path != self._below(self.journal):
            self._made += 1
            self.files[str(path)] = number = -self._made
            self.steps.append(Named(str(path.parent), {path.name: number}))

    def _renamed(self, source: Path, target: Path) -> None:
        assert source.parent == target.parent
        number = self.files.pop(str(source))
        self.files[str(target)] = number
        self.steps.append(Named(str(source.parent), {source.name: None, target.name: number}))

    def _used(self, call: Call) -> None:
        match = _FD.match(call.arguments)
        assert match is not None, call
        text, deleted = match.groups()
        path = Path(_bytes(text).decode())
        if deleted or path.name.endswith(SHARED_MEMORY):
            return
        if path == self.journal:
            self._told(self._data(call))
        elif str(self._below(path)) not in self.files:
            assert call.name in ("fsync", "fdatasync"), call
            self.steps.append(FolderSynced(str(self._below(path))))
        else:
            self._changed(call, self.files[str(self._below(path))])

    def _told(self, line: bytes) -> None:
        # nothing was done to the store between two lines in a row, so they were one event, told in two lines
        match self.steps:
            case [*_, Told(line=before)]:
                self.steps[-1] = Told(before + line)
            case _:
                self.steps.append(Told(line))

    def _changed(self, call: Call, number: int) -> None:
        match call.name:
            case "pwrite64":
                self.steps.append(Written(number, int(call.arguments.rpartition(", ")[2]), self._data(call)))
            case "ftruncate":
                self.steps.append(Cut(number, int(call.arguments.rpartition(", ")[2])))
            case "fsync" | "fdatasync":
                self.steps.append(Synced(number))
            case _:
                raise ValueError(f"{call.name} at the descriptor's own position is not modelled")

    def _data(self, call: Call) -> bytes:
        (text,) = _STRING.findall(call.arguments)
        data = _bytes(text)
        assert len(data) == call.result, "a write was cut short"
        return data


@attrs.frozen
class Recording:
    """What a process did to the files below a folder, and what was there before, all of it synced."""

    before: Mapping[str, bytes] = attrs.field(repr=False)
    folders: tuple[str, ...]
    """That were there before."""
    journal: bytes = attrs.field(repr=False)
    numbers: Mapping[str, int]
    """Of the files that were there before."""
    steps: tuple[Step, ...] = attrs.field(repr=False)


def files_below(root: Path) -> Iterator[tuple[str, bytes]]:
    """Every file and what is in it."""
    for path in sorted(root.rglob("*")):
        if path.is_file():
            yield str(path.relative_to(root)), path.read_bytes()


def record(before: Path, root: Path, journal: str, output: Path) -> Recording:
    """Read what strace has written, under `OPTIONS`, of a process that used the files in ``root``.

    Args:
        before: The same folder as it was before.
        root: Where the process found it.
        journal: The name of the homeserver's journal in it.
        output: What strace has written.
    """
    contents = dict(files_below(before))
    told = contents.pop(journal)
    numbers = {path: number for number, path in enumerate(contents, 1)}
    recorder = Recorder(root, root / journal, dict(numbers))
    for call in calls(output):
        recorder.record(call)
    folders = tuple(str(path.relative_to(before)) for path in sorted(before.rglob("*")) if path.is_dir())
    return Recording(contents, folders, told, numbers, tuple(recorder.steps))


# --- what may be left ---------------------------------------------------------------------------------------


@attrs.define
class _File:
    synced: bytearray = attrs.field(factory=bytearray)
    since: list[Written | Cut] = attrs.field(factory=list[Written | Cut])

    def sync(self) -> None:
        for step in self.since:
            _apply(self.synced, step)
        self.since.clear()


def _apply(content: bytearray, step: Written | Cut) -> None:
    match step:
        case Cut(length=length):
            _set_length(content, length)
        case Written(offset=offset, data=data):
            if len(content) < offset:
                _set_length(content, offset)
            content[offset : offset + len(data)] = data


def _set_length(content: bytearray, length: int) -> None:
    del content[length:]
    content.extend(bytes(length - len(content)))


@attrs.define
class _Folder:
    synced: list[Named | FolderMade] = attrs.field(factory=list[Named | FolderMade])
    since: list[Named | FolderMade] = attrs.field(factory=list[Named | FolderMade])

    def sync(self) -> None:
        self.synced += self.since
        self.since.clear()


@attrs.define
class Disk:
    """What is on it for sure, and what may be, after some steps of a recording."""

    files: dict[int, _File] = attrs.field(factory=dict[int, _File])
    folders: dict[str, _Folder] = attrs.field(factory=dict[str, _Folder])
    told: bytearray = attrs.field(factory=bytearray)

    @classmethod
    def after(cls, recording: Recording, steps: int) -> Disk:
        """After the first ``steps`` steps."""
        self = cls(told=bytearray(recording.journal))
        for folder in (".", *recording.folders):
            self.folders[folder] = _Folder()
            if folder != ".":
                path = Path(folder)
                self.folders[str(path.parent)].synced.append(FolderMade(str(path.parent), path.name))
        for name, content in recording.before.items():
            number, path = recording.numbers[name], Path(name)
            self.files[number] = _File(bytearray(content))
            self.folders[str(path.parent)].synced.append(Named(str(path.parent), {path.name: number}))
        for step in recording.steps[:steps]:
            self._take(step)
        return self

    def _take(self, step: Step) -> None:
        match step:
            case Written(file=file) | Cut(file=file):
                self.files.setdefault(file, _File()).since.append(step)
            case Synced(file=file):
                self.files.setdefault(file, _File()).sync()
            case Named(folder=folder):
                self.folders[folder].since.append(step)
            case FolderMade(folder=folder, name=name):
                self.folders[folder].since.append(step)
                self.folders[str(Path(folder, name))] = _Folder()
            case FolderSynced(folder=folder):
                self.folders[folder].sync()
            case Told(line=line):
                self.told += line

    def contents(self) -> dict[str, bytes]:
        """What processes see as long as the power is on: every file but ``-shm``, and what is in it."""
        found: dict[str, bytes] = {}
        for name, folder in self.folders.items():
            for step in (*folder.synced, *folder.since):
                for entry, number in step.entries.items() if isinstance(step, Named) else ():
                    path = str(Path(name, entry))
                    found.pop(path, None)
                    if number is not None and not entry.endswith(SHARED_MEMORY):
                        file = self.files.get(number, _File())
                        found[path] = _with_all(file.synced, file.since)
        return found

    def write_image(self, root: Path, journal: str, rng: random.Random) -> None:
        """Write one of the images that it may hold into ``root``, which must not exist."""
        root.mkdir()
        self._write_folder(root, ".", rng)
        (root / journal).write_bytes(self.told)

    def _write_folder(self, root: Path, name: str, rng: random.Random) -> None:
        folder = self.folders[name]
        entries: dict[str, int | None] = {}
        for step in (*folder.synced, *folder.since[: _some(len(folder.since), rng)]):
            match step:
                case Named():
                    entries |= step.entries
                case FolderMade():
                    below = str(Path(name, step.name))
                    (root / below).mkdir(mode=0o700)
                    self._write_folder(root, below, rng)
        for entry, number in entries.items():
            if number is not None:
                content = _garbage(rng) if entry.endswith(SHARED_MEMORY) else self._content(number, rng)
                if content is not None:
                    (root / name / entry).write_bytes(content)

    def _content(self, number: int, rng: random.Random) -> bytes:
        file = self.files.get(number, _File())
        return _torn(file.synced, file.since, rng)


def _with_all(synced: bytearray, since: list[Written | Cut]) -> bytes:
    content = bytearray(synced)
    for step in since:
        _apply(content, step)
    return bytes(content)


def _some(number: int, rng: random.Random) -> int:
    """All, none, or so many."""
    return rng.choice((0, number, rng.randint(0, number)))


def _garbage(rng: random.Random) -> bytes | None:
    return rng.choice((None, bytes(SHARED_MEMORY_BYTES), rng.randbytes(SHARED_MEMORY_BYTES)))


def _torn(synced: bytearray, since: list[Written | Cut], rng: random.Random) -> bytes:
    content = bytearray(synced)
    cuts = [position for position, step in enumerate(since) if isinstance(step, Cut)]
    made = rng.choice((-1, *cuts))
    end = next((position for position in cuts if position > made), len(since))
    keeps = _choice_of_sectors(sum(isinstance(step, Written) for step in since), rng)
    sector = rng.choice(SECTORS)
    for step in since[:end]:
        match step:
            case Cut():
                _apply(content, step)
            case Written():
                for part in _sectors(step, sector):
                    if keeps():
                        _apply(content, part)
    if rng.random() < LENGTHENED:
        ends = [step.offset + len(step.data) for step in since[made + 1 : end] if isinstance(step, Written)]
        _set_length(content, max(len(content), *ends, 0))
    return bytes(content)


def _choice_of_sectors(writes: int, rng: random.Random) -> Callable[[], bool]:
    """Tells of one sector after another whether it is there: the first ones only, or any, many or few."""
    if rng.random() < IN_ORDER:
        left = itertools.count(-rng.randint(0, max(writes, 1)))
        return lambda: next(left) < 0
    likely = rng.choice((0.0, 0.1, 0.5, 0.9, 1.0))
    return lambda: rng.random() < likely


def _sectors(step: Written, sector: int) -> Iterable[Written]:
    """The write, as the disk sees it."""
    at, end = step.offset, step.offset + len(step.data)
    while at < end:
        after = min(end, (at // sector + 1) * sector)
        yield Written(step.file, at, step.data[at - step.offset : after - step.offset])
        at = after
