"""What a store knows of itself, sealed with its data key: nobody who can only write to its files can change it.

The columns beside it say the same to who has no key, and are compared with it when the store is unlocked. Without it,
a number written over turns a backup into a store that believes itself the original, and encrypts on the original's Olm
sessions; and a device whose account row was deleted makes itself another account under the same name.

It can't show that everything is older than it was: whoever puts back an earlier copy of all of it isn't noticed.
"""

from __future__ import annotations

from collections.abc import Collection

import msgspec

from olmstate.messages import StoreCorrupt

from .sealing import Seal
from .tables import FOR_LIFE, Table

_PURPOSE = b"facts"


class Facts(msgspec.Struct, kw_only=True, frozen=True):
    """Written when the store is made, and when one of them changes."""

    store_id: bytes
    user_id: str
    device_id: str
    restored_generation: int
    """Rows of this generation and before came from a backup; 0 if the store never was one."""
    bound_since: int
    """Rows of later generations are sealed together with their generation. Earlier ones are of versions that didn't."""
    filled: tuple[str, ...] = ()
    """Tables that keep for life what they have, and that have had something."""

    def seal(self, seal: Seal) -> bytes:
        """As they are stored."""
        return seal.seal_apart(_PURPOSE, msgspec.json.encode(self))

    @classmethod
    def unseal(cls, sealed: bytes | None, seal: Seal) -> Facts:
        """What was stored.

        Raises:
            StoreCorrupt: It was changed, or is gone.
        """
        if sealed is not None:
            try:
                return msgspec.json.decode(seal.unseal_apart(_PURPOSE, sealed), type=cls)
            except msgspec.DecodeError:
                pass
        raise StoreCorrupt(reason="what it says of itself was changed")

    def with_filled(self, tables: Collection[Table]) -> Facts:
        """These facts once something was written to ``tables``; itself, if that changes nothing."""
        new = [table.value for table in tables if table in FOR_LIFE and table.value not in self.filled]
        return msgspec.structs.replace(self, filled=(*self.filled, *new)) if new else self
