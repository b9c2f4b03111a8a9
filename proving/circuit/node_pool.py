"""Inner nodes of the state tree, hashed once for all leaves that lie below them (SPEC §3.1).

What one stretch does to the tree is a *batch*: one root before, one root after, and leaves that it opens. `links.py`
carries it down the tree: whoever knows the batch gives (code, root before, root after) to a node; a node takes that
and gives on the same of each child that it says is touched; a leaf takes (code, hash before, hash after). Children
that are not touched are the same before and after.

**Units.** A unit hashes four children. A node that a batch only reads is one unit; the node after a batch is a unit
that is *linked* to the one before it: it takes what that one hashes to as its hash before. So a node that k batches
change one after the other is k + 1 units, and whatever else batches do not share costs one more.

**Codes.** Batch e has the number `root_code(e)`, all of which have equally many digits in base 4. The root has that
number, child j of a node has its parent's number with the digit j behind it. A number says batch, level and place. A
unit takes only codes below 2^bits, so that none can wrap around the field; a leaf takes `root_code << 2 * depth |
index` with an index below 4^depth. Hence no leaf stands for a node: what stands at a leaf's level is taken by a leaf
or by a unit that changes nothing, because below that level nobody but units takes anything.

**Why it proves.** By induction from the root: a batch's root is given once, so each place of its tree is given at most
once, and what is given is taken. So at each place there is at most one unit or leaf, which shows what its hashes are
hashes of. Whatever differs between both roots lies below touched children only, and so in leaves that were taken.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Final

from protocol.constants import TREE_DEPTH
from proving.circuit.bits import from_bits, raw_bits
from proving.circuit.builder import Builder, Expr, plus
from proving.circuit.links import Links
from proving.circuit.poseidon import poseidon

_FLAGS: Final = 6


@dataclass(frozen=True, slots=True, kw_only=True)
class NodeHint:
    """One unit that is used."""

    children: Sequence[int]
    code: int
    """0 if it takes nothing and only stands before a linked one."""
    takes: bool
    linked: bool
    touched: Sequence[bool]


def root_code(batch: int, batches: int) -> int:
    """Number of a batch: as many digits in base 4 for each."""
    return _first_code(batches) + batch


def _first_code(batches: int) -> int:
    first = 4
    while batches > 3 * first:
        first *= 4
    return first


def code_bits(batches: int) -> int:
    """Bits of the code of a node at the lowest level above the leaves."""
    return (4 * _first_code(batches)).bit_length() - 1 + 2 * (TREE_DEPTH - 1)


def node_pool(b: Builder, links: Links, *, batches: int, hints: Sequence[NodeHint | None]) -> list[list[Expr]]:
    """Lay out one unit for each hint; None for one that is unused, and for all while recording.

    Returns:
        What must be fixed before z: the hash of each unit, and for each unit its bits.
    """
    digests, bits = [], []
    before: list[Expr] = []
    for hint in hints:
        children = b.choices(4, lambda hint=hint: hint.children if hint else (0, 0, 0, 0))  # type: ignore[misc]
        (digest,) = b.stamp(poseidon(4), children)
        code = raw_bits(b, lambda hint=hint: hint.code if hint else 0, code_bits(batches))  # type: ignore[misc]
        flags = raw_bits(b, lambda hint=hint: _flag_bits(hint), _FLAGS)  # type: ignore[misc]
        _unit(b, links, code=from_bits(code), flags=flags, nodes=[*children, digest], before=before)
        before = [*children, digest]
        digests.append(digest)
        bits.append([*code, *flags])
    return [digests, *bits]


def _flag_bits(hint: NodeHint | None) -> int:
    if hint is None:
        return 0
    return int(hint.takes) | hint.linked << 1 | sum(flag << 2 + j for j, flag in enumerate(hint.touched))


def _unit(
    b: Builder, links: Links, *, code: Expr, flags: Sequence[Expr], nodes: Sequence[Expr], before: Sequence[Expr]
) -> None:
    """One unit: four children and their hash, and those of the unit before it."""
    takes, linked, *touched = flags
    if before:
        *differences, back = (b.mul(linked, x - y) for x, y in zip(before, nodes, strict=True))
    else:
        b.equal(linked, 0)
        differences, back = [0] * 4, 0
    b.enforce(plus(touched), 1 - takes, 0)
    *children, digest = nodes
    links.take(takes, code, digest + back, digest)
    for j, (child, difference, flag) in enumerate(zip(children, differences, touched, strict=True)):
        b.enforce(1 - flag, difference, 0)
        links.give(flag, 4 * code + j, child + difference, child)
