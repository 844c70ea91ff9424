"""Asking our other devices for secrets, and taking in what they send (spec: m.secret.request, m.secret.send).

An answer is taken only if it names a request that is open, and only from one of the devices that were asked, which must
still be verified. Everything else is passed over: it was not asked for, came twice, too late, or from somebody else.
"""

from __future__ import annotations

import secrets
from collections.abc import Iterable, Mapping, Sequence
from typing import Final

from msgspec.structs import replace

from olmstate.actors._account.operations import own_device
from olmstate.actors._engine.slices import SlicesOf
from olmstate.actors._engine.turn import Turn
from olmstate.actors._identities.identity import Identity, Usage
from olmstate.actors._identities.signing import Seeds, compare, seed_from_base64
from olmstate.actors._key_requests.asks import Ask, ask_own_devices
from olmstate.actors._key_requests.own_devices import sent_by, verified_own_devices
from olmstate.actors._secrets.actor import BACKUP_KEY
from olmstate.actors._secrets.private_keys import published_identity, take_seeds, usable_secrets
from olmstate.actors._to_device.handlers import DecryptedEvent
from olmstate.actors._wire.untrusted_json import if_sound, string
from olmstate.messages import (
    AcknowledgeSecrets,
    CancelSecretRequests,
    DeleteSecrets,
    DeviceId,
    MalformedSecret,
    RequestId,
    RequestSecrets,
    SecretOrigin,
    SecretRefusal,
    SecretRefused,
    SecretsReceived,
    SecretsRequested,
)

from .actor import (
    ChangeReceived,
    ChangeRequests,
    NewSecret,
    OpenRequests,
    PutReceived,
    ReceivedNames,
    SecretRequestsActor,
)
from .stored import SecretRequestRecord

REQUEST: Final = "m.secret.request"
SEND: Final = "m.secret.send"
EVENTS_AT_ONCE: Final = 12
"""Looked at without giving other tasks a chance: each may be a private key, whose public half is worked out."""
LARGEST: Final = 65_536
"""Characters of a secret: more is somebody's nonsense, and would have to be stored."""
_ID_BYTES: Final = 16
_USAGES: Final = {usage.secret_name: usage for usage in Usage}


async def request_secrets(turn: Turn, command: RequestSecrets) -> SecretsRequested:
    """Ask, or ask again under the same ids."""
    names = await _missing(turn) if command.names is None else tuple(dict.fromkeys(command.names))
    return await _ask(turn, names)


async def request_missing_secrets(turn: Turn, after: tuple[str, ...]) -> None:
    """Our own identity was verified with another device, which may have what this one lacks."""
    await _ask(turn, await _missing(turn), after=after)


async def cancel_secret_requests(turn: Turn, command: CancelSecretRequests) -> None:
    """Ask no longer."""
    await _end(turn, command.names)


async def private_keys_learnt(turn: Turn) -> None:
    """Private keys have come, from wherever: ask no longer for what is here."""
    open_requests = await turn[SecretRequestsActor].ask(OpenRequests())
    if open_requests:
        await _end(turn, await usable_secrets(turn))


async def acknowledge_secrets(turn: Turn, command: AcknowledgeSecrets) -> None:
    """The app has taken note."""
    await turn[SecretRequestsActor].ask(ChangeReceived(request_ids=command.request_ids, delete=False))


async def delete_secrets(turn: Turn, command: DeleteSecrets) -> None:
    """The app is done with them."""
    await turn[SecretRequestsActor].ask(ChangeReceived(request_ids=command.request_ids, delete=True))


# --- requests -----------------------------------------------------------------------------------------------


async def _published(turn: Turn) -> Identity | None:
    return await published_identity(turn, (await own_device(turn)).identity.user_id)


async def _missing(turn: Turn) -> tuple[str, ...]:
    published = await _published(turn)
    names = [*(_USAGES if published is not None else ()), BACKUP_KEY]
    here = {*await usable_secrets(turn), *await turn[SecretRequestsActor].ask(ReceivedNames())}
    return tuple(name for name in names if name not in here)


