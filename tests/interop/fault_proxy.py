"""A proxy between a client and its homeserver that gets chosen requests wrong.

Owns: the list of faults to come, and the list of all that was asked.
Rule: nothing is left to chance or to the clock. A fault says which requests it is for, how many go well before it,
    and how often it strikes; a request that is held is held until the test lets it go.
Why: what a client does about an answer that never came shows only when the answer doesn't come.
"""

from __future__ import annotations

import json
import re
from collections.abc import AsyncGenerator
from contextlib import asynccontextmanager
from typing import Literal, TypeAlias

import attrs
import httpx2
import trio

from olmstate.messages import JsonObject
from tests.interop.served_connection import Connection, Request

Kind: TypeAlias = Literal["refuse", "drop", "lose_answer", "cut_answer", "garble_answer", "hold", "hold_answer"]
AFTER_THE_SERVER = {"lose_answer", "cut_answer", "garble_answer", "hold_answer"}


@attrs.define(eq=False, kw_only=True)
class Fault:
    """Something that will go wrong, or has."""

    kind: Kind
    path: re.Pattern[str]
    """Searched in the target."""
    method: str | None
    after: int
    """How many such requests go well before."""
    times: int
    status: int = 500
    body: JsonObject = attrs.field(factory=dict[str, object])
    arrived: trio.Event = attrs.field(factory=trio.Event)
    """Set when it strikes for the first time."""
    _released: trio.Event = attrs.field(factory=trio.Event)

    def release(self) -> None:
        """Let what is held go on."""
        self._released.set()

    async def wait(self) -> None:
        """Until it is released."""
        await self._released.wait()

    def strikes(self, method: str, target: str) -> bool:
        """Whether it is for this request; counts it."""
        if not self.path.search(target) or self.method not in {None, method}:
            return False
        if self.after:
            self.after -= 1
            return False
        if not self.times:
            return False
        self.times -= 1
        return True


@attrs.frozen(kw_only=True)
class Passed:
    """A request that came to the proxy, and what became of it."""

    request: Request
    fault: Kind | None
    status: int | None
    """The homeserver's answer; None if it wasn't asked."""
    answer: bytes = attrs.field(repr=False)

    @property
    def path(self) -> str:
        """The target without what is new each time: the query, and a transaction's id."""
        path = self.request.target.partition("?")[0].removeprefix("/_matrix/client/v3")
        return re.sub(r"^(/(?:sendToDevice/[^/]*|rooms/[^/]*/send/[^/]*))/.*", r"\1", path)


@attrs.define(eq=False)
class FaultProxy:
    """A running proxy. `open_fault_proxy` starts one."""

    url: str
    _upstream: str
    _client: httpx2.AsyncClient
    passed: list[Passed] = attrs.field(factory=list[Passed])
    """In the order in which they were done with."""
    _faults: list[Fault] = attrs.field(factory=list[Fault])

    def add(
        self,
        kind: Kind,
        path: str,
        *,
        method: str | None = None,
        after: int = 0,
        times: int = 1,
        status: int = 500,
        body: JsonObject | None = None,
    ) -> Fault:
        """Have something go wrong.

        - ``refuse``: the homeserver isn't asked; the answer is ``status`` and ``body``.
        - ``drop``: it isn't asked, and the connection ends.
        - ``lose_answer``: it is asked, and the connection ends.
        - ``cut_answer``: it is asked, and the connection ends in the middle of the answer.
        - ``garble_answer``: it is asked, and what comes is no JSON.
        - ``hold``: the request stays here until `Fault.release`.
        - ``hold_answer``: the answer does.
        """
        fault = Fault(
            kind=kind, path=re.compile(path), method=method, after=after, times=times, status=status, body=body or {}
        )
        self._faults.append(fault)
        return fault

    def asked(self, path: str = "") -> list[str]:
        """The paths that were asked for, as `Passed.path` has them, of those that ``path`` is found in."""
        return [passed.path for passed in self.passed if re.search(path, passed.path)]

    async def serve(self, stream: trio.SocketStream) -> None:
        """Answer what comes on one connection."""
        connection = Connection(stream)
        async with stream:
            while (request := await connection.next_request()) is not None:
                if not await self._handle(connection, request):
                    return

    async def _handle(self, connection: Connection, request: Request) -> bool:
        """Whether the connection can be used again."""
        fault = next((fault for fault in self._faults if fault.strikes(request.method, request.target)), None)
        if fault is not None and fault.kind not in AFTER_THE_SERVER:
            fault.arrived.set()
            if fault.kind == "hold":
                await fault.wait()
            else:
                self._note(request, fault, None, b"")
                if fault.kind == "refuse":
                    await connection.answer(fault.status, json.dumps(fault.body).encode())
                return fault.kind == "refuse" and connection.start_next_cycle()
        response = await self._client.request(
            request.method, self._upstream + request.target, headers=request.headers, content=request.body, timeout=None
        )
        status, answer = response.status_code, response.content
        self._note(request, fault, status, answer)
        if fault is not None and fault.kind in AFTER_THE_SERVER:
            fault.arrived.set()
            match fault.kind:
                case "lose_answer":
                    return False
                case "cut_answer":
                    await connection.begin_answer(status, answer)
                    return False
                case "garble_answer":
                    answer = b"<html>" + answer[: len(answer) // 2]
                case _:
                    await fault.wait()
        await connection.answer(status, answer)
        return connection.start_next_cycle()

    def _note(self, request: Request, fault: Fault | None, status: int | None, answer: bytes) -> None:
        kind = None if fault is None else fault.kind
        self.passed.append(Passed(request=request, fault=kind, status=status, answer=answer))


@asynccontextmanager
async def open_fault_proxy(upstream: str, client: httpx2.AsyncClient) -> AsyncGenerator[FaultProxy]:
    """Run a proxy on a free loopback port until the block is left."""
    [listener] = await trio.open_tcp_listeners(0, host="127.0.0.1")
    port: int = listener.socket.getsockname()[1]
    proxy = FaultProxy(f"http://127.0.0.1:{port}", upstream, client)
    async with trio.open_nursery() as nursery:
        nursery.start_soon(trio.serve_listeners, proxy.serve, [listener])
        yield proxy
        nursery.cancel_scope.cancel()
