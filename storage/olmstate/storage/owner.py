"""Whose a new store is: ids that no server ever gave are refused, since a device keeps its names for life.

Spec, "User Identifiers": ``@localpart:server``, 255 bytes at most. Local parts of old accounts hold any character but
":" and NUL, or none at all ("Historical User IDs"), so those pass. A device id is any text.
"""

from __future__ import annotations

import re

MOST_BYTES = 255
_USER_ID = re.compile(r"@[^:\0\ud800-\udfff]*:(\[[0-9A-Fa-f:.]{2,45}\]|[0-9A-Za-z.-]+)(:[0-9]{1,5})?")


def is_user_id(text: str) -> bool:
    """Whether a user can have this id."""
    return _USER_ID.fullmatch(text) is not None and len(text.encode()) <= MOST_BYTES


def require_owner(user_id: str, device_id: str) -> None:
    """Make sure that a device can have these names.

    Raises:
        ValueError: It can't.
        TypeError: One isn't text.
    """
    for name, value in (("user_id", user_id), ("device_id", device_id)):
        _require_text(name, value)
    if _USER_ID.fullmatch(user_id) is None:
        raise ValueError(f"user_id must be of the form @localpart:server, not {user_id!r}")
    if len(user_id.encode()) > MOST_BYTES:
        raise ValueError(f"user_id must have {MOST_BYTES} bytes at most, not {len(user_id.encode())}")
    if not device_id or "\0" in device_id:
        raise ValueError(f"device_id must be a device's id, not {device_id!r}")


def _require_text(name: str, value: object) -> None:
    if not isinstance(value, str):
        raise TypeError(f"{name} must be a str, not {type(value).__name__}")
    try:
        value.encode()
    except UnicodeEncodeError:
        raise ValueError(f"{name} has a lone surrogate") from None
