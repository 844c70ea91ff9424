"""The device of a store, as commands that talk to its homeserver open it.

Owns: their options, the access token, and the transport.
Rule: that the homeserver's URL makes no sense is found before anything is asked for. An access token that the
homeserver doesn't take, or that is another device's, ends the command: the library would try again, for a new token may
come.
"""

from __future__ import annotations

from collections.abc import AsyncGenerator
from contextlib import AbstractAsyncContextManager, asynccontextmanager
from http import HTTPStatus
from pathlib import Path
from typing import TYPE_CHECKING

import attrs
import click
import trio

from olmstate.actors import Supervisor, open_supervisor
from olmstate.actors._requests.operations import UNREACHABLE
from olmstate.actors._wire.untrusted_json import as_object, if_sound, loads, string
from olmstate.messages import JsonObject, MalformedMessage, Request, Response, Transport
from olmstate.storage import inspect_store

from ._paths import FILE
from ._secrets import Secret, store_secret

if TYPE_CHECKING:
    import httpx2

homeserver_option = click.option("--homeserver", required=True, help="Its URL, as https://matrix.example.org.")
CHECK_SECONDS = 10.0
"""To wait for what only tells a mistake sooner."""
NOT_TAKEN = "the homeserver doesn't take the access token: log in anew, or look whether it is this device's"
token_option = click.option("--token-file", type=FILE, help="File with the device's access token.")


@attrs.define
class Reach:
    """Whether the homeserver can be reached, as the last try has shown."""

    lost: bool = False


@attrs.frozen(kw_only=True)
class Device:
    """A store, what opens it, and how its homeserver is reached."""

    store: Path
    user_id: str
    device_id: str
    key: bytes | str | None = attrs.field(repr=False)
    homeserver: str
    token: str = attrs.field(repr=False)
    transport: AbstractAsyncContextManager[Transport] = attrs.field(repr=False)
    """Not open yet."""
    reach: Reach = attrs.field(factory=Reach)

    @asynccontextmanager
    async def opened(self) -> AsyncGenerator[Supervisor]:
        """Its supervisor, which makes its own requests.

        Raises:
            click.ClickException: The homeserver doesn't take the access token, now or later; or it is another device's.
        """
        refused = trio.Event()

        async def end_if_refused() -> None:
            await refused.wait()
            raise click.ClickException(NOT_TAKEN)

        async with self.transport as transport:

            async def send(request: Request) -> Response:
                try:
                    response = await transport(request)
                except Exception:
                    self.reach.lost = True
                    raise
                self.heard(response.status)
                if is_token_refused(response.status, response.body):
                    refused.set()
                return response

            await self._check_token()
            async with trio.open_nursery() as nursery:
                nursery.start_soon(end_if_refused)
                async with open_supervisor(
                    self.store, user_id=self.user_id, device_id=self.device_id, key=self.key, transport=send
                ) as supervisor:
                    yield supervisor
                nursery.cancel_scope.cancel()

    def heard(self, status: int) -> None:
        """An answer came: the homeserver's, or a proxy's that can't reach it."""
        self.reach.lost = status in UNREACHABLE

    def client(self, seconds: float) -> httpx2.AsyncClient:
        """For requests that the library doesn't make."""
        import httpx2  # noqa: PLC0415 - it is in an extra, which `device_of` has looked for

        headers = {"Authorization": f"Bearer {self.token}"}
        return httpx2.AsyncClient(base_url=self.homeserver, headers=headers, timeout=seconds)

    async def _check_token(self) -> None:
        """Ask whose the token is (spec: GET /account/whoami); what makes no sense, or doesn't come, says nothing."""
        import httpx2  # noqa: PLC0415 - see `client`

        async with self.client(CHECK_SECONDS) as client:
            try:
                answer = await client.get("/_matrix/client/v3/account/whoami")
            except httpx2.HTTPError:
                self.reach.lost = True
                return
        self.heard(answer.status_code)
        if is_token_refused(answer.status_code, answer.content):
            raise click.ClickException(NOT_TAKEN)
        if answer.status_code == HTTPStatus.OK:
            told = _object(answer.content)
            for field, own in (("user_id", self.user_id), ("device_id", self.device_id)):
                if (whose := if_sound(string, told, field)) not in (None, own):
                    raise click.ClickException(f"the access token is of {whose!r}, and the store is of {own!r}")


def is_token_refused(status: int, body: bytes) -> bool:
    """Whether an answer says that the access token is of no use (spec: Client Authentication)."""
    return status == HTTPStatus.UNAUTHORIZED and _object(body).get("errcode") in (
        "M_UNKNOWN_TOKEN",
        "M_MISSING_TOKEN",
    )


def _object(body: bytes) -> JsonObject:
    try:
        return as_object(loads(body), "the answer")
    except MalformedMessage:
        return {}


def _transport(homeserver: str, token: str) -> AbstractAsyncContextManager[Transport]:
    """What reaches the homeserver.

    Raises:
        click.ClickException: It can't, or the extra with the HTTP client isn't installed.
    """
    try:
        from olmstate.http import open_transport  # noqa: PLC0415 - it is in an extra
    except ImportError:
        raise click.ClickException("this takes an HTTP client: pip install 'olmstate[http]'") from None
    try:
        return open_transport(homeserver, token)
    except ValueError as error:
        raise click.UsageError(f"the homeserver can't be reached so: {error}") from None


def device_of(
    store: Path, passphrase_file: Path | None, key_file: Path | None, homeserver: str, token_file: Path | None
) -> Device:
    """The device of ``store``; what opens it, and the token, are read from files or the environment, or asked for."""
    _transport(homeserver, "any")  # before anything is asked for
    info = inspect_store(store).info
    key = store_secret(passphrase_file, key_file).for_store(info.sealed)
    token = Secret(
        what="Access token of the device",
        variable="OLMSTATE_ACCESS_TOKEN",
        option="--token-file",
        passphrase_file=token_file,
    ).passphrase()
    token = token.strip()
    return Device(
        store=store,
        user_id=info.user_id,
        device_id=info.device_id,
        key=key,
        homeserver=homeserver,
        token=token,
        transport=_transport(homeserver, token),
    )
