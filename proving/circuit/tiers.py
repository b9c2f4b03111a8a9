"""Sizes of the table-VM circuit in each tier, and whether a run fits (SPEC §6)."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Final

from protocol.statement import TIER_S, Tier


@dataclass(frozen=True, slots=True, kw_only=True)
class Shape:
    """What a circuit has room for. Sizes beyond the tier's own (entries, data words) limit this circuit only."""

    tier: Tier
    steps: int
    """Steps of one entry."""
    program: int
    """Instructions of the one program that the entries of a table may run."""
    hashes: int
    """HASH inputs that differ, over all entries."""
    writers: int
    """Tree units that can write: one for a present key, two for an insertion."""
    readers: int
    """Tree units that only read; a spare writer can also read."""


SHAPE_S: Final = Shape(tier=TIER_S, steps=32, program=64, hashes=6, writers=4, readers=2)
SHAPES: Final = {TIER_S.number: SHAPE_S}
