"""In which tier a table has a place, and that its witness there satisfies the circuit."""

from __future__ import annotations

from dataclasses import replace
from functools import cache, partial
from typing import Final

from protocol.payload import make_witness, state_from_witness
from protocol.statement import Tier
from proving.circuit.builder import compile_circuit
from proving.circuit.errors import TierExceeded
from proving.circuit.plan import execute, fits, plan
from proving.circuit.table_vm import PUBLIC, circuit_for, table_vm
from proving.circuit.tiers import SHAPE_M, SHAPE_S, SHAPES, Shape
from proving.circuit.witness import assign
from proving.r1cs import R1cs, check, read_r1cs
from tests.support.circuits import Z
from tests.support.vmtables import VmTable

ROOMY: Final = replace(
    SHAPE_M,
    tier=Tier(name="roomy", number=0, entries=3, data_words=4),
    segments=24,
    reverts=0,
    transactions=0,
    deployments=0,
)
"""The circuit of tier M with twice the rows, and without what the example programs do not need."""
ALL: Final = (SHAPE_S, SHAPE_M, ROOMY)


@cache
def system_of(shape: Shape) -> R1cs:
    """Constraints of a shape, for the native checker."""
    if shape in SHAPES.values():
        return read_r1cs(circuit_for(shape.tier.number).r1cs_bytes)
    return read_r1cs(compile_circuit(partial(table_vm, shape=shape, hints=None), PUBLIC).r1cs_bytes)


def has_place(shape: Shape, table: VmTable, rollup_id: int) -> bool:
    """Whether a shape has a place for a rollup's part of a table."""
    core, first = table.core(), table.first[rollup_id]
    return fits(shape, core, rollup_id, execute(core, rollup_id, first)) is None


def place_of(table: VmTable, rollup_id: int) -> str:
    """Name of the smallest circuit that has a place for a rollup's part of a table; its witness satisfies it.

    It is made from the state witness that a prover gets.
    """
    core, first = table.core(), table.first[rollup_id]
    part = state_from_witness(make_witness(first, execute(core, rollup_id, first)))
    refusals = []
    for shape in ALL:
        try:
            hints = plan(shape, core, rollup_id, execute(core, rollup_id, part))
        except TierExceeded as error:
            refusals.append(str(error))
            continue
        assert check(system_of(shape), assign(shape, hints).finish(Z).wtns) is None, f"tier {shape.tier.name}"
        return shape.tier.name
    raise AssertionError("; ".join(refusals))
