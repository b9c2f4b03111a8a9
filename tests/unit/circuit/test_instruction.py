"""The gadget that judges one instruction, against `check_instruction`: every op, every field, every edge."""

from __future__ import annotations

import random
from functools import cache

import pytest

from protocol.constants import FIELD_ORDER as R
from protocol.constants import MAX_PROGRAM
from protocol.errors import CodedError
from protocol.vm.isa import OPS, Immediate, Instruction, Op, Operand, check_instruction, unpack_instruction
from proving.circuit.instruction import WELL_FORMED
from tests.support.gadgets import Gadget, Made

RNG = random.Random(15)
U128 = 1 << 128
CONSTRAINTS = 418
REGISTERS = {Operand.UNUSED: (0,), Operand.INT: (0, 5, 11), Operand.FIELD: (12, 15)}
NUMBERS = {Operand.UNUSED: [0], Operand.INT: [0, 1, 4, 8, 11], Operand.FIELD: [12, 13, 15]}
IMMEDIATES = {
    Immediate.UNUSED: (0,),
    Immediate.TARGET: (0, 6),
    Immediate.U128: (0, U128 - 1),
    Immediate.COUNT: (0, 16),
    Immediate.WORD: (0, 15),
    Immediate.XCALL: (0, (1 << 104) - 1 - (239 << 32)),
    Immediate.XTRY: (1 << 40, (1 << 105) - 1 - (239 << 32)),
    Immediate.ICALL: (0, (16 << 32) + 0xFFFFFFFF),
}
"""The edges of each range, for a program of 7."""
EDGES = (
    *(0, 1, 6, 7, 8, 14, 15, 16, 17, 31, 32, 255, 256, (1 << 12) - 1, 1 << 12, 1 << 13, (1 << 13) + 1, (1 << 32) - 1),
    *(16 << 32, 17 << 32, 31 << 32, 32 << 32, 255 << 32, 1 << 40, 1 << 103, 1 << 104, (1 << 104) + (1 << 40), 1 << 105),
    *((1 << 40) + (16 << 32), (1 << 40) + (17 << 32), 1 << 127, U128 - 1),
)


@cache
def gadget() -> Gadget:
    """Recorded once."""
    return Gadget(lambda b, xs: b.stamp(WELL_FORMED, xs), 4)


def fits(high: int, low: int, pc: int, count: int) -> int:
    """What the rule says."""
    try:
        check_instruction(unpack_instruction(high << 128 | low), pc, count)
    except CodedError:
        return 0
    return 1


def judged(high: int, low: int, *, pc: int = 0, count: int = 7, native: bool = False) -> int:
    """An honest witness that says what the rule says; it holds."""
    made = gadget().fill([high, low, count, int(pc == count - 1)])
    assert made.outputs == [fits(high, low, pc, count)], (high, low, pc, count)
    if native:
        assert made.first_broken() is None
    return made.outputs[0]


def samples() -> list[Instruction]:
    """One right instruction of each op."""
    out = []
    for op, spec in OPS.items():
        rd, ra, rb = (RNG.choice(REGISTERS[kind]) for kind in (spec.rd, spec.ra, spec.rb))
        out.append(Instruction(op, rd, ra, rb, RNG.choice(IMMEDIATES[spec.imm])))
    return out


def test_constraint_count() -> None:
    """Committed: a deployment has fifteen."""
    count = gadget().circuit.n_constraints
    assert count == CONSTRAINTS


def test_every_op_number() -> None:
    """Enabled or not, with right fields for the enabled ones."""
    right = {x.op: x for x in samples()}
    tried = [right.get(op, Instruction(op)) for op in range(256)]
    assert [x.op for x in tried if judged(x.word0, x.imm)] == sorted(OPS)


@pytest.mark.parametrize("op", OPS)
def test_every_immediate_and_register_of_every_op(op: int) -> None:
    """Edges of all ranges, and all register numbers in each field; as last instruction and as another."""
    spec = OPS[op]
    right = next(x for x in samples() if x.op == op)
    assert judged(right.word0, right.imm, native=True) == 1
    assert sum(judged(right.word0, imm) for imm in EDGES) > 0
    for at, kind in ((8, spec.rd), (16, spec.ra), (24, spec.rb)):
        without = right.word0 & ~(0xFF << at)
        tried = (0, 1, 4, 8, 11, 12, 13, 15, 16, 28, 44, 140, 255)
        assert [n for n in tried if judged(without | n << at, right.imm)] == NUMBERS[kind]
    assert judged(right.word0, right.imm, pc=6) == int(op in (Op.JMP, Op.RETURN, Op.REVERT))
    for bit in (32, 33, 64, 127):
        assert judged(right.word0 | 1 << bit, right.imm) == 0


def test_jumps_stay_inside() -> None:
    """Below the count, whatever that is."""
    for count in (1, 2, 16, 4095, MAX_PROGRAM):
        for target in (0, count - 1, count, count + 1, 4095, 4096, 8191, 8192, count + (1 << 13), U128 - 1):
            assert judged(Op.JMP, target, count=count) == int(target < count)


# -- wires -------------------------------------------------------------------------------------------------------------


def explained(made: Made, wire: int) -> bool:
    """An inverse of 0: it occurs in one constraint, x * wire = 1 - zero."""
    constraints = gadget().constraints
    numbers = constraints.touching(wire)
    if len(numbers) != 1:
        return False
    a, b, _ = constraints.sides(numbers[0])
    return [w for w, _ in b] == [wire] and sum(k * made.values[w] for w, k in a) % R == 0


CASES = {
    "right": Instruction(Op.XTRYV, 0, 13, 4, (1 << 104) + (500 << 40) + (3 << 32) + 77),
    "wrong": Instruction(0x99, 1, 2, 3, U128 - 1),
    "nothing": Instruction(0),
}


@pytest.mark.parametrize("name", CASES)
def test_every_wire_is_determined_and_every_change_is_noticed(name: str) -> None:
    """Full rank; and no wire may change alone."""
    made = gadget().fill([CASES[name].word0, CASES[name].imm, 9, 0])
    loose = gadget().loose(made)
    free = gadget().unnoticed(made, made.inner, lambda x: (RNG.randrange(R), x + 1, 1 - x, -x))

    assert [wire for wire in {*loose, *free} if not explained(made, wire)] == []


@pytest.mark.parametrize("name", CASES)
def test_a_lie_in_any_hint_is_caught_or_changes_nothing(name: str) -> None:
    """Whoever flips a hint and fills all the rest consistently gets no other answer."""
    inputs = [CASES[name].word0, CASES[name].imm, 9, 0]
    honest = gadget().fill(inputs)
    for wire in sorted(honest.hinted - set(range(5))):
        lied = gadget().fill(inputs, {wire: (1 - honest.values[wire]) % R})
        assert lied.outputs == honest.outputs or next(gadget().constraints.broken(lied.values), None) is not None
