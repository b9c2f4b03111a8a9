"""Plans a table that was made elsewhere: nothing is added to it, everything in it is executed and tried."""

from __future__ import annotations

from collections.abc import Mapping

from node.chain.evm import Call
from node.chain.localevm import Overrides
from node.errors import PlanError, RollupUnknown
from node.intents import TableIntent
from node.l1 import load_and_run
from node.planner import ACCEPT_ALL, Evm, Plan, RollupContext, expectations, planning_proofs, require_unmasked
from protocol.actions import ActionKind
from protocol.errors import CodedError
from protocol.table import Core, core_id, decode_core, encode_triggers, triggers_hash
from protocol.types import ZERO_ADDRESS, ZERO_HASH, Address
from protocol.vm.machine import EntryRun
from protocol.vm.rollup import run_core


def plan_table(intent: TableIntent, *, evm: Evm, rollups: Address, contexts: Mapping[int, RollupContext]) -> Plan:
    """Check that a table would load and run now. Blocks on the L1 node: run it in a worker thread.

    Args:
        evm: pinned at the block whose rollup states `contexts` holds.
        contexts: the table's rollups, as far as they are known.

    Raises:
        RollupUnknown: one is not: plan again with it.
        PlanError: it is no table, is for another sender, stands on other roots, holds an entry that does not execute to
            its root, fires what is no trigger, or fails on L1 now.
    """
    core = _decoded(intent)
    lockset = tuple(int(member.rollup_id) for member in core.lockset)
    for member in core.lockset:
        if member.rollup_id not in contexts:
            raise RollupUnknown(member.rollup_id)
        if contexts[member.rollup_id].state.root != member.pre_root:
            raise PlanError(reason=f"the table stands on another root of rollup {member.rollup_id} than L1 has")
    runs = _executed(core, contexts)
    fired = _triggers(core)
    value_wei = sum(core.entries[index].trigger.value for index in fired)
    code: dict[bytes, bytes] = {system: ACCEPT_ALL for r in lockset for system in contexts[r].config.systems}
    expects, triggers = expectations(contexts, lockset), encode_triggers(fired)
    data = load_and_run(intent.core, planning_proofs(contexts, lockset), expects, triggers, b"")
    outcome = evm.run(Call(sender=intent.sender, to=rollups, value=value_wei, data=data), Overrides(code=code))
    if not outcome.succeeded:
        raise PlanError(reason=f"the table fails on L1: {outcome.halt or '0x' + outcome.output.hex()}")
    require_unmasked(core, evm)
    return Plan(
        core=core,
        core_bytes=intent.core,
        core_id=core_id(intent.core),
        triggers=triggers,
        expects=expects,
        value_wei=value_wei,
        runs=tuple(runs[index] for index in range(len(core.entries))),
        steps=sum(run.step_count for run in runs.values()),
        gas_without_proofs=outcome.gas_used,
        result=outcome.output,
    )


def _decoded(intent: TableIntent) -> Core:
    try:
        core = decode_core(intent.core)
    except CodedError as error:
        raise PlanError(reason=f"not a table: {error}") from error
    if core.executor not in (ZERO_ADDRESS, intent.sender):
        raise PlanError(reason=f"only 0x{core.executor.hex()} can load this table")
    return core


def _executed(core: Core, contexts: Mapping[int, RollupContext]) -> dict[int, EntryRun]:
    runs: dict[int, EntryRun] = {}
    owners = {core.owner(index) for index in range(len(core.entries))}
    for rollup_id in sorted(owners):
        try:
            runs |= run_core(contexts[rollup_id].state, core, rollup_id)
        except CodedError as error:
            raise PlanError(reason=f"rollup {rollup_id} does not do what the table says: {error}") from error
    return runs


def _triggers(core: Core) -> tuple[int, ...]:
    """What loadAndRun fires: all calls from L1 and transactions, or the first of them, as the table says."""
    firing = tuple(
        index
        for index, entry in enumerate(core.entries)
        if entry.trigger.kind is ActionKind.L2TX
        or (entry.trigger.kind is ActionKind.CALL and not entry.trigger.source_rollup)
    )
    for wanted in (firing, firing[:1]):
        if wanted and (core.triggers_hash == triggers_hash(wanted) or core.triggers_hash == ZERO_HASH):
            return wanted
    raise PlanError(reason="the table fixes triggers that are not its calls from L1 in their order")
