"""Baby Jubjub: the twisted Edwards curve 168700 x^2 + y^2 = 1 + 168696 x^2 y^2 over Fr (ERC-2494).

API:
    Point, IDENTITY, BASE        BASE is circomlib's Base8, a generator of the subgroup of order SUBGROUP_ORDER
    is_on_curve, add, multiply, is_in_subgroup
    compress(point) -> int, decompress(word) -> Point
    key_address(point)           the address of an account that is controlled by a key

The group has 8 * SUBGROUP_ORDER points. `add` is complete: 168700 is a square and 168696 is none, so no denominator is
ever zero for points of the curve. Nothing here is constant time: who can measure the time of `multiply` learns about
its scalar.
"""

from __future__ import annotations

from typing import Final, NamedTuple

from protocol.constants import ADDRESS_BITS
from protocol.constants import FIELD_ORDER as R
from protocol.errors import DecodeError
from protocol.types import Address
from protocol.vm.poseidon import P

A: Final = 168700
D: Final = 168696
COFACTOR: Final = 8
SUBGROUP_ORDER: Final = 2736030358979909402780800718157159386076813972158567259200215660948447373041
"""A prime of 251 bits."""
SIGN_BIT: Final = 255
"""Bit of a compressed point that says that x is above (r - 1) / 2."""
_Y_MASK: Final = (1 << SIGN_BIT) - 1


class Point(NamedTuple):
    """Affine coordinates in [0, r); not necessarily on the curve."""

    x: int
    y: int


IDENTITY: Final = Point(0, 1)
BASE: Final = Point(
    5299619240641551281634865583518297030282874472190772894086521144482721001553,
    16950150798460657717958625567821834550301663161624707787222815936182638968203,
)


def is_on_curve(point: Point) -> bool:
    """Whether coordinates are in range and satisfy the curve's equation."""
    x, y = point
    if not (0 <= x < R and 0 <= y < R):
        return False
    xx, yy = x * x % R, y * y % R
    return (A * xx + yy - 1 - D * xx * yy) % R == 0


# -- group law; extended coordinates (X : Y : T : Z) with x = X/Z, y = Y/Z, xy = T/Z (ePrint 2008/522) -----------------

_Extended = tuple[int, int, int, int]


def _extended(point: Point) -> _Extended:
    return point.x, point.y, point.x * point.y % R, 1


def _affine(p: _Extended) -> Point:
    x, y, _, z = p
    inverse = pow(z, -1, R)
    return Point(x * inverse % R, y * inverse % R)


def _add(p: _Extended, q: _Extended) -> _Extended:
    x1, y1, t1, z1 = p
    x2, y2, t2, z2 = q
    a, b, c, d = x1 * x2 % R, y1 * y2 % R, D * t1 % R * t2 % R, z1 * z2 % R
    e = ((x1 + y1) * (x2 + y2) - a - b) % R
    f, g, h = d - c, d + c, (b - A * a) % R
    return e * f % R, g * h % R, e * h % R, f * g % R


def add(p: Point, q: Point) -> Point:
    """Sum of two points of the curve, in any order, equal, opposite or neutral."""
    return _affine(_add(_extended(p), _extended(q)))


def negate(p: Point) -> Point:
    """-p."""
    return Point(-p.x % R, p.y)


def multiply(scalar: int, point: Point) -> Point:
    """scalar * point for a point of the curve.

    Args:
        scalar: need not be below the order.

    Raises:
        ValueError: the scalar is negative.
    """
    if scalar < 0:
        raise ValueError("a negative scalar")
    result, running = _extended(IDENTITY), _extended(point)
    while scalar:
        if scalar & 1:
            result = _add(result, running)
        running = _add(running, running)
        scalar >>= 1
    return _affine(result)


def is_in_subgroup(point: Point) -> bool:
    """Whether a point is on the curve and a multiple of BASE."""
    return is_on_curve(point) and multiply(SUBGROUP_ORDER, point) == IDENTITY


# -- encodings ---------------------------------------------------------------------------------------------------------


def compress(point: Point) -> int:
    """y, and bit 255 if x > (r - 1) / 2. iden3's 32 packed bytes are this number, least significant byte first."""
    return point.y | int(point.x > R // 2) << SIGN_BIT


def decompress(word: int) -> Point:
    """The point of the curve that a word stands for; exactly the words that `compress` makes are accepted.

    Args:
        word: below 2^256.

    Raises:
        DecodeError: POINT_WORD (not below 2^256), POINT_Y_RANGE (y is not below r), POINT_NOT_ON_CURVE (no x belongs
            to y), POINT_SIGN (x is 0 and the sign bit is set).
    """
    if not 0 <= word < 1 << 256:
        raise DecodeError("POINT_WORD", word=word)
    negative, y = word >> SIGN_BIT, word & _Y_MASK
    if y >= R:
        raise DecodeError("POINT_Y_RANGE", y=y)
    yy = y * y % R
    # A - D y^2 is never 0: A/D would be a square.
    x = _sqrt((1 - yy) * pow(A - D * yy, -1, R) % R)
    if x is None:
        raise DecodeError("POINT_NOT_ON_CURVE", y=y)
    if x == 0 and negative:
        raise DecodeError("POINT_SIGN", y=y)
    return Point(R - x if (x > R // 2) != bool(negative) and x else x, y)


_TWO_ADICITY: Final = ((R - 1) & -(R - 1)).bit_length() - 1
_ODD_PART: Final = (R - 1) >> _TWO_ADICITY
_ROOT_OF_UNITY: Final = pow(5, _ODD_PART, R)
"""Of order 2^_TWO_ADICITY: 5 is not a square mod r."""


def _sqrt(x: int) -> int | None:
    """A square root by Tonelli and Shanks (Cohen, Computational Algebraic Number Theory, 1.5.1), or None."""
    if x == 0:
        return 0
    power = pow(x, _ODD_PART // 2, R)
    root, rest = x * power % R, x * power % R * power % R
    generator, order = _ROOT_OF_UNITY, _TWO_ADICITY
    while rest != 1:
        # rest has order 2^m with m < order, else x is not a square.
        m, square = 0, rest
        while square != 1:
            square = square * square % R
            m += 1
        if m == order:
            return None
        step = pow(generator, 1 << (order - m - 1), R)
        generator, order = step * step % R, m
        root, rest = root * step % R, rest * generator % R
    return root


def key_address(public: Point) -> Address:
    """Low 160 bits of P_2(x, y)."""
    return Address((P(2, public) & (1 << ADDRESS_BITS) - 1).to_bytes(ADDRESS_BITS // 8, "big"))
