"""What an app does with the device: every command, query and procedure, in the order in which apps use them.

Owns: `Client`, one app in one process. `actions` says which of these things it does, and how often.
Rule: whatever may be refused for a reason that an app knows how to deal with is dealt with as the errors' docstrings
say; any other refusal comes out.
"""

from __future__ import annotations

import contextlib
import json
import random

import attrs

from olmstate.actors.testing import USER
from olmstate.messages import (
    AcceptVerification,
    AccountExists,
    AddDevices,
    BootstrapCrossSigning,
    CancelVerification,
    ConfirmVerification,
    CreateAccount,
    CreateOlmSessions,
    CrossSigningSeeds,
    CrossSigningStatus,
    DecryptionError,
    DecryptRoomEvent,
    DecryptRoomEvents,
    DecryptToDevice,
    DeviceAddress,
    Devices,
    DeviceTrust,
    DiscardRoomKey,
    EncryptForRoom,
    EncryptRoomEvent,
    EncryptToDevice,
    EventId,
    ExportCrossSigningKeys,
    ExportKeyFile,
    ExportRoomKeys,
    Identity,
    IdentityKeys,
    ImportAccount,
    ImportCrossSigningKeys,
    ImportKeyFile,
    ImportRoomKeys,
    JsonObject,
    MarkKeysPublished,
    MarkRequestFailed,
    MarkRequestSent,
    MarkRoomKeyShared,
    MarkVerificationMessageRefused,
    MarkVerificationMessageSent,
    MismatchedSecret,
    MissingSessions,
    NoCommonMethod,
    NoTransport,
    OutdatedUsers,
    OutgoingRequests,
    PinIdentity,
    PrepareAccount,
    PrepareOneTimeKeys,
    PrepareRoomKey,
    ReceiveSync,
    ReceiveVerificationEvent,
    Request,
    RequestDelayed,
    RequestKind,
    RequestVerification,
    RoomId,
    RoomKeyNotShared,
    RoomKeyReplaced,
    RoomKeyShare,
    RotateRoomKey,
    RotationPeriod,
    ScanQrCode,
    SendToDevice,
    SetDeviceTrust,
    ShareRoomKey,
    ShowQrCode,
    SignedDeviceKeys,
    StartSas,
    Statistics,
    SyncToken,
    TrackUsers,
    UnknownDevice,
    UnknownIdentity,
    UnpublishedKeys,
    UpdateDevices,
    VerificationError,
    VerificationMessages,
    Verifications,
    VerifyUser,
    WithdrawVerification,
)
from tests.faults.recording import RecordingSupervisor
from tests.operations.peer import keys_query
from tests.peer.identity import USAGES, PeerIdentity, unpadded_seeds
from tests.peer.verifier import Verifier
from tests.simulation.schedule import wall_clock
from tests.simulation.world import BOB, CAROL, PICKLE_KEY, ROOMS, RoomEvent, World

PASSPHRASE = "correct horse"
ALONE = RoomId("!alone:example.org")
ROTATION = RotationPeriod(messages=20)
"""Seldom enough that reservations grow, often enough that they meet the limit."""


