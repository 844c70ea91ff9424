"""Answering our own verified devices' requests for secrets; others hear nothing (spec: m.secret.request)."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from operator import attrgetter
from typing import Final

from olmstate.actors._engine.turn import Turn
from olmstate.actors._identities.identity import Usage
from olmstate.actors._key_requests.answering import Answer, Answering
from olmstate.actors._key_requests.stored import WaitingName
from olmstate.actors._secrets.actor import BACKUP_KEY
from olmstate.actors._secrets.private_keys import usable_secrets
from olmstate.actors._wire import base64
from olmstate.actors._wire.untrusted_json import string
from olmstate.messages import DeviceId, JsonObject

from .actor import ChangeWaiting, SecretRequestsActor, WaitingSecrets
from .stored import WaitingSecretRecord

SERVED: Final = frozenset({*(usage.secret_name for usage in Usage), BACKUP_KEY})


def _read(device_id: DeviceId, request_id: str, content: JsonObject) -> WaitingSecretRecord | None:
    name = string(content, "name")
    if name not in SERVED:
        return None
    return WaitingSecretRecord(device_id=device_id, request_id=request_id, name=name)


async def _waiting(turn: Turn) -> Mapping[WaitingName, WaitingSecretRecord]:
    return await turn[SecretRequestsActor].ask(WaitingSecrets())


async def _change(turn: Turn, records: Sequence[WaitingSecretRecord], over: Sequence[WaitingName]) -> None:
    await turn[SecretRequestsActor].ask(ChangeWaiting(records=tuple(records), over=tuple(over)))


async def _answer(turn: Turn, record: WaitingSecretRecord, is_verified: bool) -> Answer | None:  # noqa: FBT001 - as `Answering` calls it
    secret = (await usable_secrets(turn)).get(record.name) if is_verified else None
    if secret is None:
        return None
    content = {"request_id": record.request_id, "secret": base64.encode(secret)}
    return Answer(type="m.secret.send", contents=(content,), encrypted=True)


SECRETS_HERE = Answering(
    about="secret answer", read=_read, wanted=attrgetter("request_id"), waiting=_waiting, change=_change, answer=_answer
)
"""What is done about requests for secrets."""
