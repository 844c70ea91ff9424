"""What the secret requests actor stores."""

from __future__ import annotations

from typing import ClassVar

from olmstate.actors._engine.records import Record
from olmstate.actors._key_requests.stored import WaitingRecord
from olmstate.messages import DeviceId
from olmstate.storage import Table


class SecretRequestRecord(Record, kw_only=True, frozen=True):
    """A secret that this device has asked for."""

    table: ClassVar[Table] = Table.SECRET_REQUESTS

    name: str
    request_id: str
    made: int
    """Milliseconds since 1970."""
    number: int
    """Of the request in its store: the oldest go first."""
    devices: list[DeviceId]
    """Who may still answer."""


class WaitingSecretRecord(WaitingRecord, kw_only=True, frozen=True):
    """A secret, of which only the name is here."""

    table: ClassVar[Table] = Table.WAITING_SECRETS

    name: str


class ReceivedSecretRecord(Record, kw_only=True, frozen=True):
    """A secret that has come."""

    table: ClassVar[Table] = Table.RECEIVED_SECRETS

    request_id: str
    name: str
    secret: str
    device_id: DeviceId
    received: int
    """Milliseconds since 1970."""
    number: int
    """Of the secret in its store: the oldest go first."""
    acknowledged: bool = False
