"""Pictures of QR codes, read by a reader that knows nothing of who drew them."""

from __future__ import annotations

import os
import struct
import zlib
from typing import Any
from xml.etree import ElementTree as ET

import pytest
import zxingcpp

from olmstate import qr

CODES = [
    b"MATRIX\x02\x00\x00\x20" + b"f" * 32 + bytes(range(256))[100:180],
    b"MATRIX\x02\x02\x00\x2b" + b"$" + b"e" * 42 + os.urandom(80),
]


def read(rows: list[bytes]) -> bytes:
    """What rows of pixels, a byte each, say."""
    image = memoryview(b"".join(rows)).cast("B", (len(rows), len(rows[0])))
    (found,) = zxingcpp.read_barcodes(image)
    assert zxingcpp.ContentType.Binary is found.content_type
    said: bytes = found.bytes
    return said


def rows_of_png(image: bytes) -> list[bytes]:
    """The pixels of a PNG with one bit a pixel."""
    assert image.startswith(b"\x89PNG\r\n\x1a\n")
    width, height, depth = struct.unpack(">IIB", image[16:25])
    assert 1 == depth
    at, data = 8, b""
    while at < len(image):
        (length,) = struct.unpack(">I", image[at : at + 4])
        if image[at + 4 : at + 8] == b"IDAT":
            data += image[at + 8 : at + 8 + length]
        at += 12 + length
    packed, line = zlib.decompress(data), 1 + -(-width // 8)
    above, rows = bytes(line - 1), list[bytes]()
    for start in range(0, height * line, line):
        assert packed[start] in {0, 2}  # no filter, or the difference to the line above
        octets = packed[start + 1 : start + line]
        if packed[start]:
            octets = bytes((here + up) % 256 for here, up in zip(octets, above, strict=True))
        above = octets
        rows.append(bytes(255 * int(bit) for bit in "".join(f"{octet:08b}" for octet in octets)[:width]))
    return rows


@pytest.mark.parametrize("code", CODES)
def test_a_png_says_what_it_was_given(code: bytes) -> None:
    assert code == read(rows_of_png(qr.png(code)))


def test_what_is_no_bytes_is_no_code() -> None:
    # text became another code; `Verification.qr_code` may be None
    for wrong in ("text", None, bytearray(b"bytes")):
        code: Any = wrong
        for draw in (qr.png, qr.svg, qr.text):
            with pytest.raises(TypeError, match=f"code must be bytes, not {type(code).__name__}"):
                draw(code)


def test_pixels_are_as_many_as_one_wants() -> None:
    small, large = (len(rows_of_png(qr.png(CODES[0], scale=scale))) for scale in (3, 9))
    assert 3 * small == large


@pytest.mark.parametrize("code", CODES)
def test_a_terminals_text_says_what_it_was_given(code: bytes) -> None:
    rows: list[bytes] = []
    for line in qr.text(code).splitlines():
        for lights in ("▀█", "▄█"):
            row = b"".join(bytes([255 if half in lights else 0]) * 4 for half in line)
            rows += [row] * 4
    assert code == read(rows)


def test_an_svg_is_a_document_with_a_dark_path_on_white() -> None:
    root = ET.fromstring(qr.svg(CODES[0]))  # noqa: S314 - our own
    assert "{http://www.w3.org/2000/svg}svg" == root.tag
    assert {"#fff", "#000"} >= {path.get("fill") or path.get("stroke") for path in root}
    assert "viewBox" in root.attrib
