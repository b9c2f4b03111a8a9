"""Reference machine: executes one own entry of a rollup (SPEC §4.6).

API:
    run_entry(state, rollup_id=, l2_time=, trigger=, trace=False) -> EntryRun
    EntryRun.operations   all tree records in order: for a CALL first the account, then storage
    EntryRun.steps        with trace=True: per step pc, instruction, registers before and after, trap, storage access

What a program does can never raise. A StateError means that the trigger is not provable here: data too long, a kind
that does not exist yet, an answer without a frame, a balance past 2^128, a node missing in a partial state, or the end
of a trial's budget of steps.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import Final

from protocol.actions import Action, ActionKind, Words, action_words, bytes_from_words
from protocol.constants import MAX_DATA_BYTES, MAX_WORDS, STEP_LIMIT
from protocol.errors import StateError
from protocol.types import Address, RollupId, split_endpoint
from protocol.vm.execution import NO_WORDS, Execution, Outcome, Step, Trap
from protocol.vm.isa import REGISTERS, U128, Program, split_xcall
from protocol.vm.state import Frame, VmState, account_key, pack_account, unpack_account
from protocol.vm.state_tree import StateTree, TreeOperation

MAX_ANSWER_BYTES: Final = 32 * MAX_WORDS


@dataclass(frozen=True, slots=True, kw_only=True)
class EntryRun:
    """Everything about one executed entry."""

    trigger: Action
    pre: VmState
    post: VmState
    next_action: Action
    outcome: Outcome
    trap: Trap | None
    operations: tuple[TreeOperation, ...]
    """All tree accesses in order: for a CALL first the account, then storage. Those of a reverted run too."""
    frame: Frame
    """Where the run started: for a RESULT the frame that it continues, for a CALL a fresh one (its code hash may be 0).
    Address, caller, value, arguments and the tree that a revert restores are in it."""
    suspended: Frame | None
    """XCALL: the frame that the next action's answer will continue."""
    program: Program | None
    """None if no instruction ran."""
    answer: Words
    """Words of the last answer; empty for a CALL."""
    answer_meta: int
    out_words: Words
    """The 16 out words when the run ended."""
    step_count: int
    """Steps of this entry alone."""
    steps: tuple[Step, ...]
    """Empty unless traced."""

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
    state: VmState, *, rollup_id: int, l2_time: int, trigger: Action, trace: bool = False, budget: int = STEP_LIMIT
) -> EntryRun:
    """Execute an entry of `rollup_id`.

    Args:
        state: the rollup at the entry's pre-root.
        rollup_id: the owner, equal to the trigger's target rollup.
        l2_time: unix seconds, from the header.
        trigger: CALL or RESULT. Whether a RESULT answers the right call is for the caller to check: the frame that it
            continues is the innermost one of `state`.
        trace: collect `steps`.
        budget: steps of this entry after which to give up; only for trials of unknown programs.

    Raises:
        StateError: TRIGGER_KIND, TRIGGER_SCOPE, TRIGGER_ROLLUP, DATA_TOO_LONG, NO_FRAME, WRONG_FRAME, BALANCE_OVERFLOW,
            PROGRAM_MISSING, NODE_MISSING, TREE_FULL, STEP_BUDGET.
    """
    if trigger.rollup_id != rollup_id:
        raise StateError("TRIGGER_ROLLUP", rollup_id=trigger.rollup_id)
    if trigger.scope:
        raise StateError("TRIGGER_SCOPE", length=len(trigger.scope))
    limit = MAX_ANSWER_BYTES if trigger.kind is ActionKind.RESULT else MAX_DATA_BYTES
    if len(trigger.data) > limit:
        raise StateError("DATA_TOO_LONG", length=len(trigger.data), limit=limit)
    match trigger.kind:
        case ActionKind.CALL:
            return _run_call(state, rollup_id, l2_time, trigger, trace, budget)
        case ActionKind.RESULT:
            return _run_result(state, rollup_id, l2_time, trigger, trace, budget)
        case _:
            raise StateError("TRIGGER_KIND", kind=int(trigger.kind))


def _program(state: VmState, code_hash: int) -> Program:
    program = state.programs.get(code_hash)
    if program is None:
        raise StateError("PROGRAM_MISSING", code_hash=code_hash)
    return program


def _credit(tree: StateTree, key: int, value: int) -> tuple[StateTree, TreeOperation, int]:
    opening = tree.open(key)
    v0, code_hash = opening.values
    if value == 0:
        return tree, opening, code_hash
    nonce, balance = unpack_account(v0)
    if balance + value >= U128:
        raise StateError("BALANCE_OVERFLOW", balance=balance, value=value)
    operation: TreeOperation
    if opening.found:
        tree, operation = tree.update(key, pack_account(nonce, balance + value), code_hash)
    else:
        tree, operation = tree.insert(key, value, 0)
    return tree, operation, code_hash


