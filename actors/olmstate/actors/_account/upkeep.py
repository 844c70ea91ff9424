"""Keeping the account's keys on the homeserver: uploads that are made by themselves (spec: Uploading keys).

A one-time key is offered once. So an upload that has some is not repeated when nobody knows what became of it; it is
given up, and the next one asks the homeserver how many it has. It waits as long as after other failures, and so no
longer than an outage.
"""

from __future__ import annotations

import json
from typing import Final

from olmstate.actors._engine.capability import BesideTurns
from olmstate.actors._engine.turn import Turn
from olmstate.actors._requests.actor import (
    AnsweredRequest,
    BackedOff,
    BackOff,
    CommittedBackOffs,
    CommittedRequests,
    NewRequest,
    PendingRequests,
    PutRequests,
    RequestsActor,
)
from olmstate.actors._wire.untrusted_json import is_object
from olmstate.messages import JsonObject, MarkKeysPublished, RequestKind

from .actor import AccountActor, AreKeysDue, MakeKeys
from .operations import mark_keys_published, own_device, own_identity

UPLOAD: Final = "keys upload"
"""Subject of uploads, and what is backed off when one has failed."""


async def uploads_due(supervisor: BesideTurns) -> bool:
    """Whether keys are to be uploaded, and nobody does it."""
    now = supervisor.now()
    if not await supervisor.ask(AreKeysDue(now=now)):
        return False
    pending = await supervisor.ask(CommittedRequests())
    if any(each.kind == RequestKind.KEYS_UPLOAD for each in pending):
        return False
    return not await supervisor.ask(CommittedBackOffs(names=(UPLOAD,), now=now))


async def make_upload(turn: Turn) -> None:
    """Store an upload of what is due."""
    pending = await turn[RequestsActor].ask(PendingRequests(kind=RequestKind.KEYS_UPLOAD))
    backed_off = await turn[RequestsActor].ask(BackedOff(names=(UPLOAD,), now=turn.now))
    if pending or backed_off or await own_identity(turn) is None:
        return
    keys = await turn[AccountActor].ask(MakeKeys(now=turn.now))
    if not keys.is_due:
        return
    own = await own_device(turn)
    body: JsonObject = {"device_keys": own.signed_device_keys}
    if keys.one_time_keys:
        body["one_time_keys"] = keys.one_time_keys
    if keys.fallback_keys:
        body["fallback_keys"] = keys.fallback_keys
    upload = NewRequest(
        kind=RequestKind.KEYS_UPLOAD,
        method="POST",
        path="/_matrix/client/v3/keys/upload",
        body=json.dumps(body).encode(),
        subjects=(UPLOAD,),
        context=json.dumps({"key_ids": list(keys.key_ids)}).encode(),
        repeatable=not keys.one_time_keys,
    )
    await turn[RequestsActor].ask(PutRequests(requests=(upload,), now=turn.now))
    # until its answer comes, and a while longer if none does
    await turn[RequestsActor].ask(BackOff(failed=(UPLOAD,), succeeded=(), now=turn.now))


async def take_upload_answer(turn: Turn, answered: AnsweredRequest, response: JsonObject) -> None:
    """The homeserver has the keys."""
    key_ids = tuple(json.loads(answered.context)["key_ids"])
    counts = response.get("one_time_key_counts")
    marked = MarkKeysPublished(key_ids=key_ids, one_time_key_counts=counts if is_object(counts) else None)
    await mark_keys_published(turn, marked)
    await turn[RequestsActor].ask(BackOff(failed=(), succeeded=(UPLOAD,), now=turn.now))
