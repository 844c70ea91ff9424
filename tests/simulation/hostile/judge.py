"""Whether what the device tells is true, and whether it tells what it should.

Owns: `Judge`, and what the device must know of devices by now.
Rules, by name:

- *attributed to its maker*: a user, device and fingerprint are told of a message only if they made it, and are known
  then. A room message may also be told of a device that has sent its session's key as its own, and in whose user's
  name the message is shown: who was given a key can say that it is theirs.
- *attribution stays*: once its maker's own claim was taken in, and its keys are known, it is told; unless another known
  device of the same user was first.
- *lies are refused*: what contradicts what is known is not believed.
- *no fingerprint of others*: none is told but that of the device that is named.
- *nothing twice*: an Olm message is read once, and of a room message one event is made.
- *honest messages are read*: once their keys have come. The homeserver can hold back, and have another event be first.
- *devices keep their keys*: what is told of devices is what their servers said first.
- *what we encrypt is read*: by whom it is for. The homeserver can keep it; it can also add a device to somebody's, with
  an identity key of theirs and a one-time key of its own, and then nobody can read what is sent there.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Literal, TypeAlias

import attrs

from olmstate.actors.testing import DEVICE, USER
from olmstate.messages import (
    DecryptedRoomEvent,
    DecryptedToDevice,
    DecryptionError,
    DeviceId,
    DeviceIdentity,
    DeviceKeys,
    JsonObject,
    SenderState,
    ToDeviceOutcome,
    UndecryptableToDevice,
    UserId,
)
from tests.operations.peer import Peer
from tests.simulation.hostile.runs import Violation
from tests.simulation.hostile.truth import NUMBER, Letter, Said, Truth

Rule: TypeAlias = Literal[
    "attributed to its maker",
    "attribution stays",
    "lies are refused",
    "no fingerprint of others",
    "nothing twice",
    "honest messages are read",
    "devices keep their keys",
    "what we encrypt is read",
    "no bugs",
]
Keys: TypeAlias = tuple[str, str]
"""Curve25519 and Ed25519."""


@attrs.define
class Judge:
    """See the module."""

    truth: Truth
    me: DeviceIdentity
    homeserver_lies: bool
    violations: list[Violation] = attrs.field(factory=list[Violation])
    ever: dict[tuple[UserId, DeviceId], Keys] = attrs.field(factory=dict[tuple[UserId, DeviceId], Keys])
    """Both keys of each device as the device was told of them first: it must keep to them."""
    present: dict[UserId, dict[DeviceId, Keys]] = attrs.field(factory=dict[UserId, dict[DeviceId, Keys]])
    """The devices that it knows now."""

    def found(self, rule: Rule, *what: object) -> None:
        """A rule is broken."""
        self.violations.append(Violation(rule, " ".join(map(str, what))))

    # --- devices --------------------------------------------------------------------------------------------

    def queried(self, response: Mapping[UserId, Mapping[DeviceId, JsonObject]]) -> None:
        """The device was told of these users' devices, each of which has signed its keys."""
        for user_id, devices in response.items():
            before = self.present.get(user_id, {})
            now: dict[DeviceId, Keys] = {}
            for device_id, told in devices.items():
                keys = told["keys"][f"curve25519:{device_id}"], told["keys"][f"ed25519:{device_id}"]
                if (user_id, device_id) == (USER, DEVICE):
                    believed = keys == (self.me.curve25519, self.me.ed25519)
                else:
                    believed = self.ever.setdefault((user_id, device_id), keys) == keys
                if believed:
                    now[device_id] = keys
                elif device_id in before:
                    now[device_id] = before[device_id]
            self.present[user_id] = now

    def devices(self, user_id: UserId, told: tuple[DeviceKeys, ...]) -> None:
        """What the device says that a user has."""
        known = {device.device_id: (str(device.curve25519), str(device.ed25519)) for device in told}
        if known != self.present.get(user_id, {}):
            self.found("devices keep their keys", user_id, known, self.present.get(user_id))

    def knows(self, peer: Peer) -> bool:
        """Whether it knows a device by its own keys."""
        return self.present.get(peer.user_id, {}).get(peer.device_id) == (peer.curve25519, peer.ed25519)

    # --- letters --------------------------------------------------------------------------------------------

    def letter(self, event: JsonObject, outcome: ToDeviceOutcome) -> None:
        """What became of a to-device event."""
        if isinstance(outcome, DecryptedToDevice):
            self._decrypted(self.truth.letters[outcome.content[NUMBER]], outcome)
        elif isinstance(outcome, UndecryptableToDevice) and not self.homeserver_lies:
            letter = next((each for each in self.truth.letters.values() if each.event is event), None)
            if letter is not None and letter.honest:
                self.found("honest messages are read", "a letter of", letter.maker.address, outcome)

    def _decrypted(self, letter: Letter, outcome: DecryptedToDevice) -> None:
        letter.read += 1
        maker = letter.maker
        if letter.read > 1:
            self.found("nothing twice", outcome)
        lies = letter.lies_with is not None and (
            letter.lies_with in {ed25519 for _, ed25519 in self.ever.values()} or self.knows(maker)
        )
        if letter.refused or lies:
            self.found("lies are refused", outcome)
        if outcome.sender_device not in {None, maker.identity} or outcome.sender_key != maker.curve25519:
            self.found("attributed to its maker", outcome, "was made by", maker.address)
        if outcome.sender_device is not None and not self._is_present(outcome.sender_device):
            self.found("attributed to its maker", "nobody knows", outcome)
        if self.knows(maker) and letter.lies_with is None and outcome.sender_device is None:
            self.found("attribution stays", outcome)
        allowed = "" if outcome.sender_device is None else outcome.sender_device.ed25519
        if any(key in repr(outcome) for key in self.truth.fingerprints if key != allowed):
            self.found("no fingerprint of others", outcome)
        if outcome.type == "m.room_key" and letter.session_id is not None:
            room = next(room for room in self.truth.rooms if room.session_id == letter.session_id)
            room.claimed_by.add(maker.user_id)
            if letter.lies_with is None and maker.identity not in room.claimed:
                room.claimed.append(maker.identity)

    def letters_at_the_end(self) -> None:
        """All that is honest was delivered once more, and devices are known as they are."""
        for letter in self.truth.letters.values():
            if letter.honest and self.knows(letter.maker) and letter.read != 1:
                self.found("honest messages are read", f"{letter.read} times:", letter.maker.address)

    # --- the room -------------------------------------------------------------------------------------------

    def event(self, event: JsonObject, outcome: DecryptedRoomEvent | DecryptionError) -> None:
        """What became of a room event, as it was shown."""
        if isinstance(outcome, DecryptedRoomEvent):
            said = self.truth.said[outcome.content[NUMBER]]
            self._attributed(said, event, outcome)
            self._once(said, event)
            return
        for genuine in (each for each in self.truth.said.values() if each.event is event):
            if self._must_be_read(genuine):
                self.found("honest messages are read", event, "was", repr(outcome))

    def _attributed(self, said: Said, event: JsonObject, outcome: DecryptedRoomEvent) -> None:
        room, maker, shown = said.room, said.maker, event["sender"]
        info = outcome.encryption_info
        claimants = [device for device in room.claimed if device.user_id == shown]
        allowed = {None, *claimants, *({maker.identity} if shown == maker.user_id else ())}
        told = info.sender_device
        if told is not None and told != self.me and not self._is_present(told):
            self.found("attributed to its maker", "nobody knows", outcome)
        if told not in allowed:
            self.found("attributed to its maker", outcome, "was made by", maker.address, "shown as of", shown)
        if (info.sender_state is SenderState.THIS_DEVICE) != (maker.identity == self.me and shown == USER):
            self.found("attributed to its maker", "this device's?", outcome)
        if info.imported and info.sender_state is not SenderState.INSECURE_SOURCE:
            self.found("attributed to its maker", "vouched for by nobody:", outcome)
        known = [device for device in claimants if self._is_present(device)]
        if known and known[0] == maker.identity and info.sender_device != maker.identity:
            self.found("attribution stays", outcome, "was made by", maker.address)
        named = room.exported and not claimants and shown == maker.user_id and self.knows(maker)
        if named and info.claimed_device != maker.identity:
            self.found("attribution stays", "of an export:", outcome)

    def _is_present(self, device: DeviceIdentity) -> bool:
        keys = self.present.get(device.user_id, {}).get(device.device_id)
        return keys == (device.curve25519, device.ed25519)

    def _once(self, said: Said, event: JsonObject) -> None:
        shown, new = event["sender"], event["sender"] not in said.read
        first = said.read.setdefault(shown, event["event_id"])
        if first != event["event_id"]:
            self.found("nothing twice", event["event_id"], "and", first, "are one message")
        has_a_claim = shown == said.maker.user_id or shown in said.room.claimed_by
        if new and not has_a_claim and len(said.read) > 1:
            self.found("nothing twice", shown, "has never said that it is theirs:", said.read)

    def _must_be_read(self, said: Said) -> bool:
        room, maker = said.room, said.maker
        by_now = said.read.get(maker.user_id)
        if self.homeserver_lies and (by_now not in {None, said.event["event_id"]} or not self.knows(maker)):
            return False
        return maker.identity in room.claimed or (room.exported and self.knows(maker))

    # --- what we send ---------------------------------------------------------------------------------------

    def sent(self, peer: Peer, content: JsonObject | None, wanted: JsonObject) -> None:
        """Somebody was written to and could read this."""
        if content != wanted and not self.homeserver_lies:
            self.found("what we encrypt is read", peer.address, content, wanted)
