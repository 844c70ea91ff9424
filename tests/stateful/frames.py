"""Messages, replies and errors as bytes, for the pipes between a test and its worker processes.

Owns: the frame (four bytes of length, then a pickle) and how an error is pickled.
Rule: both ends are this project's tests; nothing else may be unpickled.
"""

from __future__ import annotations

import io
import pickle
from typing import Any

import attrs
import trio

from olmstate.messages import Json, OlmStateError

_LENGTH = 4


def _rebuild(error: type[OlmStateError], fields: dict[str, Any]) -> OlmStateError:
    return error(**fields)


class _Pickler(pickle.Pickler):
    def reducer_override(self, obj: object) -> Json:
        # an exception's own way back calls its class with positional arguments, and errors take none
        if isinstance(obj, OlmStateError):
            return _rebuild, (type(obj), attrs.asdict(obj, recurse=False))
        return NotImplemented


async def write_frame(stream: trio.abc.SendStream, value: object) -> None:
    """Send one value."""
    buffer = io.BytesIO()
    _Pickler(buffer, pickle.HIGHEST_PROTOCOL).dump(value)
    data = buffer.getvalue()
    await stream.send_all(len(data).to_bytes(_LENGTH, "big") + data)


class FrameReader:
    """Values from a stream."""

    def __init__(self, stream: trio.abc.ReceiveStream) -> None:
        self._stream = stream
        self._buffer = bytearray()

    async def read(self) -> Json:
        """The next value.

        Raises:
            EOFError: There are no more.
        """
        size = int.from_bytes(await self._take(_LENGTH), "big")
        return pickle.loads(await self._take(size))  # noqa: S301 - from our own worker

    async def _take(self, size: int) -> bytes:
        while len(self._buffer) < size:
            data = await self._stream.receive_some()
            if not data:
                raise EOFError
            self._buffer += data
        taken = bytes(self._buffer[:size])
        del self._buffer[:size]
        return taken
