"""One step of the machine (SPEC §4.3): fetch, decode, operate, write back.

A step that ends the stretch (RETURN, REVERT, a call or a trap) leaves pc and state as they are, so that the steps after
it repeat it and the last one shows how the stretch ended. A row that serves no stretch has no operation.

Registers that an operation does not use, and registers of the wrong class, have no flag here: an instruction that is
ill-formed in that way has no witness.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from functools import cache, partial
from typing import Final

from protocol.constants import INT_BITS
from proving.circuit.bits import flags, from_bits, is_zero, raw_bits, to_bits, weighted
from proving.circuit.builder import Builder, Expr, Template, plus, total, value
from proving.circuit.operations import (
    CALLS,
    CODES,
    ENVIRONMENT,
    GROUP_BIT,
    GROUP_OF,
    GROUPS,
    NUMBERS,
    TRIES,
    VALUED,
    WORD_OPERATIONS,
    with_register,
)
from proving.circuit.program import NUMBER_BIT, PC_BIT
from proving.circuit.tree_unit import ordered_pairs

INT_REGISTERS: Final = 12
REGISTERS: Final = 16
_LIMIT: Final = 1 << INT_BITS
_REGISTER_BITS: Final = 4
_NAMES: Final = {number: name for name, number in CODES.items()}
_PLAIN: Final = tuple(name for name in CODES if name not in WORD_OPERATIONS and name not in GROUP_OF)


@dataclass(frozen=True, slots=True, kw_only=True)
class StepShape:
    """Sizes that fix the step template."""

    data_words: int
    hashes: int
    """HASH units of the circuit."""
    integers: int
    """Integer units."""
    cells: int
    """Tree units of the circuit."""
    inserting: tuple[int, ...]
    """Cells that can be inserted. Of two that one stretch inserts, the earlier one here must be inserted first."""


@dataclass(frozen=True, slots=True, kw_only=True)
class StepHint:
    """What the machine's state does not determine."""

    program: Sequence[tuple[int, int]]
    """(word0, imm) of each instruction."""
    cells: dict[int, int]
    """Storage slot -> unit, for the stretch that runs."""
    hashes: dict[tuple[int, int], int]
    """Inputs of HASH -> unit."""
    integers: dict[tuple[int, int, int], int]
    """Opcode and operands -> integer unit."""


@dataclass(slots=True, kw_only=True)
class Machine:
    """State that steps carry. All are single wires."""

    pc: Expr
    registers: list[Expr]
    out: list[Expr]
    """hi_0.., then lo_0.."""
    values: list[Expr]
    """Value of each cell."""
    types: list[Expr]
    """Type of each cell."""
    present: list[Expr]
    """Whether each cell's key is present."""

    def wires(self) -> list[Expr]:
        """All, in a fixed order."""
        return [self.pc, *self.registers, *self.out, *self.values, *self.types, *self.present]


@dataclass(slots=True, kw_only=True)
class Surroundings:
    """What steps read and do not change. All are single wires."""

    run: Expr
    """1 if a program runs."""
    both: list[Expr]
    """For each two `inserting` cells, as `ordered_pairs` lists them: 1 if this stretch inserts both."""
    program: Expr
    """Number of the program that runs."""
    environment: list[Expr]
    """What the operations of ENVIRONMENT give."""
    arguments: list[Expr]
    """hi_0.., then lo_0.."""
    answer: list[Expr]
    hashes: list[tuple[Expr, Expr, Expr]]
    """Two inputs and the output of each HASH unit."""
    integers: list[tuple[Expr, Expr, Expr, Expr, Expr]]
    """`unit_tag`, two operands, result and trap of each integer unit."""
    slots: list[Expr]
    """Slot of each cell."""

    def wires(self) -> list[Expr]:
        """All, in a fixed order."""
        units = [x for unit in (*self.hashes, *self.integers) for x in unit]
        return [
            *(self.run, *self.both, self.program, *self.environment),
            *(*self.arguments, *self.answer, *units, *self.slots),
        ]


@dataclass(slots=True, kw_only=True)
class StepEnd:
    """What the stretch reads off a step."""

    machine: Machine
    halted: Expr
    xcall: Expr
    """1 for an outgoing call."""
    icall: Expr
    """1 for a call inside the rollup."""
    returns: Expr
    reverts: Expr
    trap: Expr
    """OVERFLOW, ADDRESS, TYPE or DIVISION; ENDPOINT, DEPTH and BALANCE are decided for the last step only."""
    tries: Expr
    """1 for XTRY and XTRYV."""
    valued: Expr
    """1 for XCALLV, XTRYV and ICALL."""
    balance: Expr
    """1 for BALANCE."""
    immediate: Expr
    operand: Expr
    """ra."""
    second: Expr
    """rb."""
    fetched: Expr
    """What the table of instructions must have (`program.py`); 0 if nothing runs."""
    touched: list[Expr]
    """For each cell: 1 if the step read or wrote it."""


