"""Random programs and random triggers: the machine never crashes, and its runs obey the laws of SPEC §4."""

from __future__ import annotations

from hypothesis import given, settings
from hypothesis import strategies as st

from protocol.actions import Action
from protocol.constants import FIELD_ORDER
from protocol.errors import ProgramError
from protocol.payload import make_witness, state_from_witness
from protocol.vm.assembler import assemble
from protocol.vm.disassembler import disassemble
from protocol.vm.execution import Outcome
from protocol.vm.genesis import Genesis, GenesisAccount, state_from_genesis
from protocol.vm.isa import (
    OPS,
    Immediate,
    Instruction,
    Op,
    Operand,
    Program,
    check_program,
    decode_program,
    encode_program,
    make_program,
    xcall_immediate,
)
from protocol.vm.machine import EntryRun, run_entry
from protocol.vm.state import VmState
from tests.support.cores import PROGRAM, call, result_of
from tests.support.machines import L2_TIME

FAST = settings(max_examples=40, deadline=None, derandomize=True)
INTS = st.one_of(st.integers(0, 3), st.integers((1 << 128) - 2, (1 << 128) - 1), st.integers(0, (1 << 128) - 1))
FIELDS = st.one_of(st.integers(0, 3), st.integers(0, (1 << 161)), st.integers(FIELD_ORDER - 3, FIELD_ORDER - 1))


@st.composite
def instructions(draw: st.DrawFn, pc: int, count: int) -> Instruction:
    """One well-formed instruction of a program of `count`; jumps go forward, for endless loops cost 65536 steps."""
    spec = OPS[draw(st.sampled_from(sorted(OPS)))]
    numbers = {Operand.UNUSED: st.just(0), Operand.INT: st.integers(0, 3), Operand.FIELD: st.integers(12, 14)}
    immediates = {
        Immediate.UNUSED: st.just(0),
        Immediate.TARGET: st.integers(pc + 1, count - 1),
        Immediate.U128: INTS,
        Immediate.COUNT: st.integers(0, 16),
        Immediate.WORD: st.integers(0, 15),
        Immediate.XCALL: st.builds(
            xcall_immediate, st.integers(0, 0xFFFFFFFF), st.integers(0, 16), st.integers(0, (1 << 64) - 1)
        ),
        Immediate.XTRY: st.builds(
            xcall_immediate,
            st.integers(0, 0xFFFFFFFF),
            st.integers(0, 16),
            st.integers(1, (1 << 64) - 1),
            st.booleans(),
        ),
        Immediate.ICALL: st.builds(xcall_immediate, st.integers(0, 0xFFFFFFFF), st.integers(0, 16), st.just(0)),
    }
    rd, ra, rb = (draw(numbers[operand]) for operand in (spec.rd, spec.ra, spec.rb))
    return Instruction(int(spec.op), rd, ra, rb, draw(immediates[spec.imm]))


@st.composite
def programs(draw: st.DrawFn) -> Program:
    """A well-formed program of 1 to 25 instructions."""
    count = draw(st.integers(0, 24)) + 1
    body = [draw(instructions(pc, count)) for pc in range(count - 1)]
    end = draw(st.sampled_from([Instruction(int(Op.RETURN), imm=16), Instruction(int(Op.REVERT), imm=1)]))
    return make_program([*body, end])


TRIGGERS = st.builds(
    lambda value, data: call(value=value, data=data), st.integers(0, 1 << 100), st.binary(max_size=516)
)


def state_of(program: Program) -> VmState:
    """A rollup that has only this program."""
    return state_from_genesis(Genesis(accounts=(GenesisAccount(address=PROGRAM, program=program),)))


def check_run(run: EntryRun, trace: bool = True) -> None:
    """Laws of one entry."""
    assert run.mid == (run.outcome in (Outcome.XCALL, Outcome.XTRY))
    failed = run.outcome in (Outcome.REVERT, Outcome.TRAP, Outcome.FAILED_RESULT)
    assert run.next_action.failed == failed
    if failed:
        assert run.post.tree is run.frame.start_tree
    if trace:
        assert len(run.steps) == run.step_count
        tree = None
        for step in run.steps:
            assert all(0 <= x < 1 << 128 for x in step.after[:12])
            assert all(0 <= x < FIELD_ORDER for x in step.after[12:])
            if step.storage is not None:
                # Every access stands on the tree that the one before it left.
                operation = step.storage.operation
                before = getattr(operation, "tree", None) or getattr(operation, "before", None) or operation.low.before
                assert tree is None or before is tree
                tree = getattr(operation, "tree", None) or getattr(operation, "after", None) or operation.new.after


