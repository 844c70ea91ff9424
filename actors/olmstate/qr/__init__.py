"""Pictures of a verification's QR code (`olmstate.messages.Verification.qr_code`). The library never imports it.

It is in the extra ``olmstate[qr]``. Scanning is for others: it takes a camera.
"""

from __future__ import annotations

from io import BytesIO, StringIO

import segno

__all__ = ["png", "svg", "text"]

QUIET_ZONE = 4
"""Modules of light around it (ISO/IEC 18004)."""


def png(code: bytes, *, scale: int = 8) -> bytes:
    """A PNG image.

    Args:
        code: What the QR code is to say.
        scale: Pixels a module.
    """
    out = BytesIO()
    _drawn(code).save(out, kind="png", scale=scale, border=QUIET_ZONE)
    return out.getvalue()


def svg(code: bytes) -> str:
    """An SVG image, a whole document, which takes the size that it is given.

    Args:
        code: What the QR code is to say.
    """
    out = BytesIO()
    _drawn(code).save(out, kind="svg", border=QUIET_ZONE, omitsize=True, light="white")
    return out.getvalue().decode()


def text(code: bytes) -> str:
    """Lines for a terminal: half blocks and no colors, light as the text is, so best on a dark ground.

    Args:
        code: What the QR code is to say.
    """
    out = StringIO()
    rows = [[not dark for dark in row] for row in _drawn(code).matrix_iter(border=QUIET_ZONE)]
    rows += [[False] * len(rows[0])] * (len(rows) % 2)
    for upper, lower in zip(rows[::2], rows[1::2], strict=True):
        out.write("".join(map(_HALVES.__getitem__, zip(upper, lower, strict=True))) + "\n")
    return out.getvalue()


_HALVES = {(False, False): " ", (True, False): "▀", (False, True): "▄", (True, True): "█"}
"""By what is light of two modules, one above the other."""


def _drawn(code: object) -> segno.QRCode:
    if not isinstance(code, bytes):
        raise TypeError(f"code must be bytes, not {type(code).__name__}")
    # one segment in byte mode: a reader that takes it for text could not give the bytes back (spec: QR code format)
    return segno.make_qr(code, mode="byte", error="l", boost_error=False)
