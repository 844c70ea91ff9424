"""What the three commands have in common: their options, the move itself, and the report."""

from __future__ import annotations

import functools
import os
import sys
import tempfile
from collections import Counter
from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import AbstractContextManager
from itertools import islice
from pathlib import Path
from typing import Final

import attrs
import click
from vodozemac import Account, InboundGroupSession, Session

from olmstate.actors import Supervisor, open_supervisor
from olmstate.actors._wire.algorithms import MEGOLM
from olmstate.actors._wire.curve25519 import curve25519_key
from olmstate.actors._wire.signatures import ed25519_key
from olmstate.cli._commands import run
from olmstate.cli._output import Output, json_option
from olmstate.cli._paths import FILE, store_argument
from olmstate.cli._secrets import Secret, content_of, store_secret, store_secret_options
from olmstate.cli._status_line import StatusLine
from olmstate.messages import (
    DeviceId,
    DeviceTrust,
    ImportAccount,
    ImportedDevice,
    ImportRoomKeys,
    JsonObject,
    MalformedMessage,
    OlmSessionPickle,
    OlmStateError,
    ReceiveSync,
    UserId,
)
from olmstate.storage import inspect_store

from ._found import Found, FoundAccount, FoundRoomKey
from ._pickles import Pickles

AT_ONCE: Final = 1000
"""Room keys that are in memory at the same time."""
TOLD: Final = 20
"""Refusals that people are told of one by one; programs are told of all."""


@attrs.frozen(kw_only=True)
class Options:
    """Of the command line."""

    store: Path
    source: Path
    passphrase_file: Path | None
    key_file: Path | None
    pickle_key_file: Path | None
    user_id: str | None
    device_id: str | None
    as_json: bool


def moving_options(command: Callable[[Options], None]) -> Callable[..., None]:
    """Gives a command its arguments and options."""

    @store_argument
    @click.argument("source", type=FILE)
    @store_secret_options
    @click.option("--pickle-key-file", type=FILE, help="File with what encrypts SOURCE's pickles.")
    @click.option("--user", "user_id", help="Whose device, if SOURCE doesn't say or has several.")
    @click.option("--device", "device_id", help="Which device, if SOURCE doesn't say or has several.")
    @json_option
    @functools.wraps(command)
    def with_options(**given: object) -> None:
        command(Options(**given))  # type: ignore[arg-type] # click has made them

    return with_options


def chosen(accounts: Iterable[FoundAccount], options: Options) -> tuple[FoundAccount, int]:
    """The account that is meant, and how many there are.

    Raises:
        click.ClickException: There is none, or it isn't said which.
    """
    found = list(accounts)
    meant = [
        account
        for account in found
        if options.user_id in {None, account.user_id} and options.device_id in {None, account.device_id}
    ]
    if len(meant) == 1:
        return meant[0], len(found)
    there = ", ".join(f"{account.user_id} {account.device_id}" for account in found) or "none"
    wanted = "name one with --user and --device" if meant else "no such account is there"
    raise click.ClickException(f"{wanted}; accounts in {options.source}: {there}")


@attrs.define
class _Report:
    """What has become of each part."""

    counts: Counter[str] = attrs.field(factory=Counter[str])
    refused: list[JsonObject] = attrs.field(factory=list[JsonObject])

    def refuse(self, what: str, name: str, reason: Exception) -> None:
        self.refused.append({"what": what, "name": name, "reason": " ".join(str(reason).split())})


def move(
    options: Options,
    find: Callable[[Path], AbstractContextManager[Found]],
    *,
    defaults: Sequence[str] = (),
    also_vodozemac: bool = False,
) -> None:
    """Move a device into a new store.

    Args:
        options: Of the command line.
        find: Finds everything; it may use the folder that it is given.
        defaults: What encrypts pickles where nobody has chosen something else.
        also_vodozemac: See `Pickles`.

    Raises:
        click.ClickException: Nothing was done.
    """
    store = Path(os.path.abspath(options.store))  # noqa: PTH100 - resolve() would follow a link that may be changed later
    _check_vacant(options.store, store)
    with (
        tempfile.TemporaryDirectory(dir=store.parent, prefix=f".{store.name}.") as scratch,
        find(Path(scratch)) as found,
    ):
        pickles, account = _opened_account(options, found.account, defaults, also_vodozemac=also_vodozemac)
        key = store_secret(options.passphrase_file, options.key_file).key_or_passphrase(new=True)
        new = Path(scratch, "store")
        report = _Report()

        async def fill() -> None:
            async with open_supervisor(
                new, user_id=found.account.user_id, device_id=found.account.device_id, key=key
            ) as supervisor:
                await _fill(supervisor, found, account, pickles, report)

        try:
            run(fill)
        except ValueError as error:
            raise click.ClickException(
                f"{options.source}: {error}; name the device with --user and --device"
            ) from error
        _give_name(new, store)
    _tell(options, found, report)