def _run_call(state: VmState, rollup_id: int, l2_time: int, trigger: Action, trace: bool, budget: int) -> EntryRun:
    address = int.from_bytes(trigger.destination, "big")
    tree, operation, code_hash = _credit(state.tree, account_key(address), trigger.value)
    meta, words = action_words(trigger)
    frame = Frame(
        address=address,
        code_hash=code_hash,
        pc=0,
        steps=0,
        caller=trigger.source,
        value=trigger.value,
        args_meta=meta,
        args=words,
        start_tree=state.tree,
        registers=(0,) * REGISTERS,
        parent=state.frames,
    )
    if code_hash == 0:
        return _finish(state, trigger, frame, None, Outcome.NO_CODE, None, tree, (operation,))
    program = _program(state, code_hash)
    run = Execution(frame, program, tree, rollup_id=rollup_id, l2_time=l2_time, answer=None, trace=trace, budget=budget)
    outcome, trap = run.execute()
    return _finish(state, trigger, frame, run, outcome, trap, run.tree, (operation, *run.operations))


def _run_result(state: VmState, rollup_id: int, l2_time: int, trigger: Action, trace: bool, budget: int) -> EntryRun:
    frame = state.frames
    if frame is None:
        raise StateError("NO_FRAME")
    if frame.address != int.from_bytes(trigger.destination, "big"):
        raise StateError("WRONG_FRAME", address=frame.address)
    if trigger.failed:
        return _finish(state, trigger, frame, None, Outcome.FAILED_RESULT, None, state.tree, ())
    program, answer = _program(state, frame.code_hash), action_words(trigger)
    run = Execution(
        frame, program, state.tree, rollup_id=rollup_id, l2_time=l2_time, answer=answer, trace=trace, budget=budget
    )
    outcome, trap = run.execute()
    return _finish(state, trigger, frame, run, outcome, trap, run.tree, tuple(run.operations))


def _outgoing_call(frame: Frame, run: Execution, own: Address) -> Action:
    instruction = run.program.instructions[run.pc]
    selector, count, gas = split_xcall(instruction.imm)
    target_rollup, target = split_endpoint(run.r[instruction.ra])
    return Action(
        kind=ActionKind.CALL,
        rollup_id=target_rollup,
        destination=target,
        gas=gas,
        source_rollup=RollupId(run.rollup_id),
        source_address=own,
        data=selector.to_bytes(4, "big") + bytes_from_words(tuple(run.out[:count])),
    )


def _finish(
    state: VmState,
    trigger: Action,
    frame: Frame,
    run: Execution | None,
    outcome: Outcome,
    trap: Trap | None,
    tree: StateTree,
    operations: tuple[TreeOperation, ...],
) -> EntryRun:
    own = Address(frame.address.to_bytes(20, "big"))
    suspended = None
    if outcome is Outcome.XCALL:
        assert run is not None
        suspended = replace(frame, pc=run.pc, steps=run.steps, registers=tuple(run.r), called=True)
        next_action = _outgoing_call(frame, run, own)
    else:
        failed = outcome in (Outcome.REVERT, Outcome.TRAP, Outcome.FAILED_RESULT)
        if failed:
            tree = frame.start_tree
        data = b""
        if outcome in (Outcome.RETURN, Outcome.REVERT):
            assert run is not None
            data = bytes_from_words(tuple(run.out[: run.program.instructions[run.pc].imm]))
        caller_rollup, caller = split_endpoint(frame.caller)
        next_action = Action(
            kind=ActionKind.RESULT,
            rollup_id=caller_rollup,
            destination=caller,
            failed=failed,
            source_rollup=trigger.rollup_id,
            source_address=own,
            data=data,
        )
    is_result = trigger.kind is ActionKind.RESULT
    answer_meta, answer = action_words(trigger) if is_result else (0, ())
    frames = frame.parent if suspended is None else suspended
    return EntryRun(
        trigger=trigger,
        pre=state,
        post=VmState(tree=tree, frames=frames, programs=state.programs),
        next_action=next_action,
        outcome=outcome,
        trap=trap,
        operations=operations,
        frame=frame,
        suspended=suspended,
        program=None if run is None else run.program,
        answer=answer,
        answer_meta=answer_meta,
        out_words=NO_WORDS if run is None else tuple(run.out),
        step_count=0 if run is None else run.steps - frame.steps,
        steps=() if run is None or run.trace is None else tuple(run.trace),
    )
