"""How fast a device could be, from one measured number: its rate of 32 x 32 + 64 bit multiply-adds.

Counted are multiplications in Fq and nothing else: no additions, no memory, no sorting. What is measured stays above.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Final

import numpy as np

from proving.wtns import Witness
from proving.zkey import Zkey

WIDE_PER_MULTIPLICATION: Final = 128
"""Eight by eight limbs for the product, as many for the Montgomery reduction."""
MIXED_ADDITION: Final = {1: 10, 2: 28}
"""Multiplications in Fq of an XYZZ plus affine addition, by group; an Fq2 product is three, a square two."""
FULL_ADDITION: Final = {1: 14, 2: 40}
_SCALAR_BITS: Final = 253


def best_cut(entries_per_window: float, group: int) -> tuple[int, int]:
    """Digit width and windows with the fewest multiplications, all multiples of the points stored."""

    def cost(width: int) -> float:
        windows = _SCALAR_BITS // width + 1
        return entries_per_window * windows * MIXED_ADDITION[group] + (2 << width - 1) * FULL_ADDITION[group]

    width = min(range(4, 24), key=cost)
    return width, _SCALAR_BITS // width + 1


def sum_multiplications(points: int, group: int) -> float:
    """Of a sum of so many points with dense scalars: one addition for each digit that is not zero, two per bucket."""
    width, windows = best_cut(points, group)
    additions = points * windows * (1 - 2.0**-width) - (1 << width - 1)
    return additions * MIXED_ADDITION[group] + (2 << width - 1) * FULL_ADDITION[group]


def transform_multiplications(log_size: int) -> float:
    """Of one transform of 2^log_size values."""
    return (1 << log_size) * log_size / 2


@dataclass(frozen=True, slots=True, kw_only=True)
class ProofWork:
    """Multiplications of one proof."""

    sums: float
    transforms: float
    rows: float

    @property
    def total(self) -> float:
        return self.sums + self.transforms + self.rows


def proof_work(key: Zkey, witness: Witness) -> ProofWork:
    """What this key and witness need: zeros and points at infinity cost nothing, a small value one addition."""
    log_size = key.domain.bit_length() - 1
    values = np.frombuffer(witness.values, dtype="<u8").reshape(-1, 4)
    is_dense = (values[:, 1:] != 0).any(axis=1)
    is_small = ~is_dense & (values[:, 0] != 0)
    total = sum_multiplications(key.domain, 1)
    leading = np.zeros(64 * (key.n_public + 1), dtype=np.uint8)
    sections = ((1, key.a), (1, np.concatenate([leading, np.frombuffer(key.l, dtype=np.uint8)])), (2, key.b2))
    for group, section in sections:
        points = np.frombuffer(section, dtype="<u8").reshape(key.n_wires, 8 * group)
        is_finite = (points != 0).any(axis=1)
        dense, small = int((is_dense & is_finite).sum()), int((is_small & is_finite).sum())
        total += sum_multiplications(dense, group) + small * MIXED_ADDITION[group] if dense else 0
    return ProofWork(
        sums=total,
        transforms=6 * transform_multiplications(log_size) + 3 * key.domain,
        rows=(len(key.coefficients) - 4) // 44 + 2 * key.domain,
    )
