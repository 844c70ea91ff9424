"""A homeserver that lies about whose keys are whose, and about what people say when they verify each other.

Owns: `LyingHomeserver`, what it says to each request, and its `ATTACKS`.
Rule: it does what it can without others' keys. It has keys of its own, and those of a user who is in league with it; it
repeats, mixes, leaves out and makes up. What is really so is `tests.simulation.trust.people`'s.
"""

from __future__ import annotations

import copy
import json
import random
from collections.abc import Callable, Sequence
from typing import Any, TypeAlias

import attrs

from olmstate.actors.testing import DEVICE, USER
from olmstate.messages import DeviceId, JsonObject, Request, UserId
from tests.operations.peer import Peer
from tests.peer.encoding import b64
from tests.peer.identity import USAGES, PeerIdentity, sign
from tests.peer.verifier import Verifier
from tests.simulation.hostile.world import BOB, CAROL, World
from tests.simulation.schedule import wall_clock
from tests.simulation.trust.flows import PREFIX, OtherSide
from tests.simulation.trust.people import Answer, Somebody, answer_of, new_identity

USERS = (USER, BOB, CAROL)
SECRET_NAMES = tuple(f"m.cross_signing.{usage}" for usage in USAGES)
KINDS = ("ready", "start", "accept", "key", "mac", "done", "cancel")


