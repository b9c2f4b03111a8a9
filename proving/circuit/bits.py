"""Bits, ranges, zero tests and one-hot selections."""

from __future__ import annotations

from collections.abc import Callable, Sequence

from protocol.constants import FIELD_ORDER as R
from proving.circuit.builder import Builder, Expr, plus, total, value


def raw_bits(b: Builder, x: Callable[[], int], n: int) -> list[Expr]:
    """n new boolean wires holding the low n bits of a hint, least significant first; tied to nothing."""

    def values() -> list[int]:
        number = x()
        return [number >> i & 1 for i in range(n)]

    bits = b.hints(n, values)
    if b.recording:
        for bit in bits:
            b.enforce(bit, bit - 1, 0)
    return bits


def from_bits(bits: Sequence[Expr]) -> Expr:
    """The number that bits, least significant first, stand for."""
    return total((1 << i, bit) for i, bit in enumerate(bits))


def to_bits(b: Builder, x: Expr, n: int) -> list[Expr]:
    """Bits of x and the constraint x < 2^n; n < 254, else the bits would not be unique."""
    if n >= R.bit_length():
        raise ValueError("use canonical_bits")
    bits = raw_bits(b, lambda: value(x), n)
    b.equal(from_bits(bits), x)
    return bits


def is_zero(b: Builder, x: Expr) -> Expr:
    """1 if x = 0 else 0."""
    zero = b.hint(lambda: int(value(x) == 0))
    inverse = b.hint(lambda: pow(value(x), -1, R) if value(x) else 0)
    b.enforce(x, inverse, 1 - zero)
    b.enforce(x, zero, 0)
    return zero


def flags(b: Builder, n: int, chosen: Callable[[], int | None]) -> list[Expr]:
    """n booleans of which the hint sets one, or none; the caller constrains their sum."""

    def values() -> list[int]:
        index = chosen()
        return [int(i == index) for i in range(n)]

    wires = b.hints(n, values)
    if b.recording:
        for wire in wires:
            b.enforce(wire, wire - 1, 0)
    return wires


def weighted(xs: Sequence[Expr]) -> Expr:
    """sum i * x_i: the position of a one-hot vector."""
    return total((i, x) for i, x in enumerate(xs))


def select(b: Builder, choice: Sequence[Expr], options: Sequence[Expr]) -> Expr:
    """sum choice_i * option_i with one wire for each product."""
    return plus(b.mul(c, x) for c, x in zip(choice, options, strict=True))
