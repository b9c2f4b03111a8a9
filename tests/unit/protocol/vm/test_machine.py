"""The machine, instruction by instruction and entry by entry."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import pytest

from protocol.actions import Action, ActionKind
from protocol.constants import FIELD_ORDER, STEP_LIMIT
from protocol.errors import StateError
from protocol.types import endpoint
from protocol.vm.execution import Outcome, Trap
from protocol.vm.genesis import GenesisSlot
from protocol.vm.isa import INT_REGISTERS, OPS
from protocol.vm.machine import EntryRun, run_entry
from protocol.vm.poseidon import P, list_hash
from protocol.vm.state import (
    FIELD_WORD,
    INTEGER_WORD,
    VmState,
    account_key,
    frames_hash,
    pack_account,
    unpack_account,
)
from protocol.vm.state_tree import Insertion, Opening, Update
from tests.support.cores import ORACLE, OTHER_PROGRAM, PROGRAM, USER, call, result_of, word
from tests.support.machines import L2_TIME, run, slot, state_of

TOP = (1 << 128) - 1
ARGUMENTS = call(value=0, data=b"\x12\x34\x56\x78" + word((5 << 128) + 6) + b"\xff")
ACCOUNT = int.from_bytes(PROGRAM, "big")


def register(source: str, name: str, trigger: Action | None = None) -> int:
    """Value of a register when the program ends."""
    result = run(state_of(source + "\nRETURN 0"), trigger or ARGUMENTS)
    assert result.outcome is Outcome.RETURN
    number = int(name[1:]) + (INT_REGISTERS if name[0] == "f" else 0)
    return result.steps[-1].after[number]


@pytest.mark.parametrize(
    ("source", "name", "value"),
    [
        (f"LDI r1, {TOP}", "r1", TOP),
        ("LDI r1, 7\nMOV r2, r1", "r2", 7),
        (f"LDI r1, {TOP - 1}\nLDI r2, 1\nADD r3, r1, r2", "r3", TOP),
        ("LDI r1, 7\nLDI r2, 7\nSUB r3, r1, r2", "r3", 0),
        ("LDI r1, 7\nADD r1, r1, r1", "r1", 14),
        ("LDI r1, 6\nLDI r2, 7\nLT r3, r1, r2", "r3", 1),
        ("LDI r1, 7\nLDI r2, 7\nLT r3, r1, r2", "r3", 0),
        ("LDI r1, 7\nLDI r2, 7\nEQ r3, r1, r2", "r3", 1),
        ("LDI r1, 8\nLDI r2, 7\nEQ r3, r1, r2", "r3", 0),
        (f"LDF f1, {FIELD_ORDER - 1}\nMOVF f2, f1", "f2", FIELD_ORDER - 1),
        ("LDF f1, 5\nLDFH f2, f1, 7", "f2", (7 << 128) + 5),
        (f"LDFH f2, f0, {(1 << 128) - 1}", "f2", ((1 << 256) - (1 << 128)) % FIELD_ORDER),
        (f"LDF f1, {FIELD_ORDER - 1}\nLDF f2, 3\nADDF f0, f1, f2", "f0", 2),
        ("LDF f1, 2\nLDF f2, 3\nSUBF f0, f1, f2", "f0", FIELD_ORDER - 1),
        (f"LDF f1, {FIELD_ORDER - 1}\nLDF f2, 3\nMULF f0, f1, f2", "f0", FIELD_ORDER - 3),
        ("LDF f1, 2\nEQF r1, f1, f1", "r1", 1),
        ("LDF f1, 2\nEQF r1, f1, f0", "r1", 0),
        (f"LDI r1, {TOP}\nITOF f3, r1", "f3", TOP),
        (f"LDI r1, {1 << 64}\nLDI r2, {(1 << 64) - 1}\nMUL r3, r1, r2", "r3", (1 << 128) - (1 << 64)),
        ("LDI r1, 7\nLDI r2, 2\nDIV r3, r1, r2", "r3", 3),
        (f"LDI r1, {TOP}\nLDI r2, {TOP}\nDIV r3, r1, r2", "r3", 1),
        ("LDI r1, 7\nLDI r2, 4\nMOD r3, r1, r2", "r3", 3),
        (f"LDI r1, 7\nLDI r2, {TOP}\nMOD r3, r1, r2", "r3", 7),
        ("LDI r1, 7\nLDI r2, 4\nMIN r3, r1, r2", "r3", 4),
        ("LDI r1, 7\nLDI r2, 4\nMAX r3, r1, r2", "r3", 7),
        ("LDI r1, 12\nLDI r2, 10\nAND r3, r1, r2", "r3", 8),
        ("LDI r1, 12\nLDI r2, 10\nOR r3, r1, r2", "r3", 14),
        ("LDI r1, 12\nLDI r2, 10\nXOR r3, r1, r2", "r3", 6),
        ("LDI r1, 3\nLDI r2, 126\nSHL r3, r1, r2", "r3", 3 << 126),
        (f"LDI r2, {TOP}\nSHL r3, r1, r2", "r3", 0),
        (f"LDI r1, {TOP}\nLDI r2, 127\nSHR r3, r1, r2", "r3", 1),
        (f"LDI r1, {TOP}\nLDI r2, 128\nSHR r3, r1, r2", "r3", 0),
        (f"LDI r1, {TOP}\nLDI r2, {TOP}\nSHR r3, r1, r2", "r3", 0),
        (f"LDF f1, {FIELD_ORDER - 1}\nFHI r3, f1", "r3", (FIELD_ORDER - 1) >> 128),
        (f"LDF f1, {FIELD_ORDER - 1}\nFLO r3, f1", "r3", (FIELD_ORDER - 1) & TOP),
        ("LDF f1, 5\nINVF f2, f1\nMULF f3, f2, f1", "f3", 1),
        ("LDI r1, 9\nBALANCE r1", "r1", 0),
        ("LDI r1, 9\nRETOK r1", "r1", 0),
        ("LDF f1, 2\nLDF f2, 3\nHASH f3, f1, f2", "f3", P(2, (2, 3))),
        (f"LDI r1, 0xffffffff\nLDI r2, {TOP}\nADDR f0, r1, r2", "f0", (1 << 160) - 1),
        ("CALLER f0", "f0", endpoint(0, USER)),
        ("SELF f0", "f0", endpoint(1, PROGRAM)),
        ("TIME r1", "r1", L2_TIME),
        ("SEL r1", "r1", 0x12345678),
        ("ARGHI r1, 0", "r1", 5),
        ("ARGLO r1, 0", "r1", 6),
        ("ARGHI r1, 1", "r1", 0xFF << 120),
        ("ARGLO r1, 15", "r1", 0),
        ("ARGLEN r1", "r1", 37),
        ("LDI r1, 9\nRETHI r1, 0", "r1", 0),
        ("LDI r1, 9\nRETLO r1, 0", "r1", 0),
        ("LDI r1, 9\nRETLEN r1", "r1", 0),
        ("LDI r1, 1\nJNZ r1, over\nLDI r1, 5\nover: MOV r1, r1", "r1", 1),
        ("JNZ r1, over\nLDI r1, 5\nover: MOV r1, r1", "r1", 5),
        ("JZ r1, over\nLDI r1, 5\nover: MOV r1, r1", "r1", 0),
        ("LDI r1, 1\nJZ r1, over\nLDI r1, 5\nover: MOV r1, r1", "r1", 5),
        ("JMP over\nLDI r1, 5\nover: MOV r1, r1", "r1", 0),
        ("LDF f1, 4\nLDI r1, 6\nSSTORE f1, r1\nSLOAD r2, f1", "r2", 6),
        ("LDF f1, 4\nSLOAD r2, f1", "r2", 0),
        (f"LDF f1, 4\nLDF f2, {FIELD_ORDER - 1}\nSSTOREF f1, f2\nSLOADF f3, f1", "f3", FIELD_ORDER - 1),
        ("LDF f1, 4\nLDI r1, 6\nSSTORE f1, r1\nSLOADF f3, f1", "f3", 6),
    ],
)
def test_effect_of_an_instruction(source: str, name: str, value: int) -> None:
    """One row of the table of SPEC §4.3 each, boundaries included."""
    assert register(source, name) == value


def test_the_value_is_a_register_word() -> None:
    """And credited before the program runs."""
    assert register("VALUE r1", "r1", call(value=TOP)) == TOP


@pytest.mark.parametrize(
    ("source", "trap"),
    [
        (f"LDI r1, {TOP}\nLDI r2, 1\nADD r3, r1, r2", Trap.OVERFLOW),
        (f"LDI r1, {1 << 64}\nMUL r3, r1, r1", Trap.OVERFLOW),
        ("LDI r1, 2\nLDI r2, 127\nSHL r3, r1, r2", Trap.OVERFLOW),
        (f"LDI r1, 1\nLDI r2, {TOP}\nSHL r3, r1, r2", Trap.OVERFLOW),
        ("LDI r1, 1\nDIV r3, r1, r2", Trap.DIVISION),
        ("LDI r1, 1\nMOD r3, r1, r2", Trap.DIVISION),
        ("INVF f1, f2", Trap.DIVISION),
        ("LDI r1, 4\nXCALLV f2, r1, 0, 0, 0", Trap.BALANCE),
        ("LDI r1, 4\nXTRYV f2, r1, 0, 0, 1", Trap.BALANCE),
        ("LDI r1, 4\nSELF f2\nICALL f2, r1, 0, 0", Trap.BALANCE),
        ("SELF f1\nXTRY f1, 0, 0, 1", Trap.ENDPOINT),
        ("LDF f1, 5\nICALL f1, r1, 0, 0", Trap.ENDPOINT),
        (f"LDF f1, {2 << 160}\nICALL f1, r1, 0, 0", Trap.ENDPOINT),
        (f"LDF f1, {FIELD_ORDER - 1}\nICALL f1, r1, 0, 0", Trap.ENDPOINT),
        ("LDI r2, 1\nSUB r3, r1, r2", Trap.OVERFLOW),
        ("LDI r1, 0x100000000\nADDR f0, r1, r2", Trap.ADDRESS),
        ("SSTOREF f1, f2\nSLOAD r1, f1", Trap.TYPE),
        (f"LDF f1, {1 << 224}\nXCALL f1, 0, 0, 0", Trap.ENDPOINT),
        (f"LDF f1, {FIELD_ORDER - 1}\nXCALL f1, 0, 0, 0", Trap.ENDPOINT),
        ("SELF f1\nXCALL f1, 0, 0, 0", Trap.ENDPOINT),
        (f"LDF f1, {1 << 160}\nXCALL f1, 0, 0, 0", Trap.ENDPOINT),
    ],
)
def test_a_trap_ends_the_frame_and_restores_the_state(source: str, trap: Trap) -> None:
    """Failure with empty data, credit undone, registers of the trapping step unchanged."""
    state = state_of("LDF f3, 77\nLDI r9, 5\nSSTORE f3, r9\nOUT r9, r9, 0\n" + source + "\nRETURN 1")
    result = run(state, call(value=3))
    assert (result.outcome, result.trap, result.steps[-1].trap) == (Outcome.TRAP, trap, trap)
    assert result.next_action == result_of(call(), failed=True)
    assert result.steps[-1].before == result.steps[-1].after
    assert result.step_count == len(result.steps)
    assert result.new_root == state.root
    assert not result.mid


def test_a_trace_is_a_chain() -> None:
    """Each step starts with the registers and at the pc that the one before it left."""
    result = run(state_of("a: LDI r1, 3\nb: LDI r2, 1\nSUB r1, r1, r2\nJNZ r1, b\nRETURN 0"))
    assert [step.pc for step in result.steps] == [0, 1, 2, 3, 1, 2, 3, 1, 2, 3, 4]
    for previous, step in zip(result.steps, result.steps[1:], strict=False):
        assert (previous.after, previous.next_pc) == (step.before, step.pc)
    assert result.steps[0].before == (0,) * 16
    assert result.steps[-1].next_pc == result.steps[-1].pc
    untraced = run_entry(result.pre, rollup_id=1, l2_time=L2_TIME, trigger=result.trigger)
    assert untraced.steps == ()
    assert (untraced.new_root, untraced.step_count) == (result.new_root, 11)


def test_the_step_limit_counts_the_whole_frame() -> None:
    """Exactly STEP_LIMIT steps are allowed; one more traps; a suspension does not reset the count."""
    loop = "LDI r1, {n}\nLDI r2, 1\nl: SUB r1, r1, r2\nJNZ r1, l\nRETURN 0"
    enough = (STEP_LIMIT - 3) // 2
    trigger = call(value=0)
    exact = run_entry(state_of("MOV r3, r3\n" + loop.format(n=enough - 0)), rollup_id=1, l2_time=0, trigger=trigger)
    assert (exact.outcome, exact.step_count) == (Outcome.RETURN, STEP_LIMIT)
    late = run_entry(
        state_of("MOV r3, r3\nMOV r3, r3\n" + loop.format(n=enough)), rollup_id=1, l2_time=0, trigger=trigger
    )
    assert (late.outcome, late.trap, late.step_count) == (Outcome.TRAP, Trap.STEPS, STEP_LIMIT)
    split = state_of(f"LDF f1, {int.from_bytes(ORACLE, 'big')}\nXCALL f1, 0, 0, 0\n" + loop.format(n=enough))
    asked = run_entry(split, rollup_id=1, l2_time=0, trigger=trigger)
    answered = run_entry(asked.post, rollup_id=1, l2_time=0, trigger=result_of(asked.next_action))
    assert (answered.outcome, answered.trap) == (Outcome.TRAP, Trap.STEPS)
    assert asked.step_count + answered.step_count == STEP_LIMIT


# -- storage and accounts ----------------------------------------------------------------------------------------------


def accesses(result: EntryRun) -> list[type]:
    """Kinds of the tree records, in order."""
    return [type(operation) for operation in result.operations]


@pytest.mark.parametrize(
    ("source", "kinds", "stored"),
    [
        ("SSTORE f1, r1", [Opening, Opening], (0, 0)),
        ("SSTOREF f1, f2", [Opening, Insertion], (0, FIELD_WORD)),
        ("LDI r1, 4\nSSTORE f1, r1", [Opening, Insertion], (4, INTEGER_WORD)),
        ("LDI r1, 4\nSSTORE f1, r1\nSSTORE f1, r2", [Opening, Insertion, Update], (0, INTEGER_WORD)),
        ("LDI r1, 4\nSSTORE f1, r1\nSSTOREF f1, f2", [Opening, Insertion, Update], (0, FIELD_WORD)),
        ("SSTOREF f1, f2\nSSTORE f1, r1\nSLOAD r2, f1", [Opening, Insertion, Update, Opening], (0, INTEGER_WORD)),
    ],
)
def test_storage_writes(source: str, kinds: list[type], stored: tuple[int, int]) -> None:
    """SPEC §3.2: a zero integer into an absent slot changes nothing; everything else is there."""
    state = state_of(source + "\nRETURN 0")
    result = run(state)
    assert accesses(result) == kinds
    assert slot(result.post, 0) == stored
    storage = [step.storage for step in result.steps if step.storage is not None]
    assert [access.operation for access in storage] == list(result.operations[1:])
    assert storage[-1].new == stored
    inserted = sum(kind is Insertion for kind in kinds)
    assert result.post.tree.next_index == state.tree.next_index + inserted


def test_value_is_credited_to_the_account() -> None:
    """An account with code keeps it; a new one is inserted; no value changes nothing."""
    state = state_of("RETURN 0")
    paid = run(state, call(value=9))
    v0, code_hash = paid.post.tree.get(account_key(ACCOUNT))
    assert unpack_account(v0) == (0, 9)
    assert code_hash in state.programs
    assert accesses(paid) == [Update]
    twice = run(paid.post, call(value=1))
    assert unpack_account(twice.post.tree.get(account_key(ACCOUNT))[0]) == (0, 10)
    empty = run(state, call(value=5, destination=OTHER_PROGRAM))
    assert (empty.outcome, accesses(empty), empty.steps) == (Outcome.NO_CODE, [Insertion], ())
    assert empty.next_action == result_of(call(destination=OTHER_PROGRAM))
    assert empty.post.tree.get(account_key(int.from_bytes(OTHER_PROGRAM, "big"))) == (5, 0)
    nothing = run(state, call(value=0, destination=OTHER_PROGRAM))
    assert (accesses(nothing), nothing.new_root) == ([Opening], state.root)


def test_nonce_stays_above_the_balance() -> None:
    """Packing both ways, and a call whose value would leave the balance's 128 bits fails."""
    assert unpack_account(pack_account(3, TOP)) == (3, TOP)
    state = run(state_of("RETURN 0"), call(value=TOP)).post
    late = run(state, call(value=1))
    assert (late.outcome, late.next_action.failed, late.new_root) == (Outcome.UNFUNDED, True, state.root)


