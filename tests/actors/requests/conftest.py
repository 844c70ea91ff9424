"""A capability that makes requests of all sorts, and a homeserver that answers as it is told."""

from __future__ import annotations

from collections.abc import AsyncGenerator, Callable, Sequence
from contextlib import asynccontextmanager

import attrs
import pytest
import trio

from olmstate.actors import Options, Supervisor
from olmstate.actors._capabilities import CAPABILITIES
from olmstate.actors._engine.capability import BesideTurns, Capability
from olmstate.actors._engine.points import Addition
from olmstate.actors._engine.turn import Turn
from olmstate.actors._open import run_capabilities
from olmstate.actors._requests.actor import AnsweredRequest, NewRequest, PendingRequests, PutRequests, RequestsActor
from olmstate.actors._requests.points import ANSWERS, REFUSALS, TRANSPORT, UPKEEP, Answer, Refusal, Refused, Upkeep
from olmstate.actors.testing import DEVICE, USER, MemoryDisk, MemoryStore
from olmstate.messages import (
    Command,
    JsonObject,
    MalformedMessage,
    Request,
    RequestId,
    RequestKind,
    Response,
    Transport,
)


@attrs.frozen(kw_only=True)
class Put(Command[tuple[RequestId, ...]]):
    """Make requests, as a capability's command does."""

    requests: tuple[NewRequest, ...]


@attrs.define
class Heard:
    """What the capability was told, and what it is to find due."""

    answers: list[tuple[AnsweredRequest, JsonObject]] = attrs.field(factory=list[tuple[AnsweredRequest, JsonObject]])
    refusals: list[tuple[AnsweredRequest, Refused]] = attrs.field(factory=list[tuple[AnsweredRequest, Refused]])
    due: bool = False
    asked_whether_due: int = 0

    def capability(self) -> Capability:
        async def put(turn: Turn, command: Put) -> tuple[RequestId, ...]:
            return await turn[RequestsActor].ask(PutRequests(requests=command.requests, now=turn.now))

        async def take(turn: Turn, answered: AnsweredRequest, response: JsonObject) -> None:
            if "garbage" in response:
                raise MalformedMessage(reason="garbage")
            self.answers.append((answered, response))

        async def refuse(turn: Turn, answered: AnsweredRequest, refused: Refused) -> None:
            self.refusals.append((answered, refused))

        async def is_due(supervisor: BesideTurns) -> bool:
            self.asked_whether_due += 1
            await trio.lowlevel.checkpoint()
            return self.due

        async def make(turn: Turn) -> None:
            if self.due and not await turn[RequestsActor].ask(PendingRequests(kind=RequestKind.ROOM_MESSAGE)):
                due = new_request(RequestKind.ROOM_MESSAGE)
                await turn[RequestsActor].ask(PutRequests(requests=(due,), now=turn.now))
            self.due = False

        return Capability(
            commands=(Put.by(put),),
            additions=(
                *(
                    ANSWERS.add(Answer(kind=kind, take=take))
                    for kind in (RequestKind.TO_DEVICE, RequestKind.ROOM_MESSAGE)
                ),
                REFUSALS.add(Refusal(kind=RequestKind.TO_DEVICE, take=refuse)),
                UPKEEP.add(Upkeep(due=is_due, make=make)),
            ),
        )


def new_request(kind: RequestKind = RequestKind.TO_DEVICE, *, subjects: Sequence[str] = ()) -> NewRequest:
    return NewRequest(
        kind=kind,
        method="PUT",
        path="/_matrix/client/v3/sendToDevice/m.dummy/{transaction_id}",
        body=b'{"messages":{}}',
        subjects=tuple(subjects),
        context=b"why",
    )


class Homeserver:
    """Answers 200 with an empty object, unless it is told otherwise."""

    def __init__(self) -> None:
        self.requests: list[Request] = []
        self.times: list[float] = []
        self.answer: Callable[[Request], Response] = lambda _: Response(status=200, body=b"{}")
        self.open = trio.Event()
        self.open.set()

    async def __call__(self, request: Request) -> Response:
        self.requests.append(request)
        self.times.append(trio.current_time())
        await self.open.wait()
        await trio.sleep(0.01)
        return self.answer(request)


@attrs.define
class Process:
    """A supervisor, as one process has it."""

    supervisor: Supervisor
    store: MemoryStore
    heard: Heard


@asynccontextmanager
async def process(
    disk: MemoryDisk, transport: Transport | None = None, *additions: Addition, set_back: int = 0
) -> AsyncGenerator[Process]:
    """One whose clock was set back by so many milliseconds."""
    heard, store = Heard(), MemoryStore(disk)
    async with run_capabilities(
        store,
        (*CAPABILITIES, heard.capability()),
        user_id=USER,
        device_id=DEVICE,
        options=Options(wall_clock=lambda: round(trio.current_time() * 1000) - set_back),
        additions=(*(() if transport is None else (TRANSPORT.add(transport),)), *additions),
    ) as supervisor:
        yield Process(supervisor, store, heard)
    store.presence.close()


@pytest.fixture
def disk() -> MemoryDisk:
    return MemoryDisk()


@pytest.fixture
def homeserver() -> Homeserver:
    return Homeserver()
