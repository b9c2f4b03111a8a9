"""The measuring circuit: exact size, satisfied, every wire constrained, and the density it claims."""

from __future__ import annotations

import random
from collections import Counter

import pytest

from proving.bench_circuit import MAX_ROWS, STEP, bench_circuit, rows_filling
from proving.r1cs import check, read_r1cs, write_r1cs
from proving.wtns import Witness


@pytest.mark.parametrize("rows", [1, 2, STEP, STEP + 1, 2 * STEP + 1, 1000])
def test_it_has_exactly_the_rows_asked_for_and_its_witness_satisfies_them(rows: int) -> None:
    circuit = bench_circuit(rows, seed=rows)

    assert circuit.r1cs.n_constraints == rows
    assert len(circuit.witness) == circuit.r1cs.n_wires
    assert check(circuit.r1cs, circuit.witness) is None
    assert read_r1cs(write_r1cs(circuit.r1cs)) == circuit.r1cs


def test_each_wire_is_bound_by_a_constraint() -> None:
    """A change to any wire but the unused start value breaks a row; the input reaches the output."""
    circuit = bench_circuit(2 * STEP + 5)
    rng = random.Random(1)
    wires = {1, 2, 3, 4, len(circuit.witness) - 1, *(rng.randrange(5, len(circuit.witness)) for _ in range(60))}
    for wire in wires:
        values = bytearray(circuit.witness.values)
        values[32 * wire] ^= 1

        assert check(circuit.r1cs, Witness(values=values)) is not None, wire


def test_its_density_is_that_of_a_circuit_in_use() -> None:
    circuit = bench_circuit(rows_filling(13))
    values = Counter(min(circuit.witness[wire], 2) for wire in range(len(circuit.witness)))
    share = {value: count / len(circuit.witness) for value, count in values.items()}

    assert 0.17 < share[0] < 0.19
    assert 0.02 < share[1] < 0.03


def test_another_seed_gives_another_witness_of_the_same_rows() -> None:
    one, two = bench_circuit(700, seed=1), bench_circuit(700, seed=2)

    assert one.r1cs == two.r1cs
    assert one.witness != two.witness


@pytest.mark.parametrize(("rows", "seed"), [(0, 0), (MAX_ROWS + 1, 0), (1, -1), (1, 1 << 64)])
def test_sizes_and_seeds_out_of_range_are_refused(rows: int, seed: int) -> None:
    with pytest.raises(ValueError):
        bench_circuit(rows, seed=seed)
