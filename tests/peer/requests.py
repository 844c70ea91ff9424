"""What is in the library's requests, for those who send them by hand."""

from __future__ import annotations

import json
from collections.abc import Iterable
from typing import Protocol, TypeAlias

from tests.peer.names import DeviceId, JsonObject, UserId

Messages: TypeAlias = dict[UserId, dict[DeviceId, JsonObject]]


class Sendable(Protocol):
    """A request to the homeserver."""

    @property
    def body(self) -> bytes:
        """JSON."""
        ...


def messages_of(request: Sendable) -> Messages:
    """What ``/sendToDevice`` is to deliver."""
    messages: Messages = json.loads(request.body)["messages"]
    return messages


def reached_by(requests: Iterable[Sendable]) -> list[tuple[UserId, DeviceId]]:
    """The devices to which something is sent."""
    return [
        (user_id, device_id)
        for request in requests
        for user_id, devices in messages_of(request).items()
        for device_id in devices
    ]