# -- outgoing calls ----------------------------------------------------------------------------------------------------

ASKING = f"""
        LDF   f1, {int.from_bytes(ORACLE, "big")}
        LDI   r1, 11
        LDI   r2, 22
        OUT   r1, r2, 0
        OUT   r2, r1, 1
        LDF   f2, 5
        SSTORE f2, r1
        XCALL f1, 0xaabbccdd, 2, 777
        RETLO r3, 0
        RETHI r4, 1
        RETLEN r5
        ARGLO r6, 0
        CALLER f3
        OUT   r5, r3, 0
        OUT   r6, r4, 1
        RETURN 3
"""


def test_an_outgoing_call_suspends_and_resumes() -> None:
    """The action, the frame's hash, and what the program sees afterwards."""
    trigger = call(value=4, data=b"\1\2\3\4" + word(99))
    state = state_of(ASKING)
    asked = run(state, trigger)
    frame = asked.suspended
    assert frame is not None
    assert asked.outcome is Outcome.XCALL
    assert asked.next_action == Action(
        kind=ActionKind.CALL,
        rollup_id=0,
        destination=ORACLE,
        gas=777,
        source_rollup=1,
        source_address=PROGRAM,
        data=bytes.fromhex("aabbccdd") + word((11 << 128) + 22) + word((22 << 128) + 11),
    )
    code_hash = asked.frame.code_hash
    args_hash = list_hash(3, ((36 << 32) + 0x01020304, 0, 99))
    head = [ACCOUNT, code_hash, 8, 9, endpoint(0, USER), 4, args_hash, state.tree.root, state.tree.next_index]
    assert frame.hash == list_hash(2, (*head, 0, 16, *asked.steps[-1].after, 0))
    assert asked.new_root == P(3, (asked.post.tree.root, asked.post.tree.next_index, frame.hash))
    assert asked.mid

    answer = result_of(asked.next_action, word(1) + word(2 << 128) + b"\x07")
    done = run(asked.post, answer)
    assert done.frame is frame
    assert done.next_action == result_of(trigger, word((65 << 128) + 1) + word((99 << 128) + 2) + word(0))
    assert (done.steps[0].pc, done.steps[0].before) == (9, frame.registers)
    assert not done.mid
    assert slot(done.post, 5) == (11, 0)
    assert unpack_account(done.post.tree.get(account_key(ACCOUNT))[0]) == (0, 4)


