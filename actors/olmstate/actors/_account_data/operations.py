"""Reading and writing account data, and taking in what syncs bring of it (spec: Client config).

Rule: writes of one batch go out one after another, in their order, whatever is killed; if one is refused, those after
it are not sent. So what is written last may rely on what is written before.
"""

from __future__ import annotations

import json
import secrets
from collections.abc import Iterable, Mapping, Sequence
from typing import Final
from urllib.parse import quote

from olmstate.actors._account.operations import own_device
from olmstate.actors._engine.slices import SlicesOf
from olmstate.actors._engine.turn import Turn
from olmstate.actors._requests.actor import (
    AnsweredRequest,
    NewRequest,
    PendingRequests,
    PutRequests,
    RemoveRequest,
    RequestsActor,
)
from olmstate.actors._requests.points import Refused
from olmstate.actors._wire.quiet_struct import QuietStruct
from olmstate.actors._wire.steps import Steps
from olmstate.actors._wire.untrusted_json import array_of, dumps, if_sound, is_object, json_object, string
from olmstate.actors._wire.weight import weight
from olmstate.messages import Command, JsonObject, MalformedContent, MalformedMessage, RequestId, RequestKind

from .actor import AccountDataActor, Known, LookUpAccountData, StoreAccountData

PREFIXES: Final = ("m.secret_storage.", "m.cross_signing.", "m.megolm_backup.", "m.key_backup")
"""Of the types that are kept when a sync brings them; others only if they were asked for once."""
LARGEST: Final = 65_536
"""Characters of content: more is nonsense, and would have to be stored."""
MOST_OTHERS: Final = 64
"""Other types that are looked at in a sync."""
EVENTS_AT_ONCE: Final = 128
TYPES_AT_ONCE: Final = 24
"""Looked at, or stored, without giving other tasks a chance, or fewer that are large."""
_WRITES: Final = "account data"
"""Subject of all writes: they go out one after another."""
_BATCH_BYTES: Final = 8


class FetchAccountData(QuietStruct, Command[tuple[RequestId, ...]], kw_only=True, frozen=True):
    """Ask the homeserver for account data; this process's requests, also those that it has made before."""

    types: tuple[str, ...]


async def fetch_account_data(turn: Turn, command: FetchAccountData) -> tuple[RequestId, ...]:
    """Make the requests that aren't there."""
    pending = await turn[RequestsActor].ask(PendingRequests(kind=RequestKind.ACCOUNT_DATA_GET))
    asked_for = {subject: each.request_id for each in pending if each.own for subject in each.subjects}
    requests = [
        NewRequest(
            kind=RequestKind.ACCOUNT_DATA_GET,
            method="GET",
            path=await _path(turn, data_type),
            subjects=(data_type,),
        )
        for data_type in command.types
        if data_type not in asked_for
    ]
    made = await turn[RequestsActor].ask(PutRequests(requests=tuple(requests), now=turn.now))
    return (*(asked_for[data_type] for data_type in command.types if data_type in asked_for), *made)


async def known_account_data(turn: Turn, types: Sequence[str]) -> dict[str, JsonObject | None]:
    """What there is of each type, as far as is known; what isn't known counts as not there."""
    known = await turn[AccountDataActor].ask(LookUpAccountData(types=tuple(types)))
    return {data_type: None if each is None else each.content for data_type, each in zip(types, known, strict=True)}


async def write_account_data(turn: Turn, contents: Iterable[tuple[str, JsonObject]]) -> tuple[RequestId, ...]:
    """Store requests that write account data, in this order: one batch.

    Raises:
        MalformedContent: It is too large.
    """
    batch = f"{_WRITES} {secrets.token_hex(_BATCH_BYTES)}"
    requests: list[NewRequest] = []
    known: dict[str, Known] = {}
    for data_type, content in contents:
        body = _as_stored(content)
        if body is None:
            raise MalformedContent(reason=f"more than {LARGEST // 1024} KiB")  # it could not be read again
        requests.append(
            NewRequest(
                kind=RequestKind.ACCOUNT_DATA,
                method="PUT",
                path=await _path(turn, data_type),
                body=body.encode(),
                subjects=(_WRITES, data_type, batch),
            )
        )
        known[data_type] = Known(content)
    await turn[AccountDataActor].ask(StoreAccountData(known=known))
    return await turn[RequestsActor].ask(PutRequests(requests=tuple(requests), now=turn.now))


