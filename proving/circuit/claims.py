"""Claims: leaves that a stretch looks at, and perhaps rewrites, beside what its program touches.

Nonces, fees, the queue's cursor, programs that arrive: who needs such a leaf says which key it wants, what it found
there and what is to stand there then. A tree unit of the stretch holds it (`tree_unit.py`): exactly one if it is
wanted, none else. What was found is guessed first, so that keys may follow from it, and tied to the unit's leaf here.

Claims of one stretch that insert do it in the order in which they are listed: else one entry had two new roots.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from itertools import combinations

from proving.circuit.bits import select, to_bits, weighted
from proving.circuit.builder import Builder, Expr, plus, total
from proving.circuit.tree_unit import CellEnd, Role, Unit

Found = tuple[int, int]
"""v0, v1 of a leaf; zeros if it is absent or not wanted."""
_PLACE_BITS = 7
"""Of a unit's place among all."""


@dataclass(slots=True, kw_only=True)
class Claim:
    """One leaf."""

    stretch: Expr
    """Number of the stretch."""
    wanted: Expr
    """1 if it is looked at."""
    key: Expr
    found: tuple[Expr, Expr]
    written: Expr
    """1 if it is rewritten, or inserted; never if it is not wanted."""
    after: tuple[Expr, Expr]
    """v0, v1 then; says nothing if it is not written."""


def found_wires(b: Builder, hint: Found | None) -> tuple[Expr, Expr]:
    """Two wires for what a claim finds; `tie_claims` ties them."""
    v0, v1 = b.hints(2, lambda: hint or (0, 0))
    return v0, v1


def tie_claims(b: Builder, claims: Sequence[Claim], units: Sequence[Unit]) -> None:
    """Each claim that is wanted has one unit, of its stretch, and that shows what was found."""
    for c, claim in enumerate(claims):
        flags = [unit.claims[c] for unit in units]
        b.equal(plus(flags), claim.wanted)
        for unit, flag in zip(units, flags, strict=True):
            b.enforce(flag, weighted(unit.owners) - claim.stretch, 0)
            for shown, found in zip(unit.start, claim.found, strict=True):
                b.enforce(flag, shown - found, 0)
        for found in claim.found:
            b.enforce(1 - claim.wanted, found, 0)


def order_claims(b: Builder, group: Sequence[int], units: Sequence[Unit]) -> None:
    """Of claims of one stretch, by their numbers, those that insert do it one behind the other."""
    inserting = [i for i, unit in enumerate(units) if unit.role is Role.INSERT]
    inserts = [[b.mul(units[i].claims[c], units[i].new) for i in inserting] for c in group]
    for one, other in combinations(inserts, 2):
        both = b.mul(plus(one), plus(other))
        places = [total(zip(inserting, flags, strict=True)) for flags in (one, other)]
        to_bits(b, b.mul(both, places[1] - places[0] - 1), _PLACE_BITS)


def claimed_ends(b: Builder, claims: Sequence[Claim], units: Sequence[Unit], ends: Sequence[CellEnd]) -> list[CellEnd]:
    """What units hold at the end: what claims write, else what they held anyhow."""
    if not claims:
        return list(ends)
    changes = [[b.mul(claim.written, x - y) for x, y in zip(claim.after, claim.found, strict=True)] for claim in claims]
    columns = [*zip(*changes, strict=True), tuple(claim.written for claim in claims)]
    out = []
    for unit, end in zip(units, ends, strict=True):
        value, type_, present = (select(b, unit.claims, column) for column in columns)
        out.append(CellEnd(value=end.value + value, type=end.type + type_, present=end.present + present))
    return out