def test_a_late_failure_undoes_what_was_done_before_the_call() -> None:
    """Also the credit, and also what a re-entrant call did meanwhile."""
    source = ASKING.replace("RETURN 3", "REVERT 1")
    state = state_of(source)
    asked = run(state, call(value=4))
    within = run(asked.post, call(value=6, destination=OTHER_PROGRAM))
    assert within.mid
    assert within.post.frames is asked.suspended
    done = run(within.post, result_of(asked.next_action, word(1)))
    assert done.outcome is Outcome.REVERT
    assert done.next_action.failed
    assert done.next_action.data == word((32 << 128) + 1)
    assert done.new_root == state.root


def test_frames_form_a_chain() -> None:
    """A re-entrant call suspends on top; answers continue from the innermost outwards."""
    state = state_of(ASKING)
    outer = run(state, call(value=0, data=b"\1\2\3\4" + word(1)))
    inner = run(outer.post, call(value=0, data=b"\1\2\3\4" + word(2)))
    assert inner.suspended is not None
    assert inner.suspended.parent is outer.suspended
    assert frames_hash(inner.suspended) != frames_hash(outer.suspended)
    first = run(inner.post, result_of(inner.next_action, word(8)))
    assert first.mid
    assert first.next_action.data[32:48] == (2).to_bytes(16, "big")
    assert first.post.frames is outer.suspended
    second = run(first.post, result_of(outer.next_action, word(9)))
    assert second.next_action.data[32:48] == (1).to_bytes(16, "big")
    assert not second.mid