def _check_vacant(named: Path, store: Path) -> None:
    if not store.parent.is_dir():
        raise click.ClickException(f"{store.parent} is no folder: make it first, if it is meant")
    if not os.path.lexists(store) or (store.is_dir() and not any(store.iterdir())):
        return
    try:
        info = inspect_store(store).info
    except OlmStateError:
        raise click.ClickException(f"{named} is there already, and no store: name a new folder") from None
    raise click.ClickException(
        f"{named} is a store already, of {info.user_id} {info.device_id}, and was left as it is: "
        "a device moves in once, into a new one"
    )


def _opened_account(
    options: Options, found: FoundAccount, defaults: Sequence[str], *, also_vodozemac: bool
) -> tuple[Pickles, Account]:
    why: ValueError | None = None
    for secret in _secrets(options, defaults):
        pickles = Pickles(secret=secret, also_vodozemac=also_vodozemac)
        try:
            return pickles, pickles.read(Account, found.pickle)
        except ValueError as error:
            why = error
    raise click.ClickException(
        f"the account in {options.source} can't be read: another pickle key is wanted, or it is damaged ({why})"
    ) from why


def _secrets(options: Options, defaults: Sequence[str]) -> Iterator[bytes]:
    """What may encrypt the pickles, one after another: nobody is asked if a default does."""
    secret = Secret(what=f"Pickle key of {options.source}", variable="OLMSTATE_PICKLE_KEY", option="--pickle-key-file")
    if options.pickle_key_file is not None:
        content = content_of(options.pickle_key_file)
        yield content.removesuffix(b"\n").removesuffix(b"\r")
        yield content  # any bytes are a key
        return
    if secret.is_asked_for:
        yield from (default.encode() for default in defaults)
    yield secret.passphrase().encode("utf-8", "surrogateescape")  # any bytes, here too


async def _fill(supervisor: Supervisor, found: Found, account: Account, pickles: Pickles, report: _Report) -> None:
    """Take in everything; what can't be read is told, and holds up nothing else."""
    pickle_key = os.urandom(32)
    devices, owners = _devices(found, report)
    sessions: list[OlmSessionPickle] = []
    for each in found.sessions:
        try:
            sender_key = curve25519_key(each.sender_key, "sender_key")
            session = pickles.read(Session, each.pickle)
        except (MalformedMessage, ValueError) as error:
            report.refuse("Olm session", each.session_id, error)
            continue
        sessions.append(
            OlmSessionPickle(sender_key=sender_key, user_id=owners.get(sender_key), pickle=session.pickle(pickle_key))
        )
    await supervisor.ask(
        ImportAccount(
            pickle=account.pickle(pickle_key), pickle_key=pickle_key, olm_sessions=tuple(sessions), devices=devices
        )
    )
    report.counts["olm_sessions"] = len(sessions)
    await _take_room_keys(supervisor, _room_keys(found.room_keys, pickles, report), report)
    if found.account.sync_token:
        await supervisor.ask(ReceiveSync(sync={"next_batch": found.account.sync_token}))


def _devices(found: Found, report: _Report) -> tuple[tuple[ImportedDevice, ...], dict[str, UserId]]:
    """The devices, and whose each identity key is."""
    devices: list[ImportedDevice] = []
    users: dict[str, set[UserId]] = {}
    own = found.account
    for each in found.devices:
        if (each.user_id, each.device_id) == (own.user_id, own.device_id):
            continue
        try:
            device = ImportedDevice(
                user_id=UserId(each.user_id),
                device_id=DeviceId(each.device_id),
                curve25519=curve25519_key(each.curve25519, "curve25519"),
                ed25519=ed25519_key(each.ed25519, "ed25519"),
                trust=each.trust,
            )
        except MalformedMessage as error:
            report.refuse("device", f"{each.user_id} {each.device_id}", error)
            continue
        users.setdefault(device.curve25519, set()).add(device.user_id)
        if not each.gone:
            devices.append(device)
            report.counts["devices"] += 1
            report.counts[device.trust.value] += 1
    return tuple(devices), {key: next(iter(of_key)) for key, of_key in users.items() if len(of_key) == 1}


