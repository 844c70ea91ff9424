"""``olmstate bootstrap`` and ``olmstate recover``: a device is cross-signed, and nobody has to compare emoji.

Rule: the recovery key is printed once, on standard output, and is nowhere else; on standard error only if it would be
lost, since standard output is a full disk or a closed pipe. It is read from a file, the
environment, or a prompt that doesn't show it; so are the access token and the account's password.
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from contextlib import suppress
from pathlib import Path
from typing import TypeVar, cast

import click

from olmstate.actors import Supervisor
from olmstate.messages import (
    AccountExists,
    AuthenticationRequired,
    BootstrapCrossSigning,
    CreateAccount,
    CreateSecretStorage,
    DescribeSecretStorage,
    JsonObject,
    Recovered,
    RecoverFromSecretStorage,
    SecretStorageCreated,
    SecretStorageExists,
    UnknownIdentity,
)

from ._commands import commands, run
from ._device import Device, device_of, homeserver_option, token_option
from ._output import Output, json_option, printable
from ._paths import FILE, store_argument
from ._secrets import Secret, store_secret_options

T = TypeVar("T")
PASSWORD_STAGE = "m.login.password"  # noqa: S105 - the name of a stage


def _run(device: Device, work: Callable[[Supervisor], Awaitable[T]]) -> T:
    """Run ``work`` on the device."""

    async def opened() -> T:
        async with device.opened() as supervisor:
            return await work(supervisor)

    return run(opened)


# --- recover ------------------------------------------------------------------------------------------------


@commands.command()
@store_argument
@store_secret_options
@homeserver_option
@token_option
@click.option("--recovery-key-file", type=FILE, help="File with the account's recovery key, or its passphrase.")
@json_option
def recover(
    store: Path,
    *,
    passphrase_file: Path | None,
    key_file: Path | None,
    homeserver: str,
    token_file: Path | None,
    recovery_key_file: Path | None,
    as_json: bool,
) -> None:
    """Cross-sign the device of STORE with the account's recovery key.

    The private cross-signing keys come out of secret storage, each is compared with what the homeserver publishes, and
    this device is signed. Others may use the store meanwhile. Without the options, what is needed comes from
    OLMSTATE_PASSPHRASE, OLMSTATE_ACCESS_TOKEN and OLMSTATE_RECOVERY_KEY, or is asked for.
    """
    output = Output(as_json)
    device = device_of(store, passphrase_file, key_file, homeserver, token_file)
    key = Secret(
        what="Recovery key of the account",
        variable="OLMSTATE_RECOVERY_KEY",
        option="--recovery-key-file",
        passphrase_file=recovery_key_file,
    ).passphrase()
    if not key.strip():
        raise click.ClickException("the recovery key is empty")

    async def sign_in(supervisor: Supervisor) -> Recovered:
        with suppress(AccountExists):
            await supervisor.ask(CreateAccount())
        try:
            return await supervisor.ask(RecoverFromSecretStorage(key=key))
        except UnknownIdentity:
            hint = f"{device.user_id} has no cross-signing identity: olmstate bootstrap makes one"
            raise click.ClickException(hint) from None

    recovered = _run(device, sign_in)
    backup = "the backup key is kept" if recovered.backup_key else "there is no backup key"
    output.say(f"{device.device_id} of {device.user_id} is cross-signed; {backup}")
    output.finish(
        {
            "store": str(store),
            "user_id": device.user_id,
            "device_id": device.device_id,
            "backup_key": recovered.backup_key,
        }
    )


# --- bootstrap ----------------------------------------------------------------------------------------------


@commands.command()
@store_argument
@store_secret_options
@homeserver_option
@token_option
@click.option("--password-file", type=FILE, help="File with the account's password, if the homeserver asks for it.")
@click.option("--replace", is_flag=True, help="Make secret storage anew: the recovery key of the present one is lost.")
@json_option
def bootstrap(
    store: Path,
    *,
    passphrase_file: Path | None,
    key_file: Path | None,
    homeserver: str,
    token_file: Path | None,
    password_file: Path | None,
    replace: bool,
    as_json: bool,
) -> None:
    """Give the account of STORE a cross-signing identity and secret storage, and print the recovery key, once.

    An identity that is there is never replaced: if it isn't this store's, olmstate recover is what you want. Without
    the options, what is needed comes from OLMSTATE_PASSPHRASE, OLMSTATE_ACCESS_TOKEN and OLMSTATE_ACCOUNT_PASSWORD, or
    is asked for.
    """
    output = Output(as_json)
    device = device_of(store, passphrase_file, key_file, homeserver, token_file)
    password = Secret(
        what="Password of the account",
        variable="OLMSTATE_ACCOUNT_PASSWORD",
        option="--password-file",
        passphrase_file=password_file,
    )

    async def set_up(supervisor: Supervisor) -> SecretStorageCreated:
        with suppress(AccountExists):
            await supervisor.ask(CreateAccount())
        default = (await supervisor.ask(DescribeSecretStorage())).default_key_id
        if default is not None and not replace:
            raise SecretStorageExists(key_id=default)
        try:
            await supervisor.ask(BootstrapCrossSigning())
        except AuthenticationRequired as required:
            auth = _password_auth(device.user_id, required.challenge, password)
            await supervisor.ask(BootstrapCrossSigning(auth=auth))
        return await supervisor.ask(CreateSecretStorage(replace=replace))

    try:
        created = _run(device, set_up)
    except SecretStorageExists as exists:
        hint = "olmstate recover uses it; --replace makes another, if nobody knows its recovery key"
        raise click.ClickException(f"{printable(str(exists))}. {hint}") from None
    _show(created, output, store, device)


def _show(created: SecretStorageCreated, output: Output, store: Path, device: Device) -> None:
    """Hand the recovery key to the user, whatever can be written."""
    click.echo(
        "Write the recovery key down: whoever has it has the account's secrets, and it is not shown again.", err=True
    )
    if not created.published:
        click.echo("The homeserver was slow: the rest goes out when the store is next used with it.", err=True)
    try:
        output.say(created.key.recovery_key)
        output.finish(
            {
                "store": str(store),
                "user_id": device.user_id,
                "device_id": device.device_id,
                "key_id": created.key.key_id,
                "recovery_key": created.key.recovery_key,
                "published": created.published,
            }
        )
    except OSError:
        click.echo(f"Standard output can't be written. The recovery key: {created.key.recovery_key}", err=True)
        raise


def _password_auth(user_id: str, challenge: JsonObject, password: Secret) -> JsonObject:
    """The answer to a challenge that a password is enough for.

    Raises:
        click.ClickException: It takes something else.
    """
    flows = challenge.get("flows")
    found = cast("list[object]", flows) if isinstance(flows, list) else []
    stages = [cast("JsonObject", flow).get("stages") for flow in found if isinstance(flow, dict)]
    if [PASSWORD_STAGE] not in stages:
        raise click.ClickException(
            "the homeserver wants something else than a password: allow the new identity in your account's settings, "
            "and run this once more"
        )
    return {
        "type": PASSWORD_STAGE,
        "identifier": {"type": "m.id.user", "user": user_id},
        "password": password.passphrase(),
        "session": challenge.get("session"),
    }
