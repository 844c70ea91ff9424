"""/keys/claim responses, with signatures that hold where they are asked to."""

from __future__ import annotations

from collections.abc import Iterable

from olmstate.messages import CreateOlmSessions, InvalidSignature, MalformedMessage, UnknownDevice
from tests.faults.fuzz.device import Device, lived, on_device
from tests.faults.fuzz.keys_query import SIGN, sign
from tests.faults.fuzz.target import Target, dump, parse

REJECTED = InvalidSignature, MalformedMessage, UnknownDevice
ONE_TIME_KEY = "hSDwCYkwp1R0i33ctD73Wg2/Og0mOBr066SpjqqbTmo"


def _seeds() -> Iterable[bytes]:
    bob = lived().bob
    signatures = {bob.user_id: {f"ed25519:{bob.device_id}": SIGN}}
    key = {"key": ONE_TIME_KEY, "signatures": signatures}
    yield dump({bob.user_id: {bob.device_id: {"signed_curve25519:AAAAAQ": key}}})
    yield dump({bob.user_id: {bob.device_id: {"signed_curve25519:AAAAAQ": {**key, "fallback": True}, "x:y": {}}}})
    yield dump({bob.user_id: {bob.device_id: {"signed_curve25519:AAAAAQ": key}, "OTHER": {"a:b": ""}}, "@a:b": {}})
    yield dump({bob.user_id: {bob.device_id: {"signed_curve25519:A": {**key, "key": "A" * 43}}}})  # of low order


def _run(data: bytes) -> None:
    response = parse(data)
    sign(response, lived().bob)

    async def create(device: Device) -> None:
        async with device.refusing(MalformedMessage):
            made = await device.supervisor.ask(CreateOlmSessions(one_time_keys=response))
            assert all(isinstance(error, REJECTED) for error in made.rejected.values()), made.rejected
            assert set(made.created) <= {lived().bob.address}

    on_device(create)


TARGET = Target(seeds=_seeds, run=_run)
