"""Starting Olm sessions and encrypting on them."""

from __future__ import annotations

import json
from collections.abc import Callable, Collection, Iterable, Mapping, Sequence

from olmstate.actors._account.actor import ALGORITHM, AccountActor, CreateOutboundSessions, NewSession
from olmstate.actors._account.operations import own_device
from olmstate.actors._devices.operations import distinct, look_up
from olmstate.actors._engine.slices import SlicesOf, in_slices
from olmstate.actors._engine.turn import Turn
from olmstate.actors._requests.actor import AnsweredRequest, NewRequest
from olmstate.actors._requests.points import halves_of
from olmstate.actors._to_device.actor import AddSessions, Encrypt, OlmSessionsActor
from olmstate.actors._to_device.handlers import OLM_TROUBLE
from olmstate.actors._wire.algorithms import ENCRYPTED, OLM
from olmstate.actors._wire.json_parts import answer
from olmstate.actors._wire.payload import encode_payload, encode_plain
from olmstate.actors._wire.quiet_struct import QuietStruct
from olmstate.actors._wire.signatures import check_one_time_key
from olmstate.actors._wire.steps import Steps
from olmstate.actors._wire.untrusted_json import entries, json_object
from olmstate.actors._wire.weight import CHARACTERS_AS_ONE, weight
from olmstate.messages import (
    CreateOlmSessions,
    Curve25519Key,
    DeviceAddress,
    DeviceId,
    DeviceKeys,
    EncryptedToDevice,
    EncryptToDevice,
    Json,
    JsonObject,
    MalformedMessage,
    MegolmSessionId,
    OlmSessionsCreated,
    OlmStateError,
    RequestKind,
    RoomId,
    UnknownDevice,
    UserId,
)

KEYS_AT_ONCE = 6
"""Claimed keys checked, or sessions started, without giving other tasks a chance: a millisecond, or two."""
PLAINTEXTS_AT_ONCE = 48
"""Encrypted without giving other tasks a chance, or fewer that are large: a millisecond, or two."""
CONTENTS_AT_ONCE = 500
DEVICES_A_REQUEST = 250
"""So many to-device messages a request, as servers like it."""


async def create_olm_sessions(turn: Turn, command: CreateOlmSessions) -> OlmSessionsCreated:
    """Check each claimed key and start a session with its device."""
    await own_device(turn)  # or there is none, and nothing can be started
    claimed = await in_slices(_claimed(await in_slices(_one_time_keys(command.one_time_keys))))
    created: list[DeviceAddress] = []
    rejected: dict[DeviceAddress, OlmStateError] = {}
    async for some in SlicesOf(claimed.items(), KEYS_AT_ONCE, lambda key: weight(key[-1])):
        created += await _start_sessions(turn, dict(some), rejected)
    for trouble in turn.additions[OLM_TROUBLE]:
        if created:
            await trouble.started(turn, created)
    return OlmSessionsCreated(created=tuple(created), rejected=rejected)


async def _start_sessions(
    turn: Turn, claimed: Mapping[DeviceAddress, Json], rejected: dict[DeviceAddress, OlmStateError]
) -> Iterable[DeviceAddress]:
    """With whom there is a session now; who is ``rejected``, and why, is added there."""
    known = await look_up(turn, claimed)
    checked: dict[DeviceAddress, tuple[Curve25519Key, Curve25519Key]] = {}
    for address, key in claimed.items():
        device = known.get(address)
        if device is None:
            rejected[address] = UnknownDevice(user_id=address.user_id, device_id=address.device_id)
            continue
        try:
            one_time_key = check_one_time_key(key, address.user_id, address.device_id, device.ed25519)
        except OlmStateError as error:
            rejected[address] = error
        else:
            checked[address] = device.curve25519, one_time_key
    started = await turn[AccountActor].ask(CreateOutboundSessions(keys=tuple(checked.values())))
    made = [
        (address, keys[0], session)
        for (address, keys), session in zip(checked.items(), started, strict=True)
        if session is not None
    ]
    if made:
        sessions = tuple(
            NewSession(sender_key=key, session=session, claimed_from=address.user_id) for address, key, session in made
        )
        await turn[OlmSessionsActor].ask(AddSessions(sessions=sessions))
    created = [address for address, _, _ in made]
    for address in checked.keys() - set(created):
        rejected[address] = MalformedMessage(reason="no session can be made with that key")
    return created


def _one_time_keys(response: JsonObject | str | bytes) -> Steps[JsonObject]:
    """``one_time_keys`` of an answer, or what is that already: its keys are user ids."""
    one_time_keys = yield from answer(response, "one_time_keys")
    if "one_time_keys" in one_time_keys:
        return json_object(one_time_keys, "one_time_keys")
    for user_id, _ in entries(one_time_keys, "one_time_keys"):
        if not user_id.startswith("@"):
            raise MalformedMessage(reason="neither the answer to a claim nor its one_time_keys")
    return one_time_keys


def _claimed(one_time_keys: JsonObject) -> Steps[dict[DeviceAddress, Json]]:
    found: dict[DeviceAddress, Json] = {}
    for user_id, devices in entries(one_time_keys, "one_time_keys"):
        for device_id, keys in entries(devices, "a user's devices"):
            for key_id, key in entries(keys, "a device's keys"):
                if key_id.startswith(f"{ALGORITHM}:"):
                    found[DeviceAddress(user_id=UserId(user_id), device_id=DeviceId(device_id))] = key
            yield
    return found


