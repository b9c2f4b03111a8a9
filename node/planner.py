"""Turns an intent into a table by trial: run the very transaction locally, execute what it misses, run again.

Nothing leaves the machine but reads of the accounts and words that the run touches. Only the proof systems' code is
replaced, by code that accepts (SPEC §5, §8).
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

from node.chain.evm import Call, Outcome
from node.chain.localevm import LocalEvm, Overrides
from node.errors import PlanError
from node.l1 import ProofConfig, load_and_run, missing_execution
from protocol.actions import CALLS, Action, ActionKind, action_hash, decode_action
from protocol.constants import MAX_ENTRIES, MAX_LOCKSET, NONE
from protocol.load import Expectation, ProofItem, Proofs, encode_expects, encode_proofs
from protocol.statement import smallest_tier
from protocol.table import Core, Entry, Member, core_id, encode_core, encode_triggers, triggers_hash
from protocol.types import ZERO_HASH, Address, Hash32, RollupId
from protocol.vm.machine import EntryRun, run_entry
from protocol.vm.state import VmState

ACCEPT_ALL = bytes.fromhex(
    "600160005260206000f3"
)  # returns 1 to every call: stands in for proof systems while planning
PLANNING_PROOF = bytes(289)  # as long as a Groth16 proof, so that gas and size are near the final ones
PLANNING_PAYEE = Address(b"\x01" * 20)


@dataclass(frozen=True, slots=True, kw_only=True)
class Intent:
    """What a user wants: a call from their L1 account to a contract of a rollup."""

    sender: Address
    rollup_id: int
    destination: Address
    value_wei: int
    data: bytes


@dataclass(frozen=True, slots=True, kw_only=True)
class RollupContext:
    """One rollup as known when planning."""

    state: VmState
    epoch: int
    config: ProofConfig


@dataclass(frozen=True, slots=True, kw_only=True)
class Plan:
    """A table that makes the intent happen, if L1 and the roots stay as they are."""

    core: Core
    core_bytes: bytes
    core_id: Hash32
    triggers: bytes
    expects: bytes
    value_wei: int
    """What the transaction carries."""
    runs: tuple[EntryRun, ...]
    """Per entry, in table order."""
    tier: int
    """Number of the smallest tier that every proof fits."""
    steps: int
    """Machine steps of the whole table."""
    gas_without_proofs: int
    """Gas of the transaction with proof systems replaced."""
    result: bytes
    """Return data of loadAndRun."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Window:
    """When the table may run, unix seconds."""

    l2_time: int
    not_before: int
    valid_until: int


class _NeedsRollup(Exception):
    def __init__(self, rollup_id: int) -> None:
        self.rollup_id = rollup_id


class _Table:
    """Entries so far, and the states after each."""

    def __init__(self, contexts: Mapping[int, RollupContext], lockset: tuple[int, ...], window: Window) -> None:
        self._window = window
        self._lockset = lockset
        self._contexts = contexts
        self.entries: list[Entry] = []
        self.runs: list[EntryRun] = []
        self._states: dict[int, VmState] = {r: contexts[r].state for r in lockset}

    def add(self, trigger: Action, *, parent: int, reply_to: int = NONE) -> None:
        """Execute a trigger on the states after the last entry and append its entry."""
        if len(self.entries) == MAX_ENTRIES:
            raise PlanError(reason=f"more than {MAX_ENTRIES} entries")
        owner = trigger.rollup_id
        run = run_entry(
            self._states[owner], rollup_id=owner, l2_time=self._window.l2_time, trigger=trigger, trace=False
        )
        self._states[owner] = run.post
        self.runs.append(run)
        self.entries.append(
            Entry(
                parent=parent,
                reply_to=reply_to,
                mid=run.mid,
                new_root=run.new_root,
                trigger=trigger,
                next_action=run.next_action,
            )
        )

    def call_answered_by(self, result: Action, wanted: Hash32) -> int:
        """Entry whose outgoing call a missing RESULT answers: the hash decides, the latest one first."""
        for index in range(len(self.entries) - 1, -1, -1):
            call = self.entries[index].next_action
            if call.kind in CALLS and action_hash(result, action_hash(call)) == wanted:
                return index
        raise PlanError(reason="a result answers no call of this table")

    def core(self, executor: Address, fee_recipient: Address) -> Core:
        """The table as it stands."""
        return Core(
            lockset=tuple(Member(rollup_id=RollupId(r), pre_root=self._contexts[r].state.root) for r in self._lockset),
            l2_time=self._window.l2_time,
            not_before=self._window.not_before,
            valid_until=self._window.valid_until,
            executor=executor,
            triggers_hash=triggers_hash((0,)),
            fee_recipient=fee_recipient,
            entries=tuple(self.entries),
        )


