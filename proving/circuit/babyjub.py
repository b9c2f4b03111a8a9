"""Baby Jubjub as constraints (SPEC §2).

Sums that must hold for any two points use the complete Edwards law. Long sums use the Montgomery form
v^2 = u^3 + 168698 u^2 + u with u = (1 + y) / (1 - y), v = u / x, whose law is cheaper but undefined for equal and
opposite points and for the two points with x = 0: whoever calls it says why those cannot occur.

API, with constraints:
    edwards_add 6, edwards_double 5, to_montgomery 2, to_edwards 2, montgomery_add 3, is_on_curve 5
    fixed_multiple      6 for three bits
    odd_multiple        6 for each bit, bits included
    unpack_point        a compressed point, with a flag that says if it is one
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import cache
from typing import Final

from protocol.constants import FIELD_ORDER as R
from protocol.constants import INT_BITS
from protocol.vm.babyjub import BASE, SIGN_BIT, Point, add, multiply
from protocol.vm.babyjub import A as EDWARDS_A
from protocol.vm.babyjub import D as EDWARDS_D
from proving.circuit.bits import from_bits, is_zero, raw_bits
from proving.circuit.builder import Builder, Expr, total, value

MONTGOMERY_A: Final = 168698
_LIMIT: Final = 1 << INT_BITS
Pair = tuple[Expr, Expr]
"""Coordinates of a point."""


def quotient(a: int, b: int) -> int:
    """a / b, or 0 where there is none; hints only."""
    return a * pow(b, -1, R) % R if b % R else 0


def choose(b: Builder, flag: Expr, one: Pair, other: Pair) -> Pair:
    """`one` if flag is 1, `other` if it is 0."""
    return b.mul_add(flag, one[0] - other[0], other[0]), b.mul_add(flag, one[1] - other[1], other[1])


def is_on_curve(b: Builder, point: Pair) -> Expr:
    """1 if coordinates satisfy the curve's equation, else 0."""
    x, y = point
    xx, yy = b.mul(x, x), b.mul(y, y)
    return is_zero(b, EDWARDS_A * xx + yy - 1 - EDWARDS_D * b.mul(xx, yy))


def edwards_add(b: Builder, p: Pair, q: Pair) -> Pair:
    """Sum of any two points of the curve."""
    (x1, y1), (x2, y2) = p, q
    beta, gamma = b.mul(x1, y2), b.mul(y1, x2)
    delta = b.mul(y1 - EDWARDS_A * x1, x2 + y2)
    tau = EDWARDS_D * b.mul(beta, gamma)
    return _divide(b, beta + gamma, 1 + tau), _divide(b, delta + EDWARDS_A * beta - gamma, 1 - tau)


def edwards_double(b: Builder, p: Pair) -> Pair:
    """2 p for any point of the curve; a x^2 + y^2 = 1 + d x^2 y^2 spares a product."""
    x, y = p
    xy, xx = b.mul(x, y), b.mul(x, x)
    tau = EDWARDS_D * b.mul(xy, xy)
    # y^2 - a x^2 = 1 + d (xy)^2 - 2 a x^2
    return _divide(b, 2 * xy, 1 + tau), _divide(b, 1 + tau - 2 * EDWARDS_A * xx, 1 - tau)


def _divide(b: Builder, a: Expr, divisor: Expr) -> Expr:
    """A new wire w with w * divisor = a; the divisor must not be 0."""
    wire = b.hint(lambda: quotient(value(a), value(divisor)))
    b.enforce(wire, divisor, a)
    return wire


def to_montgomery(b: Builder, point: Pair) -> Pair:
    """(u, v) of a point with x != 0."""
    x, y = point
    u = _divide(b, 1 + y, 1 - y)
    return u, _divide(b, u, x)


def to_edwards(b: Builder, point: Pair) -> Pair:
    """(x, y) of a point with v != 0. u = -1 belongs to no point: 168696 is no square."""
    u, v = point
    return _divide(b, u, v), _divide(b, u - 1, u + 1)


