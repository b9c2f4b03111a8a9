"""The circuit of tier S, made once for a test run, and judges of its witnesses."""

from __future__ import annotations

from functools import cache

from proving.circuit.builder import CompiledCircuit, wtns_bytes
from proving.circuit.table_vm import circuit_for
from proving.circuit.witness import Witness, prepare
from proving.r1cs import R1cs, check, read_r1cs
from tests.support.stories import Story

TIER = 0
Z = 0x1234567890ABCDEF1234567890ABCDEF1234567890ABCDEF1234567890ABCDE
"""Stands for the challenge; a witness must satisfy the circuit for any."""


@cache
def circuit() -> CompiledCircuit:
    """The circuit of tier S."""
    return circuit_for(TIER)


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


def witness_of(story: Story) -> Witness:
    """The honest witness of a story."""
    return prepare(TIER, story.core(), story.rollup_id, story.first).finish(Z)
