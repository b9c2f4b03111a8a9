"""Sizes of the table-VM circuit in each tier (SPEC §6)."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Final

from protocol.statement import TIER_L, TIER_M, TIER_S, TIER_XL, Tier
from proving.circuit.tree_unit import Role


@dataclass(frozen=True, slots=True, kw_only=True)
class Shape:
    """What a circuit has room for. Sizes beyond the tier's own (entries, data words) limit this circuit only."""

    tier: Tier
    stretches: int
    """Runs of one frame between two changes of frames, at least one for each entry."""
    waiting: int
    """Frames that wait behind an entry, each counted once: every frame of a chain."""
    reverts: int
    """Scopes that are reverted."""
    segments: int
    """Segments of rows; each serves one stretch."""
    segment_rows: int
    """Steps of one segment."""
    programs: int
    """Different programs in one table."""
    chunks: int
    """Chunks of 15 instructions, over all programs."""
    hashes: int
    """HASH inputs that differ, in one table."""
    integers: int
    """Operations of integer units that differ, in one table."""
    inserts: int
    """Tree units that can do everything: insert a key, rewrite one, read one, find one absent."""
    updates: int
    """Tree units that rewrite or read a key that is present."""
    seeks: int
    """Tree units that read a key, or find it absent."""
    reads: int
    """Tree units that read a key that is present."""
    links: int
    """Tree units for leaves before inserted keys; spare ones that write serve too."""
    nodes: int
    """Units of the node pool."""
    transactions: int
    """L2TX entries in one table."""
    deployments: int
    """Calls to DEPLOYER in one table."""

    @property
    def roles(self) -> tuple[Role, ...]:
        """Roles of all tree units in their order; those that have a cell come first."""
        counts = zip(Role, (self.inserts, self.updates, self.seeks, self.reads, self.links), strict=True)
        return tuple(role for role, count in counts for _ in range(count))


SHAPE_S: Final = Shape(
    tier=TIER_S,
    stretches=3,
    waiting=1,
    reverts=0,
    segments=6,
    segment_rows=6,
    programs=2,
    chunks=5,
    hashes=2,
    integers=2,
    inserts=3,
    updates=3,
    seeks=1,
    reads=2,
    links=2,
    nodes=40,
    transactions=0,
    deployments=0,
)
SHAPE_M: Final = Shape(
    tier=TIER_M,
    stretches=10,
    waiting=4,
    reverts=2,
    segments=14,
    segment_rows=8,
    programs=6,
    chunks=16,
    hashes=8,
    integers=8,
    inserts=6,
    updates=8,
    seeks=2,
    reads=4,
    links=4,
    nodes=96,
    transactions=1,
    deployments=1,
)
SHAPE_L: Final = Shape(
    tier=TIER_L,
    stretches=18,
    waiting=8,
    reverts=4,
    segments=38,
    segment_rows=12,
    programs=8,
    chunks=40,
    hashes=20,
    integers=24,
    inserts=8,
    updates=14,
    seeks=4,
    reads=8,
    links=6,
    nodes=256,
    transactions=2,
    deployments=2,
)
SHAPE_XL: Final = Shape(
    tier=TIER_XL,
    stretches=36,
    waiting=16,
    reverts=8,
    segments=72,
    segment_rows=16,
    programs=12,
    chunks=80,
    hashes=36,
    integers=40,
    inserts=12,
    updates=20,
    seeks=6,
    reads=12,
    links=8,
    nodes=600,
    transactions=4,
    deployments=4,
)
SHAPES: Final = {shape.tier.number: shape for shape in (SHAPE_S, SHAPE_M, SHAPE_L, SHAPE_XL)}