def _room_keys(found: Iterable[FoundRoomKey], pickles: Pickles, report: _Report) -> Iterator[JsonObject]:
    """Each that can be read, as it would be exported (spec: Key export format)."""
    for each in found:
        try:
            session = pickles.read(InboundGroupSession, each.pickle)
            exported = session.export_at(session.first_known_index)
            if exported is None or session.session_id != each.session_id:
                raise ValueError("it isn't the session that it should be")  # noqa: TRY301 - told like the others
        except ValueError as error:
            report.refuse("room key", each.session_id, error)
            continue
        yield {
            "algorithm": MEGOLM,
            "room_id": each.room_id,
            "session_id": each.session_id,
            "session_key": exported.to_base64(),
            "sender_key": each.sender_key,
            "sender_claimed_keys": {"ed25519": each.ed25519},
            "forwarding_curve25519_key_chain": list(each.forwarding_chain),
        }


async def _take_room_keys(supervisor: Supervisor, keys: Iterator[JsonObject], report: _Report) -> None:
    line = StatusLine(sys.stderr)
    while some := tuple(islice(keys, AT_ONCE)):
        taken = await supervisor.ask(ImportRoomKeys(keys=some))
        report.counts["room_keys"] += taken.total - taken.rejected
        if taken.rejected:
            await _name_rejected(supervisor, some, report)
        line.show_now_and_then(f"{report.counts['room_keys']:,} room keys …")
    line.clear()


async def _name_rejected(supervisor: Supervisor, keys: Sequence[JsonObject], report: _Report) -> None:
    """Ask for each alone: an import says how many it has rejected, and not which."""
    for key in keys:
        if (await supervisor.ask(ImportRoomKeys(keys=(key,)))).rejected:
            report.refuse("room key", str(key["session_id"]), ValueError("not a room key, or of the wrong shape"))


def _give_name(new: Path, store: Path) -> None:
    """Let the store that is complete be there; an empty folder may stand in its place."""
    try:
        new.rename(store)
    except OSError as error:
        raise click.ClickException(f"{store}: {error.strerror}") from error
    descriptor = os.open(store.parent, os.O_RDONLY | os.O_DIRECTORY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)


def _tell(options: Options, found: Found, report: _Report) -> None:
    output, counts, account = Output(options.as_json), report.counts, found.account
    others = f", one of {found.accounts} accounts" if found.accounts > 1 else ""
    output.say(f"moved {account.user_id} {account.device_id} into {options.store}{others}:")
    output.say(f"  {counts['olm_sessions']:,} Olm sessions, {counts['room_keys']:,} room keys")
    trust = ", ".join(f"{counts[each]:,} {each.value}" for each in DeviceTrust if each is not DeviceTrust.UNSET)
    output.say(f"  {counts['devices']:,} devices: {trust}")
    output.say(f"  the sync token was {'taken over' if account.sync_token else 'not there'}")
    for each in report.refused[:TOLD]:
        output.say(f"  refused: {each['what']} {each['name']}: {each['reason']}")
    if len(report.refused) > TOLD:
        output.say(f"  refused: {len(report.refused) - TOLD:,} more; --json tells all")
    output.say(f"Never use {options.source} again: two owners of an account use the same steps.")
    output.finish(
        {
            "store": str(options.store),
            "source": str(options.source),
            "user_id": account.user_id,
            "device_id": account.device_id,
            "accounts": found.accounts,
            "olm_sessions": counts["olm_sessions"],
            "room_keys": counts["room_keys"],
            "devices": counts["devices"],
            **{each.value: counts[each] for each in DeviceTrust if each is not DeviceTrust.UNSET},
            "sync_token": bool(account.sync_token),
            "refused": report.refused,
        }
    )
