"""The circuit that most tests are about, made once for a test run, and judges of its witnesses."""

from __future__ import annotations

from dataclasses import replace
from functools import cache, partial
from typing import Final

from protocol.vm.state import VmState
from proving.circuit.builder import CompiledCircuit, compile_circuit, wtns_bytes
from proving.circuit.plan import execute, plan
from proving.circuit.table_vm import PUBLIC, table_vm
from proving.circuit.tiers import SHAPE_S, Shape
from proving.circuit.witness import Witness, assign
from proving.r1cs import R1cs, check, read_r1cs
from tests.support.stories import Story

SHAPE: Final = replace(
    SHAPE_S,
    waiting=2,
    segments=13,
    programs=4,
    chunks=10,
    hashes=6,
    integers=6,
    inserts=4,
    updates=4,
    seeks=1,
    reads=2,
    links=3,
    nodes=48,
)
"""Tier S with more room, so that every story here has a place; `test_tier_s.py` is about the tier itself."""
Z = 0x1234567890ABCDEF1234567890ABCDEF1234567890ABCDEF1234567890ABCDE
"""Stands for the challenge; a witness must satisfy the circuit for any."""


@cache
def circuit() -> CompiledCircuit:
    """Compiled."""
    return compile_circuit(partial(table_vm, shape=SHAPE, hints=None), PUBLIC)


@cache
def system() -> R1cs:
    """Its constraints, for the native checker."""
    return read_r1cs(circuit().r1cs_bytes)


def broken(witness: Witness) -> str | None:
    """The gadget whose constraint a witness breaks first; None if it satisfies all."""
    number = check(system(), wtns_bytes(witness.values))
    if number is None:
        return None
    for stamp in circuit().stamps:
        if stamp.first_constraint <= number < stamp.first_constraint + stamp.constraints:
            return f"{stamp.name[:24]} {number - stamp.first_constraint}"
    return f"constraint {number}"


def witness_of(story: Story, shape: Shape = SHAPE, *, state: VmState | None = None) -> Witness:
    """The honest witness of a story.

    Args:
        state: that it starts from, perhaps only a part of it.
    """
    core = story.core()
    runs = execute(core, story.rollup_id, state or story.first)
    return assign(shape, plan(shape, core, story.rollup_id, runs)).finish(Z)
