"""Comparisons of whole field elements as integers in [0, r).

A decomposition into 254 bits is not unique: x and x + r both fit for small x. Both gadgets here rule out the second.
"""

from __future__ import annotations

from collections.abc import Sequence
from functools import partial
from typing import Final

from protocol.constants import FIELD_ORDER as R
from proving.circuit.bits import from_bits, raw_bits
from proving.circuit.builder import Builder, Expr, Template, value

FIELD_BITS: Final = R.bit_length()
_HALF: Final = FIELD_BITS // 2
_LOW: Final = (1 << _HALF) - 1


def _between(b: Builder, inputs: Sequence[Expr], _: None) -> Sequence[Expr]:
    before, after = inputs

    def rest() -> int:
        return (R - 2 - value(before) - value(after)) % (1 << FIELD_BITS)

    gaps = [raw_bits(b, partial(value, x), FIELD_BITS) for x in inputs]
    gaps.append(raw_bits(b, rest, FIELD_BITS))
    for x, bits in zip(inputs, gaps, strict=False):
        b.equal(from_bits(bits), x)
    low = [from_bits(bits[:_HALF]) for bits in gaps]
    high = [from_bits(bits[_HALF:]) for bits in gaps]

    def carry() -> int:
        return (value(before) & _LOW) + (value(after) & _LOW) + (rest() & _LOW) >> _HALF

    carries = [b.boolean(lambda: int(carry() >= 1)), b.boolean(lambda: int(carry() >= 2))]
    carried = carries[0] + carries[1]
    b.equal(low[0] + low[1] + low[2], carried * (1 << _HALF) + (R - 2 & _LOW))
    b.equal(high[0] + high[1] + high[2] + carried, R - 2 >> _HALF)
    return []


BETWEEN: Final = Template(name="between", inputs=2, body=_between)
"""Inputs `before`, `after`: constrains before + after <= r - 2 as integers in [0, r).

With before = key - low - 1 and after = next - key - 1 (mod r) that says low < key < next, where next = 0 stands for r:
walking up the field from low one meets key before next, and does not pass r. Both bit strings must be the canonical
ones, because three non-negative integers here sum to r - 2 exactly, in limbs of 127 bits which cannot wrap.
"""


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
