"""One device, people who verify each other, and a homeserver that lies about their keys: a run from one seed.

Owns: `play`, and what a run consists of.
Rule: everything is drawn from the seed. Two supervisors have the store open, and any of them is asked (`Supervisors`).
The device's requests are sent by hand, so that the homeserver answers each when the run says so.

A run: our user has an identity, on another device, or makes one. People write, verify each other, give verifications
up, get new devices and new identities. The homeserver does what it can in between. What the device tells is looked at
after each step.
"""

from __future__ import annotations

import json
import random
import traceback
from collections import Counter
from collections.abc import Awaitable, Callable, Sequence
from typing import Any, TypeAlias, TypeVar

import trio

from olmstate.actors.testing import DEVICE, USER
from olmstate.messages import (
    AcceptVerification,
    BootstrapCrossSigning,
    CancelVerification,
    ConfirmVerification,
    CrossSigningSeeds,
    DecryptedRoomEvent,
    DecryptedToDevice,
    DecryptRoomEvents,
    DeviceId,
    Devices,
    DeviceTrust,
    Ed25519Key,
    EncryptForRoom,
    ExportCrossSigningKeys,
    Identity,
    ImportCrossSigningKeys,
    JsonObject,
    MarkRequestSent,
    Message,
    MismatchedSecret,
    MissingCrossSigningKeys,
    NoTransport,
    OutgoingRequests,
    PinIdentity,
    ReceiveSync,
    Request,
    RequestSecrets,
    RequestVerification,
    ScanQrCode,
    SetDeviceTrust,
    SharingRefused,
    SharingStrategy,
    ShowQrCode,
    SignDevice,
    StartSas,
    UnknownIdentity,
    UpdateDevices,
    UserId,
    Verification,
    VerificationError,
    VerificationMethod,
    Verifications,
    VerificationStage,
    VerifyUser,
    WithdrawVerification,
)
from tests.operations.peer import Peer
from tests.peer.encoding import b64, unb64
from tests.peer.identity import USAGES, PeerIdentity, unpadded_seeds
from tests.simulation import schedule
from tests.simulation.hostile.broken import PRODUCT, Variant
from tests.simulation.hostile.runs import Run, Supervisors
from tests.simulation.hostile.truth import NUMBER
from tests.simulation.hostile.world import BOB, CAROL, ROOM, World, baseline
from tests.simulation.schedule import wall_clock
from tests.simulation.trust.flows import PREFIX, OtherSide
from tests.simulation.trust.homeserver import ATTACKS, USERS, LyingHomeserver
from tests.simulation.trust.judge import Judge
from tests.simulation.trust.people import Somebody, new_identity

R = TypeVar("R")
METHODS = tuple(VerificationMethod)
OVER = {VerificationStage.DONE, VerificationStage.CANCELLED, VerificationStage.ELSEWHERE, VerificationStage.DISMISSED}
ROUNDS = 9
"""Of a verification that nobody disturbs."""
SPOILS = ("", "", "", "exchange keys", "change a value", "change a mac", "lose", "repeat")
REFUSED = (UnknownIdentity, MissingCrossSigningKeys, MismatchedSecret, VerificationError)
"""What the device answers to its user where the homeserver's lies are in the way."""


def play(seed: int, variant: Variant = PRODUCT) -> Run:
    """One run."""
    base = baseline()  # made by the product
    rng = random.Random(seed)
    game = _Game(rng, World(base, rng))
    with variant.patches():
        schedule.run(game.main, rng)
    return Run(
        seed=seed,
        where="tests/simulation/trust",
        violations=game.judge.violations,
        attacks=game.attacks,
        told=game.told,
    )