class Encrypted(QuietStruct, kw_only=True, frozen=True):
    """An event encrypted to devices."""

    contents: dict[DeviceAddress, JsonObject]
    keys: dict[DeviceAddress, Curve25519Key]
    """The identity keys to which it was."""
    missing: tuple[DeviceAddress, ...]
    """No keys, or no session."""


async def encrypt_to(
    turn: Turn,
    devices: Collection[DeviceAddress],
    event_type: str,
    content: JsonObject,
    known: Mapping[DeviceAddress, DeviceKeys] | None = None,
    *,
    room_key: tuple[RoomId, MegolmSessionId] | None = None,
) -> Encrypted:
    """Encrypt one event to each of ``devices`` that can be.

    Args:
        turn: The present one.
        devices: To which; each once.
        event_type: Of the event.
        content: Of the event.
        known: Devices' keys, if they were looked up.
        room_key: Which one is in it, if one is: see `Encrypt`.
    """
    own = await own_device(turn)
    payload = {
        "type": event_type,
        "content": content,
        "sender": own.identity.user_id,
        "keys": {"ed25519": own.identity.ed25519},
        "sender_device_keys": own.signed_device_keys,
    }
    # the content may be large and the devices many: it is written once, and only the recipient each time
    head = encode_payload(payload)[:-1]
    known = await look_up(turn, devices) if known is None else known
    contents: dict[DeviceAddress, JsonObject] = {}
    keys: dict[DeviceAddress, Curve25519Key] = {}
    at_once = max(1, PLAINTEXTS_AT_ONCE // (1 + len(head) // CHARACTERS_AS_ONE))
    async for some in SlicesOf(devices, at_once):
        found = [(address, device) for address in some if (device := known.get(address)) is not None]
        plaintexts = tuple(
            (
                device.user_id,
                device.curve25519,
                head
                + b","
                + encode_plain({"recipient": device.user_id, "recipient_keys": {"ed25519": device.ed25519}})[1:],
            )
            for _, device in found
        )
        ciphertexts: Sequence[tuple[int, str] | None] = ()
        if plaintexts:
            ciphertexts = await turn[OlmSessionsActor].ask(Encrypt(plaintexts=plaintexts, room_key=room_key))
        for (address, device), ciphertext in zip(found, ciphertexts, strict=True):
            if ciphertext is not None:
                message_type, body = ciphertext
                keys[address] = device.curve25519
                contents[address] = {
                    "algorithm": OLM,
                    "sender_key": own.identity.curve25519,
                    "ciphertext": {device.curve25519: {"type": message_type, "body": body}},
                }
    missing: dict[DeviceAddress, None] = {}
    if len(contents) < len(devices):
        async for some in SlicesOf(devices, CONTENTS_AT_ONCE):
            missing.update(dict.fromkeys(address for address in some if address not in contents))
    return Encrypted(contents=contents, keys=keys, missing=tuple(missing))


async def to_device_request(
    contents: Iterable[tuple[DeviceAddress, JsonObject]],
    *,
    event_type: str = ENCRYPTED,
    subjects: tuple[str, ...] = (),
    context: bytes = b"",
    inner_type: str | None = None,
) -> NewRequest:
    """A request that sends events to devices, encrypted ones if nothing else is said.

    Args:
        contents: What goes to which.
        event_type: As the homeserver sees it.
        subjects: As those of a `NewRequest`.
        context: The same.
        inner_type: Of the event that is encrypted.
    """
    body = {"messages": await by_user(contents)}
    return NewRequest(
        kind=RequestKind.TO_DEVICE,
        method="PUT",
        path=f"/_matrix/client/v3/sendToDevice/{event_type}/{{transaction_id}}",
        body=encode_plain(body) if event_type == ENCRYPTED else json.dumps(body).encode(),  # the former are ours
        subjects=subjects,
        context=context,
        event_type=inner_type or event_type,
    )


async def halve_to_device(
    refused: AnsweredRequest, contexts: Callable[[Iterable[DeviceAddress]], bytes]
) -> tuple[NewRequest, ...]:
    """Send to the halves of a request's devices: it may be too large, or the homeserver may not know one of them.

    Args:
        refused: The request.
        contexts: That of one which goes to some of the devices.
    """
    messages = json_object(await in_slices(answer(refused.body, "a body")), "messages")
    contents = [
        (DeviceAddress(user_id=UserId(user_id), device_id=DeviceId(device_id)), content)
        for user_id, by_device in messages.items()
        for device_id, content in by_device.items()
    ]
    event_type = refused.path.split("/")[-2]
    return tuple(
        [
            await to_device_request(
                half,
                event_type=event_type,
                subjects=refused.subjects,
                context=contexts(address for address, _ in half),
                inner_type=refused.event_type,
            )
            for half in halves_of(contents)
        ]
    )


async def by_user(
    contents: Iterable[tuple[DeviceAddress, JsonObject]],
) -> dict[UserId, dict[DeviceId, JsonObject]]:
    """``messages`` of a ``/sendToDevice`` request."""
    messages: dict[UserId, dict[DeviceId, JsonObject]] = {}
    async for some in SlicesOf(contents, CONTENTS_AT_ONCE):
        for address, content in some:
            messages.setdefault(address.user_id, {})[address.device_id] = content
    return messages


async def encrypt_to_device(turn: Turn, command: EncryptToDevice) -> EncryptedToDevice:
    """Encrypt one event to many devices."""
    devices = await distinct(command.devices)
    encrypted = await encrypt_to(turn, devices, command.type, command.content)
    return EncryptedToDevice(messages=await by_user(encrypted.contents.items()), missing=encrypted.missing)