def plan_call(
    intent: Intent,
    *,
    evm: LocalEvm,
    rollups: Address,
    contexts: Mapping[int, RollupContext],
    window: Window,
    fee_recipient: Address,
) -> Plan:
    """Plan an L1 call intent. Blocks on the L1 node: run it in a worker thread.

    Args:
        evm: pinned at the block whose rollup states `contexts` holds.
        contexts: every rollup that the flow may touch.
        window: `l2_time` at most the pinned block's timestamp.

    Raises:
        PlanError: the transaction fails for another reason than a missing entry, a contract swallows a missing entry,
            or the table is too large.
        StateError, RuleError: the machine cannot run the intent.
    """
    lockset: tuple[int, ...] = (intent.rollup_id,)
    while True:
        _require(contexts, lockset)
        try:
            return _plan_with(lockset, intent, evm, rollups, contexts, window, fee_recipient)
        except _NeedsRollup as more:
            lockset = tuple(sorted((*lockset, more.rollup_id)))


def _require(contexts: Mapping[int, RollupContext], lockset: tuple[int, ...]) -> None:
    if len(lockset) > MAX_LOCKSET:
        raise PlanError(reason=f"more than {MAX_LOCKSET} rollups")
    for rollup_id in lockset:
        if rollup_id not in contexts:
            raise PlanError(reason=f"rollup {rollup_id} is not followed")


def _plan_with(
    lockset: tuple[int, ...],
    intent: Intent,
    evm: LocalEvm,
    rollups: Address,
    contexts: Mapping[int, RollupContext],
    window: Window,
    fee_recipient: Address,
) -> Plan:
    table = _Table(contexts, lockset, window)
    trigger = Action(
        kind=ActionKind.CALL,
        rollup_id=RollupId(intent.rollup_id),
        destination=intent.destination,
        value=intent.value_wei,
        source_rollup=RollupId(0),
        source_address=intent.sender,
        data=intent.data,
    )
    table.add(trigger, parent=NONE)
    code: dict[bytes, bytes] = {system: ACCEPT_ALL for r in lockset for system in contexts[r].config.systems}
    expects = expectations(contexts, lockset)
    triggers = encode_triggers((0,))
    while True:
        core = table.core(intent.sender, fee_recipient)
        core_bytes = encode_core(core)
        data = load_and_run(core_bytes, _planning_proofs(contexts, lockset), expects, triggers, b"")
        outcome = evm.run(
            Call(sender=intent.sender, to=rollups, value=intent.value_wei, data=data), Overrides(code=code)
        )
        missing = _missing(outcome, rollups)
        if missing is None:
            break
        wanted, packed = missing
        action = decode_action(packed)
        if action.rollup_id not in lockset:
            raise _NeedsRollup(action.rollup_id)
        reply_to = table.call_answered_by(action, wanted) if action.kind is ActionKind.RESULT else NONE
        table.add(action, parent=len(table.entries) - 1, reply_to=reply_to)
    return Plan(
        core=core,
        core_bytes=core_bytes,
        core_id=core_id(core_bytes),
        triggers=triggers,
        expects=expects,
        value_wei=intent.value_wei,
        runs=tuple(table.runs),
        tier=max(smallest_tier(core, r).number for r in lockset),
        steps=sum(run.step_count for run in table.runs),
        gas_without_proofs=outcome.gas_used,
        result=outcome.output,
    )


def expectations(contexts: Mapping[int, RollupContext], lockset: tuple[int, ...]) -> bytes:
    """Packed precheck: roots, epochs and configurations as they are now."""
    return encode_expects(
        [
            Expectation(rollup_id=r, root=c.state.root, epoch=c.epoch, config_hash=c.config.hash)
            for r, c in ((r, contexts[r]) for r in lockset)
        ]
    )


def _planning_proofs(contexts: Mapping[int, RollupContext], lockset: tuple[int, ...]) -> bytes:
    items = [
        ProofItem(rollup_id=r, system=system, proof=PLANNING_PROOF)
        for r in lockset
        for system in contexts[r].config.systems[: contexts[r].config.threshold]
    ]
    return encode_proofs(Proofs(payee=PLANNING_PAYEE, agreement_hash=ZERO_HASH, items=tuple(items)))


def _missing(outcome: Outcome, rollups: Address) -> tuple[Hash32, bytes] | None:
    """The entry that the run met and did not find; None if it succeeded."""
    if not outcome.succeeded:
        found = missing_execution(outcome.output) if outcome.reverted else None
        if found is None:
            raise PlanError(reason=f"the transaction fails: {outcome.halt or '0x' + outcome.output.hex()}")
        return found
    for revert in outcome.reverts:
        if revert.address == rollups and missing_execution(revert.data) is not None:
            # A contract on the way caught the missing entry: the table would take a branch that a full one would not.
            raise PlanError(reason="a contract on L1 swallows a missing entry")
    return None
