"""A homeserver that lies to the device about everything that passes through it.

Owns: `LyingHomeserver` and its `ATTACKS`.
Rule: it does what it can without others' keys. It makes keys of its own and says whose they are; it claims the device's
one-time keys; it repeats, respells, delays and renames what others have sent, and what is shown of the room. Somebody
in the room may have given it a room key. It drops nothing for good: that nobody can help.
"""

from __future__ import annotations

import copy
import random
from collections.abc import Callable, Sequence
from typing import TypeAlias

import attrs

from olmstate.actors.testing import DEVICE, USER
from olmstate.messages import DeviceId, JsonObject, UserId
from tests.operations.peer import Peer
from tests.simulation.hostile.member import respelt
from tests.simulation.hostile.truth import Letter, Room
from tests.simulation.hostile.world import BOB, CAROL, MALLORY, World

COLLIDING = "$822fc0de4382daab", "$0c9264eb182dc722"
"""Ids that a hash of eight bytes without a key takes for one another."""
MOST_CLAIMS = 5
"""In the owner's name, on one session: with more it could fill up what is kept for devices that nobody knows."""


@attrs.define
class LyingHomeserver:
    """See the module."""

    world: World
    posers: list[Peer] = attrs.field(factory=list[Peer])
    """Devices that it has made, in others' names."""
    held_back: list[JsonObject] = attrs.field(factory=list[JsonObject])
    _claims: dict[str, int] = attrs.field(factory=dict[str, int])

    @property
    def rng(self) -> random.Random:
        """What it draws from."""
        return self.world.rng

    def poser(self) -> Peer:
        """A device in somebody's name: of an id that they have, or of a new one."""
        if not self.posers or (len(self.posers) < 6 and self.rng.random() < 0.5):
            user_id = self.rng.choice((BOB, BOB, CAROL, USER))
            own = [peer.device_id for peer in self.world.honest if peer.user_id == user_id]
            taken = [DEVICE] if user_id == USER else own
            device_id = self.rng.choice((*taken, DeviceId(f"NEW{len(self.posers)}")))
            self.posers.append(self.world.truth.met(Peer(user_id, device_id)))
        return self.rng.choice(self.posers)

    def room(self) -> Room | None:
        """A session of which somebody has given it the key."""
        rooms = [room for room in self.world.truth.rooms if room.maker in self.world.honest]
        return self.rng.choice(rooms) if rooms else None

    def letter(self) -> Letter | None:
        """Something honest that it has to deliver, or has delivered."""
        honest = [letter for letter in self.world.truth.letters.values() if letter.honest]
        return self.rng.choice(honest) if honest else None

    # --- as somebody ----------------------------------------------------------------------------------------

    def pose(self) -> None:
        """Send a room key of its own in somebody's name, and say something with it."""
        poser = self.poser()
        room = self.world.open_room(poser)
        changes: JsonObject = {} if self.rng.random() < 0.7 else {"sender_device_keys": None}
        letter = self.world.give(room, honest=False, **changes)
        letter.refused = self._is_us(poser) and not changes
        self.world.post(letter)
        self.world.say(room)

    def pose_with_a_session(self) -> None:
        """Say in its owner's name that a session is of another device."""
        room = self.room()
        posers = [peer for peer in self.posers if room is not None and peer.user_id == room.maker.user_id]
        if room is not None and posers and self._claims.get(room.session_id, 0) < MOST_CLAIMS:
            self._claims[room.session_id] = self._claims.get(room.session_id, 0) + 1
            self.world.post(self.world.give(room, self.rng.choice(posers), honest=False))

    def write(self) -> None:
        """Write in somebody's name."""
        poser = self.poser()
        letter = self.world.write(poser, self.rng.choice(("m.test", "m.secret.send")), {}, honest=False)
        letter.refused = self._is_us(poser)
        self.world.post(letter)

    def write_with_a_fingerprint(self) -> None:
        """Write with another's Ed25519 key, or the device's own."""
        poser, victim = self.poser(), self.rng.choice(self.world.honest)
        named = self.rng.choice((victim.ed25519, victim.ed25519, self.world.me.ed25519, "hello"))
        changes: JsonObject = {"keys": {"ed25519": named}, "sender_device_keys": None}
        if self.rng.random() < 0.5:
            self.world.post(self.world.write(poser, "m.test", {}, honest=False, refused=True, **changes))
        else:
            letter = self.world.give(self.world.open_room(poser), honest=False, **changes)
            letter.lies_with = named
            letter.refused = named == self.world.me.ed25519
            self.world.post(letter)

    def _is_us(self, poser: Peer) -> bool:
        return (poser.user_id, poser.device_id) == (USER, DEVICE)

    # --- what it says of devices ----------------------------------------------------------------------------

    def invent(self) -> None:
        """Publish one of its devices, in the place of another perhaps."""
        poser = self.poser()
        self.world.publish(poser.user_id, poser.device_id, poser.device_keys())

    def leave_out(self) -> None:
        """Have a device be gone."""
        user_id = self.rng.choice((BOB, BOB, CAROL, USER))
        devices = self.world.published[user_id]
        if devices:
            del devices[self.rng.choice(sorted(devices))]

    def put_right(self) -> None:
        """Publish what is true."""
        for peer in self.world.honest:
            self.world.publish(peer.user_id, peer.device_id, peer.device_keys())
        for poser in self.posers:
            if self.rng.random() < 0.5 and not self._is_anothers(poser):
                self.world.published[poser.user_id].pop(poser.device_id, None)

    def _is_anothers(self, poser: Peer) -> bool:
        return any(peer.address == poser.address for peer in self.world.honest)

    def publish_anothers_identity_key(self) -> None:
        """As one of its devices', in the owner's name or another's."""
        victim, poser = self.rng.choice(self.world.honest), self.poser()
        if not self._is_us(poser) and not self._is_anothers(poser):
            curve25519, ed25519 = f"curve25519:{poser.device_id}", f"ed25519:{poser.device_id}"
            keys = {curve25519: victim.curve25519, ed25519: poser.ed25519}
            self.world.publish(poser.user_id, poser.device_id, poser.device_keys(keys=keys))

    # --- what it does to letters ----------------------------------------------------------------------------

    def repeat(self) -> None:
        """Deliver something again, before or after, in other bytes."""
        letter = self.letter()
        if letter is not None:
            self.world.queue.insert(self.rng.randint(0, len(self.world.queue)), respelt(letter.event, self.rng))

    def readdress(self) -> None:
        """Deliver it in another's envelope, too."""
        letter = self.letter()
        if letter is not None:
            event = {**letter.event, "sender": self.rng.choice((BOB, CAROL, MALLORY, USER))}
            self.world.queue.insert(self.rng.randint(0, len(self.world.queue)), event)

    def hold_back(self) -> None:
        """Let something wait."""
        if self.world.queue:
            self.held_back.append(self.world.queue.pop(self.rng.randrange(len(self.world.queue))))

    def let_go(self) -> None:
        """Deliver what has waited, in any order."""
        self.rng.shuffle(self.held_back)
        self.world.queue += self.held_back
        self.held_back.clear()
        self.rng.shuffle(self.world.queue)

    # --- what it shows of the room --------------------------------------------------------------------------

    def rename(self) -> None:
        """Show a message as another event, or as another's."""
        if not self.world.truth.said:
            return
        said = self.rng.choice(list(self.world.truth.said.values()))
        event = copy.deepcopy(said.event)
        match self.rng.randrange(4):
            case 0:
                event["event_id"] = f"$again{self.world.truth.number()}"
            case 1:
                event["sender"] = self.rng.choice((BOB, CAROL, MALLORY, USER, UserId("@new:example.org")))
                if self.rng.random() < 0.5:
                    event["event_id"] = f"$again{self.world.truth.number()}"
            case 2:
                first, second = COLLIDING
                self.world.timeline.append({**event, "event_id": first})
                event["event_id"] = second
            case _:
                event["content"]["device_id"] = self.rng.choice(self.world.honest).device_id
                event["content"]["sender_key"] = self.rng.choice(self.world.honest).curve25519
        self.world.timeline.append(event)


Attack: TypeAlias = Callable[[LyingHomeserver], None]

ATTACKS: Sequence[Attack] = (
    LyingHomeserver.pose,
    LyingHomeserver.pose,
    LyingHomeserver.pose_with_a_session,
    LyingHomeserver.pose_with_a_session,
    LyingHomeserver.write,
    LyingHomeserver.write_with_a_fingerprint,
    LyingHomeserver.invent,
    LyingHomeserver.leave_out,
    LyingHomeserver.put_right,
    LyingHomeserver.publish_anothers_identity_key,
    LyingHomeserver.repeat,
    LyingHomeserver.readdress,
    LyingHomeserver.hold_back,
    LyingHomeserver.let_go,
    LyingHomeserver.rename,
    LyingHomeserver.rename,
)
"""What it does."""