async def _ask(turn: Turn, names: tuple[str, ...], *, after: tuple[str, ...] = ()) -> SecretsRequested:
    devices = tuple(sorted(await verified_own_devices(turn)))
    if devices and names:
        open_requests = await turn[SecretRequestsActor].ask(OpenRequests())
        first = 1 + max((record.number for record in open_requests.values()), default=0)
        records = tuple(
            SecretRequestRecord(
                name=name,
                request_id=open_requests[name].request_id if name in open_requests else secrets.token_hex(_ID_BYTES),
                made=turn.now,
                number=number,
                devices=list(devices),
            )
            for number, name in enumerate(names, first)
        )
        asks = [Ask(request_id=each.request_id, devices=devices, wanted={"name": each.name}) for each in records]
        await ask_own_devices(turn, REQUEST, asks, after=after)
        await turn[SecretRequestsActor].ask(ChangeRequests(records=records))
    return SecretsRequested(names=names, devices=devices)


async def _end(turn: Turn, names: Iterable[str], answered_by: Mapping[str, DeviceId] | None = None) -> None:
    """Forget requests, and tell those that were asked; whoever has answered knows."""
    answered_by, meant = answered_by or {}, frozenset(names)
    open_requests = await turn[SecretRequestsActor].ask(OpenRequests())
    records = [record for name, record in open_requests.items() if name in meant]
    if not records:
        return
    asks: list[Ask] = []
    for record in records:
        others = [device_id for device_id in record.devices if device_id != answered_by.get(record.name)]
        if others:
            asks.append(Ask(request_id=record.request_id, devices=others, wanted=None))
    await ask_own_devices(turn, REQUEST, asks)
    await turn[SecretRequestsActor].ask(ChangeRequests(over=tuple(record.name for record in records)))


# --- what comes ---------------------------------------------------------------------------------------------


async def receive_secrets(turn: Turn, events: Sequence[DecryptedEvent]) -> None:
    """Take in what was asked for, and say what is of no use."""
    before = await turn[SecretRequestsActor].ask(OpenRequests())
    if not before:
        return
    open_requests = {record.request_id: record for record in before.values()}
    verified, published = await verified_own_devices(turn), await _published(turn)
    taken: dict[str, NewSecret] = {}
    refused: dict[str, SecretRequestRecord] = {}
    async for some in SlicesOf(events, EVENTS_AT_ONCE):
        for event in some:
            content = event.payload.content
            device_id = sent_by(verified, event)
            record = open_requests.get(if_sound(string, content, "request_id") or "")
            if record is None or device_id is None or device_id not in record.devices:
                continue
            secret = if_sound(string, content, "secret")
            reason = _refusal(record.name, secret, published)
            if secret is None or reason is not None:
                others = [each for each in record.devices if each != device_id]
                refused[record.name] = open_requests[record.request_id] = replace(record, devices=others)
                reason = reason or SecretRefusal.MALFORMED
                turn.events.append(SecretRefused(name=record.name, device_id=device_id, reason=reason))
                continue
            del open_requests[record.request_id]
            refused.pop(record.name, None)
            taken[record.name] = NewSecret(
                request_id=record.request_id, name=record.name, secret=secret, device_id=device_id
            )
    if refused:
        await turn[SecretRequestsActor].ask(ChangeRequests(records=tuple(refused.values())))
    if taken:
        await _end(turn, taken, {name: new.device_id for name, new in taken.items()})
        await _keep(turn, taken)


def _refusal(name: str, secret: str | None, published: Identity | None) -> SecretRefusal | None:
    """Why a secret isn't taken; None: it is."""
    if secret is None or len(secret) > LARGEST:
        return SecretRefusal.MALFORMED
    usage = _USAGES.get(name)
    if usage is None:
        return None
    if published is None:
        return SecretRefusal.UNPUBLISHED
    try:
        seeds = Seeds(**{usage.value: seed_from_base64(secret, usage)})
    except MalformedSecret:
        return SecretRefusal.MALFORMED
    return None if compare(seeds, published)[usage] else SecretRefusal.MISMATCHED


async def _keep(turn: Turn, taken: Mapping[str, NewSecret]) -> None:
    """Private cross-signing keys beside those that were made here, the rest in the inbox."""
    seeds = {
        usage.value: seed_from_base64(taken[name].secret, usage) for name, usage in _USAGES.items() if name in taken
    }
    if seeds:
        await take_seeds(turn, Seeds(**seeds), SecretOrigin.OTHER_DEVICE)
    for_app = tuple(new for name, new in taken.items() if name not in _USAGES)
    if for_app:
        await turn[SecretRequestsActor].ask(PutReceived(secrets=for_app, now=turn.now))
        turn.events.append(SecretsReceived(secrets=tuple((new.name, RequestId(new.request_id)) for new in for_app)))
