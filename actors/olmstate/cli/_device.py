"""The device of a store, as commands that talk to its homeserver open it.

Owns: their options, the access token, and the transport.
Rule: that the homeserver's URL makes no sense is found before anything is asked for.
"""

from __future__ import annotations

from collections.abc import AsyncGenerator
from contextlib import AbstractAsyncContextManager, asynccontextmanager
from pathlib import Path

import attrs
import click

from olmstate.actors import Supervisor, open_supervisor
from olmstate.messages import Transport
from olmstate.storage import inspect_store

from ._paths import FILE
from ._secrets import Secret, store_secret

homeserver_option = click.option("--homeserver", required=True, help="Its URL, as https://matrix.example.org.")
token_option = click.option("--token-file", type=FILE, help="File with the device's access token.")


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

    @asynccontextmanager
    async def opened(self) -> AsyncGenerator[Supervisor]:
        """Its supervisor, which makes its own requests."""
        async with (
            self.transport as transport,
            open_supervisor(
                self.store, user_id=self.user_id, device_id=self.device_id, key=self.key, transport=transport
            ) as supervisor,
        ):
            yield supervisor


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
