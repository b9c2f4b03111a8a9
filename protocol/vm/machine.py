"""Reference machine: executes one own entry of a rollup (SPEC §4.6).

API:
    run_entry(state, rollup_id=, l2_time=, trigger=, fee_recipient=, unwound=, trace=False) -> EntryRun
    EntryRun.operations   all tree records in order, those that were undone included
    EntryRun.stretches    which frames ran, in order; with trace=True per step pc, instruction, registers, trap, storage

What a program does can never raise. A StateError means that the trigger is not provable here: data too long, an answer
without a frame, a transaction that is not one, a node missing in a partial state, or the end of a trial's budget.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, replace
from typing import Final

from protocol.actions import CALLS, Action, ActionKind, Words, action_words
from protocol.constants import MAX_DATA_BYTES, MAX_WORDS, STEP_LIMIT
from protocol.errors import StateError
from protocol.types import ZERO_ADDRESS, Address, endpoint
from protocol.vm.deployment import Code
from protocol.vm.execution import NO_WORDS, Answer, Outcome, Step, Trap
from protocol.vm.frames import (
    Begin,
    End,
    Ended,
    FrameRun,
    Resume,
    Stretch,
    Surroundings,
    fresh_frame,
    program_of,
    sent_value,
)
from protocol.vm.isa import Program
from protocol.vm.ledger import Ledger
from protocol.vm.state import QUEUE_KEY, Frame, Origin, Unwind, VmState, Waits
from protocol.vm.state_tree import TreeOperation
from protocol.vm.transactions import Transaction, admit

MAX_ANSWER_BYTES: Final = 32 * MAX_WORDS


@dataclass(frozen=True, slots=True, kw_only=True)
class EntryRun:
    """Everything about one executed entry."""

    trigger: Action
    pre: VmState
    post: VmState
    next_action: Action
    operations: tuple[TreeOperation, ...]
    """All tree accesses in order: for a CALL first the account, then what frames touch. Those of a reverted run too."""
    stretches: tuple[Stretch, ...]
    """Empty for a skipped forced transaction."""

    @property
    def frame(self) -> Frame:
        """Where the run started: for a RESULT the frame that it continues, for a CALL a fresh one (its code hash may
        be 0). Address, caller, value, arguments and the tree that a revert restores are in it."""
        return self.stretches[0].frame

    @property
    def suspended(self) -> Frame | None:
        """The frame that the next action's answer will continue, if that is a call."""
        frames = self.post.frames
        return frames if isinstance(frames, Frame) and self.next_action.kind in CALLS else None

    @property
    def unwound(self) -> Unwind | None:
        """What the REVERT_CONTINUE needs, if the next action is a REVERT."""
        return self.post.frames if isinstance(self.post.frames, Unwind) else None

    @property
    def outcome(self) -> Outcome:
        """How the last stretch ended."""
        return self.stretches[-1].outcome if self.stretches else Outcome.SKIP

    @property
    def trap(self) -> Trap | None:
        """Of the last stretch."""
        return self.stretches[-1].trap if self.stretches else None

    @property
    def program(self) -> Program | None:
        """That ran first; None if no instruction ran."""
        return next((stretch.program for stretch in self.stretches if stretch.program is not None), None)

    @property
    def programs(self) -> Mapping[int, Program]:
        """All that ran, by code hash."""
        return {s.program.code_hash: s.program for s in self.stretches if s.program is not None}

    @property
    def answer(self) -> Words:
        """Words of the answer with which the entry began; empty for a CALL."""
        return () if self._answer is None else self._answer.words

    @property
    def answer_meta(self) -> int:
        """dataMeta of that answer."""
        return 0 if self._answer is None else self._answer.meta

    @property
    def _answer(self) -> Answer | None:
        return self.stretches[0].answer if self.stretches else None

    @property
    def out_words(self) -> Words:
        """The 16 out words when the run ended."""
        return self.stretches[-1].out_words if self.stretches else NO_WORDS

    @property
    def step_count(self) -> int:
        """Steps of this entry alone."""
        return sum(stretch.step_count for stretch in self.stretches)

    @property
    def steps(self) -> tuple[Step, ...]:
        """Of all stretches; empty unless traced."""
        return tuple(step for stretch in self.stretches for step in stretch.steps)

    @property
    def new_root(self) -> int:
        """The rollup's root after the entry."""
        return self.post.root

    @property
    def mid(self) -> bool:
        """Whether frames are suspended after the entry."""
        return self.post.is_mid


# -- entries, SPEC §4.6 ------------------------------------------------------------------------------------------------


