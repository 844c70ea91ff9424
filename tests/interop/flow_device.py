"""A device that can do nothing but verify: the library's pure parts on a homeserver, every step from a stored row.

Owns: its account's signatures, its cross-signing keys, and one flow.
Rule: nothing is decided here. What an event does is the library's, and what its user does is the test's.
"""

from __future__ import annotations

import os
import time
from typing import Any

import attrs
import msgspec
from vodozemac import Account

from olmstate.actors._identities import signing
from olmstate.actors._identities.identity import Identity, Usage, check_identity, has_signed_device
from olmstate.actors._identities.signing import Seeds
from olmstate.actors._verification import begin, events
from olmstate.actors._verification.effects import Effect, Send, Verified
from olmstate.actors._verification.events import Envelope
from olmstate.actors._verification.flow import State
from olmstate.actors._verification.methods import METHODS
from olmstate.actors._verification.record import Flow, Keys
from olmstate.actors._verification.step import device_of, step
from olmstate.actors._wire.signatures import check_device_keys, signing_bytes
from olmstate.messages import DeviceAddress, DeviceId, JsonObject, RoomId, UserId
from tests.peer.session import API, Session


@attrs.define(eq=False, kw_only=True)
class FlowDevice:
    """One device of one user."""

    session: Session
    account: Account = attrs.field(factory=Account)
    seeds: Seeds = attrs.field(factory=Seeds)
    flow: Flow | None = None
    effects: list[Effect] = attrs.field(factory=list[Effect])
    now: int = attrs.field(factory=lambda: time.time_ns() // 10**6)
    """ms. The real time, because the other side knows no other; it goes on when the test says so."""
    trusted: bool = True
    """Whether it trusts its user's identity."""
    _since: str | None = None

    @property
    def address(self) -> DeviceAddress:
        return DeviceAddress(user_id=self.session.user_id, device_id=self.session.device_id)

    @property
    def state(self) -> State | None:
        return None if self.flow is None else self.flow.state

    @property
    def verified(self) -> list[Verified]:
        return [effect for effect in self.effects if isinstance(effect, Verified)]

    # --- keys -------------------------------------------------------------------------------------------------------

    async def publish_device(self) -> None:
        """The device's keys."""
        user_id, device_id = self.session.user_id, self.session.device_id
        keys: JsonObject = {
            "user_id": user_id,
            "device_id": device_id,
            "algorithms": ["m.olm.v1.curve25519-aes-sha2", "m.megolm.v1.aes-sha2"],
            "keys": {
                f"curve25519:{device_id}": self.account.curve25519_key.to_base64(),
                f"ed25519:{device_id}": self.account.ed25519_key.to_base64(),
            },
        }
        signed = signing.with_signature(keys, user_id, f"ed25519:{device_id}", self._sign(keys))
        await self.session.request("POST", f"{API}/keys/upload", {"device_keys": signed})

    async def publish_identity(self) -> None:
        """Cross-signing keys of new seeds, with this device signed and its signature on the master key."""
        user_id, device_id = self.session.user_id, self.session.device_id
        master, self_signing, user_signing = (os.urandom(signing.SEED_BYTES) for _ in range(3))
        self.seeds = Seeds(master=master, self_signing=self_signing, user_signing=user_signing)
        made = signing.make_cross_signing_keys(
            user_id, master=master, self_signing=self_signing, user_signing=user_signing
        )
        await self.session.request("POST", f"{API}/keys/device_signing/upload", signing.device_signing_upload(made))
        own = (await self._query(user_id))["device_keys"][user_id][device_id]
        signed_master = signing.with_only_signature(
            made.master.json, user_id, f"ed25519:{device_id}", self._sign(made.master.json)
        )
        body = signing.signatures_upload(
            [
                (user_id, device_id, signing.sign_device(user_id, self_signing, own)),
                (user_id, made.master.public_key, signed_master),
            ]
        )
        answer = await self.session.request("POST", f"{API}/keys/signatures/upload", body)
        assert () == signing.refusals(answer)

    async def sign_what_was_verified(self) -> None:
        """What a client does once a flow is done."""
        [verified] = self.verified
        user_id = self.session.user_id
        signed: list[tuple[str, str, JsonObject]] = []
        if verified.user_id != user_id:
            assert self.seeds.user_signing
            other = await self.identity(UserId(verified.user_id))
            assert other is not None
            assert other.master.public_key == verified.master_key
            signed.append(
                (other.user_id, other.master.public_key, signing.sign_identity(user_id, self.seeds.user_signing, other))
            )
        elif verified.device_id is not None and self.seeds.self_signing:
            keys = (await self._query(user_id))["device_keys"][user_id][verified.device_id]
            assert keys["keys"][f"ed25519:{verified.device_id}"] == verified.ed25519
            signed.append((user_id, verified.device_id, signing.sign_device(user_id, self.seeds.self_signing, keys)))
        answer = await self.session.request("POST", f"{API}/keys/signatures/upload", signing.signatures_upload(signed))
        assert () == signing.refusals(answer)

    async def identity(self, user_id: UserId) -> Identity | None:
        """A user's, as the server has it; its signatures are checked."""
        answer = await self._query(user_id)
        parts = [answer.get(f"{usage.field}s", {}).get(user_id) for usage in Usage]
        return None if parts[0] is None else check_identity(user_id, *parts)

    async def is_cross_signed(self, user_id: UserId, device_id: str) -> bool:
        """Whether a device is signed by its owner's self-signing key."""
        identity = await self.identity(user_id)
        keys = (await self._query(user_id))["device_keys"][user_id][device_id]
        return identity is not None and has_signed_device(identity, keys)

    async def _query(self, user_id: UserId) -> JsonObject:
        return await self.session.query_keys([user_id])

    async def _keys(self, user_id: UserId, device_id: str | None) -> Keys:
        own, theirs = await self.identity(self.session.user_id), await self.identity(user_id)
        device = (await self._query(user_id))["device_keys"][user_id].get(device_id)
        ed25519 = check_device_keys(user_id, DeviceId(device_id), device).ed25519 if device and device_id else None
        return Keys(
            own_ed25519=self.account.ed25519_key.to_base64(),
            own_master_key=None if own is None else own.master.public_key,
            own_master_trusted=own is not None and self.trusted,
            peer_ed25519=ed25519,
            peer_master_key=None if theirs is None else theirs.master.public_key,
            queried=True,
        )

    def _sign(self, obj: JsonObject) -> str:
        return self.account.sign(signing_bytes(obj)).to_base64()

    # --- the flow ---------------------------------------------------------------------------------------------------

    async def request(self, user_id: UserId, *devices: DeviceId) -> str:
        """Ask a user's devices."""
        keys, flow_id = await self._keys(user_id, None), f"flow of {self.session.device_id}"
        began = begin.request_devices(
            self.address, user_id, devices, keys=keys, flow_id=flow_id, offered=METHODS, now=self.now
        )
        await self._keep(began.flow, began.effects)
        return flow_id

    async def request_in_room(self, user_id: UserId, room_id: RoomId) -> str:
        """Ask a user in a room."""
        keys = await self._keys(user_id, None)
        began = begin.request_in_room(
            self.address, user_id, room_id, keys=keys, txn_id="txn", offered=METHODS, now=self.now
        )
        event_id = await self._keep(began.flow, began.effects)
        await self.do(events.Sent(event_id=event_id))
        return event_id

    async def do(self, event: events.Event) -> None:
        """A step, from the row."""
        assert self.flow is not None
        flow = msgspec.json.decode(msgspec.json.encode(self.flow), type=Flow)
        keys = await self._keys(UserId(flow.peer_user_id), device_of(flow, event))
        done = step(flow, event, now=self.now, keys=keys, fresh=os.urandom(32))
        await self._keep(done.flow, done.effects)

    async def sync(self) -> None:
        """Take in what has come."""
        answer = await self.session.sync(self._since)
        self._since = answer["next_batch"]
        for event in answer.get("to_device", {}).get("events", []):
            if events.is_verification(event["type"], event["content"]):
                await self.receive(event, Envelope(sender=event["sender"]))
        for room_id, room in answer.get("rooms", {}).get("join", {}).items():
            for event in room["timeline"]["events"]:
                if events.is_verification(event["type"], event["content"]):
                    envelope = Envelope(
                        sender=event["sender"],
                        room_id=room_id,
                        event_id=event["event_id"],
                        timestamp=self.now,
                    )
                    await self.receive(event, envelope)

    async def receive(self, event: JsonObject, envelope: Envelope) -> None:
        """Take in one event."""
        parsed = events.parse(event["type"], event["content"], envelope)
        if self.flow is not None and parsed.flow_id == self.flow.flow_id:
            await self.do(parsed)
        elif isinstance(parsed, events.Request | events.Start):
            keys = await self._keys(UserId(envelope.sender), parsed.from_device)
            receive: Any = begin.receive_request if isinstance(parsed, events.Request) else begin.receive_start
            began = receive(self.address, parsed, now=self.now, keys=keys)
            if began.flow is not None:
                await self._keep(began.flow, began.effects)

    async def _keep(self, flow: Flow | None, effects: tuple[Effect, ...]) -> str:
        self.flow = flow
        self.effects += effects
        event_id = ""
        for effect in effects:
            if isinstance(effect, Send) and effect.room_id is not None:
                event_id = await self.session.send(RoomId(effect.room_id), effect.type, effect.content)
            elif isinstance(effect, Send):
                messages = {UserId(effect.user_id): {DeviceId(device): effect.content for device in effect.devices}}
                await self.session.send_to_device(effect.type, messages)
        return event_id