@dataclass(slots=True)
class _Reader:
    wires: Sequence[Expr]
    at: int = field(init=False, default=0)

    def one(self) -> Expr:
        return self.many(1)[0]

    def many(self, n: int) -> list[Expr]:
        self.at += n
        return list(self.wires[self.at - n : self.at])


def _read_machine(reader: _Reader, shape: StepShape) -> Machine:
    return Machine(
        pc=reader.one(),
        registers=reader.many(REGISTERS),
        out=reader.many(2 * shape.data_words),
        values=reader.many(shape.cells),
        types=reader.many(shape.cells),
        present=reader.many(shape.cells),
    )


def _read_surroundings(reader: _Reader, shape: StepShape) -> Surroundings:
    return Surroundings(
        run=reader.one(),
        both=reader.many(len(ordered_pairs(len(shape.inserting)))),
        program=reader.one(),
        environment=reader.many(len(ENVIRONMENT)),
        arguments=reader.many(2 * shape.data_words),
        answer=reader.many(2 * shape.data_words),
        hashes=[(reader.one(), reader.one(), reader.one()) for _ in range(shape.hashes)],
        integers=[
            (reader.one(), reader.one(), reader.one(), reader.one(), reader.one()) for _ in range(shape.integers)
        ],
        slots=reader.many(shape.cells),
    )


def step(b: Builder, shape: StepShape, machine: Machine, around: Surroundings, hint: StepHint | None) -> StepEnd:
    """Stamp one step."""
    outputs = _Reader(b.stamp(step_template(shape), [*machine.wires(), *around.wires()], hint))
    return StepEnd(
        machine=_read_machine(outputs, shape),
        halted=outputs.one(),
        xcall=outputs.one(),
        icall=outputs.one(),
        returns=outputs.one(),
        reverts=outputs.one(),
        trap=outputs.one(),
        tries=outputs.one(),
        valued=outputs.one(),
        balance=outputs.one(),
        immediate=outputs.one(),
        operand=outputs.one(),
        second=outputs.one(),
        fetched=outputs.one(),
        touched=outputs.many(shape.cells),
    )


@cache
def step_template(shape: StepShape) -> Template[StepHint]:
    """The gadget as a template; inputs are the wires of a `Machine`, then of its `Surroundings`."""

    def body(b: Builder, inputs: Sequence[Expr], hint: StepHint | None) -> Sequence[Expr]:
        return StepGadget(b, shape, inputs, hint).run()

    carried = 1 + REGISTERS + 2 * shape.data_words + 3 * shape.cells
    read = 1 + len(ordered_pairs(len(shape.inserting))) + 1 + len(ENVIRONMENT)
    return Template(
        name=f"step {shape}",
        inputs=carried + read + 4 * shape.data_words + 3 * shape.hashes + 5 * shape.integers + shape.cells,
        body=body,
    )