@attrs.define(eq=False)
class LyingHomeserver:
    """See the module."""

    world: World
    people: dict[UserId, Somebody]
    views: dict[UserId, Answer] = attrs.field(factory=dict[UserId, Answer])
    """What it says of users, if that isn't the truth."""
    told: list[Answer] = attrs.field(factory=list[Answer])
    """Everything that it has said of users."""
    identities: dict[UserId, list[PeerIdentity]] = attrs.field(factory=dict[UserId, list[PeerIdentity]])
    """Of its own making, in others' names."""
    posers: list[Peer] = attrs.field(factory=list[Peer])
    """Devices of its own making."""
    flows: dict[tuple[UserId, str], OtherSide] = attrs.field(factory=dict[tuple[UserId, str], OtherSide])
    """The verifications of the device under test, by the other user and the flow."""
    carried: list[JsonObject] = attrs.field(factory=list[JsonObject])
    """Events of verifications that the device under test was given."""
    secret_requests: list[JsonObject] = attrs.field(factory=list[JsonObject])
    """Contents of what the device under test has asked for."""
    between: PeerIdentity = attrs.field(init=False)
    """That of the user in league with it."""
    changed_macs: set[tuple[str, str]] = attrs.field(factory=set[tuple[str, str]])
    """By the flow and the key's id."""
    spoils: str = ""
    """What it does to the messages of the verification that goes on: see `carry`."""

    def __attrs_post_init__(self) -> None:
        self.between = new_identity(UserId("@mallory:elsewhere.example"), self.rng)

    @property
    def rng(self) -> random.Random:
        """What it draws from."""
        return self.world.rng

    # --- requests of the device under test ------------------------------------------------------------------

    def query(self, request: Request) -> tuple[list[Answer], JsonObject]:
        """Whose keys it says are whose."""
        users = [UserId(user_id) for user_id in json.loads(request.body or b"{}")["device_keys"]]
        answers = [self.view(user_id).copy() for user_id in users]
        self.told += answers
        return answers, answer_of(answers, USER)

    def view(self, user_id: UserId) -> Answer:
        """What it says of a user now."""
        known = self.people.get(user_id)
        return self.views.get(user_id) or (Answer(user_id) if known is None else known.truth())

    def claim(self, request: Request, known: Callable[[UserId, DeviceId], Peer | None]) -> JsonObject:
        """One-time keys, of whoever has the key that the device under test knows."""
        asked = json.loads(request.body or b"{}")["one_time_keys"]
        keys: JsonObject = {}
        for user_id, devices in asked.items():
            for device_id in devices:
                peer = known(UserId(user_id), DeviceId(device_id))
                if peer is not None:
                    keys.setdefault(user_id, {})[device_id] = peer.one_time_key()
        return {"one_time_keys": keys, "failures": {}}

    def signatures(self, body: JsonObject) -> None:
        """The device under test has signed something: it goes where it belongs."""
        for user_id, objects in body.items():
            somebody = self.people[UserId(user_id)]
            for signed_id, signed in objects.items():
                truth = somebody.published.get(DeviceId(signed_id))
                if truth is None and somebody.master_key == signed_id and somebody.identity is not None:
                    truth = somebody.identity.objects["master"]
                for theirs in (truth, *(view.keys.get("master") for view in self.views.values())):
                    if theirs is not None and theirs["keys"] == signed["keys"]:
                        for signer, signatures in signed["signatures"].items():
                            theirs.setdefault("signatures", {}).setdefault(signer, {}).update(signatures)

    def carry(self, kind: str, content: JsonObject) -> list[JsonObject]:
        """What arrives of a message of a verification, in either direction."""
        content = copy.deepcopy(content)
        match self.spoils:
            case "exchange keys" if kind == f"{PREFIX}key":
                content["key"] = self.world.truth.met(Peer()).curve25519
            case "change a value" if self.rng.random() < 0.3:
                names = sorted(name for name, value in content.items() if isinstance(value, str))
                if names:
                    content[self.rng.choice(names)] += "x"
            case "change a mac" if kind == f"{PREFIX}mac" and content.get("mac"):
                key_id = self.rng.choice(sorted(content["mac"]))
                content["mac"][key_id] = content["mac"].pop(key_id)[::-1]
                self.changed_macs.add((content["transaction_id"], key_id))
            case "lose" if self.rng.random() < 0.15:
                return []
            case "repeat" if self.rng.random() < 0.3:
                return [content, content]
            case _:
                pass
        return [content]

    def deliver(self) -> None:
        """Carry what the other sides have said to the device under test."""
        for flow in self.flows.values():
            for kind, content in flow.waiting:
                for arrives in self.carry(kind, content):
                    event: JsonObject = {"type": kind, "sender": flow.peer.user_id, "content": arrives}
                    self.carried.append(event)
                    self.world.queue.append(event)
            flow.waiting.clear()

    # --- what it makes --------------------------------------------------------------------------------------

    def user(self) -> UserId:
        """About whom it lies."""
        return self.rng.choice(USERS)

    def identity(self, user_id: UserId) -> PeerIdentity:
        """One of its own making."""
        made = self.identities.setdefault(user_id, [])
        if not made or (len(made) < 3 and self.rng.random() < 0.3):
            made.append(new_identity(user_id, self.rng))
        return self.rng.choice(made)

    def poser(self, user_id: UserId) -> Peer:
        """A device of its own making."""
        made = [peer for peer in self.posers if peer.user_id == user_id]
        if not made or (len(made) < 3 and self.rng.random() < 0.4):
            taken = [peer.device_id for peer in self.people[user_id].devices]
            device_id = self.rng.choice((*taken, DeviceId(f"POSER{len(self.posers)}")))
            made.append(self.world.truth.met(Peer(user_id, device_id)))
            self.posers.append(made[-1])
        return self.rng.choice(made)

    def _change(self, user_id: UserId) -> Answer:
        """What it says of a user, to be changed; it begins with the truth, or with its last lie."""
        view = self.views.get(user_id)
        if view is None or self.rng.random() < 0.6:
            view = self.views[user_id] = self.people[user_id].truth()
        return view

    def _add_poser(self, view: Answer, signer: PeerIdentity | None) -> None:
        poser = self.poser(view.user_id)
        view.devices[poser.device_id] = poser.device_keys()
        if signer is not None:
            sign(view.devices[poser.device_id], view.user_id, signer.seeds["self_signing"])

    # --- whose keys -----------------------------------------------------------------------------------------

    def tell_the_truth(self) -> None:
        """Of a user, again."""
        self.views.pop(self.user(), None)

    def replace_identity(self, user_id: UserId | None = None) -> None:
        """With one of its own, which signs devices, and may be signed by one of its own in our user's name."""
        view, fake = self._change(user_id or self.user()), None
        fake = self.identity(view.user_id)
        view.keys = copy.deepcopy(fake.objects)
        if self.rng.random() < 0.5:
            ours = self.identity(USER)
            sign(view.keys["master"], USER, ours.seeds["user_signing"])
        if self.rng.random() < 0.5:
            for keys in view.devices.values():
                sign(keys, view.user_id, fake.seeds["self_signing"])
        self._add_poser(view, fake if self.rng.random() < 0.8 else None)

    def replace_one_key(self) -> None:
        """The master key stays; it hasn't signed the new one, though a signature of its is shown."""
        view = self._change(self.user())
        if not view.keys:
            return
        fake = self.identity(view.user_id)
        usage = self.rng.choice(USAGES[1:] if view.user_id == USER else USAGES[1:2])
        real = view.keys[usage]
        view.keys[usage] = copy.deepcopy(fake.objects[usage])
        (master_id,) = view.keys["master"]["keys"]
        if self.rng.random() < 0.7:
            view.keys[usage]["signatures"] = copy.deepcopy(real.get("signatures", {}))
        else:
            (signature,) = view.keys[usage]["signatures"][view.user_id].values()
            view.keys[usage]["signatures"] = {view.user_id: {master_id: signature}}
        if usage == "self_signing":
            self._add_poser(view, fake)
        else:
            for user_id in (BOB, CAROL):
                others = self._change(user_id)
                others.keys = copy.deepcopy(self.identity(user_id).objects)
                sign(others.keys["master"], USER, fake.seeds["user_signing"])

    def put_a_master_key_over_real_keys(self) -> None:
        """Its own, which signs the real keys below."""
        view = self._change(self.user())
        if not view.keys:
            return
        fake = self.identity(view.user_id)
        view.keys["master"] = copy.deepcopy(fake.objects["master"])
        for usage in USAGES[1:]:
            sign(view.keys[usage], view.user_id, fake.seeds["master"])

    def drop_signatures(self) -> None:
        """Ours on a user's master key, or those on devices, or all."""
        view = self._change(self.user())
        if self.rng.random() < 0.6 and "master" in view.keys:
            view.keys["master"].pop("signatures", None)
        if self.rng.random() < 0.5:
            for keys in view.devices.values():
                keys["signatures"][view.user_id] = {
                    key_id: signature
                    for key_id, signature in keys["signatures"][view.user_id].items()
                    if key_id in keys["keys"]
                }

    def hide_the_identity(self) -> None:
        """Say that a user has none."""
        self._change(self.user()).keys = {}

    def add_a_device(self) -> None:
        """One of its own, in a user's name: with the signature of another device, or by a key of somebody else's."""
        view = self._change(self.user())
        poser = self.poser(view.user_id)
        keys = view.devices[poser.device_id] = poser.device_keys()
        real = [each["signatures"][view.user_id] for each in self.people[view.user_id].published.values()]
        match self.rng.randrange(4):
            case 0 if real:
                keys["signatures"][view.user_id] = {**self.rng.choice(real), **keys["signatures"][view.user_id]}
            case 1 if "self_signing" in view.keys:
                sign(keys, view.user_id, self.between.seeds["self_signing"])
                made = f"ed25519:{self.between.public_key('self_signing')}"
                (named,) = view.keys["self_signing"]["keys"]
                keys["signatures"][view.user_id][named] = keys["signatures"][view.user_id].pop(made)
            case 2:
                sign(keys, self.between.user_id, self.between.seeds["self_signing"])
            case _:
                pass

    def name_a_device_after_a_key(self) -> None:
        """Device ids and cross-signing keys share one space of names."""
        somebody = self.people[self.user()]
        if somebody.master_key is not None:
            poser = self.world.truth.met(Peer(somebody.user_id, DeviceId(somebody.master_key)))
            self.posers.append(poser)
            self._change(somebody.user_id).devices[poser.device_id] = poser.device_keys()

    def mix_users(self) -> None:
        """One user's keys and devices in another's name, or one's signatures on another's keys."""
        view, other = self._change(self.user()), self.view(self.user()).copy()
        match self.rng.randrange(3):
            case 0 if other.keys:
                view.keys = other.keys
            case 1 if other.keys:
                view.keys = other.keys
                for key in view.keys.values():
                    key["user_id"] = view.user_id
                    key["signatures"] = {view.user_id: key.get("signatures", {}).get(other.user_id, {})}
            case _ if view.keys and other.keys:
                signatures = view.keys["master"].setdefault("signatures", {})
                signatures.update(other.keys["master"].get("signatures", {}))
            case _:
                pass

    def move_a_signature(self) -> None:
        """What was signed by our user once is said to have been about another key."""
        signed = [
            answer.keys["master"]["signatures"][USER]
            for answer in self.told
            if answer.user_id != USER and USER in answer.keys.get("master", {}).get("signatures", {})
        ]
        view = self._change(self.rng.choice((BOB, CAROL)))
        if signed:
            view.keys = copy.deepcopy(self.identity(view.user_id).objects)
            view.keys["master"].setdefault("signatures", {})[USER] = copy.deepcopy(self.rng.choice(signed))
            self._add_poser(view, self.identity(view.user_id))

    def say_it_again(self) -> None:
        """What it once said of a user."""
        if self.told:
            before = self.rng.choice(self.told)
            self.views[before.user_id] = before.copy()

    # --- what people say ------------------------------------------------------------------------------------

    def repeat_an_event(self) -> None:
        """Of a verification."""
        if self.carried:
            self.world.queue.append(copy.deepcopy(self.rng.choice(self.carried)))

    def move_an_event(self) -> None:
        """From one verification to another."""
        if self.carried and self.flows:
            event = copy.deepcopy(self.rng.choice(self.carried))
            user_id, flow_id = self.rng.choice(sorted(self.flows))
            event["sender"], event["content"]["transaction_id"] = user_id, flow_id
            self.world.queue.append(event)

    def make_an_event_up(self) -> None:
        """In the other side's name."""
        if self.flows:
            user_id, flow_id = self.rng.choice(sorted(self.flows))
            kind = self.rng.choice(KINDS)
            self.world.queue.append({"type": PREFIX + kind, "sender": user_id, "content": self._made_up(kind, flow_id)})

    def _made_up(self, kind: str, flow_id: str) -> JsonObject:
        side = OtherSide(self.poser(BOB), self.world.me, None, None, flow_id, self.rng, honest=False)
        verifier = side.verifier
        verifier.peer_key = self.world.me.curve25519
        made: dict[str, Callable[[], tuple[str, dict[str, Any]]]] = {
            "ready": lambda: verifier.ready("m.sas.v1", "m.reciprocate.v1", "m.qr_code.scan.v1"),
            "start": verifier.start,
            "accept": lambda: verifier.accept({}),
            "key": verifier.key,
            "mac": verifier.mac,
            "done": verifier.done,
            "cancel": lambda: verifier.cancel("m.user"),
        }
        _, content = made[kind]()
        return content

    def say_that_a_code_was_scanned(self) -> None:
        """In the other side's name; what the secret in the code is, it doesn't know."""
        if self.flows:
            user_id, flow_id = list(self.flows)[-1]
            verifier = Verifier(user_id, self.flows[user_id, flow_id].peer.device_id, flow_id=flow_id)
            kind, content = verifier.reciprocate(self.rng.randbytes(16))
            self.world.queue.append({"type": kind, "sender": user_id, "content": content})

    def ask_in_somebodys_name(self) -> None:
        """Have one of its devices ask to be verified."""
        poser = self.poser(self.user())
        flow_id = f"flow{self.world.truth.number()}"
        fake = self.identity(poser.user_id)
        side = OtherSide(poser, self.world.me, fake.public_key("master"), None, flow_id, self.rng, honest=False)
        self.flows[poser.user_id, flow_id] = side
        side.ask(wall_clock())

    def go_on_in_somebodys_name(self) -> None:
        """Say whatever comes next, as if there were a user."""
        sides = [side for side in self.flows.values() if not side.honest and not side.over]
        if sides:
            side = self.rng.choice(sides)
            (side.start if self.rng.random() < 0.5 else side.confirm)()

    # --- secrets --------------------------------------------------------------------------------------------

    def send_a_secret(self) -> None:
        """One of its devices answers what the device under test has asked for."""
        if self.secret_requests:
            asked, fake = self.rng.choice(self.secret_requests), self.identity(USER)
            usage = self.rng.choice(USAGES)
            content = {"request_id": asked["request_id"], "secret": b64(fake.seeds[usage])}
            self.world.post(self.world.write(self.poser(USER), "m.secret.send", content, honest=False))

    def ask_for_a_secret(self) -> None:
        """In the name of a device of ours, which it says that there is."""
        poser = self.poser(USER)
        self._change(USER).devices[poser.device_id] = poser.device_keys()
        content = {
            "action": "request",
            "name": self.rng.choice(SECRET_NAMES),
            "request_id": f"r{self.world.truth.number()}",
            "requesting_device_id": poser.device_id,
        }
        self.world.queue.append({"type": "m.secret.request", "sender": USER, "content": content})

    # --- messages -------------------------------------------------------------------------------------------

    def pose(self) -> None:
        """Send a room key of its own in somebody's name, and say something with it."""
        poser = self.poser(self.user())
        if (poser.user_id, poser.device_id) != (USER, DEVICE):
            room = self.world.open_room(poser)
            self.world.post(self.world.give(room, honest=False))
            self.world.say(room)


