"""Contents of ``m.secret.request`` and ``m.secret.send`` that a verified device of our own user's sends.

``"ID"`` as a request's id stands for that of the open request, which is another in every run.
"""

from __future__ import annotations

from collections.abc import Iterable
from typing import Final

from olmstate.actors._wire.untrusted_json import is_object
from olmstate.messages import (
    AddDevices,
    CrossSigningStatus,
    DecryptedToDevice,
    DecryptToDevice,
    DeviceId,
    DeviceTrust,
    IdentityKeys,
    Json,
    OutgoingRequests,
    PrepareOneTimeKeys,
    RequestKind,
    RequestSecrets,
    SecretInbox,
    SecretRequests,
    SetDeviceTrust,
    UserId,
)
from tests.faults.fuzz.device import Device, friend, on_device, recording
from tests.faults.fuzz.target import Target, dump, parse
from tests.operations.peer import keys_query

APPS: Final = "org.example.secret"
MASTER: Final = "m.cross_signing.master"


def _seeds() -> Iterable[bytes]:
    yield dump({"request_id": "ID", "secret": "a secret"})
    yield dump({"request_id": "MASTER", "secret": "A" * 43})
    yield dump({"action": "request", "requesting_device_id": "TWO", "request_id": "1", "name": MASTER})
    yield dump({"action": "request_cancellation", "requesting_device_id": "TWO", "request_id": "ID"})


def _run(data: bytes) -> None:
    content = parse(data)

    async def receive(device: Device) -> None:
        other = friend("two")
        other.user_id, other.device_id = UserId(recording().user_id), DeviceId("TWO")
        ask = device.supervisor.ask
        await ask(AddDevices(response=keys_query(other)))
        trust = SetDeviceTrust(user_id=other.user_id, device_id=other.device_id, trust=DeviceTrust.VERIFIED)
        await ask(trust)
        await ask(RequestSecrets(names=(APPS, MASTER)))
        ids = {each.name: each.request_id for each in await ask(SecretRequests())}
        named = _with_id(content, {"ID": ids[APPS], "MASTER": ids[MASTER]})
        own, keys = await ask(IdentityKeys()), await ask(PrepareOneTimeKeys())
        other.start_session(own, next(iter((keys.one_time_keys or keys.fallback_keys).values())))
        before = await _sent(device)
        plain = {"type": "m.secret.request", "sender": other.user_id, "content": named}
        outcomes = await ask(DecryptToDevice(events=(plain, other.event(own, "m.secret.send", named))))
        # what is here is nothing that could be sent, and nothing is taken but a text for the open request
        assert before == await _sent(device)
        assert None is (await ask(CrossSigningStatus())).master
        inbox = await ask(SecretInbox())
        decrypted = isinstance(outcomes[1], DecryptedToDevice)
        is_meant = is_object(named) and named.get("request_id") == ids[APPS] and _is_text(named.get("secret"))
        taken = decrypted and is_meant
        assert ([named["secret"]] if taken else []) == [each.secret for each in inbox]
        assert taken == (APPS not in {each.name for each in await ask(SecretRequests())})

    on_device(receive)


async def _sent(device: Device) -> int:
    """How many encrypted events wait to be sent."""
    requests = await device.supervisor.ask(OutgoingRequests())
    return sum(each.kind is RequestKind.TO_DEVICE and "m.room.encrypted" in each.path for each in requests)


def _is_text(value: Json) -> bool:
    """Whether UTF-8 can hold it."""
    return isinstance(value, str) and not any("\ud800" <= character <= "\udfff" for character in value)


def _with_id(content: Json, ids: dict[str, str]) -> Json:
    name = content.get("request_id") if is_object(content) else None
    return {**content, "request_id": ids[name]} if isinstance(name, str) and name in ids else content


TARGET = Target(seeds=_seeds, run=_run)
