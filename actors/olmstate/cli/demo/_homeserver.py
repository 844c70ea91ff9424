"""What the demo's processes have instead of a homeserver, and the one place that sees everything they release.

Owns: the key server, the other devices, and the record of which ratchet steps have left the device.
Rule: it delivers at once, and looks at bytes only.
"""

from __future__ import annotations

from collections.abc import Sequence

import attrs
from vodozemac import MegolmMessage

from olmstate.messages import Json, JsonObject

from ._key_server import KeyServer
from ._olm_bytes import ratchet_step
from ._reader import Device, Reader, Unreadable
from ._report import Problem, Report


@attrs.define
class _Steps:
    """Ratchet steps that were used, by chain and number."""

    used: set[tuple[str, int]] = attrs.field(factory=set[tuple[str, int]])

    def use(self, chain: str, number: int) -> bool:
        """Note that a message was released with this step; False if one was before."""
        if (chain, number) in self.used:
            return False
        self.used.add((chain, number))
        return True


class Homeserver:
    """See the module."""

    def __init__(self, shared: Device, correspondents: int, report: Report) -> None:
        """Nobody has sent anything."""
        self.shared = shared
        self.keys = KeyServer()
        self.reader = Reader("@reader:olmstate.test", "READER", shared)
        self.correspondents: Sequence[Reader] = [
            Reader(f"@correspondent{number}:olmstate.test", f"CORRESPONDENT{number}", shared)
            for number in range(correspondents)
        ]
        self._readers = {
            (reader.device.user_id, reader.device.device_id): reader for reader in (self.reader, *self.correspondents)
        }
        self._taken: set[str] = set()
        self._megolm = _Steps()
        self._olm = _Steps()
        self._report = report

    async def serve(self, method: str, arguments: JsonObject) -> Json:
        """Answer a process of the shared device."""
        match method:
            case "put_keys":
                return self.put_keys(**arguments)
            case "claim_keys":
                return self.claim_keys()
            case "put_to_device":
                return self.put_to_device(**arguments)
            case _:
                raise ValueError(f"{method} is not known")

    def query_keys(self) -> JsonObject:
        """``/keys/query`` for the other devices."""
        return {
            "device_keys": {
                user_id: {device_id: reader.device_keys()} for (user_id, device_id), reader in self._readers.items()
            }
        }

    def put_keys(self, *, one_time_keys: dict[str, JsonObject], fallback_keys: dict[str, JsonObject]) -> dict[str, int]:
        """``/keys/upload`` by the shared device."""
        collisions = len(self.keys.collisions)
        counts = self.keys.upload({**one_time_keys, **fallback_keys})
        for key_id in self.keys.collisions[collisions:]:
            self._report.found(Problem.COLLIDING_KEY_IDS, f"{key_id} came with another key than before")
        return counts

    def claim_keys(self) -> JsonObject:
        """``/keys/claim`` of the reader's."""
        device = self.reader.device
        return {device.user_id: {device.device_id: self.reader.one_time_key()}}

    def put_to_device(
        self, *, messages: dict[str, dict[str, JsonObject]], transaction_id: str | None = None
    ) -> list[JsonObject]:
        """``/sendToDevice`` by the shared device: deliver, and say what was read; what is repeated, once.

        Each message counts as read or as undecryptable at once, since none is ever out of reach.
        """
        payloads: list[JsonObject] = []
        if transaction_id in self._taken:
            return payloads
        if transaction_id is not None:
            self._taken.add(transaction_id)
        for user_id, devices in messages.items():
            for device_id, content in devices.items():
                reader = self._readers[user_id, device_id]
                ciphertext = content["ciphertext"][reader.device.curve25519]
                step = ratchet_step(ciphertext["type"], ciphertext["body"])
                self._report.to_device_sent += 1
                if not self._olm.use(step.ratchet_key, step.counter):
                    self._report.found(
                        Problem.REUSED_OLM_COUNTERS,
                        f"counter {step.counter} to {user_id}, ratchet key {step.ratchet_key}",
                    )
                try:
                    payloads.append(reader.receive(content))
                except Unreadable as error:
                    self._report.found(Problem.UNDECRYPTABLE, f"to-device message to {user_id}: {error}")
        return payloads

    def put_room_event(self, room_id: str, content: JsonObject) -> JsonObject | None:
        """``/rooms/…/send`` by the shared device: what the reader reads, None if it can't."""
        session_id: str = content["session_id"]
        index = MegolmMessage.from_base64(content["ciphertext"]).message_index()
        self._report.sent += 1
        if not self._megolm.use(session_id, index):
            self._report.found(Problem.REUSED_INDICES, f"index {index} of session {session_id} in {room_id}")
        try:
            payload = self.reader.read(room_id, content)
        except Unreadable as error:
            self._report.found(Problem.UNDECRYPTABLE, f"index {index} of session {session_id} in {room_id}: {error}")
            return None
        return payload
