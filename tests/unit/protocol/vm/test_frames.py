"""Frames inside an entry: calls inside the rollup, tries, values, and scopes that are undone (SPEC §4.5, §4.6)."""

from __future__ import annotations

from dataclasses import replace

import pytest

from protocol.actions import Action, ActionKind
from protocol.constants import STEP_LIMIT
from protocol.errors import StateError
from protocol.types import Address, endpoint
from protocol.vm.assembler import assemble
from protocol.vm.execution import Outcome, Trap
from protocol.vm.genesis import Genesis, GenesisAccount, state_from_genesis
from protocol.vm.machine import EntryRun, run_entry
from protocol.vm.poseidon import list_hash
from protocol.vm.state import Origin, VmState, Waits, account_key, frames_hash, unpack_account
from tests.support.cores import ORACLE, OTHER_PROGRAM, PROGRAM, call, result_of, revert_at, word
from tests.support.machines import L2_TIME, run, slot

TOP = (1 << 128) - 1
INNER = f"LDF f1, {endpoint(1, OTHER_PROGRAM)}\n"
OUTSIDE = f"LDF f2, {int.from_bytes(ORACLE, 'big')}\n"
THIRD = Address(bytes.fromhex("c3" * 20))


def world(outer: str, inner: str = "RETURN 0", third: str | None = None) -> VmState:
    """PROGRAM runs `outer`, OTHER_PROGRAM `inner`."""
    sources = {PROGRAM: outer, OTHER_PROGRAM: inner} | ({} if third is None else {THIRD: third})
    accounts = (GenesisAccount(address=a, program=assemble(sources[a])) for a in sorted(sources))
    return state_from_genesis(Genesis(accounts=tuple(accounts)))


def balance(state: VmState, address: Address) -> int:
    """wei of an account."""
    return unpack_account(state.tree.get(account_key(int.from_bytes(address, "big")))[0])[1]


def words(result: EntryRun) -> list[int]:
    """Data words of the next action."""
    data = result.next_action.data
    return [int.from_bytes(data[i : i + 32], "big") for i in range(0, len(data), 32)]


def shows(inner: str) -> str:
    """Calls OTHER_PROGRAM and answers (RETOK, RETLEN, first word's lo)."""
    return f"{INNER}{inner}\nRETOK r1\nRETLEN r2\nRETLO r3, 0\nOUT r11, r1, 0\nOUT r11, r2, 1\nOUT r11, r3, 2\nRETURN 3"


# -- calls inside ------------------------------------------------------------------------------------------------------


def test_a_call_inside_sees_its_caller_value_and_arguments() -> None:
    """And answers; the caller's registers are as they were, its out words are not."""
    callee = (
        "CALLER f0\nVALUE r1\nSEL r2\nARGLO r3, 1\nARGLEN r4\nSSTOREF f1, f0\nOUT r1, r2, 0\nOUT r3, r4, 1\nRETURN 2"
    )
    caller = (
        f"{INNER}LDI r5, 3\nLDI r6, 77\nOUT r11, r6, 1\nICALL f1, r5, 0xaabbccdd, 2\n"
        "RETHI r1, 0\nRETLO r2, 0\nRETHI r3, 1\nRETLO r4, 1\nOUT r1, r2, 0\nOUT r3, r4, 2\nOUT r5, r6, 3\nRETURN 4"
    )
    result = run(world(caller, callee), call(value=10))
    assert words(result) == [(3 << 128) + 0xAABBCCDD, 0, (77 << 128) + 68, (3 << 128) + 77]
    assert slot(result.post, 0, OTHER_PROGRAM) == (endpoint(1, PROGRAM), 1)
    assert (balance(result.post, PROGRAM), balance(result.post, OTHER_PROGRAM)) == (7, 3)
    assert [s.outcome for s in result.stretches] == [Outcome.ICALL, Outcome.RETURN, Outcome.RETURN]
    assert result.step_count == 6 + 9 + 8 == len(result.steps)
    assert not result.mid


@pytest.mark.parametrize(
    ("inner", "expected"),
    [
        ("LDI r1, 9\nOUT r11, r1, 0\nRETURN 1", [1, 32, 9]),
        ("LDI r1, 9\nOUT r11, r1, 0\nREVERT 1", [0, 32, 9]),
        ("LDI r1, 9\nOUT r11, r1, 0\nSUB r1, r11, r1\nRETURN 1", [0, 0, 0]),
        ("RETURN 0", [1, 0, 0]),
    ],
)
def test_a_failure_inside_is_an_answer(inner: str, expected: list[int]) -> None:
    """RETOK tells; a failed callee's storage and value are undone, and no scope is opened."""
    state = world(shows("LDI r5, 2\nICALL f1, r5, 0, 0"), "LDF f3, 5\nLDI r9, 1\nSSTORE f3, r9\n" + inner)
    result = run(state, call(value=2))
    assert words(result) == expected
    assert slot(result.post, 5, OTHER_PROGRAM) == (expected[0], 0)
    assert balance(result.post, OTHER_PROGRAM) == 2 * expected[0]


