"""Paths in the state tree: arity 4, depth 16, P_4 (SPEC §3.1)."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Final

from protocol.constants import TREE_DEPTH
from proving.circuit.bits import raw_bits
from proving.circuit.builder import Builder, Expr, Template, total
from proving.circuit.poseidon import poseidon


@dataclass(frozen=True, slots=True, kw_only=True)
class PathHint:
    """One leaf's way to the root."""

    index: int
    """Leaf index; two bits for each level, lowest level first."""
    children: Sequence[Sequence[int]]
    """For each level, lowest first, the four nodes beside each other, the own one included."""


@dataclass(frozen=True, slots=True, kw_only=True)
class _LevelHint:
    digit: int
    children: Sequence[int]


def _positions(b: Builder, hint: _LevelHint | None) -> tuple[list[Expr], Expr]:
    """One-hot place among four children, and the digit."""
    bits = raw_bits(b, lambda: hint.digit if hint else 0, 2)
    both = b.mul(bits[0], bits[1])
    return [1 - bits[0] - bits[1] + both, bits[0] - both, bits[1] - both, both], bits[0] + 2 * bits[1]


def _open_level(b: Builder, inputs: Sequence[Expr], hint: _LevelHint | None) -> Sequence[Expr]:
    (node,) = inputs
    places, digit = _positions(b, hint)
    children = b.hints(4, lambda: hint.children if hint else ())
    for place, child in zip(places, children, strict=True):
        b.enforce(place, child - node, 0)
    return [*b.stamp(poseidon(4), children), digit]


def _update_level(b: Builder, inputs: Sequence[Expr], hint: _LevelHint | None) -> Sequence[Expr]:
    node, updated = inputs
    places, digit = _positions(b, hint)
    children = b.hints(4, lambda: hint.children if hint else ())
    after: list[Expr] = []
    for place, child in zip(places, children, strict=True):
        b.enforce(place, child - node, 0)
        after.append(b.mul_add(place, updated - node, child))
    return [*b.stamp(poseidon(4), children), *b.stamp(poseidon(4), after), digit]


_OPEN_LEVEL: Final = Template(name="open level", inputs=1, body=_open_level)
_UPDATE_LEVEL: Final = Template(name="update level", inputs=2, body=_update_level)


def _level_hint(hint: PathHint | None, level: int) -> _LevelHint | None:
    if hint is None:
        return None
    return _LevelHint(digit=hint.index >> 2 * level & 3, children=hint.children[level])


def _open_path(b: Builder, inputs: Sequence[Expr], hint: PathHint | None) -> Sequence[Expr]:
    (node,) = inputs
    digits = []
    for level in range(TREE_DEPTH):
        node, digit = b.stamp(_OPEN_LEVEL, [node], _level_hint(hint, level))
        digits.append(digit)
    return [node, total((4**i, digit) for i, digit in enumerate(digits))]


def _update_path(b: Builder, inputs: Sequence[Expr], hint: PathHint | None) -> Sequence[Expr]:
    node, updated = inputs
    digits = []
    for level in range(TREE_DEPTH):
        node, updated, digit = b.stamp(_UPDATE_LEVEL, [node, updated], _level_hint(hint, level))
        digits.append(digit)
    return [node, updated, total((4**i, digit) for i, digit in enumerate(digits))]


OPEN_PATH: Final = Template(name="open path", inputs=1, body=_open_path)
"""Input: leaf hash. Outputs: root, leaf index."""

UPDATE_PATH: Final = Template(name="update path", inputs=2, body=_update_path)
"""Inputs: leaf hash before and after. Outputs: root before, root after, leaf index; no other leaf differs."""
