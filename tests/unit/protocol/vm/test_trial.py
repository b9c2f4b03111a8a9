"""Trying a program: calls, answers, slots, and the trace that people read."""

from __future__ import annotations

import pytest

from protocol.constants import FIELD_ORDER, NONE
from protocol.errors import CodedError
from protocol.hashing import selector
from protocol.types import Address, endpoint
from protocol.vm.assembler import assemble
from protocol.vm.execution import Outcome, Trap
from protocol.vm.programs import PRICE_SLOT, STRIKE_SLOT, program
from protocol.vm.rollup import run_core
from protocol.vm.state import storage_key
from protocol.vm.trial import TRIAL_ADDRESS, trace_lines, trial_core, try_program
from tests.support.cores import ORACLE, USER, word
from tests.support.tools import ROOT

SETTLE = selector("settle()").to_bytes(4, "big")
SLOTS = {0: int.from_bytes(ORACLE, "big"), STRIKE_SLOT: 100}


def test_answers_continue_the_run() -> None:
    """Suspended without an answer, done with one, failed with a failed one; spare answers are not used."""
    reader = program("oracle_reader")
    (asked,) = try_program(reader, data=SETTLE, slots=SLOTS)
    assert asked.outcome is Outcome.XCALL
    _, done = try_program(reader, data=SETTLE, slots=SLOTS, answers=(word(150), word(1)))
    assert done.next_action.data == word(1) + word(150)
    address = int.from_bytes(TRIAL_ADDRESS, "big")
    assert done.post.tree.get(storage_key(address, PRICE_SLOT)) == (150, 0)
    _, failed = try_program(reader, data=SETTLE, slots=SLOTS, answers=(None,))
    assert failed.outcome is Outcome.FAILED_RESULT


def test_surroundings_reach_the_program() -> None:
    """Value, caller, time and a slot that holds zero."""
    source = "VALUE r1\nTIME r2\nCALLER f1\nSSTOREF f0, f1\nOUT r1, r2, 0\nRETURN 1"
    (run,) = try_program(assemble(source), value=5, caller=endpoint(3, USER), l2_time=7, slots={1: 0})
    assert run.next_action.data == word((5 << 128) + 7)
    assert run.next_action.target == endpoint(3, USER)


def test_the_trace_shows_what_changed() -> None:
    """One line for each step, then the end."""
    (run,) = try_program(assemble("LDI r1, 5\nSSTORE f0, r1\nMOV r1, r1\nSUB r1, r2, r1\nRETURN 0"))
    lines = list(trace_lines(run))
    assert [" ".join(line.split()) for line in lines] == [
        "0 LDI r1, 5 r1 = 5",
        "1 SSTORE f0, r1 [0] = 5",
        "2 MOV r1, r1",
        "3 SUB r1, r2, r1 trap OVERFLOW",
        "TRAP: no data",
    ]
    assert run.trap is Trap.OVERFLOW


@pytest.mark.parametrize(
    ("arguments", "reason"),
    [
        ({"data": bytes(517)}, "DATA_TOO_LONG"),
        ({"slots": {0: FIELD_ORDER}}, "GENESIS_VALUE"),
        ({"slots": {FIELD_ORDER: 1}}, "GENESIS_ORDER"),
        ({"slots": {-1: 1}}, "GENESIS_ORDER"),
        ({"value": 1 << 128}, "ACTION_RANGE"),
    ],
)
def test_impossible_trials_are_refused(arguments: dict[str, object], reason: str) -> None:
    """By reason."""
    with pytest.raises(CodedError) as caught:
        try_program(assemble("RETURN 0"), **arguments)
    assert caught.value.reason == reason


INNER = Address(b"\x77" * 20)
CATCHES = f"LDF f1, {endpoint(1, INNER)}\nICALL f1, r11, 7, 0\nRETOK r1\nRETLO r2, 0\nOUT r1, r2, 0\nRETURN 1"
FAILS_LATE = "LDF f1, 5\nXCALL f1, 1, 0, 0\nLDI r1, 9\nOUT r11, r1, 0\nREVERT 1"


def test_other_programs_can_be_called() -> None:
    """The trace says whose frame runs, and in which scope it calls out."""
    others = {INNER: assemble("LDI r1, 4\nOUT r11, r1, 0\nRETURN 1")}
    (run,) = try_program(assemble(CATCHES), others=others)
    assert run.next_action.data == word((1 << 128) + 4)
    frames = [line for line in trace_lines(run) if line.startswith("--")]
    own, inner = (f"0x{int.from_bytes(x, 'big'):040x}" for x in (TRIAL_ADDRESS, INNER))
    assert frames == [
        f"-- {own}, scope []",
        "-- ICALL",
        f"-- {inner}, scope [0]",
        "-- RETURN",
        f"-- {own} goes on, scope []",
        "-- RETURN",
    ]


def test_a_reverted_scope_continues_by_itself() -> None:
    """One answer, three entries, and the table that they are."""
    runs = try_program(assemble(CATCHES), others={INNER: assemble(FAILS_LATE)}, answers=(b"",))
    assert [run.trigger.kind.name for run in runs] == ["CALL", "RESULT", "REVERT_CONTINUE"]
    assert runs[-1].next_action.data == word(9)
    core = trial_core(runs, l2_time=0)
    assert [(e.parent, e.reply_to, e.revert_of) for e in core.entries] == [
        (NONE, NONE, NONE),
        (0, 0, NONE),
        (0, NONE, 1),
    ]
    assert len(run_core(runs[0].pre, core, 1)) == 3


def test_the_guide_s_first_program_does_what_it_says() -> None:
    """The text that a newcomer copies."""
    guide = (ROOT / "protocol/vm/GUIDE.md").read_text(encoding="utf-8")
    square = assemble(guide.split("```")[1])
    call_data = selector("square(uint128)").to_bytes(4, "big")
    assert try_program(square, data=call_data + word(12))[0].next_action.data == word(144)
    for argument in (1 << 64, 1 << 128):
        assert try_program(square, data=call_data + word(argument))[0].next_action.failed
    assert try_program(square, data=bytes(36))[0].outcome is Outcome.REVERT
