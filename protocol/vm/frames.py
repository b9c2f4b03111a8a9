"""The frames of one entry: begun, suspended, continued and ended, until an action leaves the rollup (SPEC §4.5, §4.6).

API:
    Surroundings(rollup_id=, l2_time=, trace=, budget=)
    FrameRun(state, ledger, surroundings).go(Begin | Resume | Ended) -> End; then .stretches, .code
    Stretch: one frame's run between two changes of frames
"""

from __future__ import annotations

from dataclasses import dataclass, replace

from protocol.actions import Action, ActionKind, Words, bytes_from_words, call_words
from protocol.constants import DEPLOYER, STEP_LIMIT
from protocol.errors import StateError
from protocol.types import ZERO_ADDRESS, Address, RollupId, endpoint, split_endpoint
from protocol.vm.deployment import Code, deploy
from protocol.vm.execution import NO_WORDS, Answer, Execution, Outcome, Step, Trap
from protocol.vm.instructions import execute
from protocol.vm.isa import REGISTERS, Instruction, Op, Program, is_opaque, split_xcall
from protocol.vm.ledger import Ledger
from protocol.vm.state import Frame, Frames, Origin, Unwind, Waits
from protocol.vm.state_tree import StateTree


@dataclass(frozen=True, slots=True, kw_only=True)
class Stretch:
    """A frame from where it began or went on to where another frame, or nothing, went on."""

    frame: Frame
    """As it began or went on; a fresh one has pc 0 and no registers set, and its code hash may be 0."""
    tree: StateTree
    """On which it did."""
    program: Program | None
    """None if no instruction ran."""
    answer: Answer | None
    """To the call behind which it went on."""
    outcome: Outcome
    trap: Trap | None
    pc: int
    """Of the last instruction."""
    out_words: Words
    """The 16 out words at the end."""
    step_count: int
    steps: tuple[Step, ...]
    """Empty unless traced."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Surroundings:
    """What is fixed for an entry."""

    rollup_id: int
    l2_time: int
    trace: bool
    budget: int
    """Steps after which to give up; no rule of the machine, for trials of unknown programs."""
    confined: bool = False
    """Whether calls out of the rollup trap, as they do in a forced transaction."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Begin:
    """A call inside the rollup, or into it."""

    frame: Frame
    """Fresh, its code hash not known yet."""
    payer: int | None
    """Account that the value comes from; None if it comes from outside."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Resume:
    """A frame goes on behind its call."""

    frame: Frame
    answer: Answer


@dataclass(frozen=True, slots=True, kw_only=True)
class Ended:
    """A frame is over."""

    frame: Frame
    failed: bool
    data: bytes
    undone: bool = False
    """Its scope was reverted already."""


@dataclass(frozen=True, slots=True, kw_only=True)
class End:
    """An action leaves the rollup."""

    action: Action
    frames: Frames
    """Suspended then."""


def fresh_frame(*, address: int, caller: int, value: int, meta: int, args: Words, start_tree: StateTree) -> Frame:
    """A frame that is about to begin, for a trigger CALL; for others replace origin, scope, steps and parent."""
    return Frame(
        address=address,
        code_hash=0,
        pc=0,
        steps=0,
        caller=caller,
        value=value,
        args_meta=meta,
        args=args,
        start_tree=start_tree,
        registers=(0,) * REGISTERS,
        parent=None,
    )


class FrameRun:
    """One entry's run."""

    def __init__(self, code: Code, ledger: Ledger, surroundings: Surroundings) -> None:
        self.code = code
        self.ledger = ledger
        self.stretches: list[Stretch] = []
        self._fixed = surroundings
        self._left = surroundings.budget

    def go(self, event: Begin | Resume | Ended) -> End:
        """Run until an action leaves.

        Raises:
            StateError: PROGRAM_MISSING, NODE_MISSING, TREE_FULL, STEP_BUDGET.
        """
        following: Begin | Resume | Ended | End = event
        while not isinstance(following, End):
            match following:
                case Begin():
                    following = self._begin(following)
                case Resume():
                    following = self._run(following.frame, following.answer)
                case Ended():
                    following = self._conclude(following)
        return following

    # -- one frame

    def _begin(self, begin: Begin) -> Begin | Ended | End:
        frame, tree = begin.frame, self.ledger.tree
        if frame.address == DEPLOYER:
            made = None
            if frame.value == 0:
                made = deploy(self.ledger, self.code, caller=frame.caller, meta=frame.args_meta, words=frame.args)
            self._note(frame, tree, Outcome.REFUSED if made is None else Outcome.DEPLOYED)
            if made is None:
                return Ended(frame=frame, failed=True, data=b"")
            self.code = made.code
            return Ended(frame=frame, failed=False, data=made.data)
        paid = begin.payer is None or self.ledger.debit(begin.payer, frame.value)
        if not paid or not self.ledger.credit(frame.address, frame.value):
            self._note(frame, tree, Outcome.UNFUNDED)
            return Ended(frame=frame, failed=True, data=b"")
        code_hash = self.ledger.code_hash_of(frame.address, accessed=frame.value > 0)
        frame = replace(frame, code_hash=code_hash)
        if code_hash == 0:
            self._note(frame, tree, Outcome.NO_CODE)
            return Ended(frame=frame, failed=False, data=b"")
        return self._run(frame, None)

    def _run(self, frame: Frame, answer: Answer | None) -> Begin | Ended | End:
        tree, program = self.ledger.tree, program_of(self.code, frame)
        stop = min(STEP_LIMIT, frame.steps + self._left)
        run = Execution(
            frame,
            program,
            self.ledger,
            rollup_id=self._fixed.rollup_id,
            l2_time=self._fixed.l2_time,
            answer=answer,
            trace=self._fixed.trace,
            stop=stop,
            confined=self._fixed.confined,
        )
        outcome, trap = execute(run)
        if trap is Trap.STEPS and stop < STEP_LIMIT:
            raise StateError("STEP_BUDGET", budget=self._fixed.budget)
        self._left -= run.steps - frame.steps
        self._note(frame, tree, outcome, trap=trap, run=run, answer=answer)
        stopped = replace(frame, pc=run.pc, steps=run.steps, registers=tuple(run.r))
        instruction = program.instructions[run.pc]
        match outcome:
            case Outcome.XCALL:
                return self._leave(replace(stopped, waits=Waits.XCALL, called=True), instruction, run)
            case Outcome.XTRY:
                return self._leave(replace(stopped, waits=Waits.XTRY, called=True), instruction, run)
            case Outcome.ICALL:
                return self._call_inside(replace(stopped, waits=Waits.ICALL), instruction, run)
            case Outcome.RETURN | Outcome.REVERT:
                data = bytes_from_words(tuple(run.out[: instruction.imm]))
                return Ended(frame=stopped, failed=outcome is Outcome.REVERT, data=data)
            case _:
                return Ended(frame=stopped, failed=True, data=b"")

    def _leave(self, frame: Frame, instruction: Instruction, run: Execution) -> End:
        """An outgoing call."""
        selector, count, gas = split_xcall(instruction.imm)
        target_rollup, target = split_endpoint(run.r[instruction.ra])
        tries = frame.waits is Waits.XTRY
        action = Action(
            kind=ActionKind.TRY_CALL if tries else ActionKind.CALL,
            rollup_id=target_rollup,
            destination=target,
            value=sent_value(frame, instruction),
            gas=gas,
            opaque=tries and is_opaque(instruction.imm),
            source_rollup=RollupId(self._fixed.rollup_id),
            source_address=Address(frame.address.to_bytes(20, "big")),
            scope=frame.scope,
            data=selector.to_bytes(4, "big") + bytes_from_words(tuple(run.out[:count])),
        )
        return End(action=action, frames=frame)

    def _call_inside(self, frame: Frame, instruction: Instruction, run: Execution) -> Begin:
        selector, count, _ = split_xcall(instruction.imm)
        _, target = split_endpoint(run.r[instruction.ra])
        meta, args = call_words(selector.to_bytes(4, "big") + bytes_from_words(tuple(run.out[:count])))
        made = fresh_frame(
            address=int.from_bytes(target, "big"),
            caller=endpoint(self._fixed.rollup_id, frame.address.to_bytes(20, "big")),
            value=run.r[instruction.rb],
            meta=((4 + 32 * count) << 32) + meta,
            args=args,
            start_tree=self.ledger.tree,
        )
        inside = replace(
            made, steps=frame.steps, parent=frame, origin=Origin.ICALL, scope=(*frame.scope, frame.children)
        )
        return Begin(frame=inside, payer=frame.address)

    # -- after a frame

    def _conclude(self, ended: Ended) -> Resume | End:
        frame = ended.frame
        if ended.failed:
            self.ledger.tree = frame.start_tree
            if frame.called and frame.origin is not Origin.CALL and not ended.undone:
                # Its outgoing calls are to be undone first; REVERT_CONTINUE tells the caller.
                return End(
                    action=self._revert(frame.scope),
                    frames=Unwind(scope=frame.scope, data=ended.data, below=frame.parent),
                )
        if frame.origin is not Origin.ICALL:
            return End(action=self._result(frame, ended.failed, ended.data), frames=frame.parent)
        caller = frame.parent
        assert caller is not None
        caller = replace(
            caller,
            # A reverted scope takes its steps with it: they are not known where it is continued.
            steps=caller.steps if ended.undone else frame.steps,
            called=caller.called or frame.called,
            children=caller.children + frame.called,
        )
        return Resume(frame=caller, answer=Answer.of(ended.data, failed=ended.failed))

    def _revert(self, scope: tuple[int, ...]) -> Action:
        own = RollupId(self._fixed.rollup_id)
        return Action(
            kind=ActionKind.REVERT,
            rollup_id=own,
            destination=ZERO_ADDRESS,
            source_rollup=own,
            source_address=ZERO_ADDRESS,
            scope=scope,
        )

    def _result(self, frame: Frame, failed: bool, data: bytes) -> Action:
        if frame.origin is not Origin.CALL:
            # A transaction has neither source nor destination, so its RESULT goes from nowhere to nowhere.
            return self._answer(RollupId(0), ZERO_ADDRESS, ZERO_ADDRESS, failed, data)
        target_rollup, target = split_endpoint(frame.caller)
        return self._answer(target_rollup, target, Address(frame.address.to_bytes(20, "big")), failed, data)

    def _answer(self, rollup_id: RollupId, target: Address, source: Address, failed: bool, data: bytes) -> Action:
        return Action(
            kind=ActionKind.RESULT,
            rollup_id=rollup_id,
            destination=target,
            failed=failed,
            source_rollup=RollupId(self._fixed.rollup_id),
            source_address=source,
            data=data,
        )

    def skip(self) -> End:
        """The end of a forced transaction that is not one: failed, no data."""
        return End(action=self._answer(RollupId(0), ZERO_ADDRESS, ZERO_ADDRESS, failed=True, data=b""), frames=None)

    def note_end(self, frame: Frame, outcome: Outcome) -> None:
        """Record a frame that ends without running."""
        self._note(frame, self.ledger.tree, outcome)

    def _note(
        self,
        frame: Frame,
        tree: StateTree,
        outcome: Outcome,
        *,
        trap: Trap | None = None,
        run: Execution | None = None,
        answer: Answer | None = None,
    ) -> None:
        stretch = Stretch(
            frame=frame,
            tree=tree,
            program=None if run is None else run.program,
            answer=answer,
            outcome=outcome,
            trap=trap,
            pc=frame.pc if run is None else run.pc,
            out_words=NO_WORDS if run is None else tuple(run.out),
            step_count=0 if run is None else run.steps - frame.steps,
            steps=() if run is None or run.trace is None else tuple(run.trace),
        )
        self.stretches.append(stretch)


def program_of(code: Code, frame: Frame) -> Program:
    """The program of a frame.

    Raises:
        StateError: PROGRAM_MISSING.
    """
    program = code.programs.get(frame.code_hash)
    if program is None:
        raise StateError("PROGRAM_MISSING", code_hash=frame.code_hash)
    return program


def sent_value(frame: Frame, instruction: Instruction) -> int:
    """wei that went out with the call at which a frame is suspended."""
    return frame.registers[instruction.rb] if instruction.op in (Op.XCALLV, Op.XTRYV) else 0
