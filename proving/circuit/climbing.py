"""From the leaves that stretches open to the units of the node pool that link them to the roots.

API:
    climb(batches, depth, available) -> one hint or None for each unit of the pool
"""

from __future__ import annotations

from collections.abc import Collection, Sequence
from dataclasses import dataclass, replace

from protocol.vm.state_tree import StateTree
from proving.circuit.errors import check
from proving.circuit.node_pool import NodeHint, root_code


@dataclass(frozen=True, slots=True, kw_only=True)
class Batch:
    """What one stretch does to the tree."""

    before: StateTree
    after: StateTree
    leaves: Collection[int]
    """Indices of the leaves that it opens."""


@dataclass(frozen=True, slots=True, kw_only=True)
class _Visit:
    code: int
    touched: tuple[bool, ...]
    before: tuple[int, ...]
    after: tuple[int, ...]


def climb(batches: Sequence[Batch], depth: int, *, numbers: int, available: int) -> list[NodeHint | None]:
    """Units for all nodes above the leaves, place by place; those of one place that follow from each other are linked.

    Args:
        depth: of all trees.
        numbers: how many batches the circuit has places for.
        available: units.

    Raises:
        TierExceeded: TIER_NODES.
        StateError: NODE_MISSING: outside a partial tree.
    """
    visits: dict[tuple[int, int], list[_Visit]] = {}
    for number, batch in enumerate(batches):
        below = set(batch.leaves)
        for level in range(1, depth + 1):
            here = {index >> 2 for index in below}
            for index in here:
                children = [4 * index + j for j in range(4)]
                visit = _Visit(
                    code=root_code(number, numbers) << 2 * (depth - level) | index,
                    touched=tuple(child in below for child in children),
                    before=tuple(batch.before.node_hash(level - 1, child) for child in children),
                    after=tuple(batch.after.node_hash(level - 1, child) for child in children),
                )
                visits.setdefault((level, index), []).append(visit)
            below = here
    units = [unit for _, there in sorted(visits.items()) for unit in _chain(there)]
    check("TIER_NODES", "nodes above the leaves, each change of one counted", len(units), available)
    return [*units, *[None] * (available - len(units))]


def _chain(visits: Sequence[_Visit]) -> list[NodeHint]:
    """Units of one place, one batch after the other."""
    units: list[NodeHint] = []
    for visit in visits:
        known = bool(units) and tuple(units[-1].children) == visit.before
        reads = visit.before == visit.after
        unit = NodeHint(children=visit.after, code=visit.code, takes=True, linked=not reads, touched=visit.touched)
        if not reads and not known:
            units.append(replace(unit, children=visit.before, code=0, takes=False, linked=False, touched=(False,) * 4))
        units.append(unit)
    return units