def test_an_account_without_code_takes_the_value() -> None:
    """Success and no data; its leaf is inserted; without value nothing is."""
    for sent in (0, 6):
        state = world(
            f"LDF f1, {endpoint(1, THIRD)}\nLDI r5, {sent}\nICALL f1, r5, 0, 0\nRETOK r1\nOUT r1, r1, 0\nRETURN 1"
        )
        result = run(state, call(value=6))
        assert words(result) == [(1 << 128) + 1]
        assert balance(result.post, THIRD) == sent
        assert result.post.tree.next_index - state.tree.next_index == (sent > 0)


def test_a_credit_past_the_limit_is_a_failed_call() -> None:
    """The value stays where it was."""
    full = run(world("RETURN 0", shows("")), call(value=TOP, destination=OTHER_PROGRAM)).post
    rich = run(full, call(value=5)).post
    source = assemble(shows("LDI r5, 1\nICALL f1, r5, 0, 0"))
    changed = replace(
        rich, programs={**rich.programs, rich.tree.get(account_key(int.from_bytes(PROGRAM, "big")))[1]: source}
    )
    result = run(changed)
    assert (words(result), balance(result.post, PROGRAM)) == ([0, 0, 0], 5)
    assert Outcome.UNFUNDED in [stretch.outcome for stretch in result.stretches]


def test_an_account_calls_itself() -> None:
    """Re-entrance inside an entry: the inner frame's writes are seen outside; value moves in a circle."""
    source = (
        "LDF f1, 1\nSLOAD r1, f1\nJNZ r1, inner\nLDI r1, 1\nSSTORE f1, r1\nSELF f2\nLDI r5, 4\nICALL f2, r5, 0, 0\n"
        "SLOAD r1, f1\nBALANCE r2\nOUT r1, r2, 0\nRETURN 1\ninner: LDI r1, 7\nSSTORE f1, r1\nRETURN 0"
    )
    result = run(world(source), call(value=4))
    assert words(result) == [(7 << 128) + 4]


def test_depth_is_limited() -> None:
    """Seven frames below the trigger's; the eighth call traps in the frame that makes it."""
    source = "SELF f1\nICALL f1, r0, 0, 0\nRETLO r1, 0\nLDI r2, 1\nADD r1, r1, r2\nOUT r11, r1, 0\nRETURN 1"
    result = run(world(source))
    assert words(result) == [7]
    deepest = result.stretches[7]
    assert (deepest.trap, deepest.frame.scope) == (Trap.DEPTH, (0,) * 7)
    assert deepest.frame.origin is Origin.ICALL


def test_one_step_limit_for_all_frames_of_a_trigger() -> None:
    """Handed down and back: what a callee used up its caller lacks."""
    forever = "l: JMP l"
    result = run_entry(
        world(f"{INNER}ICALL f1, r0, 0, 0\nRETURN 0", forever), rollup_id=1, l2_time=0, trigger=call(value=0)
    )
    assert (result.outcome, result.trap, result.step_count) == (Outcome.TRAP, Trap.STEPS, STEP_LIMIT)
    assert [s.trap for s in result.stretches] == [None, Trap.STEPS, Trap.STEPS]
    with pytest.raises(StateError, match="STEP_BUDGET"):
        run_entry(
            world(f"{INNER}ICALL f1, r0, 0, 0\nRETURN 0", forever), rollup_id=1, l2_time=0, trigger=call(), budget=50
        )


# -- tries and values --------------------------------------------------------------------------------------------------

TRIES = (
    f"{OUTSIDE}LDI r5, 3\n{{op}}\nRETOK r1\nRETLEN r2\nBALANCE r3\n"
    "OUT r11, r1, 0\nOUT r11, r2, 1\nOUT r11, r3, 2\nRETURN 3"
)


