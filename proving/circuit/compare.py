"""Comparisons of whole field elements as integers in [0, r).

A decomposition into 254 bits is not unique: x and x + r both fit for small x. Both gadgets here rule out the second.
"""

from __future__ import annotations

from collections.abc import Sequence
from functools import partial
from typing import Final

from protocol.constants import FIELD_ORDER as R
from protocol.constants import INT_BITS
from proving.circuit.bits import from_bits, raw_bits, to_bits
from proving.circuit.builder import Builder, Expr, Template, value

FIELD_BITS: Final = R.bit_length()
_CUT: Final = 206
"""Bits of the lower part."""


def _between(b: Builder, inputs: Sequence[Expr], _: None) -> Sequence[Expr]:
    tops = []
    for x in inputs:
        bits = raw_bits(b, partial(value, x), FIELD_BITS)
        b.equal(from_bits(bits), x)
        tops.append(from_bits(bits[_CUT:]))
    to_bits(b, (R >> _CUT) - 2 - tops[0] - tops[1], FIELD_BITS - _CUT)
    return []


BETWEEN: Final = Template(name="between", inputs=2, body=_between)
"""Inputs `before`, `after`: constrains before + after <= r - 2 as integers in [0, r), and a little more.

With before = key - low - 1 and after = next - key - 1 (mod r) that says low < key < next, where next = 0 stands for r:
walking up the field from low one meets key before next, and does not pass r.

Only the upper parts are compared, as if both lower parts were as large as can be: their sum and 2 are at most the upper
part of r. So no second decomposition, x + r, fits either. What is refused beyond need are sums above r - 2^208: gaps
that only a tree of one leaf has (`tree_unit.py` knows it), and a tree of two with a probability of 2^-45.
"""


def at_most(b: Builder, x: Expr, limit: Expr) -> Expr:
    """1 if x <= limit, else 0, for two numbers below 2^128."""
    yes = b.boolean(lambda: int(value(x) <= value(limit)))
    rest = limit - x
    # limit - x, or x - limit - 1.
    to_bits(b, b.mul(yes, 2 * rest + 1) - rest - 1, INT_BITS)
    return yes


def _canonical(b: Builder, inputs: Sequence[Expr], _: None) -> Sequence[Expr]:
    (x,) = inputs
    bits = b.hints(FIELD_BITS, lambda: [value(x) >> i & 1 for i in range(FIELD_BITS)])
    limit = R - 1
    # `equal` stays 1 while every bit so far equals that of r - 1; then a 0 of r - 1 forces a 0.
    equal: Expr = 1
    for i in reversed(range(FIELD_BITS)):
        if limit >> i & 1:
            b.enforce(bits[i], bits[i] - 1, 0)
            equal = bits[i] if i == FIELD_BITS - 1 else b.mul(equal, bits[i])
        else:
            b.enforce(bits[i], 1 - equal - bits[i], 0)
    b.equal(from_bits(bits), x)
    return bits


CANONICAL_BITS: Final = Template(name="canonical bits", inputs=1, body=_canonical)
"""Input x; outputs its 254 bits, least significant first, and no others: the integer they stand for is below r."""
