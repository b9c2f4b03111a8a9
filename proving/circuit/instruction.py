"""Whether one data word is a well-formed instruction (SPEC §4.2), provable either way.

The op is decoded as two nibbles. What the table of SPEC §4.3 says of an op (the class of each register, the kind of its
immediate, whether a program may end with it) is then a sum over products of both: for each high nibble one product with
the low nibbles that have the property. The table is `protocol.vm.isa.OPS` itself.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Final

from protocol.constants import INT_BITS, MAX_PROGRAM
from protocol.vm.isa import ENDS, OPS, Immediate, Operand, OpSpec
from proving.circuit.bits import from_bits, is_zero, select, to_bits
from proving.circuit.builder import Builder, Expr, Template, plus

_COUNT_BITS: Final = MAX_PROGRAM.bit_length()
"""Of a number of instructions, the largest included."""


def _nibble(b: Builder, bits: Sequence[Expr]) -> list[Expr]:
    """One flag for each value of four bits."""
    pairs = []
    for low, high in (bits[:2], bits[2:]):
        both = b.mul(low, high)
        pairs.append([1 - low - high + both, low - both, high - both, both])
    return [b.mul(x, y) for y in pairs[1] for x in pairs[0]]


class _Table:
    """Sums over the instruction table for one op, given by its nibbles."""

    def __init__(self, b: Builder, bits: Sequence[Expr]) -> None:
        self._b = b
        self._low, self._high = _nibble(b, bits[:4]), _nibble(b, bits[4:])

    def has(self, wanted: Callable[[OpSpec], bool]) -> Expr:
        """1 if the op is enabled and its row is as wanted, else 0."""
        columns: dict[int, list[Expr]] = {}
        for op, spec in OPS.items():
            if wanted(spec):
                columns.setdefault(op >> 4, []).append(self._low[op & 15])
        return plus(self._b.mul(self._high[high], plus(lows)) for high, lows in columns.items())


def _register_fits(b: Builder, bits: Sequence[Expr], integer: Expr, word: Expr) -> Expr:
    """1 if a register number is one of the class that the op wants: integer, field, or none."""
    short = is_zero(b, plus(bits[4:]))
    of_field = b.mul(bits[2], bits[3])
    named = b.mul(short, select(b, [integer, word], [1 - of_field, of_field]))
    # Unused: 0, which is an integer register's number, too.
    return b.mul_add(1 - integer - word, is_zero(b, plus(bits)), named)


def _at_most_16(b: Builder, bits: Sequence[Expr]) -> tuple[Expr, Expr]:
    """For eight bits: 1 if their number is at most 16, and 1 if it is below."""
    above, low = is_zero(b, plus(bits[5:])), is_zero(b, plus(bits[:4]))
    below = b.mul(above, 1 - bits[4])
    return b.mul_add(b.mul(above, bits[4]), low, below), below


def _immediate_fits(b: Builder, table: _Table, bits: Sequence[Expr], count: Expr) -> Expr:
    """1 if imm is in the range of the op's kind.

    Args:
        bits: of imm.
        count: of the program's instructions, at most MAX_PROGRAM.
    """

    def zero(first: int, last: int) -> Expr:
        return is_zero(b, plus(bits[first:last]))

    no_byte, no_target = zero(8, INT_BITS), zero(_COUNT_BITS, INT_BITS)
    # imm < count, for two numbers below 2^13.
    difference = to_bits(b, count - 1 - from_bits(bits[:_COUNT_BITS]) + (1 << _COUNT_BITS), _COUNT_BITS + 1)
    up_to_16, below_16 = _at_most_16(b, bits)
    words, _ = _at_most_16(b, bits[32:40])
    no_gas, no_more = zero(40, 104), zero(105, INT_BITS)
    call = b.mul(words, no_more)
    plain = b.mul(call, 1 - bits[104])
    fits = {
        Immediate.UNUSED: is_zero(b, plus(bits)),
        Immediate.TARGET: b.mul(no_target, difference[_COUNT_BITS]),
        Immediate.U128: 1,
        Immediate.COUNT: b.mul(no_byte, up_to_16),
        Immediate.WORD: b.mul(no_byte, below_16),
        Immediate.XCALL: plain,
        Immediate.XTRY: b.mul(call, 1 - no_gas),
        Immediate.ICALL: b.mul(plain, no_gas),
    }
    return plus(b.mul(table.has(lambda spec, kind=kind: spec.imm is kind), fit) for kind, fit in fits.items())  # type: ignore[misc]


def _well_formed(b: Builder, inputs: Sequence[Expr], _: None) -> Sequence[Expr]:
    word0, imm, count, last = inputs
    bits, imm_bits = to_bits(b, word0, INT_BITS), to_bits(b, imm, INT_BITS)
    table = _Table(b, bits[:8])
    registers: list[Expr] = []
    for at, name in ((8, "rd"), (16, "ra"), (24, "rb")):
        integer, word = (
            table.has(lambda spec, name=name, kind=kind: getattr(spec, name) is kind)  # type: ignore[misc]
            for kind in (Operand.INT, Operand.FIELD)
        )
        registers.append(_register_fits(b, bits[at : at + 8], integer, word))
    short = is_zero(b, plus(bits[32:]))
    ends = table.has(lambda spec: spec.op in ENDS)
    # An op that is not enabled has no kind of immediate, so none fits.
    fits = b.mul(_immediate_fits(b, table, imm_bits, count), b.mul(short, 1 - b.mul(last, 1 - ends)))
    return [b.mul(b.mul(registers[0], registers[1]), b.mul(registers[2], fits))]


WELL_FORMED: Final = Template(name="well-formed instruction", inputs=4, body=_well_formed)
"""Inputs: hi and lo of a data word, both below 2^128; how many instructions the program has, 1 to MAX_PROGRAM; 1 if it
is the last one. Output: 1 if it is well-formed in its place, else 0. For another count the output says nothing."""