def montgomery_add(b: Builder, p: Pair, q: Pair) -> Pair:
    """Sum of two points with different u."""
    (u1, v1), (u2, v2) = p, q
    slope = _divide(b, v2 - v1, u2 - u1)
    u = b.mul_add(slope, slope, -MONTGOMERY_A - u1 - u2)
    return u, b.mul_add(slope, u1 - u, -v1)


# -- multiples of the base point ---------------------------------------------------------------------------------------

_WINDOW: Final = 3
FIXED_BITS: Final = 251
_WINDOWS: Final = FIXED_BITS // _WINDOW
_TOP: Final = _WINDOWS * _WINDOW
_SHIFT: Final = 2
_SHIFTED: Final = _SHIFT * ((1 << _TOP) - 1) // ((1 << _WINDOW) - 1)
"""What the windows add up to for the scalar 0: sum of _SHIFT * 8^k."""


def _montgomery(point: Point) -> tuple[int, int]:
    u = quotient(1 + point.y, 1 - point.y)
    return u, quotient(u, point.x)


@cache
def _window_tables() -> tuple[tuple[tuple[int, int], ...], ...]:
    """For window k the points (digit + _SHIFT) * 8^k * BASE in Montgomery form."""
    tables, unit = [], BASE
    for _ in range(_WINDOWS):
        points = [add(unit, unit)]
        for _ in range(7):
            points.append(add(points[-1], unit))
        tables.append(tuple(map(_montgomery, points)))
        unit = points[8 - _SHIFT]
    return tuple(tables)


def _bilinear(table: Sequence[int]) -> list[int]:
    """Coefficients of the products of bits that interpolate a table: number i belongs to the bits set in i."""
    out = list(table)
    step = 1
    while step < len(out):
        for i in range(len(out)):
            if i & step:
                out[i] = (out[i] - out[i - step]) % R
        step *= 2
    return out


def _of_two(coefficients: Sequence[int], low: Expr, high: Expr, both: Expr) -> Expr:
    return total(zip(coefficients, (1, low, high, both), strict=True))


def fixed_multiple(b: Builder, bits: Sequence[Expr], plus: int) -> Pair:
    """(scalar + plus) * BASE.

    Windows of three bits add (digit + 2) * 8^k * BASE. Before window k the sum is a positive multiple of at most
    9/7 * 8^k, the window's own is at least 2 * 8^k, and both together stay below the order: they are neither equal nor
    opposite. The two highest bits, where that ends, are added by the complete law, and take the shifts away.

    Args:
        bits: of the scalar, FIXED_BITS, least significant first.
        plus: a constant.
    """
    at: Pair | None = None
    for k, table in enumerate(_window_tables()):
        low, high, sign = bits[_WINDOW * k : _WINDOW * (k + 1)]
        both = b.mul(low, high)
        u, v = (
            b.mul_add(sign, _of_two(c[4:], low, high, both), _of_two(c[:4], low, high, both))
            for c in (_bilinear([point[axis] for point in table]) for axis in (0, 1))
        )
        at = (u, v) if at is None else montgomery_add(b, at, (u, v))
    assert at is not None
    low, high = bits[_TOP:]
    both = b.mul(low, high)
    tops = [multiply_signed((digit << _TOP) + plus - _SHIFTED) for digit in range(4)]
    x, y = (_of_two(_bilinear([point[axis] for point in tops]), low, high, both) for axis in (0, 1))
    return edwards_add(b, to_edwards(b, at), (x, y))


def multiply_signed(scalar: int) -> Point:
    """scalar * BASE for any integer."""
    point = multiply(abs(scalar), BASE)
    return point if scalar >= 0 else Point(-point.x % R, point.y)


# -- multiples of any point --------------------------------------------------------------------------------------------


@dataclass(frozen=True, slots=True, kw_only=True)
class OddMultiple:
    """(2^(n+1) + 2 k + 1) * q for a k of n bits."""

    point: Pair
    """In Montgomery form."""
    halves: tuple[Expr, Expr]
    """k's low 128 bits and the rest, as integers in range."""