class _Game:
    def __init__(self, rng: random.Random, world: World) -> None:
        self.rng, self.world = rng, world
        self.judge = Judge(world.me)
        ours = Somebody(USER)
        ours.published[DEVICE] = baseline().device_keys.copy()
        people = {USER: ours, BOB: Somebody(BOB), CAROL: Somebody(CAROL)}
        for user_id in (BOB, CAROL):
            people[user_id].identity = new_identity(user_id, rng)
        for peer in world.honest:
            people[peer.user_id].add(peer, sign=rng.random() < 0.8)
        self.people, self.ours = people, ours
        self.homeserver = LyingHomeserver(world, people)
        self.attacks: Counter[str] = Counter()
        self.told: Counter[str] = Counter()
        self._supervisors = Supervisors(baseline().disk(), rng)
        self._synced = 0
        self._strategy: SharingStrategy | None = None

    async def main(self) -> None:
        """The whole run."""
        async with trio.open_nursery() as self._supervisors.nursery:
            try:
                await self._play()
            except Exception as error:  # noqa: BLE001 - whatever it is, the run's report tells it
                self.judge.found("no bugs", "".join(traceback.format_exception(error)))
            self._supervisors.close()

    async def _play(self) -> None:
        if self.rng.random() < 0.6:
            self._have_identity(new_identity(USER, self.rng))
        else:
            await self.make_an_identity()
        for _ in range(self.rng.randint(0, 3)):
            self._attack()
        for _ in range(self.rng.randint(20, 35)):
            if self.rng.random() < 0.45:
                self._attack()
                if self.rng.random() < 0.3:
                    await self.update()
            else:
                await self.rng.choice(ACTIONS)(self)
                await self.send()
                await self._look()
        self.told.update(f"a verification is {flow.stage}" for flow, _ in await self._see_flows())

    def _attack(self) -> None:
        attack = self.rng.choice(ATTACKS)
        self.attacks[attack.__name__] += 1
        attack(self.homeserver)

    def _have_identity(self, identity: PeerIdentity) -> None:
        self.ours.identity = identity
        self.judge.own_keys |= {identity.public_key(usage) for usage in USAGES}
        other = self.world.truth.met(Peer(USER, DeviceId("OTHER")))
        if not self.ours.devices:
            self.ours.add(other, sign=self.rng.random() < 0.7)

    # --- the device and its homeserver ----------------------------------------------------------------------

    async def ask(self, message: Message[R]) -> R | None:
        """Ask, and have the homeserver answer what that takes; None: the device refuses, as it may."""
        device = await self._supervisors.any()
        for _ in range(6):
            try:
                return await device.ask(message)
            except NoTransport:
                await self.send()
            except REFUSED as error:
                self.told[type(error).__name__] += 1
                return None
        return None

    async def send(self) -> None:
        """Have the homeserver answer all requests."""
        sent = True
        while sent:
            sent = False
            for device in self._supervisors.running():
                for request in await device.ask(OutgoingRequests()):
                    sent = True
                    response = await self._answer(request)
                    await device.ask(MarkRequestSent(request_id=request.request_id, response=response))
        self.homeserver.deliver()

    async def _answer(self, request: Request) -> JsonObject:
        body: JsonObject = json.loads(request.body or b"{}")
        path = request.path.removeprefix("/_matrix/client/v3/")
        match path.split("/")[:2]:
            case ["keys", "query"]:
                answers, response = self.homeserver.query(request)
                self.judge.answered(answers)
                return response
            case ["keys", "claim"]:
                return self.homeserver.claim(request, self._owner)
            case ["keys", "signatures"]:
                self.judge.signs(body)
                self.homeserver.signatures(body)
                return {"failures": {}}
            case ["keys", "device_signing"]:
                self._is_published(body)
                return {}
            case ["keys", _]:
                return {"one_time_key_counts": {"signed_curve25519": 50}}
            case ["sendToDevice", kind]:
                self._carry(kind, body["messages"])
                return {}
            case _:
                raise AssertionError(path)

    def _owner(self, user_id: UserId, device_id: DeviceId) -> Peer | None:
        """Who has the key that the device knows of this one."""
        return self.world.truth.fingerprints.get(self.judge.ever.get((user_id, device_id), ""))

    def _is_published(self, body: JsonObject) -> None:
        """An identity that the device has made; the private keys are asked for when all is done."""
        self.ours.identity = identity = new_identity(USER, self.rng)
        identity.objects = {usage: body[f"{usage}_key"] for usage in USAGES}
        for usage, key in identity.objects.items():
            self.judge.own_keys |= set(key["keys"].values())
            if usage == "master":
                self.judge.made_sure(USER, *key["keys"].values())

    def _carry(self, kind: str, messages: dict[str, dict[str, JsonObject]]) -> None:
        for user_id, devices in messages.items():
            for device_id, content in devices.items():
                if kind == "m.secret.request":
                    self._is_asked_for_a_secret(content)
                elif kind == "m.room.encrypted":
                    self._is_written_to(content)
                elif kind.startswith(PREFIX):
                    self._is_told(UserId(user_id), DeviceId(device_id), kind, content)

    def _is_told(self, user_id: UserId, device_id: DeviceId, kind: str, content: JsonObject) -> None:
        flow_id = content["transaction_id"]
        side = self.homeserver.flows.get((user_id, flow_id))
        peer = next((peer for peer in self.people[user_id].devices if peer.device_id == device_id), None)
        if side is None and peer is not None and kind == f"{PREFIX}request":
            side = self._side(peer, flow_id)
        if side is not None and side.peer.device_id == device_id:
            for arrives in self.homeserver.carry(kind, content):
                side.hear(kind, arrives)

    def _side(self, peer: Peer, flow_id: str) -> OtherSide:
        known = (
            self.ours.master_key if self.rng.random() < 0.85 else self.homeserver.identity(USER).public_key("master")
        )
        side = OtherSide(peer, self.world.me, self.people[peer.user_id].master_key, known, flow_id, self.rng)
        self.homeserver.flows[peer.user_id, flow_id] = side
        return side

    def _is_asked_for_a_secret(self, content: JsonObject) -> None:
        if content["action"] != "request":
            return
        self.homeserver.secret_requests.append(content)
        usage = content["name"].removeprefix("m.cross_signing.")
        if self.ours.devices and self.ours.identity is not None and usage in self.ours.identity.seeds:
            is_right = self.rng.random() < 0.7
            # or of a key that nobody has: an honest device isn't given the homeserver's own
            seed = self.ours.identity.seeds[usage] if is_right else self.homeserver.identity(USER).seeds[usage][::-1]
            answer = {"request_id": content["request_id"], "secret": b64(seed)}
            self.world.post(self.world.write(self.ours.devices[0], "m.secret.send", answer))

    def _is_written_to(self, content: JsonObject) -> None:
        for poser in self.homeserver.posers:
            if poser.curve25519 in content["ciphertext"]:
                self.judge.is_sent(poser, poser.read(content)["type"], self._strategy)

    # --- what is looked at ----------------------------------------------------------------------------------

    async def _look(self) -> None:
        await self._see_flows()
        device = await self._supervisors.any()
        for user_id in USERS:
            identity = await device.ask(Identity(user_id=user_id))
            if identity is not None:
                self.told[f"{'own' if user_id == USER else 'other'} {identity.state}"] += 1
            self.judge.identity(user_id, identity)
            devices = await device.ask(Devices(user_id=user_id))
            self.judge.known_devices(user_id, devices)
        self.judge.private_keys(await device.ask(ExportCrossSigningKeys()))

    async def _see_flows(self) -> Sequence[tuple[Verification, OtherSide | None]]:
        known = await (await self._supervisors.any()).ask(Verifications())
        sides = [(flow, self.homeserver.flows.get((flow.user_id, flow.flow_id))) for flow in known]
        for flow, side in sides:
            self.judge.verification(flow, side, self.homeserver.changed_macs)
        return sides

    # --- what people do -------------------------------------------------------------------------------------

    async def talk(self) -> None:
        """Somebody says something, which is read at once, perhaps."""
        room = self.world.open_room(self.rng.choice([*self.world.honest, *self.ours.devices]))
        self.world.post(self.world.give(room))
        said = self.world.say(room)
        if self.rng.random() < 0.7:
            await self.sync()
            await self._read([said.event])

    async def get_a_device(self) -> None:
        """Somebody has a new one, and signs it."""
        somebody = self.people[self.rng.choice((BOB, CAROL))]
        device_id = DeviceId(f"NEW{len(somebody.devices)}")
        peer = self.world.truth.met(Peer(somebody.user_id, device_id))
        self.world.honest.append(somebody.add(peer, sign=True))

    async def get_an_identity(self) -> None:
        """Somebody has lost their private keys."""
        self.people[self.rng.choice((BOB, CAROL))].reset(self.rng)

    async def verify_elsewhere(self) -> None:
        """Another device of our user's verifies somebody."""
        other = self.people[self.rng.choice((BOB, CAROL))]
        assert other.identity is not None
        is_signed = USER in other.identity.objects["master"].get("signatures", {})
        if self.ours.devices and self.ours.identity is not None and not is_signed:
            self.ours.identity.verify(other.identity)
            self.judge.signed_elsewhere(other.user_id, other.identity.public_key("master"))

    # --- what our user does ---------------------------------------------------------------------------------

    async def make_an_identity(self) -> None:
        """On this device, if there is none."""
        if self.ours.identity is None:
            await self.ask(BootstrapCrossSigning())
            exported = await (await self._supervisors.any()).ask(ExportCrossSigningKeys())
            identity = PeerIdentity(USER, {usage: unb64(getattr(exported, usage)) for usage in USAGES})
            self._have_identity(identity)

    async def update(self) -> None:
        """Have everybody's keys asked for."""
        await self.ask(UpdateDevices(users=tuple(self.rng.sample(USERS, self.rng.randint(1, 3)))))

    async def sync(self) -> None:
        """Take in all that waits."""
        await self.send()
        events, self.world.queue = self.world.queue, []
        self._synced += 1
        sync = {"next_batch": f"s{self._synced}", "to_device": {"events": events}}
        received = await self.ask(ReceiveSync(sync=sync))
        assert received is not None
        for outcome in received.to_device:
            self.told[type(outcome).__name__] += 1
            if isinstance(outcome, DecryptedToDevice):
                maker = self.world.truth.letters[outcome.content[NUMBER]].maker
                self.judge.sender(maker, outcome.sender_state, outcome.sender_device)

    async def read(self) -> None:
        """Read some of what was said."""
        timeline = self.world.timeline
        await self._read(self.rng.sample(timeline, min(len(timeline), self.rng.randint(1, 6))))

    async def _read(self, events: Sequence[JsonObject]) -> None:
        asked = DecryptRoomEvents(events=tuple((ROOM, event) for event in events))
        for outcome in await self.ask(asked) or ():
            self.told[type(outcome).__name__] += 1
            if isinstance(outcome, DecryptedRoomEvent):
                info = outcome.encryption_info
                self.told[info.sender_state.name] += 1
                maker = self.world.truth.said[outcome.content[NUMBER]].maker
                self.judge.sender(maker, info.sender_state, info.sender_device)

    async def import_private_keys(self) -> None:
        """Our user's own, typed in."""
        if self.ours.identity is not None:
            seeds = CrossSigningSeeds(**unpadded_seeds(self.ours.identity))
            if await self.ask(ImportCrossSigningKeys(seeds=seeds)) is not None:
                self.judge.made_sure(USER, self.ours.identity.public_key("master"))

    async def verify_by_key(self) -> None:
        """Our user has somebody's master key from themselves."""
        somebody = self.people[self.rng.choice((BOB, CAROL))]
        assert somebody.master_key is not None
        self.judge.made_sure(somebody.user_id, somebody.master_key)
        message = VerifyUser(user_id=somebody.user_id, master_key=Ed25519Key(somebody.master_key))
        await self.ask(message)

    async def sign_our_other_device(self) -> None:
        """Our user has compared its fingerprint."""
        for peer in self.ours.devices:
            self.judge.made_sure_of_device(peer)
            await self.ask(SignDevice(device_id=peer.device_id, ed25519=peer.ed25519))

    async def compare_a_fingerprint(self) -> None:
        """Of what this device shows, with a real device."""
        somebody = self.people[self.rng.choice(USERS)]
        for shown in await (await self._supervisors.any()).ask(Devices(user_id=somebody.user_id)):
            for peer in somebody.devices:
                if (peer.device_id, peer.ed25519) == (shown.device_id, shown.ed25519) and self.rng.random() < 0.3:
                    self.judge.made_sure_of_device(peer)
                    trust = SetDeviceTrust(user_id=peer.user_id, device_id=peer.device_id, trust=DeviceTrust.VERIFIED)
                    await self.ask(trust)

    async def agree(self) -> None:
        """Take the identity that is shown of a user, or give up that they were verified."""
        await self._end_flows()
        user_id = self.rng.choice((BOB, CAROL, CAROL, USER))
        withdraws = user_id == USER or self.rng.random() < 0.5
        shown = await (await self._supervisors.any()).ask(Identity(user_id=user_id))
        if shown is None:
            return
        if self.rng.random() < 0.3:  # the homeserver lies on while our user thinks it over
            self.homeserver.replace_identity(user_id)
            self._synced += 1
            sync = {"next_batch": f"s{self._synced}", "device_lists": {"changed": [user_id]}}
            await self.ask(ReceiveSync(sync=sync))
            await self.ask(UpdateDevices(users=(user_id,)))
        agree = WithdrawVerification if withdraws else PinIdentity
        await self.ask(agree(user_id=user_id, master_key=shown.master_key))
        self.judge.has_agreed(user_id, shown.master_key, withdraws=withdraws)

    async def ask_for_secrets(self) -> None:
        """Of our other devices."""
        await self.ask(RequestSecrets())

    async def share(self) -> None:
        """Say something in the room."""
        self._strategy = self.rng.choice(tuple(SharingStrategy))
        message = EncryptForRoom(
            room_id=ROOM, members=(BOB, CAROL), type="m.room.message", content={}, strategy=self._strategy
        )
        try:
            await self.ask(message)
        except SharingRefused as error:
            self.told[type(error).__name__] += 1
        self._strategy = None

    # --- verifications --------------------------------------------------------------------------------------

    async def verify(self) -> None:
        """Begin with somebody, and go on for as long as nothing comes between."""
        await self._begin()
        self.homeserver.spoils = self.rng.choice(SPOILS)
        for _ in range(ROUNDS):
            if self.rng.random() < 0.15:
                self._attack()
            if self.rng.random() < 0.1:
                await self.update()
            await self.go_on()
        self.homeserver.spoils = ""

    async def _begin(self) -> None:
        peer = self.rng.choice([*self.world.honest, *self.ours.devices, *self.ours.devices])
        if self.rng.random() < 0.5:
            await self.ask(UpdateDevices(users=(USER, peer.user_id)))
        if self.rng.random() < 0.5:
            await self.ask(RequestVerification(user_id=peer.user_id, devices=(peer.device_id,), methods=METHODS))
        else:
            side = self._side(peer, f"flow{self.world.truth.number()}")
            side.ask(wall_clock())

    async def go_on(self) -> None:
        """Everything arrives, and everybody does what is next."""
        await self.sync()
        for flow, side in await self._see_flows():
            if flow.stage not in OVER:
                await self._do(flow, side)
                await self.send()
                await self._look()

    async def _do(self, flow: Verification, side: OtherSide | None) -> None:  # noqa: C901, PLR0912 - what is next in each stage
        its: dict[str, Any] = {"user_id": flow.user_id, "flow_id": flow.flow_id}
        real = side if side is not None and side.honest else None
        match flow.stage:
            case VerificationStage.ASKED:
                await self.ask(AcceptVerification(methods=METHODS, **its))
            case VerificationStage.READY if flow.qr_code is not None:
                if real is not None and not real.over and not real.scanned and self.rng.random() < 0.8:
                    real.scan(flow.qr_code)
            case VerificationStage.READY:
                await self._choose(real, its)
            case VerificationStage.COMPARING:
                if real is not None and real.shown is not None and real.shown == flow.decimals:
                    self.judge.has_confirmed(real)
                    if self.rng.random() < 0.5:
                        real.confirm()
                    await self.ask(ConfirmVerification(**its))
                    real.confirm()
                elif real is not None and real.shown is not None:
                    real.give_up("m.mismatched_sas")
                    await self.ask(CancelVerification(mismatch=True, **its))
                elif self.rng.random() < 0.5:
                    await self.ask(CancelVerification(**its))
            case VerificationStage.SCANNED:
                if real is not None and real.scanned:
                    self.judge.has_confirmed(real)
                    await self.ask(ConfirmVerification(**its))
                else:
                    await self.ask(CancelVerification(**its))
            case _:
                pass
        if real is not None and real.reciprocated:
            real.confirm()

    async def _choose(self, real: OtherSide | None, its: dict[str, Any]) -> None:
        code = None if real is None else real.code()
        match self.rng.randrange(5):
            case 0:
                await self.ask(StartSas(**its))
            case 1 if real is not None:
                real.start()
            case 2 | 3 if code is not None and real is not None:
                if await self.ask(ScanQrCode(data=code, **its)) is not None:
                    self.judge.has_confirmed(real)
            case _:
                if await self.ask(ShowQrCode(**its)) is not None and self.rng.random() < 0.3:
                    self.homeserver.say_that_a_code_was_scanned()

    async def _end_flows(self) -> None:
        """Before our user gives something up, what goes on is over."""
        for flow, _ in await self._see_flows():
            if flow.stage not in OVER:
                await self.ask(CancelVerification(user_id=flow.user_id, flow_id=flow.flow_id))


Action: TypeAlias = Callable[[_Game], Awaitable[None]]

ACTIONS: Sequence[Action] = (
    _Game.talk,
    _Game.talk,
    _Game.get_a_device,
    _Game.get_an_identity,
    _Game.verify_elsewhere,
    _Game.update,
    _Game.update,
    _Game.update,
    _Game.update,
    _Game.sync,
    _Game.read,
    _Game.read,
    _Game.import_private_keys,
    _Game.verify_by_key,
    _Game.sign_our_other_device,
    _Game.compare_a_fingerprint,
    _Game.agree,
    _Game.ask_for_secrets,
    _Game.share,
    _Game.verify,
    _Game.verify,
    _Game.verify,
)
"""What is done besides lying."""
