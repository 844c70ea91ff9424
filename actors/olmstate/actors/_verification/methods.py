"""The verification methods, and which of them two devices have in common (spec: Key verification framework)."""

from __future__ import annotations

from collections.abc import Collection
from typing import Final

from olmstate.messages import VerificationMethod

SAS: Final = VerificationMethod.SAS.value
SHOW: Final = VerificationMethod.SHOW_QR.value
SCAN: Final = VerificationMethod.SCAN_QR.value
RECIPROCATE: Final = "m.reciprocate.v1"

METHODS: Final = (SAS, SHOW, SCAN, RECIPROCATE)
"""All that we know."""
_COUNTERPART: Final = {SAS: SAS, SHOW: SCAN, SCAN: SHOW, RECIPROCATE: RECIPROCATE}


def known(methods: Collection[str]) -> tuple[str, ...]:
    """Those of ``methods`` that we know, each once."""
    return tuple(method for method in METHODS if method in methods)


def of_program(can: Collection[VerificationMethod]) -> tuple[str, ...]:
    """What a program that can do this offers: a QR code, either way, needs `RECIPROCATE` too."""
    offered = {method.value for method in can}
    return known(offered | {RECIPROCATE} if offered & {SHOW, SCAN} else offered)


def answer(own: Collection[str], peer: Collection[str]) -> tuple[str, ...]:
    """Those of our methods that go with one of the peer's: showing goes with scanning.

    A QR code needs all three of showing, scanning and reciprocating; `RECIPROCATE` alone is no method.
    """
    qr = can_show(own, peer) or can_show(peer, own)
    return tuple(method for method in known(own) if _COUNTERPART[method] in peer and (method == SAS or qr))


def can_show(shower: Collection[str], scanner: Collection[str]) -> bool:
    """Whether one can show a code that the other can scan."""
    return SHOW in shower and SCAN in scanner and RECIPROCATE in shower and RECIPROCATE in scanner
