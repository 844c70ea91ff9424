"""The keys that a homeserver in memory keeps: devices', one-time, fallback, and cross-signing keys.

Owns: what each device and each user has published, and the stream of who changed (spec: Tracking the device list).
Rule: as strict as Synapse where a client's promises meet it. Another key under the id of one that still waits to be
    claimed is refused; a claimed id is forgotten and may come again, as Synapse has it. Keys are claimed in the order
    in which they were uploaded, each once, and then the fallback key, as often as you like.
"""

from __future__ import annotations

import copy

import attrs

from tests.peer.names import JsonObject
from tests.peer.session import RequestRefused

ALGORITHM = "signed_curve25519"
IDENTITY_KEYS = ("master_key", "self_signing_key", "user_signing_key")


@attrs.define
class PublishedKeys:
    """Of one device."""

    device_keys: JsonObject | None = None
    one_time_keys: dict[str, JsonObject] = attrs.field(factory=dict[str, JsonObject])
    """Not claimed yet."""
    fallback_keys: dict[str, JsonObject] = attrs.field(factory=dict[str, JsonObject])
    """The last one, as it came."""
    fallback_used: bool = False

    def take(self, body: JsonObject) -> JsonObject:
        """The keys of a POST /keys/upload; its answer."""
        one_time_keys: dict[str, JsonObject] = body.get("one_time_keys", {})
        for key_id, key in one_time_keys.items():
            waiting = self.one_time_keys.get(key_id, key)
            if waiting != key:
                why = f"One time key {key_id} already exists. Old key: {waiting}; new key: {key}"
                raise RequestRefused(400, {"errcode": "M_UNKNOWN", "error": why})
        self.one_time_keys.update(one_time_keys)
        fallback_keys: dict[str, JsonObject] = body.get("fallback_keys", {})
        if fallback_keys and fallback_keys != self.fallback_keys:
            self.fallback_keys, self.fallback_used = dict(fallback_keys), False
        return {"one_time_key_counts": self.counts}

    def claim(self) -> tuple[str, JsonObject] | None:
        """A key and its id, the fallback key if there is no other, or nothing."""
        if self.one_time_keys:
            key_id = next(iter(self.one_time_keys))
            return key_id, self.one_time_keys.pop(key_id)
        self.fallback_used = True
        return next(iter(self.fallback_keys.items()), None)

    def claim_key(self) -> JsonObject:
        """A key, of which there must be one."""
        claimed = self.claim()
        assert claimed is not None
        return claimed[1]

    @property
    def fallback_key(self) -> JsonObject | None:
        """Used or not."""
        return next(iter(self.fallback_keys.values()), None)

    @property
    def counts(self) -> JsonObject:
        """``device_one_time_keys_count``."""
        return {ALGORITHM: len(self.one_time_keys)}

    @property
    def unused_fallback_key_types(self) -> list[str]:
        """``device_unused_fallback_key_types``."""
        return [ALGORITHM] if self.fallback_keys and not self.fallback_used else []


class KeyServer:
    """Everybody's keys."""

    def __init__(self) -> None:
        self.devices: dict[tuple[str, str], PublishedKeys] = {}
        self.identities: dict[str, dict[str, JsonObject]] = {}
        self.changes: list[str] = []
        """Users, in the order in which their devices or identities changed; a position in the stream is an index."""

    def upload(self, user_id: str, device_id: str, body: JsonObject) -> JsonObject:
        """POST /keys/upload."""
        keys = self.devices[user_id, device_id]
        answer = keys.take(body)
        device_keys = body.get("device_keys")
        if device_keys and _unsigned(device_keys) != _unsigned(keys.device_keys or {}):
            # the same keys again leave a cross-signature where it is, as Synapse does
            keys.device_keys = copy.deepcopy(device_keys)
            self.changes.append(user_id)
        return answer

    def query(self, asker: str, body: JsonObject) -> JsonObject:
        """POST /keys/query."""
        answer: JsonObject = {"device_keys": {}, "failures": {}}
        for user_id, wanted in body["device_keys"].items():
            answer["device_keys"][user_id] = {
                device_id: keys.device_keys
                for (owner, device_id), keys in self.devices.items()
                if owner == user_id and keys.device_keys and (not wanted or device_id in wanted)
            }
            for name, key in self.identities.get(user_id, {}).items():
                if name != "user_signing_key" or user_id == asker:
                    answer.setdefault(f"{name}s", {})[user_id] = key
        return copy.deepcopy(answer)

    def claim(self, body: JsonObject) -> JsonObject:
        """POST /keys/claim."""
        claimed: JsonObject = {}
        for user_id, devices in body["one_time_keys"].items():
            for device_id in devices:
                if key := self.devices.get((user_id, device_id), PublishedKeys()).claim():
                    claimed.setdefault(user_id, {})[device_id] = dict([key])
        return {"one_time_keys": claimed, "failures": {}}

    def upload_identity(self, user_id: str, body: JsonObject) -> JsonObject:
        """POST /keys/device_signing/upload; who is asking is not asked for a password."""
        mine = self.identities.setdefault(user_id, {})
        mine.update({name: copy.deepcopy(body[name]) for name in IDENTITY_KEYS if name in body})
        self.changes.append(user_id)
        return {}

    def upload_signatures(self, body: JsonObject) -> JsonObject:
        """POST /keys/signatures/upload; no signature is checked."""
        failures: JsonObject = {}
        for user_id, objects in body.items():
            for name, signed in objects.items():
                target = self._signed_object(user_id, name)
                if target is None:
                    failures.setdefault(user_id, {})[name] = {"errcode": "M_NOT_FOUND", "error": "no such key"}
                    continue
                for signer, signatures in signed["signatures"].items():
                    target.setdefault("signatures", {}).setdefault(signer, {}).update(signatures)
                self.changes.append(user_id)
        return {"failures": failures}

    def _signed_object(self, user_id: str, name: str) -> JsonObject | None:
        """A device's keys by its id, or a cross-signing key by its public key."""
        device = self.devices.get((user_id, name))
        if device and device.device_keys:
            return device.device_keys
        keys = self.identities.get(user_id, {}).values()
        return next((key for key in keys if name in key["keys"].values()), None)


def _unsigned(keys: JsonObject) -> JsonObject:
    return {name: value for name, value in keys.items() if name != "signatures"}
