"""The generated circuits are satisfied by their witnesses, fill their domains and refuse a changed value."""

from __future__ import annotations

import pytest

from proving.r1cs import check, read_r1cs, write_r1cs
from tests.support.largecircuits import BLOCK_CONSTRAINTS, fills_domain, mixed_circuit


def test_a_witness_satisfies_its_circuit_and_a_changed_value_is_noticed() -> None:
    circuit = mixed_circuit(blocks=3)

    assert check(circuit.r1cs, circuit.witness) is None
    for wire in (1, 4, 4 + 2 * BLOCK_CONSTRAINTS, circuit.r1cs.n_wires - 1):
        circuit.witness.values[32 * wire] ^= 1
        assert check(circuit.r1cs, circuit.witness) is not None
        circuit.witness.values[32 * wire] ^= 1


def test_sizes_seeds_and_round_trip() -> None:
    circuit = mixed_circuit(blocks=2)

    assert read_r1cs(write_r1cs(circuit.r1cs)).rows == circuit.r1cs.rows
    assert mixed_circuit(blocks=2) == circuit
    assert mixed_circuit(blocks=2, seed=2).witness != circuit.witness


@pytest.mark.parametrize("log_size", [9, 14, 20])
def test_the_largest_circuit_of_a_domain_fills_it(log_size: int) -> None:
    rows = fills_domain(log_size) * BLOCK_CONSTRAINTS + 2

    assert rows <= 1 << log_size < rows + BLOCK_CONSTRAINTS
