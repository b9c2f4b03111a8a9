"""Witnesses of the table-VM circuit.

API:
    prepare(tier, core, rollup_id, state) -> Prepared     everything that does not depend on z
    Prepared.h, Prepared.words; Prepared.finish(z) -> Witness(wtns_bytes, public)

z depends on h (SPEC §7.1), so a witness is made in two parts.
"""

from __future__ import annotations

from dataclasses import dataclass, field, replace

from protocol.constants import FIELD_ORDER
from protocol.table import Core
from protocol.vm.state import VmState
from proving.circuit.builder import Assignment, BlockAssigner, value
from proving.circuit.plan import execute, plan
from proving.circuit.table_vm import PUBLIC, Hints, Late, finish_public, table_vm
from proving.circuit.tiers import SHAPES, Shape


@dataclass(frozen=True, slots=True, kw_only=True)
class Witness:
    """A finished assignment."""

    assignment: Assignment = field(repr=False)

    @property
    def values(self) -> tuple[int, ...]:
        """All wires, the constant one first; made anew each time."""
        return self.assignment.wires()

    @property
    def public(self) -> tuple[int, ...]:
        """h, z, y."""
        return tuple(self.assignment.values[1 : 1 + PUBLIC])

    @property
    def wtns(self) -> bytes:
        """The `.wtns` file; made anew each time."""
        return self.assignment.wtns()


@dataclass(frozen=True, slots=True, kw_only=True)
class Prepared:
    """A witness but for z."""

    h: int
    words: tuple[int, ...]
    """Statement words."""
    late: Late = field(repr=False)
    assignment: Assignment = field(repr=False)
    """All wires, with some other z."""

    def finish(self, z: int) -> Witness:
        """Put in z.

        Args:
            z: in [0, r), of SPEC §7.1.

        Raises:
            ValueError: z is out of range.
        """
        if not 0 <= z < FIELD_ORDER:
            raise ValueError("z is not a field element")
        finished = replace(self.assignment, values=list(self.assignment.values))
        finish_public(finished.values, self.words, self.late, z)
        return Witness(assignment=finished)


def prepare(tier: int, core: Core, rollup_id: int, state: VmState) -> Prepared:
    """Execute the own entries of a rollup and fill the circuit's wires.

    Args:
        tier: number of the tier.
        core: decoded and checked.
        rollup_id: a member that owns at least one entry.
        state: the rollup at the header's pre-root, whole or partial.

    Raises:
        ClaimMismatch: the core says something that the machine does not do.
        TierExceeded: the run has no place in this tier.
        StateError: an entry is not provable, or the state lacks a node.
    """
    shape = SHAPES[tier]
    return assign(shape, plan(shape, core, rollup_id, execute(core, rollup_id, state)))


def assign(shape: Shape, hints: Hints, *, strict: bool = False) -> Prepared:
    """Fill wires from hints.

    Raises:
        Unsatisfied: `strict`, and a constraint fails.
    """
    assigner = BlockAssigner(strict=strict)
    late = table_vm(assigner, shape, hints)
    return Prepared(h=value(late.h), words=tuple(hints.words), late=late, assignment=assigner.assignment())