def test_frame_hash_binds_every_field() -> None:
    """Changing any field changes the root."""
    asked = run(state_of(ASKING), call(value=0))
    frame = asked.suspended
    assert frame is not None
    changed = [
        replace(frame, address=frame.address + 1),
        replace(frame, code_hash=frame.code_hash + 1),
        replace(frame, pc=frame.pc + 1),
        replace(frame, steps=frame.steps + 1),
        replace(frame, caller=frame.caller + 1),
        replace(frame, value=frame.value + 1),
        replace(frame, args_meta=frame.args_meta + 1),
        replace(frame, args=((0, 0),)),
        replace(frame, start_tree=asked.post.tree),
        replace(frame, parent=frame),
        *(
            replace(frame, registers=(*frame.registers[:i], frame.registers[i] + 1, *frame.registers[i + 1 :]))
            for i in range(16)
        ),
    ]
    assert len({frame.hash, *(other.hash for other in changed)}) == len(changed) + 1


@pytest.mark.parametrize(
    ("state", "trigger", "reason"),
    [
        (state_of("RETURN 0"), call(rollup_id=2), "TRIGGER_ROLLUP"),
        (state_of("RETURN 0"), call(kind=ActionKind.L2TX, value=0), "TX_LENGTH"),
        (state_of("RETURN 0"), call(kind=ActionKind.REVERT), "TRIGGER_KIND"),
        (state_of("RETURN 0"), call(kind=ActionKind.REVERT_CONTINUE, scope=(0,)), "WRONG_SCOPE"),
        (state_of("RETURN 0"), call(data=bytes(517)), "DATA_TOO_LONG"),
        (run(state_of(ASKING)).post, result_of(call(source_rollup=1), bytes(513)), "DATA_TOO_LONG"),
        (state_of("RETURN 0"), result_of(call(source_rollup=1)), "NO_FRAME"),
        (run(state_of(ASKING)).post, result_of(call(source_rollup=1)), "WRONG_FRAME"),
        (replace(state_of("RETURN 0"), programs={}), call(), "PROGRAM_MISSING"),
    ],
)
def test_what_cannot_be_executed_is_refused(state: VmState, trigger: Action, reason: str) -> None:
    """By reason; nothing is guessed."""
    with pytest.raises(StateError) as caught:
        run(state, trigger)
    assert caught.value.reason == reason


