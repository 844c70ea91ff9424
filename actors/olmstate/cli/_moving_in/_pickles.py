"""Reading another library's pickles, with the one secret that all of a store's are encrypted with."""

from __future__ import annotations

import hashlib
from typing import TypeVar

import attrs
from vodozemac import Account, InboundGroupSession, Session

P = TypeVar("P", Account, Session, InboundGroupSession)


@attrs.frozen(kw_only=True)
class Pickles:
    """Reads them."""

    secret: bytes = attrs.field(repr=False)
    also_vodozemac: bool = False
    """Whether some may be vodozemac's own. matrix-nio writes those since 0.26, encrypted with its passphrase's SHA-256,
    and rewrites older ones when it comes across them."""

    def read(self, kind: type[P], pickle: str) -> P:
        """What is in one.

        Raises:
            ValueError: Another secret, damaged, or no pickle of that kind.
        """
        if self.also_vodozemac:
            try:
                return kind.from_pickle(pickle, hashlib.sha256(self.secret).digest())
            except ValueError:
                pass  # then it is one of libolm's
        # what vodozemac says of its types leaves out that an inbound group session has it, too
        return kind.from_libolm_pickle(pickle, self.secret)  # type: ignore[attr-defined,no-any-return]
