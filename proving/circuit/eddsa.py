"""EdDSA-Poseidon as constraints (SPEC §2): whether a signature is valid, provable either way.

With T = l - 1 - S the equation S B = R8 + 8 h A reads (T + 1) B + W = 4 A - R8, where W = (2 e + 1) * 4 A with e = h
modulo l. The bits that show S < l are thus those that multiply B; and 4 A, not 8 A, is what the ladder starts with.

The ladder needs a scalar whose highest bit is fixed: e = h + 11 l, between 2^254 and 2^255, as h < r < 8 l. Of its
free bits k = e - 2^254 only the sum is known to the field, so k must lie in [c, c + r) with c = 11 l - 2^254. That is
checked for its upper 126 bits, off by one on the safe side: hashes h in [0, 2^128) or [r - 2^128, r) have no witness.
Nobody can find one: it would take about 2^125 hashes. The same is true of the few hashes for which the ladder meets a
sum that is not defined: their leading bits, 246 or more of them, would have to be those of a few numbers.

Where a key or R8 is no point, or the key has small order, a fixed point stands in for it, so that all wires exist.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Final

from protocol.constants import FIELD_ORDER as R
from protocol.constants import INT_BITS
from protocol.vm.babyjub import BASE, SUBGROUP_ORDER, multiply
from proving.circuit.babyjub import (
    FIXED_BITS,
    Pair,
    choose,
    edwards_add,
    edwards_double,
    fixed_multiple,
    is_below,
    odd_multiple,
    to_edwards,
    to_montgomery,
    unpack_point,
)
from proving.circuit.bits import is_zero, to_bits
from proving.circuit.builder import Builder, Expr, Template, value
from proving.circuit.poseidon import poseidon

_LIMIT: Final = 1 << INT_BITS
_LADDER_BITS: Final = 254
_OFFSET: Final = 11 * SUBGROUP_ORDER - (1 << _LADDER_BITS)
_LOWEST: Final = (_OFFSET >> INT_BITS) + 1
_HIGHEST: Final = (_OFFSET + R >> INT_BITS) - 1
_HIGH_BITS: Final = _LADDER_BITS - INT_BITS


def verify(b: Builder, public: Pair, r8: Pair, s: Pair, message: Expr, points: tuple[Expr, Expr]) -> Expr:
    """1 if a signature is valid, else 0.

    Args:
        public, r8: coordinates, single wires.
        s: (hi, lo), both below 2^128.
        message: a single wire.
        points: for `public` and `r8`, 1 if it is known to be on the curve, else 0.
    """
    (h,) = b.stamp(poseidon(5), [*r8, *public, message])
    scalar = is_below(b, s, divmod(SUBGROUP_ORDER, _LIMIT))
    fixed = fixed_multiple(b, scalar.gap[:FIXED_BITS], 1)

    quadruple = edwards_double(b, edwards_double(b, choose(b, points[0], public, BASE)))
    small = is_zero(b, quadruple[0])
    quadruple = choose(b, small, multiply(4, BASE), quadruple)
    ladder = odd_multiple(b, to_montgomery(b, quadruple), _LADDER_BITS, lambda: value(h) + _OFFSET)
    low, high = ladder.halves
    b.equal(high * _LIMIT + low, h + _OFFSET)
    to_bits(b, high - _LOWEST, _HIGH_BITS)
    to_bits(b, _HIGHEST - high, _HIGH_BITS)

    left = edwards_add(b, fixed, to_edwards(b, ladder.point))
    x, y = choose(b, points[1], r8, BASE)
    right = edwards_add(b, quadruple, (-1 * x, y))
    same = b.mul(is_zero(b, left[0] - right[0]), is_zero(b, left[1] - right[1]))
    usable = b.mul(b.mul(points[0], points[1]), 1 - small)
    return b.mul(b.mul(same, scalar.flag), usable)


@dataclass(frozen=True, slots=True, kw_only=True)
class SignedWords:
    """The signature of a transaction (SPEC §4.8)."""

    valid: Expr
    """1 if key and R8 are packed points and the signature is valid, else 0."""
    public: Pair
    """The key, if valid; else anything."""


def verify_words(b: Builder, words: Sequence[Pair], message: Expr) -> SignedWords:
    """Stamp the check of words w0 (key), w1 (R8), w2 (S) against a message.

    Args:
        words: three of (hi, lo), single wires below 2^128.
        message: a single wire.
    """
    valid, *public = b.stamp(SIGNED_WORDS, [*(half for word in words for half in word), message])
    return SignedWords(valid=valid, public=(public[0], public[1]))


def _signed_words(b: Builder, inputs: Sequence[Expr], _: None) -> Sequence[Expr]:
    *halves, message = inputs
    key, r8, s = zip(halves[::2], halves[1::2], strict=True)
    first, second = unpack_point(b, key), unpack_point(b, r8)
    public = b.define(first.point[0]), b.define(first.point[1])
    other = b.define(second.point[0]), b.define(second.point[1])
    return [verify(b, public, other, s, message, (first.valid, second.valid)), *public]


SIGNED_WORDS: Final = Template(name="signed words", inputs=7, body=_signed_words)
"""Inputs: hi and lo of key, R8 and S, the message. Outputs: valid, the key's x and y."""
