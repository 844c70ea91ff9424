"""Other public keys with which X25519 agrees on the same secrets: a key, and a point of low order added to it.

Owns: the arithmetic of the curve in its Edwards form (RFC 8032, section 5.1.4), slow and plain.
"""

from __future__ import annotations

from typing import Final

P: Final = 2**255 - 19
ORDER: Final = 2**252 + 27742317777372353535851937790883648493
D: Final = -121665 * pow(121666, -1, P) % P

Point = tuple[int, int]


def relatives(key: bytes) -> list[bytes]:
    """The keys that differ from ``key`` by a point of low order, ``key`` itself not among them."""
    point = _from_u(int.from_bytes(key, "little"))
    low = _of_low_order()
    found: list[bytes] = []
    multiple = low
    while multiple != (0, 1):
        u = _to_u(_add(point, multiple))
        found.append(u.to_bytes(32, "little"))
        multiple = _add(multiple, low)
    return sorted(set(found) - {key})


def _of_low_order() -> Point:
    """A point of order 8: any point without its part of prime order."""
    y = 2
    while True:
        y += 1
        x = _x_of(y)
        if x is None:
            continue
        low = _times(ORDER, (x, y))
        if _times(4, low) != (0, 1):
            return low


def _x_of(y: int) -> int | None:
    square = (y * y - 1) * pow(D * y * y + 1, -1, P) % P
    x = pow(square, (P + 3) // 8, P)
    for root in (x, x * pow(2, (P - 1) // 4, P) % P):
        if root * root % P == square:
            return root
    return None


def _from_u(u: int) -> Point:
    y = (u - 1) * pow(u + 1, -1, P) % P
    x = _x_of(y)
    assert x is not None
    return x, y


def _to_u(point: Point) -> int:
    _, y = point
    return (1 + y) * pow(1 - y, -1, P) % P


def _add(one: Point, two: Point) -> Point:
    (x1, y1), (x2, y2) = one, two
    product = D * x1 * x2 * y1 * y2 % P
    x = (x1 * y2 + x2 * y1) * pow(1 + product, -1, P) % P
    y = (y1 * y2 + x1 * x2) * pow(1 - product, -1, P) % P
    return x, y


def _times(number: int, point: Point) -> Point:
    result: Point = (0, 1)
    while number:
        if number & 1:
            result = _add(result, point)
        point = _add(point, point)
        number >>= 1
    return result