def odd_multiple(b: Builder, q: Pair, n: int, k: Callable[[], int]) -> OddMultiple:
    """Multiply a point by a hinted scalar of n + 2 bits whose highest is 1.

    Digits are 1 and -1: each step adds q or -q to p, and p again, without the ordinate of p + q (ePrint 2003/257).
    The digit's wire is the ordinate +-v itself, known by its square, so that it costs one constraint in all.

    The multiples m of q that occur are odd, start with 3 and are prefixes of the scalar. A sum is undefined only if m
    is 1, -1 or 2 m + 1 is 0 modulo the order of q, so only for a few prefixes that are as long as the order. The caller
    says why k does not have those.

    Args:
        q: Montgomery form; its order is large, or twice a large prime.
        n: more than 128.
        k: the scalar's free bits; hints only.
    """
    u, v = q
    square = b.mul(v, v)
    p = _triple(b, q)
    ordinates: list[Expr] = []
    for i in reversed(range(n)):
        w = b.hint(lambda i=i: value(v) if k() >> i & 1 else -value(v))  # type: ignore[misc]
        b.enforce(w, w, square)
        ordinates.append(w)
        p = _double_and_add(b, p, (u, w))
    ordinates.reverse()
    low = _digits(b, v, ordinates[:INT_BITS], lambda: k() % _LIMIT)
    high = _digits(b, v, ordinates[INT_BITS:], lambda: k() >> INT_BITS)
    return OddMultiple(point=p, halves=(low, high))


def _digits(b: Builder, v: Expr, ordinates: Sequence[Expr], number: Callable[[], int]) -> Expr:
    """The number whose bit i is 1 where ordinate i is v, and 0 where it is -v; v must not be 0."""
    wire = b.hint(number)
    b.enforce(v, 2 * wire - ((1 << len(ordinates)) - 1), from_bits(ordinates))
    return wire


def _double_and_add(b: Builder, p: Pair, q: Pair) -> Pair:
    """2 p + q as (p + q) + p."""
    (u1, v1), (u2, v2) = p, q
    first = _divide(b, v2 - v1, u2 - u1)
    return _add_again(b, p, first, b.mul_add(first, first, -MONTGOMERY_A - u1 - u2))


def _triple(b: Builder, p: Pair) -> Pair:
    """3 p as (p + p) + p."""
    u, v = p
    first = _divide(b, 3 * b.mul(u, u) + 2 * MONTGOMERY_A * u + 1, 2 * v)
    return _add_again(b, p, first, b.mul_add(first, first, -MONTGOMERY_A - 2 * u))


def _add_again(b: Builder, p: Pair, first: Expr, u2: Expr) -> Pair:
    """p + s for an s with abscissa u2 on the line through p of slope `first`, the third point of which is -s."""
    u, v = p
    second = _divide(b, 2 * v, u - u2) - first
    u3 = b.mul_add(second, second, -MONTGOMERY_A - u2 - u)
    return u3, b.mul_add(second, u - u3, -v)


# -- compressed points -------------------------------------------------------------------------------------------------