async def _path(turn: Turn, data_type: str) -> str:
    user_id = (await own_device(turn)).identity.user_id
    user, kind = (quote(each, safe="", errors="surrogatepass") for each in (user_id, data_type))
    return f"/_matrix/client/v3/user/{user}/account_data/{kind}"


# --- answers ------------------------------------------------------------------------------------------------


async def take_fetch_answer(turn: Turn, answered: AnsweredRequest, response: JsonObject) -> None:
    """The homeserver has some of that type."""
    if _as_stored(response) is None:
        raise MalformedMessage(reason="account data that can't be stored")
    await _came(turn, {answered.subjects[0]: response})


async def fetch_refused(turn: Turn, refused: AnsweredRequest, why: Refused) -> None:
    """It has none, or doesn't say."""
    if why.status == 404:  # noqa: PLR2004 - HTTP's
        await _came(turn, {refused.subjects[0]: None})


async def take_write_answer(turn: Turn, answered: AnsweredRequest, response: JsonObject) -> None:  # noqa: ARG001 - an answer's function
    """The homeserver has it now, whatever came meanwhile."""
    await _came(turn, {answered.subjects[1]: json.loads(answered.body)})


async def write_refused(turn: Turn, refused: AnsweredRequest, why: Refused) -> None:  # noqa: ARG001 - a refusal's function
    """It isn't written, and nor is what was to be written after it."""
    _, data_type, batch = refused.subjects
    types = [data_type]
    for each in await turn[RequestsActor].ask(PendingRequests(kind=RequestKind.ACCOUNT_DATA)):
        if batch in each.subjects:
            await turn[RequestsActor].ask(RemoveRequest(request_id=each.request_id, now=turn.now))
            types.append(each.subjects[1])
    await turn[AccountDataActor].ask(StoreAccountData(known=dict.fromkeys(types)))


async def _came(turn: Turn, contents: Mapping[str, JsonObject | None]) -> None:
    """Store what the homeserver has, but for what is about to be written."""
    pending = await turn[RequestsActor].ask(PendingRequests(kind=RequestKind.ACCOUNT_DATA))
    written = {subject for each in pending for subject in each.subjects}
    known = {data_type: Known(content) for data_type, content in contents.items() if data_type not in written}
    await turn[AccountDataActor].ask(StoreAccountData(known=known))


# --- syncs --------------------------------------------------------------------------------------------------


def account_data_in(sync: JsonObject) -> Steps[dict[str, JsonObject]]:
    """Account data of a sync response, by type; what makes no sense is passed over."""
    found: dict[str, JsonObject] = {}
    account_data = if_sound(json_object, sync, "account_data") or {}
    for number, event in enumerate(if_sound(array_of, account_data, "events") or (), 1):
        if number % EVENTS_AT_ONCE == 0:
            yield
        if is_object(event):
            data_type, content = if_sound(string, event, "type"), if_sound(json_object, event, "content")
            if data_type is not None and content is not None:
                found[data_type] = content
    return found


async def receive_account_data(turn: Turn, contents: Mapping[str, JsonObject]) -> None:
    """Take in what a sync has brought."""
    types: list[str] = []
    others: list[str] = []
    async for some in SlicesOf(contents, EVENTS_AT_ONCE):
        for data_type in some:
            (types if data_type.startswith(PREFIXES) else others).append(data_type)
    del others[MOST_OTHERS:]
    if others:
        known = await turn[AccountDataActor].ask(LookUpAccountData(types=tuple(others)))
        types += [data_type for data_type, each in zip(others, known, strict=True) if each is not None]
    async for some in SlicesOf(types, TYPES_AT_ONCE, lambda data_type: weight(contents[data_type])):
        sound = {data_type: contents[data_type] for data_type in some if _as_stored(contents[data_type]) is not None}
        if sound:
            await _came(turn, sound)


def _as_stored(content: JsonObject) -> str | None:
    """As JSON; None: it can't be stored."""
    try:
        text = dumps(content)
    except MalformedMessage:
        return None
    return text if len(text) <= LARGEST else None
