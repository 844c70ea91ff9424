"""How whoever lets a file of the lock go wakes the one who waits for it: a datagram to a socket that only that one has.

Owns: the sockets, and their name: the file's device and inode, in Linux's abstract namespace. So nothing is left
behind, and the store's folder holds plain files only, which any program can read and copy. Where the file was replaced,
the name is that of the one that the handle has open now.
Rule: it is a hint, never more. A wake-up that is lost, or that anybody else has sent, costs a try or a poll's time; who
holds the lock is decided by `LockFile` alone. So nothing here raises, and where there is no such socket (another
system, another network namespace, a sandbox) who waits polls.
Why: the shortest sleep on Trio's loop is a millisecond, since epoll counts those. So long the lock lay idle between two
turns, which took little longer themselves.
"""

from __future__ import annotations

import contextlib
import socket
import sys
from typing import Final

import trio

from .fork import no_fork
from .lock_file import LockFile

_MOST: Final = 16
"""Datagrams that are read at once; what comes after them wakes again."""


class WakeUp:
    """One handle's way to wake who waits for a file, and to be woken when it is let go."""

    def __init__(self, file: LockFile) -> None:
        """For who waits for ``file``."""
        self._file = file
        self._sender = _socket()
        self._listener: socket.socket | None = None
        self._listens_to = b""
        self._waiting = False

    @property
    def _name(self) -> bytes:
        return b"\0olmstate %x %x" % self._file.place

    @property
    def listening(self) -> bool:
        """Whether this handle can be woken."""
        return self._listener is not None

    def send(self) -> bool:
        """Wake who waits; whether anybody was there."""
        if self._sender is not None:
            with contextlib.suppress(OSError):  # nobody is there, or it has been woken often enough
                self._sender.sendto(b"", self._name)
                return True
        return False

    def listen(self) -> bool:
        """Be woken from now on; whether that is new. To be followed by a try: what was sent before is lost."""
        name = self._name
        if self._listener is not None and self._listens_to == name:
            return False
        self.stop()
        listener = _socket()
        if listener is None:
            return False
        try:
            listener.bind(name)
        except OSError:  # who waited before us has not gone yet, or another waits beside us
            listener.close()
            return False
        self._listener, self._listens_to = listener, name
        return True

    def stop(self) -> None:
        """Be woken no more: it may be another's turn to wait."""
        listener, self._listener = self._listener, None
        if listener is not None:
            listener.close()

    async def wait(self, until: float) -> None:
        """Wait for a wake-up, if this handle is listening, or for a time on Trio's clock."""
        if self._listener is None:
            await trio.sleep_until(until)
            return
        self._waiting = True
        try:
            # closed meanwhile: whoever waits looks for that, as after each wait
            with trio.move_on_at(until), contextlib.suppress(trio.ClosedResourceError):
                await trio.lowlevel.wait_readable(self._listener)
        finally:
            self._waiting = False
        self._clear()

    def _clear(self) -> None:
        if self._listener is not None:
            with contextlib.suppress(OSError):  # no more of them
                for _ in range(_MOST):
                    self._listener.recv(1)

    def close(self) -> None:
        """Close it, and let go on who waits. Closing again does nothing."""
        if self._waiting and self._listener is not None:
            trio.lowlevel.notify_closing(self._listener)
        self.abandon()

    def abandon(self) -> None:
        """Close a forked child's copies. Trio is told nothing: its epoll is the parent's too."""
        sender, self._sender = self._sender, None
        if sender is not None:
            sender.close()
        self.stop()


def _socket() -> socket.socket | None:
    if sys.platform != "linux":
        return None
    with contextlib.suppress(OSError), no_fork:
        return socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM | socket.SOCK_NONBLOCK)
    return None
