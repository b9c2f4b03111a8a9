"""Trying a program without a rollup: one call, answers to its outgoing calls, and a trace to read.

API:
    try_program(program, data=, value=, caller=, slots=, others=, answers=, l2_time=, budget=) -> (EntryRun, ..)
    trial_core(runs, l2_time=) -> Core
    trace_lines(run) -> iterator of text lines
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import replace

from protocol.actions import Action, ActionKind, check_action
from protocol.constants import NONE, STEP_LIMIT
from protocol.table import Core, Entry, Member, decode_core, encode_core
from protocol.types import ZERO_ADDRESS, ZERO_HASH, Address, Endpoint, RollupId, split_endpoint
from protocol.vm.disassembler import instruction_text
from protocol.vm.execution import Step
from protocol.vm.genesis import Genesis, GenesisAccount, GenesisSlot, check_genesis, state_from_genesis
from protocol.vm.isa import INT_REGISTERS, Program
from protocol.vm.machine import EntryRun, run_entry
from protocol.vm.state import FIELD_WORD, INTEGER_WORD, VmState

TRIAL_ROLLUP = RollupId(1)
TRIAL_ADDRESS = Address(bytes(18) + b"\x10\x00")
TRIAL_CALLER = Endpoint(1)
"""Account 1 of L1."""


def try_program(
    program: Program,
    *,
    data: bytes = b"",
    value: int = 0,
    caller: Endpoint = TRIAL_CALLER,
    slots: Mapping[int, int] | None = None,
    others: Mapping[Address, Program] | None = None,
    answers: Sequence[bytes | None] = (),
    l2_time: int = 0,
    budget: int = STEP_LIMIT,
) -> tuple[EntryRun, ...]:
    """Call a program at `TRIAL_ADDRESS` of an otherwise empty rollup, traced.

    Args:
        data: call data, at most 516 bytes.
        value: wei, below 2^128.
        slots: storage from the start; values from 2^128 up become field words.
        others: programs that it may call, by address.
        answers: data for each outgoing call in turn, None for a failed one. Where they run out, the trial ends
            suspended. What a reverted scope leads to needs no answer.
        l2_time: unix seconds.
        budget: steps, over all runs, after which the trial is given up: a step that touches storage hashes a path of
            the tree, so that 65,536 of them take minutes.

    Returns:
        The run of the call, then one for each answer that was used and each scope that was continued.

    Raises:
        DecodeError: GENESIS_VALUE, GENESIS_ORDER, ACTION_RANGE: a slot or value out of range; ACTION_DATA_LENGTH.
        StateError: DATA_TOO_LONG, STEP_BUDGET.
    """
    state = _first_state(program, slots or {}, others or {})
    source_rollup, source_address = split_endpoint(caller)
    trigger = Action(
        kind=ActionKind.CALL,
        rollup_id=TRIAL_ROLLUP,
        destination=TRIAL_ADDRESS,
        value=value,
        source_rollup=source_rollup,
        source_address=source_address,
        data=data,
    )
    check_action(trigger)
    run = run_entry(state, rollup_id=TRIAL_ROLLUP, l2_time=l2_time, trigger=trigger, trace=True, budget=budget)
    runs, left = [run], list(answers)
    while run.next_action.kind is ActionKind.REVERT or (run.suspended is not None and left):
        budget -= run.step_count
        if run.next_action.kind is ActionKind.REVERT:
            state = runs[_opener(runs, run.next_action.scope)].post
            trigger = replace(run.next_action, kind=ActionKind.REVERT_CONTINUE)
        else:
            state, trigger = run.post, _answer(run.next_action, left.pop(0))
        run = run_entry(
            state,
            rollup_id=TRIAL_ROLLUP,
            l2_time=l2_time,
            trigger=trigger,
            unwound=run.unwound,
            trace=True,
            budget=budget,
        )
        runs.append(run)
    return tuple(runs)


def _first_state(program: Program, slots: Mapping[int, int], others: Mapping[Address, Program]) -> VmState:
    made = tuple(
        GenesisSlot(slot=slot, kind=FIELD_WORD if word >> 128 else INTEGER_WORD, value=word)
        for slot, word in sorted(slots.items())
        if word
    )
    accounts = [GenesisAccount(address=TRIAL_ADDRESS, program=program, slots=made)]
    accounts += [GenesisAccount(address=address, program=other) for address, other in others.items()]
    genesis = Genesis(accounts=tuple(sorted(accounts, key=lambda each: each.address)))
    check_genesis(genesis)
    return state_from_genesis(genesis)


def _answer(call: Action, data: bytes | None) -> Action:
    return Action(
        kind=ActionKind.RESULT,
        rollup_id=call.source_rollup,
        destination=call.source_address,
        failed=data is None,
        source_rollup=call.rollup_id,
        source_address=call.destination,
        data=data or b"",
    )


def _opener(runs: Sequence[EntryRun], scope: tuple[int, ...]) -> int:
    """The run that first called out in a scope: scopes have their numbers once."""
    return next(i for i, run in enumerate(runs) if run.next_action.scope[: len(scope)] == scope)


def trial_core(runs: Sequence[EntryRun], *, l2_time: int) -> Core:
    """The table that a trial amounts to, open to anybody; it needs to have come to its end to be one.

    Raises:
        RuleError, DecodeError: no table has such entries, for example a call of another program of the own rollup.
    """
    entries = []
    for place, run in enumerate(runs):
        continues = run.trigger.kind is ActionKind.REVERT_CONTINUE
        parent = _opener(runs, run.trigger.scope) if continues else place - 1
        entries.append(
            Entry(
                parent=NONE if place == 0 else parent,
                reply_to=place - 1 if run.trigger.kind is ActionKind.RESULT else NONE,
                revert_of=place - 1 if continues else NONE,
                mid=run.mid,
                new_root=run.new_root,
                trigger=run.trigger,
                next_action=run.next_action,
            )
        )
    core = Core(
        lockset=(Member(rollup_id=TRIAL_ROLLUP, pre_root=runs[0].pre.root),),
        l2_time=l2_time,
        not_before=l2_time,
        valid_until=l2_time,
        executor=ZERO_ADDRESS,
        triggers_hash=ZERO_HASH,
        fee_recipient=ZERO_ADDRESS,
        entries=tuple(entries),
    )
    return decode_core(encode_core(core))


def _register_name(number: int) -> str:
    return f"f{number - INT_REGISTERS}" if number >= INT_REGISTERS else f"r{number}"


def trace_lines(run: EntryRun) -> Iterator[str]:
    """One line for each step with the registers that it changed, then how the run ended.

    Where several frames run, a line before each says whose it is and in which scope it calls out.
    """
    for stretch in run.stretches:
        if len(run.stretches) > 1:
            went_on = "" if stretch.answer is None else " goes on"
            yield f"-- 0x{stretch.frame.address:040x}{went_on}, scope {list(stretch.frame.scope)}"
        yield from map(_step_line, stretch.steps)
        if len(run.stretches) > 1:
            yield f"-- {stretch.outcome.value}"
    yield f"{run.outcome.value}: {run.next_action.data.hex() or 'no data'}"


def _step_line(step: Step) -> str:
    changed = [
        f"{_register_name(i)} = {new}"
        for i, (old, new) in enumerate(zip(step.before, step.after, strict=True))
        if old != new
    ]
    if step.storage is not None and step.storage.old != step.storage.new:
        changed.append(f"[{step.storage.slot}] = {step.storage.new[0]}")
    if step.trap is not None:
        changed.append(f"trap {step.trap.value}")
    return f"{step.pc:>5}  {instruction_text(step.instruction):<42}  {'  '.join(changed)}".rstrip()
