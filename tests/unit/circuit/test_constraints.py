"""The plain reader itself: the two ways in which it finds free wires agree, and a hole is found."""

from __future__ import annotations

import random

from protocol.constants import FIELD_ORDER as R
from proving.circuit.builder import Builder, Expr
from proving.circuit.integers import INTEGER_UNIT, OPERATIONS
from tests.support.gadgets import Gadget

RNG = random.Random(8)


def leaky(b: Builder, xs: list[Expr]) -> list[Expr]:
    """A square root without a sign, a wire that nothing reads, a factor of 0, a bit."""
    root, unread, factor, bit = b.hints(4, lambda: [7, 5, 9, 1])
    b.enforce(root, root, 49)
    b.enforce(xs[0], factor, 0)
    b.enforce(bit, bit, bit)
    return [unread]


def test_holes_are_found() -> None:
    """Each only in the ways in which it is one."""
    gadget = Gadget(leaky, 1)
    values = gadget.fill([0]).values

    # Wires: 1 the input, 2 the root, 3 unread, 4 the factor of 0, 5 the bit.
    assert gadget.constraints.free(values, [lambda x: -x]) == [2, 3, 4]
    assert gadget.constraints.free(values, [lambda x: 1 - x]) == [3, 4, 5]
    assert gadget.constraints.free(values, [lambda x: x + 1]) == [3, 4]
    assert gadget.constraints.free(values, [lambda x: x + 1, lambda x: 1 - x, lambda x: -x]) == [2, 3, 4, 5]
    assert gadget.constraints.free(values, [lambda x: x]) == []


def test_all_at_once_is_one_after_the_other() -> None:
    """On a gadget with wires of every kind; where X - hi(r) is 0, an inverse is free."""
    gadget = Gadget(lambda b, xs: b.stamp(INTEGER_UNIT, xs), len(OPERATIONS) + 2)
    made = gadget.fill([*(int(op == "FHI") for op in OPERATIONS), R - 1, 5])
    drawn = [RNG.randrange(R) for _ in made.values]
    values = list(made.values)
    slow = [
        wire
        for wire in range(len(values))
        if any(
            x != values[wire] and gadget.constraints.is_free(values, wire, x) for x in (drawn[wire], 1 - values[wire])
        )
    ]
    wires = iter(drawn)
    fast = gadget.constraints.free(values, [lambda _: next(wires), lambda x: 1 - x])

    assert fast == slow
    assert len(slow) > 0