class StepGadget:
    """The gadget, cut into phases. Flags are named by operation."""

    def __init__(self, b: Builder, shape: StepShape, inputs: Sequence[Expr], hint: StepHint | None) -> None:
        reader = _Reader(inputs)
        self.b = b
        self.shape = shape
        self.machine = _read_machine(reader, shape)
        self.around = _read_surroundings(reader, shape)
        self.hint = hint
        self.op: dict[str, Expr] = {}
        self.word: dict[str, list[Expr]] = {}

    def any_of(self, *names: str) -> Expr:
        """1 if the operation is one of these."""
        return plus(self.op[name] for name in names)

    def run(self) -> list[Expr]:
        """Lay out the step and return its outputs."""
        self._fetch()
        self._decode()
        self._read_registers()
        self._sources()
        self._arithmetic()
        self._cells()
        return self._write_back()

    # -- fetch and decode ----------------------------------------------------------------------------------------------

    def _instruction(self) -> tuple[int, int]:
        """(word0, imm) at pc, or zeros where nothing runs or pc has left the program; hints only."""
        if self.hint is None or not value(self.around.run) or value(self.machine.pc) >= len(self.hint.program):
            return 0, 0
        return self.hint.program[value(self.machine.pc)]

    def _fetch(self) -> None:
        """word0 and imm at pc: the table of instructions must have the word that they make with it.

        Decoding keeps word0 below 2^32 and imm below 2^128, and jump targets of a well-formed program are places of it,
        so the word says all of them.
        """
        b, around = self.b, self.around
        self.word0 = b.hint(lambda: self._instruction()[0])
        self.imm = b.hint(lambda: self._instruction()[1])
        place = (self.machine.pc + around.program * (1 << NUMBER_BIT)) * (1 << PC_BIT)
        self.fetched = b.mul_add(around.run, place, self.word0 * _LIMIT + self.imm)

    def _decode(self) -> None:
        """Flags of the operation and of its registers; together they spell word0."""
        b, words = self.b, self.shape.data_words
        name = None if b.recording else _NAMES.get(value(self.word0) & 0xFF)
        group = GROUP_OF.get(name or "")
        name = group or name
        plain = flags(b, len(_PLAIN), lambda: _PLAIN.index(name) if name in _PLAIN else None)
        self.op = dict(zip(_PLAIN, plain, strict=True))
        groups = flags(b, len(GROUPS), lambda: list(GROUPS).index(group) if group else None)
        self.op.update(zip(GROUPS, groups, strict=True))
        for words_of in WORD_OPERATIONS:
            self.word[words_of] = flags(b, words, partial(self._word_of, words_of, name))
            self.op[words_of] = plus(self.word[words_of])
        b.equal(plus(self.op.values()), self.around.run)
        # Operations outside NUMBERS spell their imm; that of the others is range-checked (`_arithmetic`).
        named = plus(weighted(self.word[g]) for g in WORD_OPERATIONS)
        b.enforce(1 - self.any_of(*NUMBERS), self.imm - named, 0)
        # Which of its group an operation is, the integer unit says.
        self.code = b.hint(lambda: value(self.word0) & 0xFF if group else 0)
        b.enforce(1 - plus(groups), self.code, 0)
        spelled = [(number, self.op[name]) for name, number in CODES.items() if name not in GROUP_OF]
        spelled.append((1, self.code))
        written = self._used(0, name)
        self.target = flags(b, REGISTERS, partial(self._register_at, 8, written))
        b.equal(plus(self.target[:INT_REGISTERS]), self.any_of(*with_register(0, "i")))
        b.equal(plus(self.target[INT_REGISTERS:]), self.any_of(*with_register(0, "f")))
        spelled.append((1 << 8, weighted(self.target)))
        self.read: list[list[Expr]] = []
        for operand in (1, 2):
            shift = 8 * (operand + 1)
            place = partial(self._register_at, shift, self._used(operand, name))
            bits = raw_bits(b, lambda place=place: place() or 0, _REGISTER_BITS)  # type: ignore[misc]
            integer, any_field = (self.any_of(*with_register(operand, kind)) for kind in "if")
            # Field registers are the last four.
            b.enforce(bits[3], bits[2], any_field)
            b.enforce(1 - integer - any_field, from_bits(bits), 0)
            spelled.append((1 << shift, from_bits(bits)))
            self.read.append(bits)
        b.equal(total(spelled), self.word0)

    def _used(self, operand: int, name: str | None) -> bool:
        return name in (*with_register(operand, "i"), *with_register(operand, "f"))

    def _register_at(self, shift: int, used: bool) -> int | None:
        return value(self.word0) >> shift & 0xFF if used else None

    def _word_of(self, group: str, name: str | None) -> int | None:
        return value(self.imm) if group == name else None

    def _held(self, register: Sequence[Expr]) -> int:
        return sum(value(flag) * value(x) for flag, x in zip(register, self.machine.registers, strict=True))

    def _read_registers(self) -> None:
        """ra and rb, 0 where an operation has none."""
        b = self.b
        self.operands: list[Expr] = []
        for bits, operand in zip(self.read, (1, 2), strict=True):
            row = self.machine.registers
            for bit in bits:
                row = [b.mul_add(bit, high - low, low) for low, high in zip(row[::2], row[1::2], strict=True)]
            used = self.any_of(*with_register(operand, "i"), *with_register(operand, "f"))
            self.operands.append(b.mul(used, row[0]))

    # -- operate -------------------------------------------------------------------------------------------------------

    def _sources(self) -> None:
        """`look`: what the environment, a HASH unit or a cell gives; for a store, what the cell becomes."""
        b, around, words = self.b, self.around, self.shape.data_words
        ra, rb = self.operands
        tables = {"ARG": around.arguments, "RET": around.answer}
        sources = list(zip((self.op[name] for name in ENVIRONMENT), around.environment, strict=True))
        for group in WORD_OPERATIONS[:4]:
            half = tables[group[:3]]
            part = half[:words] if group.endswith("HI") else half[words:]
            sources += zip(self.word[group], part, strict=True)

        unit = flags(b, self.shape.hashes, self._hash_unit)
        cell = flags(b, self.shape.cells, self._cell)
        self.cell = cell
        b.equal(plus(unit), self.op["HASH"])
        loads, stores = self.any_of("SLOAD", "SLOADF"), self.any_of("SSTORE", "SSTOREF")
        b.equal(plus(cell), loads + stores)

        tag = self.code + total(((1 + i) << GROUP_BIT, self.op[name]) for i, name in enumerate(GROUPS))
        integer = flags(b, self.shape.integers, self._integer_unit)
        b.equal(plus(integer), self.any_of(*GROUPS))

        def seen() -> int:
            if value(stores):
                return value(rb)
            parts = [*sources, *((f, h[2]) for f, h in zip(unit, around.hashes, strict=True))]
            parts += [(f, u[3]) for f, u in zip(integer, around.integers, strict=True)]
            parts += zip(cell, self.machine.values, strict=True)
            return sum(value(flag) * value(x) for flag, x in parts)

        self.look = b.hint(seen)
        for flag, x in sources:
            b.enforce(flag, x - self.look, 0)
        for flag, (first, second, digest) in zip(unit, around.hashes, strict=True):
            b.enforce(flag, first - ra, 0)
            b.enforce(flag, second - rb, 0)
            b.enforce(flag, digest - self.look, 0)
        for flag, (wanted, first, second, result, _) in zip(integer, around.integers, strict=True):
            b.enforce(flag, wanted - tag, 0)
            b.enforce(flag, first - ra, 0)
            b.enforce(flag, second - rb, 0)
            b.enforce(flag, result - self.look, 0)
        self.unit_trap = plus(b.mul(flag, u[4]) for flag, u in zip(integer, around.integers, strict=True))
        for flag, slot in zip(cell, around.slots, strict=True):
            b.enforce(flag, slot - ra, 0)
        b.enforce(stores, rb - self.look, 0)

    def _hash_unit(self) -> int | None:
        if self.hint is None or not value(self.op["HASH"]):
            return None
        return self.hint.hashes.get((value(self.operands[0]), value(self.operands[1])))

    def _integer_unit(self) -> int | None:
        if self.hint is None or not value(self.any_of(*GROUPS)):
            return None
        return self.hint.integers.get((value(self.code), value(self.operands[0]), value(self.operands[1])))

    def _cell(self) -> int | None:
        if self.hint is None or not value(self.any_of("SLOAD", "SLOADF", "SSTORE", "SSTOREF")):
            return None
        return self.hint.cells.get(value(self.operands[0]))

    def _at_cell(self, xs: Sequence[Expr]) -> int:
        return sum(value(flag) * value(x) for flag, x in zip(self.cell, xs, strict=True))

    def _cells(self) -> None:
        """Cells after the step: a load changes none, a store changes one."""
        b, op, state = self.b, self.op, self.machine
        loads, stores = self.any_of("SLOAD", "SLOADF"), self.any_of("SSTORE", "SSTOREF")
        kind = b.hint(lambda: value(op["SSTOREF"]) if value(stores) else self._at_cell(state.types))
        self.kind = kind
        b.enforce(stores, kind - op["SSTOREF"], 0)
        # Integer zero is what an absent key reads as, so storing it inserts nothing (SPEC §3.2).
        inserts = op["SSTORE"] - b.mul(op["SSTORE"], self.zero) + op["SSTOREF"]
        present = b.hint(lambda: 1 if value(inserts) else self._at_cell(state.present))
        self.present = present
        b.enforce(inserts, 1 - present, 0)

        def updated(x: Expr, old: Sequence[Expr]) -> list[Expr]:
            return [b.mul_add(flag, x - y, y) for flag, y in zip(self.cell, old, strict=True)]

        values, types = updated(self.look, state.values), updated(kind, state.types)
        presence = updated(present, state.present)
        b.enforce(loads, plus(values) - plus(state.values), 0)
        b.enforce(loads, plus(types) - plus(state.types), 0)
        b.enforce(loads + stores - inserts, plus(presence) - plus(state.present), 0)
        # Insertions take places in the tree in the order in which they happen.
        inserting = [presence[i] for i in self.shape.inserting]
        for both, (first, second) in zip(self.around.both, ordered_pairs(len(inserting)), strict=True):
            b.enforce(both, b.mul(inserting[second], 1 - inserting[first]), 0)
        self.after_cells = (values, types, presence)

    def _arithmetic(self) -> None:
        """One range check of 128 bits serves every integer operation; `carry` picks which of two claims it proves."""
        b, op, imm = self.b, self.op, self.imm
        ra, rb = self.operands
        # JZ, JNZ, EQ, EQF, and SSTORE's value: rb is 0 where it is not used.
        self.zero = is_zero(b, ra - rb - b.mul(op["SSTORE"], ra))
        self.number = b.mul(self.any_of(*NUMBERS), imm)
        limited = self.any_of("ADD", "SUB", "LT", "ADDR")
        # ADD: ra + rb. SUB, LT: ra - rb. ADDR: 2^32 - 1 - ra. NUMBERS: imm.
        claim = (
            b.mul(op["ADD"] + op["SUB"] + op["LT"] - op["ADDR"], ra)
            + b.mul(op["ADD"] - op["SUB"] - op["LT"], rb)
            + self.number
            + op["ADDR"] * ((1 << 32) - 1)
        )

        def out_of_range() -> int:
            return int(value(limited) == 1 and value(claim) >= _LIMIT)

        carry = b.boolean(out_of_range)
        b.enforce(carry, 1 - limited, 0)
        # With carry, ADD proves ra + rb - 2^128 >= 0, the others prove -claim - 1 >= 0.
        other = b.mul(1 - op["ADD"], -2 * claim - 1) - op["ADD"] * _LIMIT
        to_bits(b, claim + b.mul(carry, other), INT_BITS)
        self.carry = carry

    def _write_back(self) -> list[Expr]:
        b, op, machine, imm = self.b, self.op, self.machine, self.imm
        ra, rb = self.operands
        trap = b.mul(self.carry, self.any_of("ADD", "SUB", "ADDR")) + b.mul(op["SLOAD"], self.kind) + self.unit_trap
        from_a = self.any_of("MOV", "MOVF", "LDFH", "ITOF", "ADD", "ADDF", "SUB", "SUBF") + op["ADDR"] * _LIMIT
        from_b = self.any_of("ADD", "ADDF", "ADDR") - self.any_of("SUB", "SUBF")
        looks = self.any_of(*ENVIRONMENT, *WORD_OPERATIONS[:4], "HASH", *GROUPS, "SLOAD", "SLOADF")
        result = plus(
            (
                b.mul(from_a, ra),
                b.mul(from_b, rb),
                b.mul(self.any_of("LDI", "LDF") + op["LDFH"] * _LIMIT, imm),
                b.mul(op["MULF"], b.mul(ra, rb)),
                b.mul(self.any_of("EQ", "EQF"), self.zero),
                b.mul(op["LT"], self.carry),
                b.mul(looks, self.look),
            )
        )
        # What a trapping step writes has no effect: every later step must trap too. The old value keeps them doing so.
        written = b.hint(lambda: self._held(self.target) if value(trap) else value(result))
        b.enforce(1 - trap, written - result, 0)
        registers = [
            b.mul_add(flag, written - old, old) for flag, old in zip(self.target, machine.registers, strict=True)
        ]
        words = self.shape.data_words
        out = [b.mul_add(f, ra - old, old) for f, old in zip(self.word["OUT"], machine.out[:words], strict=True)]
        out += [b.mul_add(f, rb - old, old) for f, old in zip(self.word["OUT"], machine.out[words:], strict=True)]

        halted = 1 - self.around.run + self.any_of("RETURN", "REVERT", "ICALL", *CALLS) + trap
        jumps = op["JMP"] + op["JNZ"] + b.mul(op["JZ"] - op["JNZ"], self.zero)
        pc = b.mul_add(jumps, imm - machine.pc - 1, machine.pc + 1 - halted)
        values, types, present = self.after_cells
        ends = [halted, self.any_of(*CALLS), op["ICALL"], op["RETURN"], op["REVERT"], trap]
        ends += [self.any_of(*TRIES), self.any_of(*VALUED), op["BALANCE"], imm, ra, rb, self.fetched]
        return [pc, *registers, *out, *values, *types, *present, *ends, *self.cell]