@attrs.frozen
class Client:
    """An app."""

    supervisor: RecordingSupervisor
    world: World

    @property
    def rng(self) -> random.Random:
        """What it draws its choices from."""
        return self.world.rng

    def room(self) -> RoomId:
        """One of the rooms."""
        return self.rng.choice(ROOMS)

    def members(self) -> tuple[DeviceAddress, ...]:
        """Some devices whose keys are known."""
        known = self.world.known_devices
        return tuple(peer.address for peer in self.rng.sample(known, self.rng.randint(1, len(known))))

    # --- rooms ----------------------------------------------------------------------------------------------

    async def send(self) -> None:
        """Say something in a room."""
        await self.send_in(self.room())

    async def send_more(self) -> None:
        """Say several things in a room."""
        room_id = self.room()
        for _ in range(self.rng.randint(2, 4)):
            await self.send_in(room_id)

    async def send_in(self, room_id: RoomId) -> None:
        """Say something in one room; share its key as often as somebody else takes it away again."""
        for _ in range(MOST_SHARES):
            number = self.rng.randrange(1 << 30)
            message = EncryptRoomEvent(room_id=room_id, type="m.room.message", content={"body": number})
            try:
                encrypted = await self.supervisor.ask(message)
            except RoomKeyNotShared:
                await self.share_in(room_id)
            else:
                self.world.see(room_id, encrypted.content)
                return

    async def share(self) -> None:
        """Share a room's key."""
        await self.share_in(self.room())

    async def share_in(self, room_id: RoomId) -> None:
        """Share one room's key, with or without others in it."""
        ask = self.supervisor.ask
        if self.rng.random() < 0.5:
            await self._share_with_nobody(room_id)
            return
        members = self.members()
        share = ShareRoomKey(room_id=room_id, devices=members, rotation=ROTATION)
        if self.rng.random() < 0.5:
            missing = await ask(MissingSessions(devices=members))
            if missing.claim is not None:
                await ask(CreateOlmSessions(one_time_keys=self.world.claim(missing.devices)))
        shared = await self._share_and_deliver(share)
        if shared.missing:
            await ask(CreateOlmSessions(one_time_keys=self.world.claim(shared.missing)))
            shared = await self._share_and_deliver(share)
        if shared.elsewhere or (shared.missing and not shared.requests):
            await self._share_with_nobody(room_id)  # nobody waits for others who may never send what they have stored

    async def _share_and_deliver(self, share: ShareRoomKey) -> RoomKeyShare:
        shared = await self.supervisor.ask(share)
        for request in shared.requests:
            self.world.take(request)
        for request in shared.requests:
            await self.supervisor.ask(MarkRequestSent(request_id=request.request_id, response={}))
        return shared

    async def _share_with_nobody(self, room_id: RoomId) -> None:
        key = await self.supervisor.ask(PrepareRoomKey(room_id=room_id, rotation=ROTATION))
        await self._mark_shared(MarkRoomKeyShared(room_id=room_id, session_id=key.session_id, devices=()))

    async def _mark_shared(self, message: MarkRoomKeyShared) -> None:
        with contextlib.suppress(RoomKeyReplaced):
            await self.supervisor.ask(message)

    async def rotate(self) -> None:
        """Replace a room's session."""
        await self.supervisor.ask(RotateRoomKey(room_id=self.room(), rotation=ROTATION))

    async def discard(self) -> None:
        """Leave a room."""
        await self.supervisor.ask(DiscardRoomKey(room_id=self.room()))

    # --- to-device ------------------------------------------------------------------------------------------

    async def send_to_devices(self) -> None:
        """Send something to some devices, on new sessions where there are none."""
        message = EncryptToDevice(devices=self.members(), type="m.test", content={"n": self.rng.randrange(1 << 30)})
        encrypted = await self.supervisor.ask(message)
        self.world.receive(encrypted.messages)
        if encrypted.missing:
            await self.supervisor.ask(CreateOlmSessions(one_time_keys=self.world.claim(encrypted.missing)))
            again = await self.supervisor.ask(attrs.evolve(message, devices=encrypted.missing))
            self.world.receive(again.messages)

    async def post(self) -> None:
        """Have something sent to some devices, if all is known of them."""
        message = SendToDevice(devices=self.members(), type="m.test", content={}, patience=PATIENCE)
        with contextlib.suppress(NoTransport):
            await self.supervisor.ask(message)

    async def receive_to_device(self) -> None:
        """Take in an event that came past /sync."""
        event = self.world.send(self.rng.choice(self.world.peers))
        await self.supervisor.ask(DecryptToDevice(events=(event,)))

    async def sync(self) -> None:
        """Take in a /sync response."""
        if self.rng.random() < 0.7:
            self.world.stir()
        since = await self.supervisor.ask(SyncToken())
        sync = self.world.sync(since)
        await self.supervisor.ask(ReceiveSync(sync=sync, since=since if self.rng.random() < 0.8 else None))

    async def catch_up(self) -> None:
        """Take in all that the server has."""
        since = await self.supervisor.ask(SyncToken())
        await self.supervisor.ask(ReceiveSync(sync=self.world.last_sync(since)))

    async def look_at_token(self) -> None:
        """Ask how far the device is."""
        await self.supervisor.ask(SyncToken())

    # --- reading --------------------------------------------------------------------------------------------

    async def read(self) -> None:
        """Decrypt something that was said."""
        if self.world.events:
            await self.read_one(self.rng.choice(self.world.events))

    async def read_one(self, said: RoomEvent) -> None:
        """Decrypt one event; its key may not be there yet."""
        with contextlib.suppress(DecryptionError):
            await self.supervisor.ask(DecryptRoomEvent(room_id=said.room_id, event=said.event))

    async def read_last(self) -> None:
        """Decrypt what was said last."""
        for said in self.world.events[-2:]:
            await self.read_one(said)

    async def read_many(self) -> None:
        """Decrypt several at once."""
        count = self.rng.randint(0, min(4, len(self.world.events)))
        chosen = self.rng.sample(self.world.events, count)
        await self.supervisor.ask(DecryptRoomEvents(events=tuple((said.room_id, said.event) for said in chosen)))

    # --- keys -----------------------------------------------------------------------------------------------

    async def upload_keys(self) -> None:
        """Upload what is due; the request may be lost, or its answer, or it may come when nobody waits for it."""
        keys = await self.supervisor.ask(PrepareOneTimeKeys())
        if not keys.is_due:
            return
        fate = self.rng.choice(("answered", "answered", "answered", "request lost", "answer lost", "late"))
        if fate == "late":
            self.world.upload_late(keys)
        elif fate != "request lost":
            self.world.upload(keys)
        if fate == "answered":
            await self.supervisor.ask(MarkKeysPublished(key_ids=keys.key_ids, one_time_key_counts=self.world.counts))

    async def query_devices(self) -> None:
        """Learn which devices there are, and look at some."""
        known = self.world.known_devices
        if self.rng.random() < 0.3:
            known[:] = self.world.peers[: self.rng.randint(1, len(self.world.peers))]
        await self.supervisor.ask(AddDevices(response=keys_query(*known)))

    async def look_at_devices(self) -> None:
        """Look at a user's devices."""
        await self.supervisor.ask(Devices(user_id=self.rng.choice((BOB, CAROL))))

    async def decide_about_a_device(self) -> None:
        """Verify one, or take that back. A blocked one would read nothing, which the judge knows nothing of."""
        device = self.rng.choice(self.world.known_devices)
        trust = self.rng.choice((DeviceTrust.VERIFIED, DeviceTrust.UNSET))
        with contextlib.suppress(UnknownDevice):
            await self.supervisor.ask(SetDeviceTrust(user_id=device.user_id, device_id=device.device_id, trust=trust))

    async def add_room_key(self) -> None:
        """Take in a room key that came past everything else."""
        key = self.world.new_room_key(self.rng.choice(self.world.peers))
        message = key.add_room_key()  # from the second message on
        self.world.say(key)
        await self.supervisor.ask(message)

    async def import_room_keys(self) -> None:
        """Take in what somebody has exported."""
        keys = [self.world.new_room_key(self.rng.choice(self.world.peers)), *self.world.room_keys[:2]]
        await self.supervisor.ask(ImportRoomKeys(keys=tuple(key.export() for key in keys)))

    async def move_keys(self) -> None:
        """Export everything and import it again, in an order that a seed gives again: sessions' ids are random."""
        made = [key.session_id for key in self.world.room_keys]
        exported = await self.supervisor.ask(ExportRoomKeys())
        others = [key for key in exported if key["session_id"] in made]
        own = [key for key in exported if key["session_id"] not in made]
        others.sort(key=lambda key: made.index(key["session_id"]))
        own.sort(key=lambda key: key["room_id"])
        await self.supervisor.ask(ImportRoomKeys(keys=(*own, *others)))

    async def move_key_file(self) -> None:
        """The same in a file."""
        file = await self.supervisor.ask(ExportKeyFile(passphrase=PASSPHRASE, rounds=1))
        await self.supervisor.ask(ImportKeyFile(file=file, passphrase=PASSPHRASE))

    # --- requests -------------------------------------------------------------------------------------------

    async def keep_devices(self) -> None:
        """Track somebody, and send what is due."""
        users = tuple({peer.user_id: None for peer in self.world.known_devices})
        await self.supervisor.ask(TrackUsers(users=users))
        await self.supervisor.ask(OutdatedUsers())
        for request in await self.supervisor.ask(OutgoingRequests()):
            if self.rng.random() < 0.3:
                await self.supervisor.ask(
                    MarkRequestFailed(request_id=request.request_id, status=self.rng.choice((None, 400)))
                )
            else:
                answer = self._answer(request)
                self.world.take(request)
                await self.supervisor.ask(MarkRequestSent(request_id=request.request_id, response=answer))
        with contextlib.suppress(NoTransport):
            await self.supervisor.ask(UpdateDevices(users=users, patience=PATIENCE))

    async def look_at_identities(self) -> None:
        """Somebody has another one, perhaps, and that is agreed to."""
        seeds = {usage: bytes([self.rng.randrange(2), at]) * 16 for at, usage in enumerate(USAGES)}
        response: JsonObject = {"device_keys": {}, **PeerIdentity(BOB, seeds).answer()}
        await self.supervisor.ask(AddDevices(response=response))
        known = await self.supervisor.ask(Identity(user_id=BOB))
        assert known is not None
        decide = self.rng.choice((PinIdentity, WithdrawVerification))
        with contextlib.suppress(UnknownIdentity):  # another process has heard of another one since
            await self.supervisor.ask(decide(user_id=BOB, master_key=known.master_key))

    def _answer(self, request: Request) -> JsonObject:
        match request.kind:
            case RequestKind.KEYS_UPLOAD:
                body = json.loads(request.body)
                keys = UnpublishedKeys(
                    one_time_keys=body.get("one_time_keys", {}), fallback_keys=body.get("fallback_keys", {})
                )
                self.world.upload(keys)
                return {"one_time_key_counts": self.world.counts}
            case RequestKind.KEYS_QUERY:
                return keys_query(*self.world.known_devices)
            case RequestKind.KEYS_CLAIM:
                wanted = json.loads(request.body)["one_time_keys"]
                addresses = [
                    DeviceAddress(user_id=user_id, device_id=device_id)
                    for user_id in wanted
                    for device_id in wanted[user_id]
                ]
                return {"one_time_keys": self.world.claim(addresses)}
            case _:
                return {}

    async def look_at_private_keys(self) -> None:
        """Our user has an identity, and its private keys are brought here."""
        own = PeerIdentity(USER, {usage: bytes([7, at]) * 16 for at, usage in enumerate(USAGES)})
        await self.supervisor.ask(AddDevices(response={"device_keys": {}, **own.answer(own=True)}))
        seeds = CrossSigningSeeds(**unpadded_seeds(own))
        try:
            await self.supervisor.ask(ImportCrossSigningKeys(seeds=seeds))
        except MismatchedSecret:
            return  # another process has published a new identity meanwhile
        assert (await self.supervisor.ask(CrossSigningStatus())).complete
        assert seeds == await self.supervisor.ask(ExportCrossSigningKeys())
        with contextlib.suppress(NoTransport, RequestDelayed):
            await self.supervisor.ask(BootstrapCrossSigning(patience=PATIENCE))
        known = await self.supervisor.ask(Identity(user_id=BOB))
        if known is not None:
            with contextlib.suppress(NoTransport, UnknownIdentity):
                await self.supervisor.ask(VerifyUser(user_id=BOB, master_key=known.master_key))

    async def encrypt_for_room(self) -> None:
        """Say something to oneself, if all is known of oneself."""
        message = EncryptForRoom(
            room_id=ALONE,
            members=(),
            type="m.room.message",
            content={"body": self.rng.randrange(1 << 30)},
            patience=PATIENCE,
        )
        # another process may have the request that carries the key, and never send it
        with contextlib.suppress(NoTransport, RoomKeyNotShared, RequestDelayed):
            encrypted = await self.supervisor.ask(message)
            self.world.see(ALONE, encrypted.content)

    # --- verification ---------------------------------------------------------------------------------------

    async def verify(self) -> None:
        """Ask somebody, and do what comes to mind with one of the verifications that there are."""
        user_id, room_id = self.rng.choice(self.world.known_devices).user_id, self.rng.choice((None, VERIFYING))
        try:
            await self.supervisor.ask(RequestVerification(user_id=user_id, room_id=room_id))
        except NoCommonMethod:
            return  # another process has learned meanwhile that they have no device any more
        flows = await self.supervisor.ask(Verifications())
        flow = self.rng.choice(flows)
        wish = self.rng.choice((AcceptVerification, StartSas, ShowQrCode, ConfirmVerification, CancelVerification))
        scan = ScanQrCode(user_id=flow.user_id, flow_id=flow.flow_id, data=b"MATRIX")
        for message in (scan, wish(user_id=flow.user_id, flow_id=flow.flow_id)):
            with contextlib.suppress(VerificationError):  # it may be at another stage, or over
                await self.supervisor.ask(message)

    async def verify_in_a_room(self) -> None:
        """Ask somebody, send what is to be sent, and be asked."""
        user_id = self.rng.choice(self.world.known_devices).user_id
        await self.supervisor.ask(RequestVerification(user_id=user_id, room_id=VERIFYING))
        for message in await self.supervisor.ask(VerificationMessages()):
            number = message.transaction_id
            if self.rng.random() < 0.5:
                event_id = EventId(f"${number}")
                await self.supervisor.ask(MarkVerificationMessageSent(transaction_id=number, event_id=event_id))
            else:
                await self.supervisor.ask(MarkVerificationMessageRefused(transaction_id=number))
        peer = self.rng.choice(self.world.peers)
        verifier = Verifier(peer.user_id, peer.device_id, room_id=VERIFYING, flow_id="$1")
        _, content = verifier.request("m.sas.v1", now=0, to=USER)
        event: JsonObject = {
            "type": "m.room.message",
            "sender": peer.user_id,
            "event_id": f"${self.rng.randrange(1 << 30)}",
            "origin_server_ts": wall_clock(),
            "content": content,
        }
        await self.supervisor.ask(ReceiveVerificationEvent(room_id=VERIFYING, event=event))

    # --- what little is left --------------------------------------------------------------------------------

    async def look_at_itself(self) -> None:
        """Ask for what never changes."""
        await self.supervisor.ask(PrepareAccount())
        await self.supervisor.ask(IdentityKeys())
        await self.supervisor.ask(SignedDeviceKeys())
        await self.supervisor.ask(Statistics())

    async def try_another_account(self) -> None:
        """There is one already."""
        pickle = self.world.peers[0].account.pickle(PICKLE_KEY)
        for message in (CreateAccount(), ImportAccount(pickle=pickle, pickle_key=PICKLE_KEY)):
            with contextlib.suppress(AccountExists):
                await self.supervisor.ask(message)


VERIFYING = RoomId("!verification:example.org")

PATIENCE = 0.1
"""Seconds to wait for a request of another process, which may have lost it; where the clock is real, they count."""

MOST_SHARES = 20
"""Times that a sender tries before it lets the others, who discard what it has shared, have their way."""
