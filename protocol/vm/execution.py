"""One frame's run, instruction by instruction (SPEC §4.3).

API:
    Execution(frame, program, tree, rollup_id=, l2_time=, answer=, trace=, budget=).execute() -> (outcome, trap)
    then .tree, .r, .out, .pc, .steps, .operations, .trace
    Step, StorageAccess: the trace; Trap, Outcome: how it ended
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from enum import Enum
from typing import Final

from protocol.actions import Words
from protocol.constants import ADDRESS_BITS, ENDPOINT_BITS, FIELD_ORDER, MAX_WORDS, STEP_LIMIT
from protocol.errors import StateError
from protocol.types import endpoint
from protocol.vm.isa import U128, Instruction, Op, Program
from protocol.vm.poseidon import P
from protocol.vm.state import FIELD_WORD, INTEGER_WORD, Frame, storage_key
from protocol.vm.state_tree import StateTree, TreeOperation

NO_WORDS: Final[Words] = ((0, 0),) * MAX_WORDS


class Trap(Enum):
    """Why a step ended its frame as a failure with empty data."""

    OVERFLOW = "OVERFLOW"
    TYPE = "TYPE"
    ADDRESS = "ADDRESS"
    ENDPOINT = "ENDPOINT"
    STEPS = "STEPS"
    """The step limit: the instruction at pc was not executed and is not in the trace."""


class Outcome(Enum):
    """How an entry ended."""

    XCALL = "XCALL"
    RETURN = "RETURN"
    REVERT = "REVERT"
    TRAP = "TRAP"
    NO_CODE = "NO_CODE"
    """The called account has no program: success with empty data, no frame."""
    FAILED_RESULT = "FAILED_RESULT"
    """The answered call had failed: the resumed frame ended at once."""


@dataclass(frozen=True, slots=True, kw_only=True)
class StorageAccess:
    """What a storage instruction read or wrote."""

    slot: int
    key: int
    old: tuple[int, int]
    """(value, type) before; (0, 0) if absent."""
    new: tuple[int, int]
    """(value, type) after."""
    operation: TreeOperation
    """Opening for a read and for a write that changes nothing (zero integer into an absent slot)."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Step:
    """One executed instruction. Registers are r0..r11, f0..f3."""

    pc: int
    instruction: Instruction
    before: tuple[int, ...]
    after: tuple[int, ...]
    next_pc: int
    """pc + 1, the jump target, or pc itself when the step ended or suspended the frame."""
    storage: StorageAccess | None
    trap: Trap | None


class _Trapped(Exception):
    def __init__(self, trap: Trap) -> None:
        self.trap = trap


