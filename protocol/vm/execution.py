"""What one frame's run works on, and what is kept of it (SPEC §4.1, §4.3).

API:
    Execution(frame, program, ledger, rollup_id=, l2_time=, answer=, trace=, stop=)     for `instructions.execute`
    then .r, .out, .pc, .steps, .trace
    Answer: what came back from a call; Step, StorageAccess: the trace; Trap, Outcome: how it ended
"""

from __future__ import annotations

from dataclasses import dataclass
from enum import Enum
from typing import Final

from protocol.actions import Words, answer_words
from protocol.constants import MAX_WORDS
from protocol.vm.isa import Instruction, Program
from protocol.vm.ledger import Ledger
from protocol.vm.state import FIELD_WORD, Frame, storage_key
from protocol.vm.state_tree import TreeOperation

NO_WORDS: Final[Words] = ((0, 0),) * MAX_WORDS


class Trap(Enum):
    """Why a step ended its frame as a failure with empty data."""

    OVERFLOW = "OVERFLOW"
    TYPE = "TYPE"
    ADDRESS = "ADDRESS"
    ENDPOINT = "ENDPOINT"
    DIVISION = "DIVISION"
    BALANCE = "BALANCE"
    DEPTH = "DEPTH"
    STEPS = "STEPS"
    """The step limit: the instruction at pc was not executed and is not in the trace."""


class Outcome(Enum):
    """How a stretch of a frame's run ended, and with the last one the entry."""

    XCALL = "XCALL"
    XTRY = "XTRY"
    ICALL = "ICALL"
    """Never the end of an entry."""
    RETURN = "RETURN"
    REVERT = "REVERT"
    TRAP = "TRAP"
    NO_CODE = "NO_CODE"
    """The called account has no program: success with empty data, no frame."""
    FAILED_RESULT = "FAILED_RESULT"
    """The answered call had failed: the resumed frame ended at once."""
    UNFUNDED = "UNFUNDED"
    """The call's value could not be moved: a failure with empty data, no frame."""
    DEPLOYED = "DEPLOYED"
    """The call was one to the deployer, which did what it says; no frame."""
    REFUSED = "REFUSED"
    """The deployer refused: a failure with empty data, no frame."""
    UNDONE = "UNDONE"
    """The frame's scope was reverted."""
    SKIP = "SKIP"
    """A forced transaction that is not one."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Answer:
    """What came back from a call."""

    failed: bool
    meta: int
    """dataMeta (SPEC §4.4)."""
    words: Words

    @staticmethod
    def of(data: bytes, *, failed: bool) -> Answer:
        """From an answer's bytes."""
        return Answer(failed=failed, meta=len(data) << 32, words=answer_words(data))


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


class Trapped(Exception):
    """Ends a frame in the middle of an instruction."""

    def __init__(self, trap: Trap) -> None:
        self.trap = trap


class Execution:
    """Mutable registers and surroundings of the frame that runs."""

    __slots__ = (
        "address",
        "answer",
        "answer_meta",
        "answer_ok",
        "args",
        "args_meta",
        "caller",
        "confined",
        "ended",
        "l2_time",
        "ledger",
        "next_pc",
        "out",
        "pc",
        "program",
        "r",
        "rollup_id",
        "scope",
        "steps",
        "stop",
        "storage",
        "trace",
        "value",
    )

    def __init__(
        self,
        frame: Frame,
        program: Program,
        ledger: Ledger,
        *,
        rollup_id: int,
        l2_time: int,
        answer: Answer | None,
        trace: bool,
        stop: int,
        confined: bool = False,
    ) -> None:
        """Start a frame, or continue it behind its call.

        Args:
            frame: where the run stands; a fresh one has pc 0 and zero registers.
            ledger: the state that the run reads and changes; may be younger than the frame.
            answer: to the frame's call; None for a fresh frame.
            trace: collect a `Step` for each instruction.
            stop: steps of the trigger after which nothing more is executed.
            confined: calls out of the rollup trap.
        """
        self.address = frame.address
        self.caller = frame.caller
        self.value = frame.value
        self.scope = frame.scope
        self.args = frame.args + NO_WORDS[len(frame.args) :]
        self.args_meta = frame.args_meta
        words: Words = () if answer is None else answer.words
        self.answer_meta = 0 if answer is None else answer.meta
        self.answer_ok = int(answer is not None and not answer.failed)
        self.answer = words + NO_WORDS[len(words) :]
        self.out = [(0, 0)] * MAX_WORDS
        self.r = list(frame.registers)
        self.pc = self.next_pc = frame.pc if answer is None else frame.pc + 1
        self.steps = frame.steps
        self.ledger = ledger
        self.program = program
        self.rollup_id = rollup_id
        self.l2_time = l2_time
        self.storage: StorageAccess | None = None
        self.ended: Outcome | None = None
        self.trace: list[Step] | None = [] if trace else None
        self.stop = stop
        self.confined = confined

    def read(self, slot: int) -> tuple[int, int]:
        """(value, type) of a slot of this account."""
        key = storage_key(self.address, slot)
        values = self.ledger.read(key)
        self.storage = StorageAccess(slot=slot, key=key, old=values, new=values, operation=self.ledger.operations[-1])
        return values

    def write(self, slot: int, value: int, kind: int) -> None:
        """SPEC §3.2: zero integers are not inserted."""
        key = storage_key(self.address, slot)
        opening = self.ledger.tree.open(key)
        if opening.found or value or kind == FIELD_WORD:
            operation = self.ledger.put(key, value, kind)
        else:
            self.ledger.read(key)
            operation = self.ledger.operations[-1]
        self.storage = StorageAccess(slot=slot, key=key, old=opening.values, new=(value, kind), operation=operation)