def run_entry(
    state: VmState,
    *,
    rollup_id: int,
    l2_time: int,
    trigger: Action,
    fee_recipient: Address = ZERO_ADDRESS,
    unwound: Unwind | None = None,
    trace: bool = False,
    budget: int = STEP_LIMIT,
) -> EntryRun:
    """Execute an entry of `rollup_id`.

    Args:
        state: the rollup at the entry's pre-root.
        rollup_id: the owner, equal to the trigger's target rollup.
        l2_time: unix seconds, from the header.
        trigger: what is met. Whether a RESULT answers the right call is for the caller to check: the frame that it
            continues is the innermost one of `state`.
        fee_recipient: from the header; transactions pay it.
        unwound: for REVERT_CONTINUE: what the entry of the REVERT left (`EntryRun.unwound`).
        trace: collect `steps`.
        budget: steps of this entry after which to give up; only for trials of unknown programs.

    Raises:
        StateError: TRIGGER_KIND, TRIGGER_SCOPE, TRIGGER_ROLLUP, DATA_TOO_LONG, NO_FRAME, WRONG_FRAME, WRONG_SCOPE,
            UNWINDING, NOT_CANONICAL, FORCED_CURSOR, TX_LENGTH, TX_SIGNATURE, TX_NONCE, TX_FEE and other reasons of
            `transactions.admit`, BALANCE_OVERFLOW, PROGRAM_MISSING, NODE_MISSING, TREE_FULL, STEP_BUDGET.
    """
    if trigger.rollup_id != rollup_id:
        raise StateError("TRIGGER_ROLLUP", rollup_id=trigger.rollup_id)
    limit = MAX_ANSWER_BYTES if trigger.kind is ActionKind.RESULT else MAX_DATA_BYTES
    # A transaction of any length has an entry if it is forced: the skip.
    if len(trigger.data) > limit and trigger.kind is not ActionKind.L2TX:
        raise StateError("DATA_TOO_LONG", length=len(trigger.data), limit=limit)
    if isinstance(state.frames, Unwind):
        raise StateError("UNWINDING")
    surroundings = Surroundings(
        rollup_id=rollup_id,
        l2_time=l2_time,
        trace=trace,
        budget=budget,
        confined=trigger.kind is ActionKind.L2TX and trigger.gas > 0,
    )
    run = FrameRun(Code(programs=state.programs, drafts=state.drafts), Ledger(state.tree), surroundings)
    match trigger.kind:
        case ActionKind.CALL | ActionKind.TRY_CALL:
            end = run.go(_called(state, trigger))
        case ActionKind.RESULT:
            end = run.go(_answered(run, state.frames, trigger))
        case ActionKind.REVERT_CONTINUE:
            end = run.go(_unwound(run, state.frames, trigger, unwound))
        case ActionKind.L2TX:
            end = _transaction(state, run, trigger, fee_recipient)
        case _:
            raise StateError("TRIGGER_KIND", kind=int(trigger.kind))
    return _made(state, trigger, run, end)


def _called(state: VmState, trigger: Action) -> Begin:
    meta, words = action_words(trigger)
    frame = fresh_frame(
        address=int.from_bytes(trigger.destination, "big"),
        caller=trigger.source,
        value=trigger.value,
        meta=meta,
        args=words,
        start_tree=state.tree,
    )
    assert not isinstance(state.frames, Unwind)
    return Begin(frame=replace(frame, parent=state.frames), payer=None)


def _answered(run: FrameRun, frame: Frame | None, trigger: Action) -> Resume | Ended:
    if frame is None:
        raise StateError("NO_FRAME")
    if frame.address != int.from_bytes(trigger.destination, "big"):
        raise StateError("WRONG_FRAME", address=frame.address)
    if trigger.failed:
        if frame.waits is not Waits.XTRY:
            run.note_end(frame, Outcome.FAILED_RESULT)
            return Ended(frame=frame, failed=True, data=b"")
        # Rollups has given back the ether of the call that is undone.
        value = sent_value(frame, program_of(run.code, frame).instructions[frame.pc])
        if not run.ledger.credit(frame.address, value):
            raise StateError("BALANCE_OVERFLOW", value=value)
    return Resume(frame=frame, answer=Answer.of(trigger.data, failed=trigger.failed))


def _unwound(run: FrameRun, frames: Frame | None, trigger: Action, unwound: Unwind | None) -> Ended:
    if unwound is None or unwound.scope != trigger.scope:
        raise StateError("WRONG_SCOPE", length=len(trigger.scope))
    frame = frames
    # Only the frames of the innermost trigger: those of the triggers below it are not its to undo.
    while frame is not None and frame.scope != trigger.scope and frame.origin is Origin.ICALL:
        frame = frame.parent
    if frame is None or frame.scope != trigger.scope or _hash(frame.parent) != _hash(unwound.below):
        raise StateError("WRONG_SCOPE", length=len(trigger.scope))
    run.note_end(frame, Outcome.UNDONE)
    return Ended(frame=replace(frame, called=True), failed=True, data=unwound.data, undone=True)


def _transaction(state: VmState, run: FrameRun, trigger: Action, fee_recipient: Address) -> End:
    """SPEC §4.8, §4.9."""
    if state.frames is not None:
        raise StateError("NOT_CANONICAL")
    ledger = run.ledger
    if trigger.gas:
        cursor, _ = ledger.read(QUEUE_KEY)
        if trigger.gas != 1 + cursor:
            raise StateError("FORCED_CURSOR", expected=cursor, index=trigger.gas - 1)
        ledger.put(QUEUE_KEY, cursor + 1, 0)
    skipped = ledger.tree
    admitted = admit(ledger, trigger.data, rollup_id=trigger.rollup_id, fee_recipient=fee_recipient)
    if isinstance(admitted, Transaction):
        return run.go(_body(ledger, admitted, trigger.rollup_id))
    if not trigger.gas:
        raise StateError(admitted)
    ledger.tree = skipped
    return run.skip()


def _body(ledger: Ledger, transaction: Transaction, rollup_id: int) -> Begin:
    frame = fresh_frame(
        address=transaction.destination,
        caller=endpoint(rollup_id, transaction.sender),
        value=transaction.value,
        meta=transaction.meta,
        args=transaction.words,
        start_tree=ledger.tree,
    )
    frame = replace(frame, origin=Origin.L2TX, scope=(0,))
    return Begin(frame=frame, payer=int.from_bytes(transaction.sender, "big"))


def _hash(frame: Frame | None) -> int:
    return 0 if frame is None else frame.hash


def _made(state: VmState, trigger: Action, run: FrameRun, end: End) -> EntryRun:
    post = VmState(tree=run.ledger.tree, frames=end.frames, programs=run.code.programs, drafts=run.code.drafts)
    return EntryRun(
        trigger=trigger,
        pre=state,
        post=post,
        next_action=end.action,
        operations=tuple(run.ledger.operations),
        stretches=tuple(run.stretches),
    )