class Execution:
    """Mutable registers and surroundings of the frame that runs."""

    __slots__ = (
        "address",
        "answer",
        "answer_meta",
        "budget",
        "args",
        "args_meta",
        "caller",
        "ended",
        "l2_time",
        "next_pc",
        "operations",
        "out",
        "pc",
        "program",
        "r",
        "rollup_id",
        "steps",
        "storage",
        "trace",
        "tree",
        "value",
    )

    def __init__(
        self,
        frame: Frame,
        program: Program,
        tree: StateTree,
        *,
        rollup_id: int,
        l2_time: int,
        answer: tuple[int, Words] | None,
        trace: bool,
        budget: int = STEP_LIMIT,
    ) -> None:
        """Start a frame, or continue it behind its outgoing call.

        Args:
            frame: where the run stands; a fresh one has pc 0, no steps and zero registers.
            tree: the state that the run reads and changes; may be younger than the frame.
            answer: dataMeta and words of the answer to the frame's outgoing call; None for a fresh frame.
            trace: collect a `Step` for each instruction.
            budget: steps after which `execute` gives up; no rule of the machine, for trials of unknown programs.
        """
        self.address = frame.address
        self.caller = frame.caller
        self.value = frame.value
        self.args = frame.args + NO_WORDS[len(frame.args) :]
        self.args_meta = frame.args_meta
        self.answer_meta, words = answer or (0, ())
        self.answer = words + NO_WORDS[len(words) :]
        self.out = [(0, 0)] * MAX_WORDS
        self.r = list(frame.registers)
        self.pc = self.next_pc = frame.pc if answer is None else frame.pc + 1
        self.steps = frame.steps
        self.tree = tree
        self.program = program
        self.rollup_id = rollup_id
        self.l2_time = l2_time
        self.operations: list[TreeOperation] = []
        self.storage: StorageAccess | None = None
        self.ended: Outcome | None = None
        self.trace: list[Step] | None = [] if trace else None
        self.budget = budget

    def execute(self) -> tuple[Outcome, Trap | None]:
        """Run until the frame ends or is suspended; `pc` stays at the last instruction.

        Raises:
            StateError: STEP_BUDGET.
        """
        code, steps = self.program.instructions, self.trace
        stop = min(STEP_LIMIT, self.steps + self.budget)
        while True:
            if self.steps >= stop:
                if stop < STEP_LIMIT:
                    raise StateError("STEP_BUDGET", budget=self.budget)
                return Outcome.TRAP, Trap.STEPS
            pc = self.pc
            instruction = code[pc]
            self.steps += 1
            self.next_pc = pc + 1
            before = () if steps is None else tuple(self.r)
            trap = None
            try:
                _HANDLERS[instruction.op](self, instruction)
            except _Trapped as trapped:
                trap = trapped.trap
                self.ended = Outcome.TRAP
            if self.ended is not None:
                self.next_pc = pc
            if steps is not None:
                step = Step(
                    pc=pc,
                    instruction=instruction,
                    before=before,
                    after=tuple(self.r),
                    next_pc=self.next_pc,
                    storage=self.storage,
                    trap=trap,
                )
                steps.append(step)
                self.storage = None
            if self.ended is not None:
                return self.ended, trap
            self.pc = self.next_pc

    def read(self, slot: int) -> tuple[int, int]:
        """(value, type) of a slot of this account."""
        key = storage_key(self.address, slot)
        opening = self.tree.open(key)
        self.operations.append(opening)
        values = opening.values
        self.storage = StorageAccess(slot=slot, key=key, old=values, new=values, operation=opening)
        return values

    def write(self, slot: int, value: int, kind: int) -> None:
        """SPEC §3.2: zero integers are not inserted."""
        key = storage_key(self.address, slot)
        opening = self.tree.open(key)
        operation: TreeOperation = opening
        if opening.found:
            self.tree, operation = self.tree.update(key, value, kind)
        elif value or kind == FIELD_WORD:
            self.tree, operation = self.tree.insert(key, value, kind)
        self.operations.append(operation)
        self.storage = StorageAccess(slot=slot, key=key, old=opening.values, new=(value, kind), operation=operation)


# -- instructions, SPEC §4.3 -------------------------------------------------------------------------------------------


def _jmp(m: Execution, i: Instruction) -> None:
    m.next_pc = i.imm


def _jz(m: Execution, i: Instruction) -> None:
    if m.r[i.ra] == 0:
        m.next_pc = i.imm


def _jnz(m: Execution, i: Instruction) -> None:
    if m.r[i.ra] != 0:
        m.next_pc = i.imm


def _return(m: Execution, i: Instruction) -> None:
    m.ended = Outcome.RETURN


def _revert(m: Execution, i: Instruction) -> None:
    m.ended = Outcome.REVERT


def _xcall(m: Execution, i: Instruction) -> None:
    target = m.r[i.ra]
    if target >> ENDPOINT_BITS or target >> ADDRESS_BITS == m.rollup_id:
        raise _Trapped(Trap.ENDPOINT)
    m.ended = Outcome.XCALL


def _load_immediate(m: Execution, i: Instruction) -> None:
    m.r[i.rd] = i.imm


def _move(m: Execution, i: Instruction) -> None:
    m.r[i.rd] = m.r[i.ra]


def _add(m: Execution, i: Instruction) -> None:
    total = m.r[i.ra] + m.r[i.rb]
    if total >= U128:
        raise _Trapped(Trap.OVERFLOW)
    m.r[i.rd] = total


def _sub(m: Execution, i: Instruction) -> None:
    difference = m.r[i.ra] - m.r[i.rb]
    if difference < 0:
        raise _Trapped(Trap.OVERFLOW)
    m.r[i.rd] = difference


def _lt(m: Execution, i: Instruction) -> None:
    m.r[i.rd] = int(m.r[i.ra] < m.r[i.rb])


def _eq(m: Execution, i: Instruction) -> None:
    m.r[i.rd] = int(m.r[i.ra] == m.r[i.rb])


def _addf(m: Execution, i: Instruction) -> None:
    m.r[i.rd] = (m.r[i.ra] + m.r[i.rb]) % FIELD_ORDER