_NON_SQUARE: Final = 5
_R_HIGH, _R_LOW = divmod(R, _LIMIT)
_HALF: Final = R // 2
"""The largest x without the sign bit."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Unpacked:
    """What a word stands for."""

    point: Pair
    """A point of the curve, if valid; else anything."""
    valid: Expr
    """1 if `protocol.vm.babyjub.decompress` takes the word."""


def unpack_point(b: Builder, word: Pair) -> Unpacked:
    """Decompress a point; that a word stands for none can be proven as well.

    Args:
        word: (hi, lo), both below 2^128.
    """
    hi, lo = word
    y_bits = raw_bits(b, lambda: value(hi), INT_BITS)
    b.equal(from_bits(y_bits), hi)
    sign, y_high = y_bits[SIGN_BIT - INT_BITS], from_bits(y_bits[: SIGN_BIT - INT_BITS])
    below = is_below(b, (y_high, lo), (_R_HIGH, _R_LOW)).flag
    y = y_high * _LIMIT + lo

    # x^2 (a - d y^2) = 1 - y^2, or 5 times that if there is no such x: 5 is no square.
    yy = b.mul(y, y)
    divisor = EDWARDS_A - EDWARDS_D * yy
    square = b.boolean(lambda: int(_root(quotient(1 - value(yy), value(divisor))) is not None))
    scaled = b.mul_add(1 - square, (_NON_SQUARE - 1) * (1 - yy), 1 - yy)

    def root() -> int:
        return _root(quotient(value(scaled), value(divisor))) or 0

    # The root up to (r - 1) / 2, then the one with the sign that is asked for.
    least_bits = _bits_at_most(b, root, _HALF)
    least = from_bits(least_bits)
    b.enforce(b.mul(least, least), divisor, scaled)
    zero = is_zero(b, least)
    b.enforce(1 - square, zero, 0)
    x = least - 2 * b.mul(sign, least)
    canonical = b.mul(square, 1 - b.mul(zero, sign))
    return Unpacked(point=(x, y), valid=b.mul(below, canonical))


def _root(x: int) -> int | None:
    """The smaller square root."""
    if x and pow(x, _HALF, R) != 1:
        return None
    return _square_root(x)


def _square_root(x: int) -> int:
    """By Cipolla's algorithm (Crandall and Pomerance, Prime Numbers, 2.3.9)."""
    if x == 0:
        return 0
    a = 1
    while pow(a * a - x, _HALF, R) != R - 1:
        a += 1
    w = (a * a - x) % R

    def times(p: tuple[int, int], q: tuple[int, int]) -> tuple[int, int]:
        return (p[0] * q[0] + p[1] * q[1] * w) % R, (p[0] * q[1] + p[1] * q[0]) % R

    result, power, exponent = (1, 0), (a, 1), (R + 1) // 2
    while exponent:
        if exponent & 1:
            result = times(result, power)
        power = times(power, power)
        exponent >>= 1
    return min(result[0], R - result[0])


def _bits_at_most(b: Builder, x: Callable[[], int], limit: int) -> list[Expr]:
    """Bits of a number of at most `limit`, least significant first."""
    size = limit.bit_length()

    def values() -> list[int]:
        number = x()
        return [number >> i & 1 for i in range(size)]

    bits = b.hints(size, values)
    # `equal` stays 1 while every bit so far is that of the limit; then a 0 of the limit forces a 0.
    equal: Expr = bits[size - 1]
    b.enforce(equal, equal - 1, 0)
    for i in reversed(range(size - 1)):
        if limit >> i & 1:
            b.enforce(bits[i], bits[i] - 1, 0)
            equal = b.mul(equal, bits[i])
        else:
            b.enforce(bits[i], 1 - equal - bits[i], 0)
    return bits


@dataclass(frozen=True, slots=True, kw_only=True)
class Compared:
    """x against a constant c."""

    flag: Expr
    """1 if x < c."""
    gap: list[Expr]
    """256 bits, least significant first: of c - 1 - x if x < c, else of x - c."""


def is_below(b: Builder, x: Pair, c: tuple[int, int]) -> Compared:
    """Compare a number of two halves, high and low, both below 2^128, with a constant whose low half is not 0."""
    (high, low), (c_high, c_low) = x, c

    def gap() -> int:
        number, constant = (value(high) << INT_BITS) + value(low), (c_high << INT_BITS) + c_low
        return constant - 1 - number if number < constant else number - constant

    flag = b.boolean(lambda: int((value(high), value(low)) < (c_high, c_low)))
    borrow = b.boolean(
        lambda: int(value(low) > c_low - 1 if (value(high), value(low)) < (c_high, c_low) else value(low) < c_low)
    )
    bits = raw_bits(b, gap, 2 * INT_BITS)
    # With the flag c_low - 1 - low, else low - c_low; the halves differ by less than 2^129, so nothing wraps.
    b.enforce(flag, 2 * (low - c_low) + 1, low - c_low + borrow * _LIMIT - from_bits(bits[:INT_BITS]))
    b.enforce(flag, 2 * (high - c_high), high - c_high - borrow - from_bits(bits[INT_BITS:]))
    return Compared(flag=flag, gap=bits)
