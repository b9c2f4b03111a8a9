"""Paths in the state tree: arity 4, P_4 (SPEC §3.1).

All leaves that a table touches lie in one *block*: a subtree of 4^levels places. Units climb from a leaf to the
block's root only; from there to the tree's root leads one path for the whole table, because trees of one table differ
inside the block only. In tier S the block is the whole tree, and there is no such path.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from functools import cache
from itertools import pairwise

from proving.circuit.bits import raw_bits
from proving.circuit.builder import Builder, Expr, Template, total
from proving.circuit.poseidon import poseidon


@dataclass(frozen=True, slots=True, kw_only=True)
class PathHint:
    """A climb through some levels of the tree."""

    index: int
    """Which node of the lowest level, two bits for each level, lowest level first."""
    children: Sequence[Sequence[int]]
    """For each level, lowest first, the four nodes beside each other, the own one included."""


@dataclass(frozen=True, slots=True, kw_only=True)
class _LevelHint:
    digit: int
    children: Sequence[int]


@cache
def _level(nodes: int) -> Template[_LevelHint]:
    """Inputs: versions of one node. Outputs: the versions of its parent, and its place. Only this child differs."""

    def body(b: Builder, inputs: Sequence[Expr], hint: _LevelHint | None) -> Sequence[Expr]:
        low, high = raw_bits(b, lambda: hint.digit if hint else 0, 2)
        both = b.mul(low, high)
        places = [1 - low - high + both, low - both, high - both, both]
        children = b.choices(4, lambda: hint.children if hint else ())
        for place, child in zip(places, children, strict=True):
            b.enforce(place, child - inputs[0], 0)
        parents = b.stamp(poseidon(4), children)
        for before, after in pairwise(inputs):
            children = [b.mul_add(place, after - before, x) for place, x in zip(places, children, strict=True)]
            parents += b.stamp(poseidon(4), children)
        return [*parents, low + 2 * high]

    return Template(name=f"level of {nodes}", inputs=nodes, body=body)


@cache
def climb(nodes: int, levels: int) -> Template[PathHint]:
    """Inputs: versions of one node. Outputs: the versions of the root above it, and the node's index below that."""

    def body(b: Builder, inputs: Sequence[Expr], hint: PathHint | None) -> Sequence[Expr]:
        versions, digits = list(inputs), []
        for level in range(levels):
            here = None
            if hint is not None:
                here = _LevelHint(digit=hint.index >> 2 * level & 3, children=hint.children[level])
            *versions, digit = b.stamp(_level(nodes), versions, here)
            digits.append(digit)
        return [*versions, total((4**i, digit) for i, digit in enumerate(digits))]

    return Template(name=f"climb of {nodes} by {levels}", inputs=nodes, body=body)
