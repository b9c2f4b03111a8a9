"""A rollup's part of a table: executing its own entries and comparing them with what the table says (SPEC §4.6, §7.1).

API:
    apply_entry(state, core, index) -> EntryRun      one consumed entry, as a follower does; .post is the next state
    run_core(state, core, rollup_id) -> {index: EntryRun}   all own entries from the live state, as a prover does
"""

from __future__ import annotations

from protocol.constants import NONE
from protocol.errors import RuleError
from protocol.statement import own_entries
from protocol.table import Core
from protocol.types import RollupId
from protocol.vm.machine import EntryRun, run_entry
from protocol.vm.state import Unwind, VmState


def apply_entry(
    state: VmState, core: Core, index: int, *, trace: bool = False, unwound: Unwind | None = None
) -> EntryRun:
    """Execute entry `index` on its owner's state and require what the core says about it.

    Args:
        state: the owner's state at the entry's pre-root.
        core: a valid core.
        unwound: for a REVERT_CONTINUE whose REVERT's entry was executed before; found by executing it if omitted.

    Raises:
        RuleError: ENTRY_PRE_ROOT, ENTRY_NEXT_ACTION, ENTRY_MID, ENTRY_NEW_ROOT.
        StateError: the trigger cannot be executed on this state.
    """
    entry = core.entries[index]
    pre_root = core.roots_before(index)[core.member(entry.owner)]
    if state.root != pre_root:
        raise RuleError("ENTRY_PRE_ROOT", entry=index, expected=pre_root, actual=state.root)
    if entry.revert_of != NONE and unwound is None:
        unwound = _undone_scope(state, core, index)
    run = run_entry(
        state,
        rollup_id=entry.owner,
        l2_time=core.l2_time,
        trigger=entry.trigger,
        fee_recipient=core.fee_recipient,
        unwound=unwound,
        trace=trace,
    )
    if run.next_action != entry.next_action:
        raise RuleError("ENTRY_NEXT_ACTION", entry=index)
    if run.mid != entry.mid:
        raise RuleError("ENTRY_MID", entry=index)
    if run.new_root != entry.new_root:
        raise RuleError("ENTRY_NEW_ROOT", entry=index, expected=entry.new_root, actual=run.new_root)
    return run


def _undone_scope(state: VmState, core: Core, index: int) -> Unwind | None:
    """What the REVERT before a REVERT_CONTINUE left, by the branch of the table that leads to it (SPEC §8.1).

    The branch exists (SPEC §5.2 rule 5), and its end is proven: its root is in the link of the REVERT_CONTINUE. No
    entry is executed twice: each stands on one path only, and paths of different REVERTs part where their scopes open.
    """
    entry = core.entries[index]
    branch, at = [], entry.revert_of
    while at != entry.parent:
        branch.append(at)
        at = core.entries[at].parent
    unwound = None
    for place in reversed(branch):
        if core.owner(place) == entry.owner:
            run = apply_entry(state, core, place)
            state, unwound = run.post, run.unwound
    return unwound


def run_core(state: VmState, core: Core, rollup_id: int, *, trace: bool = False) -> dict[int, EntryRun]:
    """Execute every entry that `rollup_id` owns, each on the state that its ancestors left.

    Args:
        state: the rollup at the header's preRoot; may be partial (from a state witness).
        core: a valid core.

    Returns:
        runs by entry index, in table order.

    Raises:
        RuleError: STATEMENT_EMPTY: no own entry; ENTRY_FRAME: a RESULT would continue another frame than the one that
            entry `replyTo` suspended; or the reasons of `apply_entry`.
        StateError: an entry cannot be executed, or a partial state lacks a node.
    """
    own = own_entries(core, rollup_id)
    if not own:
        raise RuleError("STATEMENT_EMPTY", rollup_id=rollup_id)
    runs: dict[int, EntryRun] = {}
    for index in own:
        entry = core.entries[index]
        before = state_before(state, core, index, RollupId(rollup_id), runs)
        if entry.reply_to != NONE and before.frames is not runs[entry.reply_to].suspended:
            raise RuleError("ENTRY_FRAME", entry=index, reply_to=entry.reply_to)
        unwound = None if entry.revert_of == NONE else runs[entry.revert_of].unwound
        runs[index] = apply_entry(before, core, index, trace=trace, unwound=unwound)
    return runs


def state_before(state: VmState, core: Core, index: int, rollup_id: RollupId, runs: dict[int, EntryRun]) -> VmState:
    """State of a rollup on which entry `index` stands: after its nearest ancestor that the rollup owns."""
    parent = core.entries[index].parent
    while parent != NONE:
        if parent in runs and core.owner(parent) == rollup_id:
            return runs[parent].post
        parent = core.entries[parent].parent
    return state
