"""A rollup's part of a table: replay, comparison with the table, and the frame that a RESULT continues."""

from __future__ import annotations

import json
from dataclasses import replace

import pytest

from protocol.errors import RuleError
from protocol.payload import make_witness, state_from_witness
from protocol.table import Core, Entry, Member, decode_core
from protocol.types import RollupId
from protocol.vm.genesis import decode_genesis, state_from_genesis
from protocol.vm.rollup import apply_entry, run_core
from protocol.vm.state import VmState
from tests.support.cores import OTHER_PROGRAM, call, oracle_core, result_of, with_entry, word
from tests.support.machines import oracle_state, oracle_table, run
from tests.support.tools import ROOT

VECTORS = json.loads((ROOT / "tests/vectors/vm.json").read_text())
STATE = oracle_state()
TABLE = oracle_table(STATE)


def test_a_follower_replays_entry_by_entry() -> None:
    """To the roots that the table says."""
    state = STATE
    for index, entry in enumerate(TABLE.entries):
        state = apply_entry(state, TABLE, index).post
        assert (state.root, state.is_mid) == (entry.new_root, entry.mid)


def test_a_prover_runs_all_own_entries() -> None:
    """The same runs, from the live state alone."""
    runs = run_core(STATE, TABLE, 1, trace=True)
    assert list(runs) == [0, 1]
    assert runs[1].frame is runs[0].suspended
    assert runs[1].new_root == TABLE.entries[1].new_root
    assert all(run.steps for run in runs.values())


@pytest.mark.parametrize(
    ("core", "reason"),
    [
        (with_entry(TABLE, 1, new_root=5), "ENTRY_NEW_ROOT"),
        (with_entry(TABLE, 1, mid=True), "ENTRY_MID"),
        (with_entry(TABLE, 0, mid=False), "ENTRY_MID"),
        (with_entry(TABLE, 1, next_action=result_of(call(), word(1) + word(2501))), "ENTRY_NEXT_ACTION"),
        (with_entry(TABLE, 1, next_action=replace(TABLE.entries[1].next_action, failed=True)), "ENTRY_NEXT_ACTION"),
        (with_entry(TABLE, 0, next_action=replace(TABLE.entries[0].next_action, gas=1)), "ENTRY_NEXT_ACTION"),
        (replace(TABLE, lockset=(Member(rollup_id=RollupId(1), pre_root=5),)), "ENTRY_PRE_ROOT"),
    ],
)
def test_a_table_that_says_something_else_is_refused(core: Core, reason: str) -> None:
    """Root, mid flag, next action and pre-root each by its reason."""
    with pytest.raises(RuleError) as caught:
        run_core(STATE, core, 1)
    assert caught.value.reason == reason


def test_a_rollup_without_entries_has_nothing_to_run() -> None:
    """Being pinned is not owning."""
    with pytest.raises(RuleError) as caught:
        run_core(STATE, TABLE, 2)
    assert caught.value.reason == "STATEMENT_EMPTY"


def two_calls() -> tuple[VmState, Core]:
    """Two settle() calls, the second inside the first one's oracle call; answers innermost first."""
    state = oracle_state()
    outer = run(state, call())
    inner = run(outer.post, call(value=8))
    answer_inner = result_of(inner.next_action, word(5))
    inner_done = run(inner.post, answer_inner)
    answer_outer = result_of(outer.next_action, word(6))
    outer_done = run(inner_done.post, answer_outer)
    entries = []
    for parent, reply_to, done in ((0xFFFF, 0xFFFF, outer), (0, 0xFFFF, inner), (1, 1, inner_done), (2, 0, outer_done)):
        entries.append(
            Entry(
                parent=parent,
                reply_to=reply_to,
                mid=done.mid,
                new_root=done.new_root,
                trigger=done.trigger,
                next_action=done.next_action,
            )
        )
    lockset = (Member(rollup_id=RollupId(1), pre_root=state.root),)
    return state, oracle_core(lockset=lockset, entries=tuple(entries))


def test_re_entrance_runs_and_an_answer_continues_only_its_own_frame() -> None:
    """Both calls ask the same oracle the same thing, so only `replyTo` tells the frames apart."""
    state, core = two_calls()
    assert [run.mid for run in run_core(state, core, 1).values()] == [True, True, True, False]
    for index, wrong in ((2, 0), (3, 1)):
        with pytest.raises(RuleError) as caught:
            run_core(state, with_entry(core, index, reply_to=wrong), 1)
        assert caught.value.reason == "ENTRY_FRAME"


def test_branches_stand_on_their_own_parents() -> None:
    """Two alternative answers to one call: both entries run on the state that the call left."""
    other = oracle_table(STATE, price=1)
    both = replace(TABLE, entries=(*TABLE.entries, other.entries[1]))
    runs = run_core(STATE, both, 1)
    assert runs[2].new_root == other.entries[1].new_root != runs[1].new_root
    aside = run(STATE, call(destination=OTHER_PROGRAM, data=b"")).next_action
    assert aside.failed


@pytest.mark.parametrize("case", VECTORS["tables"], ids=lambda case: str(case["name"]))
def test_vectors_replay(case: dict[str, str]) -> None:
    """Committed genesis and table give the committed roots, from the full state and from the witness alone."""
    state = state_from_genesis(decode_genesis(bytes.fromhex(case["genesis"])))
    core = decode_core(bytes.fromhex(case["core"]))
    runs = run_core(state, core, 1)
    assert [str(run.new_root) for run in runs.values()] == case["roots"]
    partial = state_from_witness(make_witness(state, runs.values()))
    assert [str(run.new_root) for run in run_core(partial, core, 1).values()] == case["roots"]
