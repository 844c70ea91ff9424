"""Pickles of accounts and Olm sessions, of vodozemac and libolm: any bytes; and any content, truly sealed.

The first byte says which.
"""

from __future__ import annotations

import struct
from collections.abc import Iterable
from typing import Final, Literal

from olmstate.messages import (
    Curve25519Key,
    DecryptedToDevice,
    DecryptToDevice,
    DeviceIdentity,
    IdentityKeys,
    ImportAccount,
    MalformedPickle,
    NoAccount,
    OlmSessionPickle,
    PrepareOneTimeKeys,
    UndecryptableToDevice,
)
from olmstate.storage import Table
from tests.faults.fuzz.device import Device, friend, on_device, recording
from tests.faults.fuzz.sealed import PICKLE_KEY, seal, unseal
from tests.faults.fuzz.target import Target

ACCOUNT: Final = 1
LIBOLM: Final = 2
SEALED: Final = 4
SENDER: Final = Curve25519Key("hSDwCYkwp1R0i33ctD73Wg2/Og0mOBr066SpjqqbTmo")


def _seeds() -> Iterable[bytes]:
    given = recording().import_account()
    pickles = [(ACCOUNT, given.pickle), *((0, session.pickle) for session in given.olm_sessions[:2])]
    for kind, text in pickles:
        plaintext = unseal(text, given.pickle_key)
        yield bytes([kind]) + seal(plaintext).encode()
        yield bytes([kind | SEALED]) + plaintext
    yield bytes([ACCOUNT | LIBOLM | SEALED]) + libolm_account()
    yield bytes([ACCOUNT | LIBOLM]) + seal(libolm_account()).encode()
    yield bytes([LIBOLM | SEALED]) + libolm_session()


def libolm_account() -> bytes:
    """An account as libolm writes one, version 4: with two one-time keys and one fallback key."""
    keys = b"".join(bytes([1] * 32) for _ in range(2))
    one_time = b"".join(struct.pack(">IB", number, 0) + keys for number in range(2))
    fallback = b"\1" + struct.pack(">IB", 2, 1) + keys
    return (
        struct.pack(">I", 4)
        + bytes([2] * 32)
        + bytes([3] * 64)
        + keys
        + struct.pack(">I", 2)
        + one_time
        + fallback
        + struct.pack(">I", 3)
    )


def libolm_session() -> bytes:
    """An Olm session as libolm writes one: a sender's chain, one receiver's chain, one skipped key."""
    sender = struct.pack(">I", 1) + bytes([1] * 64) + bytes([2] * 32) + struct.pack(">I", 5)
    receiver = struct.pack(">I", 1) + bytes([3] * 32) + bytes([4] * 32) + struct.pack(">I", 6)
    skipped = struct.pack(">I", 1) + bytes([3] * 32) + bytes([5] * 32) + struct.pack(">I", 4)
    return struct.pack(">IB", 1, 1) + bytes([6] * 96) + bytes([7] * 32) + sender + receiver + skipped


def _run(data: bytes) -> None:
    kind = data[0] if data else 0
    pickle = seal(data[1:]) if kind & SEALED else data[1:].decode("utf-8", "surrogateescape")
    pickle_format: Literal["libolm", "vodozemac"] = "libolm" if kind & LIBOLM else "vodozemac"
    session = OlmSessionPickle(sender_key=SENDER, pickle=pickle)
    good = seal(libolm_account()) if kind & LIBOLM else _good()
    command = ImportAccount(
        pickle=pickle if kind & ACCOUNT else good,
        pickle_key=PICKLE_KEY,
        format=pickle_format,
        olm_sessions=() if kind & ACCOUNT else (session,),
    )

    async def take_over(device: Device) -> None:
        made: list[DeviceIdentity] = []
        async with device.refusing(MalformedPickle):
            made.append(await device.supervisor.ask(command))
        found: list[DeviceIdentity] = []
        async with device.refusing(NoAccount):
            found.append(await device.supervisor.ask(IdentityKeys()))
        assert made == found
        for identity in made:
            # what was let in must come back from the store, and whoever kept it may have made public keys of no use
            keys = await device.supervisor.ask(PrepareOneTimeKeys())
            device.disk.write_from_elsewhere({table: device.disk.rows(table) for table in Table})
            assert not (await device.supervisor.ask(PrepareOneTimeKeys())).one_time_keys
            bob = friend("bob")
            bob.start_session(identity, next(iter(keys.one_time_keys.values())))
            (outcome,) = await device.supervisor.ask(DecryptToDevice(events=(bob.event(identity),)))
            assert isinstance(outcome, DecryptedToDevice | UndecryptableToDevice), outcome

    on_device(take_over, empty=True)


def _good() -> str:
    given = recording().import_account()
    return seal(unseal(given.pickle, given.pickle_key))


TARGET = Target(seeds=_seeds, run=_run, json_at=1)