@pytest.mark.parametrize("failed", [False, True])
def test_a_try_goes_on_with_either_answer(failed: bool) -> None:
    """RETOK and the data; a failed one brings its value back."""
    asked = run(world(TRIES.format(op="XTRYV f2, r5, 0xaabbccdd, 0, 50000, opaque")), call(value=10))
    sent = asked.next_action
    assert (sent.kind, sent.value, sent.gas, sent.opaque) == (ActionKind.TRY_CALL, 3, 50000, True)
    assert asked.suspended is not None
    assert (asked.suspended.waits, asked.suspended.meta) == (Waits.XTRY, 4 + 16)
    assert balance(asked.post, PROGRAM) == 7
    done = run(asked.post, result_of(sent, b"" if failed else word(1), failed=failed))
    assert words(done) == ([0, 0, 10] if failed else [1, 32, 7])


def test_a_failed_answer_ends_a_frame_that_did_not_try() -> None:
    """With its value back where it was before the trigger."""
    state = world(TRIES.format(op="XCALLV f2, r5, 0, 0, 0"))
    asked = run(state, call(value=10))
    assert (asked.next_action.kind, asked.next_action.value) == (ActionKind.CALL, 3)
    done = run(asked.post, result_of(asked.next_action, word(1), failed=True))
    assert (done.outcome, done.next_action, done.new_root) == (
        Outcome.FAILED_RESULT,
        result_of(call(), failed=True),
        state.root,
    )


def test_a_trying_call_from_outside_begins_like_a_call() -> None:
    """Also with a scope, which is its caller's."""
    state = world(TRIES.format(op="XTRY f2, 0, 0, 1"))
    tried = call(kind=ActionKind.TRY_CALL, gas=5, scope=(3, 1), source_rollup=2)
    asked = run(state, tried)
    assert asked.next_action.scope == ()
    assert run(asked.post, result_of(asked.next_action)).next_action == result_of(tried, word(1) + word(0) + word(7))


# -- scopes ------------------------------------------------------------------------------------------------------------

CALLS_OUT = f"{OUTSIDE}XCALL f2, 0x01020304, 0, 0\n"
FAILS = "LDI r1, 5\nOUT r11, r1, 0\nREVERT 1"


def undone(end: str = FAILS) -> tuple[EntryRun, EntryRun]:
    """A callee calls out and fails: the run up to the call, and up to the REVERT."""
    caller = "LDF f3, 1\nLDI r9, 1\nSSTORE f3, r9\n" + shows("LDI r5, 2\nICALL f1, r5, 0, 0")
    first = run(world(caller, "LDF f3, 9\nLDI r9, 1\nSSTORE f3, r9\n" + CALLS_OUT + end), call(value=2))
    return first, run(first.post, result_of(first.next_action))


def test_a_callee_calls_out_in_its_own_scope() -> None:
    """Frames form a chain; the answer goes through the callee to its caller, all in one entry."""
    first = run(world(shows("ICALL f1, r11, 0, 0"), CALLS_OUT + "RETLO r1, 0\nOUT r11, r1, 0\nRETURN 1"))
    assert first.next_action.scope == (0,)
    assert first.next_action.source_address == OTHER_PROGRAM
    frame = first.suspended
    assert frame is not None and frame.parent is not None
    assert (frame.meta, frame.parent.meta, frame.parent.scope) == (2 + 16, 2 * 4, ())
    assert frame.hash == list_hash(
        2,
        [
            *(frame.address, frame.code_hash, frame.pc, frame.steps, frame.caller, frame.value, frame.args_hash),
            *(frame.start_tree.root, frame.start_tree.next_index, 1 << 224, 18, *frame.registers, frame.parent.hash),
        ],
    )
    done = run(first.post, result_of(first.next_action, word(8)))
    assert words(done) == [1, 32, 8]
    assert [stretch.outcome for stretch in done.stretches] == [Outcome.RETURN, Outcome.RETURN]


def test_a_callee_that_called_out_and_fails_reverts_its_scope_first() -> None:
    """The root says what it failed with, in which scope, above which frame."""
    first, second = undone()
    assert second.next_action == revert_at(1, (0,))
    assert second.mid
    left = second.unwound
    assert left is not None and first.suspended is not None
    assert (left.scope, left.data, left.below) == ((0,), word(5), first.suspended.parent)
    assert frames_hash(left) == list_hash(5, [1 << 224, 32 << 32, 0, 5, frames_hash(left.below)])
    assert second.post.tree is first.suspended.start_tree
    with pytest.raises(StateError, match="UNWINDING"):
        run(second.post)


def continued(state: VmState, after: EntryRun, scope: tuple[int, ...] = (0,)) -> EntryRun:
    """The REVERT_CONTINUE on a state, after the entry of the REVERT."""
    trigger = revert_at(1, scope, ActionKind.REVERT_CONTINUE)
    return run_entry(state, rollup_id=1, l2_time=L2_TIME, trigger=trigger, unwound=after.unwound, trace=True)


