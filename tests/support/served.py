"""Tables with transactions and deployments, and a small circuit that has places for both."""

from __future__ import annotations

from functools import cache, partial

from protocol.statement import Tier
from proving.circuit.builder import CompiledCircuit, compile_circuit, wtns_bytes
from proving.circuit.plan import execute, plan
from proving.circuit.table_vm import PUBLIC, Hints, table_vm
from proving.circuit.tiers import Shape
from proving.circuit.witness import Witness, assign
from proving.r1cs import R1cs, check, read_r1cs
from tests.support.vmtables import VmTable

ROLLUP = 1
Z = 0x1234567890ABCDEF1234567890ABCDEF1234567890ABCDEF1234567890ABCDE
SHAPE = Shape(
    tier=Tier(name="served", number=0, entries=3, data_words=10),
    stretches=5,
    waiting=1,
    reverts=0,
    segments=4,
    segment_rows=8,
    programs=2,
    chunks=2,
    hashes=1,
    integers=1,
    inserts=5,
    updates=6,
    seeks=2,
    reads=3,
    links=3,
    nodes=90,
    transactions=2,
    deployments=1,
)


@cache
def circuit() -> CompiledCircuit:
    """Recorded once."""
    return compile_circuit(partial(table_vm, shape=SHAPE, hints=None), PUBLIC)


@cache
def system() -> R1cs:
    """Its constraints, for the native checker."""
    return read_r1cs(circuit().r1cs_bytes)


def hints_of(table: VmTable, **changes: object) -> Hints:
    """What an honest prover would choose."""
    core = table.core(**changes)
    return plan(SHAPE, core, ROLLUP, execute(core, ROLLUP, table.first[ROLLUP]))


def witness_of(hints: Hints) -> Witness:
    """All wires."""
    return assign(SHAPE, hints).finish(Z)


def broken(hints: Hints) -> str | None:
    """The gadget whose constraint a witness breaks first; None if it satisfies all."""
    number = check(system(), wtns_bytes(witness_of(hints).values))
    if number is None:
        return None
    for stamp in circuit().stamps:
        if stamp.first_constraint <= number < stamp.first_constraint + stamp.constraints:
            return f"{stamp.name[:24]} {number - stamp.first_constraint}"
    before = max((s for s in circuit().stamps if s.first_constraint <= number), key=lambda s: s.first_constraint)
    return f"constraint {number}, {number - before.first_constraint - before.constraints} behind {before.name[:24]}"
