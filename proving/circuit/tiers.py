"""Sizes of the table-VM circuit in each tier (SPEC §6)."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Final

from protocol.statement import TIER_M, TIER_S, Tier
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
    pairs: int
    """Pairs of tree units that can write: a pair for each insertion, one unit for each rewritten key."""
    readers: int
    """Tree units that only read; a spare writing unit can also read."""
    transactions: int
    """L2TX entries in one table."""
    deployments: int
    """Calls to DEPLOYER in one table."""
    block_levels: int
    """All leaves that a table touches lie in one aligned block of 4^block_levels places."""

    @property
    def roles(self) -> tuple[Role, ...]:
        """Roles of all tree units in their order."""
        return (Role.FIRST, Role.SECOND) * self.pairs + (Role.READ,) * self.readers


SHAPE_S: Final = Shape(
    tier=TIER_S,
    stretches=3,
    waiting=2,
    reverts=0,
    segments=13,
    segment_rows=6,
    programs=4,
    chunks=10,
    hashes=6,
    integers=6,
    pairs=4,
    readers=3,
    transactions=0,
    deployments=0,
    block_levels=8,
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
    pairs=5,
    readers=5,
    transactions=1,
    deployments=1,
    block_levels=8,
)
SHAPES: Final = {shape.tier.number: shape for shape in (SHAPE_S, SHAPE_M)}