Attack: TypeAlias = Callable[[LyingHomeserver], None]

ATTACKS: Sequence[Attack] = (
    LyingHomeserver.tell_the_truth,
    LyingHomeserver.tell_the_truth,
    LyingHomeserver.tell_the_truth,
    LyingHomeserver.replace_identity,
    LyingHomeserver.replace_identity,
    LyingHomeserver.replace_one_key,
    LyingHomeserver.replace_one_key,
    LyingHomeserver.put_a_master_key_over_real_keys,
    LyingHomeserver.drop_signatures,
    LyingHomeserver.drop_signatures,
    LyingHomeserver.hide_the_identity,
    LyingHomeserver.add_a_device,
    LyingHomeserver.add_a_device,
    LyingHomeserver.name_a_device_after_a_key,
    LyingHomeserver.mix_users,
    LyingHomeserver.move_a_signature,
    LyingHomeserver.say_it_again,
    LyingHomeserver.say_it_again,
    LyingHomeserver.repeat_an_event,
    LyingHomeserver.move_an_event,
    LyingHomeserver.make_an_event_up,
    LyingHomeserver.say_that_a_code_was_scanned,
    LyingHomeserver.say_that_a_code_was_scanned,
    LyingHomeserver.ask_in_somebodys_name,
    LyingHomeserver.go_on_in_somebodys_name,
    LyingHomeserver.send_a_secret,
    LyingHomeserver.ask_for_a_secret,
    LyingHomeserver.pose,
    LyingHomeserver.pose,
)
"""What it does."""
