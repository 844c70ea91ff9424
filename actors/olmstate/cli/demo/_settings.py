"""What the demo tells each of its processes first: a line on standard input, since it holds the store's key.

Apart from `_worker`, which is a program, and must not be imported before it is run as one.
"""

from __future__ import annotations

import json

import attrs


@attrs.frozen(kw_only=True)
class Settings:
    """What a worker is told first."""

    folder: str
    user_id: str
    device_id: str
    key: str = attrs.field(repr=False)
    """Hexadecimal."""
    reader: tuple[str, str]
    """User id and device id of whom room keys are shared with."""
    rotation: int
    """Messages after which a room key is replaced."""
    unsafe: bool = False

    def line(self) -> bytes:
        """As it is sent."""
        return json.dumps(attrs.asdict(self)).encode() + b"\n"

    @classmethod
    def parse(cls, line: bytes) -> Settings:
        """As it was sent."""
        return cls(**json.loads(line))