def _subf(m: Execution, i: Instruction) -> None:
    m.r[i.rd] = (m.r[i.ra] - m.r[i.rb]) % FIELD_ORDER


def _mulf(m: Execution, i: Instruction) -> None:
    m.r[i.rd] = m.r[i.ra] * m.r[i.rb] % FIELD_ORDER


def _hash(m: Execution, i: Instruction) -> None:
    m.r[i.rd] = P(2, (m.r[i.ra], m.r[i.rb]))


def _addr(m: Execution, i: Instruction) -> None:
    if m.r[i.ra] >> 32:
        raise _Trapped(Trap.ADDRESS)
    m.r[i.rd] = (m.r[i.ra] << 128) + m.r[i.rb]


def _load_high(m: Execution, i: Instruction) -> None:
    m.r[i.rd] = (m.r[i.ra] + (i.imm << 128)) % FIELD_ORDER


def _caller(m: Execution, i: Instruction) -> None:
    m.r[i.rd] = m.caller


def _self(m: Execution, i: Instruction) -> None:
    m.r[i.rd] = endpoint(m.rollup_id, m.address.to_bytes(20, "big"))


def _value(m: Execution, i: Instruction) -> None:
    m.r[i.rd] = m.value


def _time(m: Execution, i: Instruction) -> None:
    m.r[i.rd] = m.l2_time


def _sel(m: Execution, i: Instruction) -> None:
    m.r[i.rd] = m.args_meta & 0xFFFFFFFF


def _arghi(m: Execution, i: Instruction) -> None:
    m.r[i.rd] = m.args[i.imm][0]


def _arglo(m: Execution, i: Instruction) -> None:
    m.r[i.rd] = m.args[i.imm][1]


def _arglen(m: Execution, i: Instruction) -> None:
    m.r[i.rd] = m.args_meta >> 32


def _rethi(m: Execution, i: Instruction) -> None:
    m.r[i.rd] = m.answer[i.imm][0]


def _retlo(m: Execution, i: Instruction) -> None:
    m.r[i.rd] = m.answer[i.imm][1]


def _retlen(m: Execution, i: Instruction) -> None:
    m.r[i.rd] = m.answer_meta >> 32


def _sload(m: Execution, i: Instruction) -> None:
    value, kind = m.read(m.r[i.ra])
    if kind == FIELD_WORD:
        raise _Trapped(Trap.TYPE)
    m.r[i.rd] = value


def _sloadf(m: Execution, i: Instruction) -> None:
    m.r[i.rd] = m.read(m.r[i.ra])[0]


def _sstore(m: Execution, i: Instruction) -> None:
    m.write(m.r[i.ra], m.r[i.rb], INTEGER_WORD)


def _sstoref(m: Execution, i: Instruction) -> None:
    m.write(m.r[i.ra], m.r[i.rb], FIELD_WORD)


def _out(m: Execution, i: Instruction) -> None:
    m.out[i.imm] = (m.r[i.ra], m.r[i.rb])


_HANDLERS: Final[dict[int, Callable[[Execution, Instruction], None]]] = {
    Op.JMP: _jmp,
    Op.JZ: _jz,
    Op.JNZ: _jnz,
    Op.RETURN: _return,
    Op.REVERT: _revert,
    Op.XCALL: _xcall,
    Op.LDI: _load_immediate,
    Op.MOV: _move,
    Op.ADD: _add,
    Op.SUB: _sub,
    Op.LT: _lt,
    Op.EQ: _eq,
    Op.LDF: _load_immediate,
    Op.MOVF: _move,
    Op.ADDF: _addf,
    Op.SUBF: _subf,
    Op.MULF: _mulf,
    Op.EQF: _eq,
    Op.ITOF: _move,
    Op.HASH: _hash,
    Op.ADDR: _addr,
    Op.LDFH: _load_high,
    Op.CALLER: _caller,
    Op.SELF: _self,
    Op.VALUE: _value,
    Op.TIME: _time,
    Op.SEL: _sel,
    Op.ARGHI: _arghi,
    Op.ARGLO: _arglo,
    Op.ARGLEN: _arglen,
    Op.RETHI: _rethi,
    Op.RETLO: _retlo,
    Op.RETLEN: _retlen,
    Op.SLOAD: _sload,
    Op.SSTORE: _sstore,
    Op.SLOADF: _sloadf,
    Op.SSTOREF: _sstoref,
    Op.OUT: _out,
}
