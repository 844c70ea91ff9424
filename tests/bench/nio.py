"""matrix-nio's side: the Python library that does the same work today, on the same vodozemac.

Owns: its whole interface, as far as it is measured.
Rule: it does what it does for its users: its own client with its default store, which writes to the disk. What it only
prepares for measuring is done in one transaction, to save time.
Why behind an import that may fail: nobody needs it to use olmstate, nor to measure what has targets without it.
"""

from __future__ import annotations

import importlib
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from olmstate.messages import Curve25519Key, DeviceId, DeviceIdentity, Ed25519Key, JsonObject, RoomId, UserId
from tests.bench.device import DEVICE, USER
from tests.bench.job import Result
from tests.bench.measure import Figure, ratio
from tests.operations.peer import Peer, claimed, keys_query

ABSENT = "matrix-nio isn't installed"
NAME = "matrix-nio"


def matrix_nio() -> Any | None:  # noqa: ANN401 - it has no types that could be checked
    """Its module, if it is installed with what it takes to encrypt."""
    try:
        nio: Any = importlib.import_module("nio")
        encrypts: bool = importlib.import_module("nio.crypto").ENCRYPTION_ENABLED
    except ImportError:
        return None
    return nio if encrypts else None


def beside_nio(label: str, ours: Figure, nio: Figure | None, target: float | None = None) -> Result:
    """How many times as long matrix-nio takes."""
    label = f"{NAME}: {label}"
    if nio is None:
        return Result(label=label, value=None, target=target, bound="at least", note=ABSENT)
    return Result(label=label, value=ratio(nio, ours), target=target, bound="at least", figures=(ours, nio))


class NioDevice:
    """A device that matrix-nio runs: the same as the measured one, with keys of its own."""

    def __init__(self, nio: Any, folder: Path) -> None:  # noqa: ANN401 - see `matrix_nio`
        """Make it, or open it again: then its whole store is loaded, as always."""
        folder.mkdir(exist_ok=True)
        self._nio = nio
        self._client: Any = nio.Client(USER, DEVICE, str(folder))
        self._client.restore_login(USER, DEVICE, "token")
        self._olm: Any = self._client.olm
        self._syncs = 0

    def close(self) -> None:
        """Close its database."""
        self._client.store.database.close()

    @property
    def identity(self) -> DeviceIdentity:
        """Its keys."""
        keys = self._olm.account.identity_keys
        return DeviceIdentity(
            user_id=UserId(USER),
            device_id=DeviceId(DEVICE),
            curve25519=Curve25519Key(keys["curve25519"]),
            ed25519=Ed25519Key(keys["ed25519"]),
        )

    # --- receiving ------------------------------------------------------------------------------------------

    def published_keys(self, count: int) -> list[str]:
        """One-time keys that are claimed at once."""
        keys: list[str] = []
        account = self._olm.account
        while len(keys) < count:
            account.generate_one_time_keys(account.max_one_time_keys)
            keys.extend(account.one_time_keys["curve25519"].values())
            account.mark_keys_as_published()
        return keys[:count]

    def greet(self, person: Peer) -> tuple[int, bytes]:
        """Type and body of a message on the Olm session with a device that it knows."""
        parts: tuple[int, bytes] = self._olm.session_store.get(person.curve25519).encrypt("{}").to_parts()
        return parts

    def receive(self, events: Sequence[JsonObject]) -> None:
        """Take in a sync that has these to-device events."""
        self._syncs += 1
        sync = {"next_batch": f"s{self._syncs}", "to_device": {"events": list(events)}}
        self._client.receive_response(self._nio.SyncResponse.from_dict(sync))

    def room_keys(self) -> int:
        """How many it has."""
        return len(list(self._olm.inbound_group_store))

    def add_room_keys(self, sender: Peer, keys: Sequence[JsonObject]) -> None:
        """Have so many room keys, for measuring something else."""
        with self._client.store.database.atomic():
            for key in keys:
                self._olm.create_group_session(
                    sender.curve25519, sender.ed25519, key["room_id"], key["session_id"], key["session_key"]
                )

    def parse_event(self, event: JsonObject) -> Any:  # noqa: ANN401 - one of its own
        """A room event as its sync responses have them."""
        return self._nio.Event.parse_encrypted_event(event)

    def decrypt(self, event: Any) -> JsonObject:  # noqa: ANN401 - one of its own
        """What is in one."""
        source: JsonObject = self._client.decrypt_event(event).source
        return source

    # --- sending --------------------------------------------------------------------------------------------

    def know(self, known: list[Peer]) -> None:
        """Have their devices' keys, and an Olm session with each."""
        nio, client = self._nio, self._client
        with client.store.database.atomic():
            client.receive_response(nio.KeysQueryResponse.from_dict(keys_query(*known)))
            client.receive_response(nio.KeysClaimResponse.from_dict({"one_time_keys": claimed(known), "failures": {}}))

    def new_room_key(self, room_id: RoomId) -> None:
        """Make the room's next key, for `share`."""
        self._olm.create_outbound_group_session(room_id)

    def share(self, room_id: RoomId, users: list[str]) -> int:
        """Encrypt the room's key to everybody's devices; how many those are."""
        shares = self._olm.share_group_session_parallel(room_id, users, ignore_unverified_devices=True)
        return sum(len(devices) for devices, _ in shares)

    def ready_to_send(self, room_id: RoomId) -> None:
        """Make the room's session ready, for good."""
        self.new_room_key(room_id)
        session = self._olm.outbound_group_sessions[room_id]
        session.mark_as_shared()
        session.max_messages = 2**31

    def encrypt(self, room_id: RoomId, event_type: str, content: JsonObject) -> JsonObject:
        """Encrypt an event. It is not written anywhere that its index was used."""
        encrypted: JsonObject = self._olm.group_encrypt(room_id, {"type": event_type, "content": content})
        return encrypted