def test_the_longest_data_is_seen_whole() -> None:
    """16 words of arguments and of an answer."""
    data = b"\0\0\0\1" + b"".join(word(i + 1) for i in range(16))
    result = run(state_of("ARGLO r1, 15\nARGLEN r2\nOUT r2, r1, 15\nRETURN 16"), call(value=0, data=data))
    assert result.next_action.data == bytes(15 * 32) + word((516 << 128) + 16)
    asked = run(state_of(ASKING))
    run(asked.post, result_of(asked.next_action, bytes(512)))


def test_every_instruction_is_covered_here() -> None:
    """Each op of the table occurs in this file, so a new one needs a row."""
    text = Path(__file__).read_text(encoding="utf-8")
    assert [spec.op.name for spec in OPS.values() if f"{spec.op.name} " not in text] == []


def test_slots_of_genesis_are_read() -> None:
    """Both types."""
    slots = (GenesisSlot(slot=1, kind=0, value=8), GenesisSlot(slot=2, kind=1, value=FIELD_ORDER - 1))
    state = state_of("LDF f1, 1\nLDF f2, 2\nSLOAD r1, f1\nSLOADF f3, f2\nRETURN 0", *slots)
    after = run(state).steps[-1].after
    assert (after[1], after[15]) == (8, FIELD_ORDER - 1)