@pytest.mark.parametrize(
    ("end", "data"), [(FAILS, [0, 32, 5]), ("SUB r1, r11, r2\nRETURN 0", [1, 0, 0]), ("REVERT 0", [0, 0, 0])]
)
def test_the_caller_goes_on_with_what_the_scope_failed_with(end: str, data: list[int]) -> None:
    """On the state from before the scope: the callee's storage and value are gone, the caller's stay."""
    first, second = undone(end)
    if data[0]:
        assert words(second) == data  # 0 - 0 does not trap: this callee succeeds
        return
    third = continued(first.post, second)
    assert words(third) == data
    assert not third.mid
    assert slot(third.post, 1) == (1, 0)
    assert slot(third.post, 9, OTHER_PROGRAM) == (0, 0)
    assert (balance(third.post, PROGRAM), balance(third.post, OTHER_PROGRAM)) == (2, 0)


def test_scopes_are_numbered_by_frames_that_called_out() -> None:
    """A callee without outgoing calls takes no number; one whose scope was undone takes one."""
    caller = INNER + "ICALL f1, r11, 0, 0\n" * 3 + "RETURN 0"
    # The callee calls out if and only if its slot 1 is set, which it flips.
    flips = f"LDF f1, 1\nSLOAD r1, f1\nLDI r2, 1\nSUB r3, r2, r1\nSSTORE f1, r3\nJZ r1, end\n{CALLS_OUT}end: RETURN 0"
    first = run(world(caller, flips))
    assert first.next_action.scope == (0,)
    assert first.suspended is not None and first.suspended.parent is not None
    assert first.suspended.parent.children == 0
    done = run(first.post, result_of(first.next_action))
    assert not done.mid
    first, second = undone()
    third_caller = continued(first.post, second).stretches[1].frame
    assert (third_caller.children, third_caller.called) == (1, True)


def test_a_scope_inside_a_scope() -> None:
    """The middle frame catches the inner failure, then fails itself: both scopes are undone, one after the other."""
    outer = shows("ICALL f1, r11, 0, 0")
    middle = f"LDF f1, {endpoint(1, THIRD)}\nICALL f1, r11, 0, 0\nRETLO r1, 0\nOUT r11, r1, 1\nREVERT 2"
    first = run(world(outer, middle, CALLS_OUT + FAILS))
    assert first.next_action.scope == (0, 0)
    second = run(first.post, result_of(first.next_action))
    assert second.next_action == revert_at(1, (0, 0))
    third = continued(first.post, second, (0, 0))
    assert third.next_action == revert_at(1, (0,))
    fourth = continued(first.post, third)
    assert words(fourth) == [0, 64, 0]
    assert fourth.next_action.kind is ActionKind.RESULT


def test_the_frame_of_a_call_fails_without_a_scope() -> None:
    """Whoever called it undoes all of it: the RESULT says so."""
    state = world(CALLS_OUT + FAILS)
    first = run(state)
    second = run(first.post, result_of(first.next_action))
    assert second.next_action == result_of(call(), word(5), failed=True)
    assert second.new_root == state.root


@pytest.mark.parametrize(
    "trigger",
    [revert_at(1, (1,), ActionKind.REVERT_CONTINUE), revert_at(1, (0, 0), ActionKind.REVERT_CONTINUE)],
)
def test_a_scope_that_is_not_open_cannot_be_continued(trigger: Action) -> None:
    """Nor one whose REVERT was above another frame, or without the REVERT."""
    first, second = undone()
    assert second.unwound is not None
    for unwound in (replace(second.unwound, scope=trigger.scope), None):
        with pytest.raises(StateError, match="WRONG_SCOPE"):
            run_entry(first.post, rollup_id=1, l2_time=L2_TIME, trigger=trigger, unwound=unwound)
    right = replace(trigger, scope=(0,))
    other = replace(second.unwound, below=None)
    with pytest.raises(StateError, match="WRONG_SCOPE"):
        run_entry(first.post, rollup_id=1, l2_time=L2_TIME, trigger=right, unwound=other)


def test_only_the_innermost_triggers_scopes_can_be_undone() -> None:
    """A call from outside begins its own tree of scopes above the frames that wait."""
    first, second = undone()
    above = run(first.post, call(value=2))
    assert second.unwound is not None
    assert above.suspended is not None
    below = replace(second.unwound, below=above.suspended.parent)
    outer = continued(above.post, replace(second, post=replace(second.post, frames=below)))
    assert outer.post.frames is first.suspended
    assert outer.next_action.source_address == PROGRAM
