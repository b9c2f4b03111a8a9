"""Trying a program without a rollup: one call, answers to its outgoing calls, and a trace to read.

API:
    try_program(program, data=, value=, caller=, slots=, answers=, l2_time=, budget=) -> (EntryRun, ..)
    trace_lines(run) -> iterator of text lines
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence

from protocol.actions import Action, ActionKind, check_action
from protocol.constants import STEP_LIMIT
from protocol.types import Address, Endpoint, RollupId, split_endpoint
from protocol.vm.disassembler import instruction_text
from protocol.vm.genesis import Genesis, GenesisAccount, GenesisSlot, check_genesis, state_from_genesis
from protocol.vm.isa import INT_REGISTERS, Program
from protocol.vm.machine import EntryRun, run_entry
from protocol.vm.state import FIELD_WORD, INTEGER_WORD

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
    answers: Sequence[bytes | None] = (),
    l2_time: int = 0,
    budget: int = STEP_LIMIT,
) -> tuple[EntryRun, ...]:
    """Call a program at `TRIAL_ADDRESS` of an otherwise empty rollup, traced.

    Args:
        data: call data, at most 516 bytes.
        value: wei, below 2^128.
        slots: storage from the start; values from 2^128 up become field words.
        answers: data for each outgoing call in turn, None for a failed one. Where they run out, the trial ends
            suspended.
        l2_time: unix seconds.
        budget: steps, over all runs, after which the trial is given up: a step that touches storage hashes a path of
            the tree, so that 65,536 of them take minutes.

    Returns:
        The run of the call, then one for each answer that was used.

    Raises:
        DecodeError: GENESIS_VALUE, GENESIS_ORDER, ACTION_RANGE: a slot or value out of range; ACTION_DATA_LENGTH.
        StateError: DATA_TOO_LONG, STEP_BUDGET.
    """
    made = tuple(
        GenesisSlot(slot=slot, kind=FIELD_WORD if word >> 128 else INTEGER_WORD, value=word)
        for slot, word in sorted((slots or {}).items())
        if word
    )
    genesis = Genesis(accounts=(GenesisAccount(address=TRIAL_ADDRESS, program=program, slots=made),))
    check_genesis(genesis)
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
    state = state_from_genesis(genesis)
    run = run_entry(state, rollup_id=TRIAL_ROLLUP, l2_time=l2_time, trigger=trigger, trace=True, budget=budget)
    runs = [run]
    for answer in answers:
        if run.suspended is None:
            break
        call = run.next_action
        result = Action(
            kind=ActionKind.RESULT,
            rollup_id=call.source_rollup,
            destination=call.source_address,
            failed=answer is None,
            source_rollup=call.rollup_id,
            source_address=call.destination,
            data=answer or b"",
        )
        budget -= run.step_count
        run = run_entry(run.post, rollup_id=TRIAL_ROLLUP, l2_time=l2_time, trigger=result, trace=True, budget=budget)
        runs.append(run)
    return tuple(runs)


def _register_name(number: int) -> str:
    return f"f{number - INT_REGISTERS}" if number >= INT_REGISTERS else f"r{number}"


def trace_lines(run: EntryRun) -> Iterator[str]:
    """One line for each step with the registers that it changed, then how the run ended."""
    for step in run.steps:
        changed = [
            f"{_register_name(i)} = {new}"
            for i, (old, new) in enumerate(zip(step.before, step.after, strict=True))
            if old != new
        ]
        if step.storage is not None and step.storage.old != step.storage.new:
            changed.append(f"[{step.storage.slot}] = {step.storage.new[0]}")
        if step.trap is not None:
            changed.append(f"trap {step.trap.value}")
        yield f"{step.pc:>5}  {instruction_text(step.instruction):<44}{'  '.join(changed)}".rstrip()
    yield f"{run.outcome.value}: {run.next_action.data.hex() or 'no data'}"
