"""Tables with transactions and deployments, and a small circuit that has places for both."""

from __future__ import annotations

from dataclasses import replace
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


WIDE = replace(SHAPE, tier=replace(SHAPE.tier, data_words=16), transactions=0, deployments=2)
"""As many data words as a whole part of a program takes."""


@cache
def circuit(shape: Shape = SHAPE) -> CompiledCircuit:
    """Recorded once."""
    return compile_circuit(partial(table_vm, shape=shape, hints=None), PUBLIC)


@cache
def system(shape: Shape) -> R1cs:
    """Its constraints, for the native checker."""
    return read_r1cs(circuit(shape).r1cs_bytes)


def hints_of(table: VmTable, shape: Shape = SHAPE) -> Hints:
    """What an honest prover would choose."""
    core = table.core()
    return plan(shape, core, ROLLUP, execute(core, ROLLUP, table.first[ROLLUP]))


def witness_of(hints: Hints, shape: Shape = SHAPE) -> Witness:
    """All wires."""
    return assign(shape, hints).finish(Z)


def broken(hints: Hints, shape: Shape = SHAPE) -> str | None:
    """Where the constraint is that a witness breaks first; None if it satisfies all."""
    number = check(system(shape), wtns_bytes(witness_of(hints, shape).values))
    if number is None:
        return None
    stamps = [stamp for stamp in circuit(shape).stamps if stamp.first_constraint <= number]
    return f"constraint {number}, {number - stamps[-1].first_constraint} from {stamps[-1].name[:24]} on"
