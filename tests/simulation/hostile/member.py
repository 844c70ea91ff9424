"""A member of the room who lies: an ordinary user elsewhere, with a homeserver of her own.

Owns: `Member` and her `ATTACKS`.
Rule: she does what her keys allow. She has the room keys that members get; she publishes, under users of hers, whatever
she can sign; she writes to the device as these users, and to the room. What passes between others she doesn't see, and
can't hold back.
"""

from __future__ import annotations

import copy
import random
from collections.abc import Callable, Sequence
from typing import TypeAlias

import attrs

from olmstate.messages import DeviceId, JsonObject, UserId
from tests.operations.peer import Peer
from tests.operations.spelling import spell_olm_message, spell_pre_key_message
from tests.peer.encoding import b64, unb64
from tests.simulation.hostile.truth import Letter, Room
from tests.simulation.hostile.world import MALLORY, ROOM, World

USERS = 12


@attrs.define
class Member:
    """See the module."""

    world: World
    devices: list[Peer] = attrs.field(factory=list[Peer])
    sent: list[Letter] = attrs.field(factory=list[Letter])

    @property
    def rng(self) -> random.Random:
        """What she draws from."""
        return self.world.rng

    def device(self) -> Peer:
        """One of hers, of any of her users; published, perhaps."""
        if len(self.devices) < USERS and (not self.devices or self.rng.random() < 0.4):
            number = len(self.devices)
            user_id = MALLORY if self.rng.random() < 0.4 else UserId(f"@m{number}:elsewhere.example")
            peer = self.world.truth.met(Peer(user_id, DeviceId(f"M{number}")))
            self.devices.append(peer)
            if self.rng.random() < 0.6:
                self.world.publish(user_id, peer.device_id, peer.device_keys())
        return self.rng.choice(self.devices)

    def room(self) -> Room | None:
        """A session of somebody honest, of which she has the key."""
        rooms = [room for room in self.world.truth.rooms if room.maker in self.world.honest]
        return self.rng.choice(rooms) if rooms else None

    def post(self, letter: Letter) -> None:
        """Send it."""
        self.sent.append(letter)
        self.world.post(letter)

    # --- room keys ------------------------------------------------------------------------------------------

    def claim_a_session(self) -> None:
        """Say that somebody's session is hers, with all her own keys."""
        room = self.room()
        if room is not None:
            changes: JsonObject = {} if self.rng.random() < 0.5 else {"sender_device_keys": None}
            self.post(self.world.give(room, self.device(), honest=False, **changes))

    def claim_it_often(self) -> None:
        """The same, by several users."""
        room = self.room()
        if room is not None:
            by_user = {device.user_id: device for device in (self.device() for _ in range(10))}
            for device in by_user.values():
                self.post(self.world.give(room, device, honest=False))

    def claim_with_a_fingerprint(self) -> None:
        """Send a room key, hers or somebody's, with the Ed25519 key of an honest device, or with no key at all."""
        victim = self.rng.choice(self.world.honest)
        liar, room = self.device(), self.room() or self.world.open_room(victim)
        named = self.rng.choice((victim.ed25519, victim.ed25519, "hello"))
        letter = self.world.give(room, liar, honest=False, keys={"ed25519": named}, sender_device_keys=None)
        letter.lies_with = named
        self.post(letter)

    def send_her_own_key(self) -> None:
        """As anybody does; and say something."""
        room = self.world.open_room(self.device())
        self.post(self.world.give(room, honest=False))
        self.world.say(room)

    def forward_a_key(self) -> None:
        """Nobody has asked for it."""
        room = self.room()
        if room is not None:
            self.post(self.world.write(self.device(), "m.forwarded_room_key", room.room_key, honest=False))

    # --- other letters --------------------------------------------------------------------------------------

    def write_as_somebody(self) -> None:
        """Put another's name, or another's device keys, into a payload."""
        victim, liar = self.rng.choice(self.world.honest), self.device()
        lies: list[JsonObject] = [
            {"sender": victim.user_id},
            {"sender": victim.user_id, "sender_device_keys": None},
            {"sender_device_keys": victim.device_keys()},
            {"sender_device_keys": {**liar.device_keys(), "user_id": victim.user_id}},
            {"sender_device_keys": liar.device_keys(user_id=victim.user_id)},
            {"sender_device_keys": liar.device_keys(device_id=victim.device_id, keys=victim.device_keys()["keys"])},
        ]
        event_type = self.rng.choice(("m.test", "m.room_key", "m.secret.send"))
        self.post(self.world.write(liar, event_type, {}, honest=False, refused=True, **self.rng.choice(lies)))

    def write_with_a_fingerprint(self) -> None:
        """The same with another's Ed25519 key."""
        victim = self.rng.choice(self.world.honest)
        changes: JsonObject = {"keys": {"ed25519": victim.ed25519}, "sender_device_keys": None}
        self.post(self.world.write(self.device(), "m.test", {}, honest=False, refused=True, **changes))

    def write(self) -> None:
        """As anybody does."""
        self.post(self.world.write(self.device(), "m.test", {}, honest=False))

    def send_it_again(self) -> None:
        """One of her letters once more, respelt or not."""
        if self.sent:
            self.world.queue.append(respelt(self.rng.choice(self.sent).event, self.rng))

    def withhold(self) -> None:
        """Say that somebody's key is withheld."""
        room = self.room()
        if room is not None:
            content = {"room_id": ROOM, "session_id": room.session_id, "code": "m.blacklisted", "algorithm": "x"}
            event = {"type": "m.room_key.withheld", "sender": self.device().user_id, "content": content}
            self.world.queue.append(event)

    # --- what she publishes ---------------------------------------------------------------------------------

    def publish_anothers_identity_key(self) -> None:
        """As one of her devices', which may be named as another's is."""
        victim, liar = self.rng.choice(self.world.honest), self.device()
        device_id = self.rng.choice((liar.device_id, victim.device_id, DeviceId(f"D{self.rng.randrange(99)}")))
        liar_at = attrs.evolve(liar, device_id=device_id)
        keys = {f"curve25519:{device_id}": victim.curve25519, f"ed25519:{device_id}": liar.ed25519}
        self.world.publish(liar.user_id, device_id, liar_at.device_keys(keys=keys))

    # --- the room -------------------------------------------------------------------------------------------

    def repeat_a_message(self) -> None:
        """Post another's ciphertext as an event of hers."""
        room = self.room()
        if room is not None and room.said:
            event = copy.deepcopy(self.rng.choice(room.said).event)
            event["sender"] = self.device().user_id
            event["event_id"] = f"$again{self.world.truth.number()}"
            self.world.timeline.append(event)


def respelt(event: JsonObject, rng: random.Random) -> JsonObject:
    """The same Olm message, in other bytes perhaps."""
    again = copy.deepcopy(event)
    (ciphertext,) = again["content"]["ciphertext"].values()
    if rng.random() < 0.7:
        spell = spell_pre_key_message if ciphertext["type"] == 0 else spell_olm_message
        ciphertext["body"] = b64(spell(unb64(ciphertext["body"]), rng))
    return again


Attack: TypeAlias = Callable[[Member], None]

ATTACKS: Sequence[Attack] = (
    Member.claim_a_session,
    Member.claim_a_session,
    Member.claim_it_often,
    Member.claim_with_a_fingerprint,
    Member.send_her_own_key,
    Member.forward_a_key,
    Member.write_as_somebody,
    Member.write_with_a_fingerprint,
    Member.write,
    Member.send_it_again,
    Member.withhold,
    Member.publish_anothers_identity_key,
    Member.repeat_a_message,
    Member.repeat_a_message,
)
"""What she does."""
