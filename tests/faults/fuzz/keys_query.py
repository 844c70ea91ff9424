"""/keys/query responses, with signatures that hold where they are asked to."""

from __future__ import annotations

from collections.abc import Iterable
from contextlib import suppress

from olmstate.actors._wire.signatures import signing_bytes
from olmstate.actors._wire.untrusted_json import is_array, is_object
from olmstate.messages import (
    AddDevices,
    DeviceKeyChanged,
    Devices,
    InvalidSignature,
    Json,
    JsonObject,
    MalformedMessage,
)
from tests.faults.fuzz.device import Device, friend, lived, on_device, recording
from tests.faults.fuzz.target import Target, dump, parse
from tests.operations.peer import Peer

SIGN = "SIGN"
"""Stands for a signature by carol, over whatever the object is."""
REJECTED = InvalidSignature, MalformedMessage, DeviceKeyChanged


def sign(value: Json, peer: Peer) -> None:
    """Put signatures where `SIGN` stands; not where there is nothing that can be signed."""
    todo: list[Json] = [value]
    for item in todo:
        if is_array(item):
            todo += item
        elif is_object(item):
            todo += item.values()
            signatures = item.get("signatures")
            for by_key in signatures.values() if is_object(signatures) else ():
                if is_object(by_key):
                    _sign_each(item, by_key, peer)


def _sign_each(obj: JsonObject, by_key: JsonObject, peer: Peer) -> None:
    for key_id, signature in by_key.items():
        if signature == SIGN:
            with suppress(MalformedMessage):
                by_key[key_id] = peer.account.sign(signing_bytes(obj)).to_base64()


def _seeds() -> Iterable[bytes]:
    carol = friend("carol")
    unsigned = {**carol.device_keys(), "signatures": {carol.user_id: {f"ed25519:{carol.device_id}": SIGN}}}
    yield dump({"device_keys": {carol.user_id: {carol.device_id: unsigned}}, "failures": {}})
    bob = lived().bob
    yield dump({"device_keys": {bob.user_id: {bob.device_id: bob.device_keys()}}})
    for user_id, devices in recording().raw["keys_query"]["device_keys"].items():
        yield dump({"device_keys": {user_id: devices}})
        break
    yield from (b"{}", b'{"device_keys":{"@carol:rec.test":{}}}')


def _run(data: bytes) -> None:
    response = parse(data)
    sign(response, friend("carol"))

    async def add(device: Device) -> None:
        async with device.refusing(MalformedMessage):
            added = await device.supervisor.ask(AddDevices(response=response))
            for address, error in added.rejected.items():
                assert isinstance(error, REJECTED), address
            for address in added.added:
                known = await device.supervisor.ask(Devices(user_id=address.user_id))
                assert address.device_id in {each.device_id for each in known}
            again = await device.supervisor.ask(AddDevices(response=response))
            assert not again.added
            assert not again.removed

    on_device(add)


TARGET = Target(seeds=_seeds, run=_run)
