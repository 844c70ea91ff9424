"""A store and all that is outside of it, in one folder that can be copied: what a fault strikes.

Rule: a copy is another world, from which nothing gets back into the first. (Within one world, copying a store is what
no user must ever do.)
"""

from __future__ import annotations

import shutil
from pathlib import Path

import attrs
import trio

from olmstate.storage.lock.line import PLACES
from olmstate.storage.sqlite.folder import DATABASE, UNFINISHED
from tests.faults.client import live, look
from tests.faults.homeserver import Homeserver

KEY = bytes(range(32))
DATABASES = tuple(name + suffix for name in (DATABASE, UNFINISHED) for suffix in ("", "-wal", "-shm", "-journal"))
FILES = (*DATABASES, "lock", *PLACES)
"""All that there ever are in a store's folder."""


@attrs.frozen
class World:
    """One of them."""

    folder: Path

    @property
    def store(self) -> Path:
        """The store's folder."""
        return self.folder / "store"

    @property
    def journal(self) -> Path:
        """What the homeserver knows."""
        return self.folder / "journal"

    def homeserver(self) -> Homeserver:
        """The homeserver, with all that it knows so far."""
        return Homeserver(self.journal)

    def live(self) -> None:
        """Have this process do a round on the store. No fault strikes any more: everything has to work."""
        homeserver = self.homeserver()
        homeserver.log.write("calm")
        trio.run(live, self.store, homeserver)
        homeserver.judge()

    def look(self) -> None:
        """Have this process open the store, see that nothing is missing, and close it. No fault strikes any more."""
        homeserver = self.homeserver()
        homeserver.log.write("calm")
        trio.run(look, self.store, homeserver)
        homeserver.judge()

    def files(self) -> list[Path]:
        """Every file and folder that olmstate uses in the next round, under each of its names."""
        homeserver = self.homeserver()
        backups = [made.folder for made in homeserver.backups if made.finished]
        folders = (self.store, *backups, homeserver.next_backup())
        return [self.folder, *folders, *(folder / name for folder in folders for name in FILES)]


def make_nothing(folder: Path) -> World:
    """There is no store yet."""
    folder.mkdir()
    Homeserver.new(folder / "journal", KEY)
    return World(folder)


def make_lived_in(folder: Path) -> World:
    """A device that has done a round, and was closed."""
    world = make_nothing(folder)
    homeserver = world.homeserver()
    trio.run(live, world.store, homeserver)
    homeserver.judge()
    return world


def copy_world(world: World, folder: Path) -> World:
    """A world just like it, in the place of what is in ``folder``."""
    shutil.rmtree(folder, ignore_errors=True)
    shutil.copytree(world.folder, folder)
    return World(folder)