@FAST
@given(programs(), TRIGGERS, st.binary(max_size=512))
def test_any_program_runs_and_resumes(program: Program, trigger: Action, answer: bytes) -> None:
    """Up to six outgoing calls in a row, traced; then the same untraced and from the witness alone."""
    base = state_of(program)
    runs = []
    state, following = base, trigger
    for _ in range(6):
        run = run_entry(state, rollup_id=1, l2_time=L2_TIME, trigger=following, trace=True)
        check_run(run)
        runs.append(run)
        if run.suspended is None:
            break
        state, following = run.post, result_of(run.next_action, answer)
    partial = state_from_witness(make_witness(base, runs))
    assert partial.root == base.root
    for run in runs:
        again = run_entry(partial, rollup_id=1, l2_time=L2_TIME, trigger=run.trigger)
        assert (again.next_action, again.outcome, again.trap) == (run.next_action, run.outcome, run.trap)
        assert (again.mid, again.step_count) == (run.mid, run.step_count)
        partial = again.post
    assert partial.root == runs[-1].new_root


@FAST
@given(programs())
def test_programs_survive_their_formats(program: Program) -> None:
    """Program file and disassembly give the same program back."""
    assert decode_program(encode_program(program)) == program
    text = disassemble(program)
    again = assemble(text)
    assert (again, again.code_hash) == (program, program.code_hash)
    assert disassemble(again) == text


@FAST
@given(st.integers(1, 200), st.integers(0, 12), st.binary(min_size=32, max_size=32))
def test_a_suspension_is_invisible_to_what_does_not_read_the_answer(start: int, place: int, answer: bytes) -> None:
    """A program with an outgoing call spliced in computes what it computes without it, one step later."""
    body = [
        f"LDI r1, {start}",
        "LDI r2, 3",
        "LDF f1, 9",
        "ADD r3, r1, r2",
        "ITOF f2, r3",
        "HASH f2, f2, f1",
        "SSTOREF f1, f2",
        "SSTORE f3, r3",
        "ARGLO r4, 0",
        "VALUE r5",
        "SLOAD r6, f3",
        "ADD r7, r6, r5",
    ]
    ends = ["OUT r7, r4, 0", "RETURN 1"]
    split = [*body[:place], "XCALL f0, 0, 0, 0", *body[place:], *ends]
    straight = run_entry(
        state_of(assemble("\n".join([*body, *ends]))), rollup_id=1, l2_time=1, trigger=call(), trace=True
    )
    asked = run_entry(state_of(assemble("\n".join(split))), rollup_id=1, l2_time=1, trigger=call(), trace=True)
    assert asked.outcome is Outcome.XCALL
    resumed = run_entry(asked.post, rollup_id=1, l2_time=1, trigger=result_of(asked.next_action, answer), trace=True)
    assert resumed.next_action == straight.next_action
    assert resumed.steps[-1].after == straight.steps[-1].after
    assert asked.step_count + resumed.step_count == straight.step_count + 1
    # The two rollups differ in one leaf: the account's, which names another program.
    differing = [a for a, b in zip(straight.post.tree.leaves(), resumed.post.tree.leaves(), strict=True) if a != b]
    assert len(differing) == 1


@FAST
@given(st.lists(st.tuples(*(st.integers(0, 255) for _ in range(4)), FIELDS), min_size=1, max_size=4))
def test_what_is_well_formed_runs(raw: list[tuple[int, int, int, int, int]]) -> None:
    """Random instruction words: either refused as ill-formed, or they run."""
    listed = [Instruction(*fields) for fields in raw]
    try:
        check_program(listed)
    except ProgramError:
        return
    check_run(run_entry(state_of(make_program(listed)), rollup_id=1, l2_time=1, trigger=call(), trace=True))
