"""Small constraint systems with satisfying witnesses, for tests."""

from __future__ import annotations

import random
from dataclasses import dataclass

from proving.bn254 import R
from proving.r1cs import R1cs, Row, encode_rows
from proving.wtns import Witness


@dataclass(frozen=True, slots=True, kw_only=True)
class Circuit:
    rows: tuple[Row, ...]
    values: tuple[int, ...]
    """Witness values, wire 0 included."""
    n_public: int

    def r1cs(self) -> R1cs:
        return R1cs(
            n_wires=len(self.values),
            n_public_outputs=self.n_public,
            n_public_inputs=0,
            n_private_inputs=0,
            n_labels=len(self.values),
            n_constraints=len(self.rows),
            rows=encode_rows(self.rows),
            labels=b"",
        )

    def witness(self) -> Witness:
        return Witness.from_ints(self.values)


def square_and_product() -> Circuit:
    """Wires: 1, y, x, k, p with y = x * x public and p = (3x + 5) k."""
    return Circuit(
        rows=(({2: 1}, {2: 1}, {1: 1}), ({0: 5, 2: 3}, {3: 1}, {4: 1})), values=(1, 49, 7, 3, 78), n_public=1
    )


def random_circuit(n_constraints: int, n_public: int, seed: int) -> Circuit:
    """Each row multiplies two random combinations of earlier wires into the next wire; a fifth of wires are bits."""
    rng = random.Random(seed)
    values = [1, *(rng.randrange(R) for _ in range(n_public + 3))]
    rows: list[Row] = []
    while len(rows) < n_constraints:
        if rng.randrange(5) == 0:
            wire = len(values)
            values.append(rng.randrange(2))
            rows.append(({wire: 1}, {wire: 1}, {wire: 1}))
            continue
        sides = [
            {
                rng.randrange(len(values)): rng.choice([1, R - 1, 2, rng.randrange(1, R)])
                for _ in range(rng.randrange(1, 5))
            }
            for _ in range(2)
        ]
        a, b = (sum(k * values[wire] for wire, k in side.items()) % R for side in sides)
        rows.append((sides[0], sides[1], {len(values): 1}))
        values.append(a * b % R)
    return Circuit(rows=tuple(rows), values=tuple(values), n_public=n_public)
