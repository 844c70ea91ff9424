"""What the worked example does in two processes on one store; `test_contributing` starts both."""

from __future__ import annotations

import json
import sys
from pathlib import Path
from typing import Any

import trio

import olmstate.messages
from olmstate.actors import Supervisor, open_supervisor
from olmstate.messages import (
    AddDevices,
    CreateAccount,
    CreateOlmSessions,
    DecryptToDevice,
    DeviceAddress,
    DeviceIdentity,
    EncryptToDevice,
    PrepareOneTimeKeys,
    SignedDeviceKeys,
    UserId,
)

ALICE, BOB = UserId("@alice:example.org"), UserId("@bob:example.org")
messages: Any = olmstate.messages  # of a copy, which has more than a type checker sees


def say(value: object) -> None:
    print(json.dumps(value), flush=True)


async def one(folder: Path) -> None:
    """Bob tells Alice how he likes to be called; she looks again when she is told to."""
    async with (
        open_supervisor(folder / "bob", user_id=BOB, device_id="BOB", key=None) as bob,
        open_supervisor(folder / "alice", user_id=ALICE, device_id="ALICE", key=None) as alice,
    ):
        me = await alice.ask(CreateAccount())
        await bob.ask(CreateAccount())
        await meet(bob, alice, me)
        to_alice = (DeviceAddress(user_id=ALICE, device_id=me.device_id),)
        sent = await bob.ask(
            EncryptToDevice(devices=to_alice, type="org.example.nickname", content={"nickname": "Bob"})
        )
        event = {"type": "m.room.encrypted", "sender": BOB, "content": sent.messages[ALICE][me.device_id]}
        with alice.subscribe(messages.NicknameChanged) as events:
            await alice.ask(DecryptToDevice(events=(event,)))
            say([events.receive_nowait().nickname])
            say(await alice.ask(messages.Nickname(user_id=BOB)))
            sys.stdin.readline()
            say([(await events.receive()).nickname])
            say(await alice.ask(messages.Nickname(user_id=BOB)))


async def two(folder: Path) -> None:
    """Another process of Alice's device, while the first has the store open."""
    async with open_supervisor(folder / "alice", user_id=ALICE, device_id="ALICE", key=None) as alice:
        say(await alice.ask(messages.Nickname(user_id=BOB)))
        say(await alice.ask(messages.SetNickname(user_id=BOB, nickname="Bobby")))
        say(await alice.ask(messages.SetNickname(user_id=BOB, nickname="Bobby")))
        say(await alice.ask(messages.Nickname(user_id=BOB)))


async def meet(bob: Supervisor, alice: Supervisor, me: DeviceIdentity) -> None:
    """Both know the other's keys, and Bob has a session with Alice's device."""
    of_alice, of_bob = await alice.ask(SignedDeviceKeys()), await bob.ask(SignedDeviceKeys())
    await alice.ask(AddDevices(response={"device_keys": {BOB: {"BOB": of_bob}}}))
    await bob.ask(AddDevices(response={"device_keys": {ALICE: {me.device_id: of_alice}}}))
    unpublished = await alice.ask(PrepareOneTimeKeys())
    key_id, key = next(iter(unpublished.one_time_keys.items()))
    await bob.ask(CreateOlmSessions(one_time_keys={ALICE: {me.device_id: {key_id: key}}}))


if __name__ == "__main__":
    trio.run({"one": one, "two": two}[sys.argv[2]], Path(sys.argv[1]))
