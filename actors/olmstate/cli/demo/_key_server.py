"""The part of a homeserver that keeps the shared device's public keys.

It takes a key id once: the same key under it again is a retry, another one is what must never happen. It gives each
one-time key to one claimer, however often it was uploaded.
"""

from __future__ import annotations

import attrs

from olmstate.messages import JsonObject

ALGORITHM = "signed_curve25519"


@attrs.define
class KeyServer:
    """One device's one-time and fallback keys."""

    collisions: list[str] = attrs.field(factory=list[str], init=False)
    """Key ids that came with two keys."""
    _keys: dict[str, str] = attrs.field(factory=dict[str, str], init=False)
    """Every key that was ever uploaded, by id."""
    _unclaimed: dict[str, JsonObject] = attrs.field(factory=dict[str, JsonObject], init=False)

    def know(self, keys: dict[str, JsonObject]) -> None:
        """Keys that were uploaded, and given to others, before."""
        self._keys.update({key_id: key["key"] for key_id, key in keys.items()})

    def upload(self, keys: dict[str, JsonObject]) -> dict[str, int]:
        """``/keys/upload``: take keys in, and count those that may be claimed."""
        for key_id, key in keys.items():
            if key_id not in self._keys:
                self._keys[key_id] = key["key"]
                if not key.get("fallback"):
                    self._unclaimed[key_id] = key
            elif self._keys[key_id] != key["key"]:
                self.collisions.append(key_id)
        return self.counts

    def claim(self) -> JsonObject | None:
        """``/keys/claim``: a one-time key that nobody else gets; None if there is none."""
        if not self._unclaimed:
            return None
        return self._unclaimed.pop(next(iter(self._unclaimed)))

    @property
    def counts(self) -> dict[str, int]:
        """``one_time_key_counts``."""
        return {ALGORITHM: len(self._unclaimed)}
