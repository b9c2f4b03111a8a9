"""Turns an intent into a table by trial: run the very transaction locally, execute what it misses, run again.

Nothing leaves the machine but reads of the accounts and words that the run touches. Only the proof systems' code is
replaced, by code that accepts (SPEC §5, §8).
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Protocol

from node.chain.evm import Call, InnerRevert, Outcome
from node.chain.localevm import Overrides
from node.errors import MissMaskable, PlanError, RollupUnknown
from node.l1 import ProofConfig, consumed_entry, load_and_run, missing_execution
from protocol.actions import CALLS, Action, ActionKind, action_hash, decode_action
from protocol.constants import MAX_ENTRIES, MAX_LOCKSET, NONE
from protocol.errors import CodedError
from protocol.load import Expectation, ProofItem, Proofs, encode_expects, encode_proofs
from protocol.statement import smallest_tier
from protocol.table import Core, Entry, Member, continue_link, core_id, encode_core, encode_triggers, triggers_hash
from protocol.types import ZERO_ADDRESS, ZERO_HASH, Address, Hash32, RollupId
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

    @property
    def trigger(self) -> Action:
        """What begins the flow."""
        return Action(
            kind=ActionKind.CALL,
            rollup_id=RollupId(self.rollup_id),
            destination=self.destination,
            value=self.value_wei,
            source_rollup=RollupId(0),
            source_address=self.sender,
            data=self.data,
        )


@dataclass(frozen=True, slots=True, kw_only=True)
class TransactionIntent:
    """What a user of a rollup wants: their signed transaction, executed by whoever sends it to L1."""

    sender: Address
    """L1 account that loads the table."""
    rollup_id: int
    data: bytes
    """The transaction (SPEC §4.8)."""
    forced: int | None = None
    """Its place in the rollup's queue, if it is there."""

    @property
    def value_wei(self) -> int:
        """A transaction brings nothing from L1."""
        return 0

    @property
    def trigger(self) -> Action:
        """What begins the flow."""
        return Action(
            kind=ActionKind.L2TX,
            rollup_id=RollupId(self.rollup_id),
            destination=ZERO_ADDRESS,
            gas=0 if self.forced is None else 1 + self.forced,
            source_rollup=RollupId(0),
            source_address=ZERO_ADDRESS,
            data=self.data,
        )


class Evm(Protocol):
    """L1 at one block, to try transactions on (`LocalEvm`, `CallEvm`)."""

    def run(self, call: Call, overrides: Overrides) -> Outcome:
        """Execute a call; nothing is kept."""

    def may_mask(self, accounts: frozenset[bytes]) -> bytes | None:
        """An account that could have hidden from `run`'s outcome that a call of its failed."""


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
    steps: int
    """Machine steps of the whole table."""
    gas_without_proofs: int
    """Gas of the transaction with proof systems replaced."""
    result: bytes
    """Return data of loadAndRun."""

    @property
    def tier(self) -> int:
        """Number of the smallest tier that every proof fits.

        Raises:
            RuleError: no circuit proves such a table; the reason says what it lacks.
        """
        owners = {self.core.owner(index) for index in range(len(self.core.entries))}
        return max(smallest_tier(self.core, rollup_id).number for rollup_id in owners)


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
    """Entries so far, and the states after each: branches stand on their own parents."""

    def __init__(
        self,
        contexts: Mapping[int, RollupContext],
        lockset: tuple[int, ...],
        window: Window,
        fee_recipient: Address,
    ) -> None:
        self._window = window
        self._lockset = lockset
        self._contexts = contexts
        self._fee_recipient = fee_recipient
        self.entries: list[Entry] = []
        self.runs: list[EntryRun] = []
        self._first: dict[int, VmState] = {r: contexts[r].state for r in lockset}
        self._after: list[dict[int, VmState]] = []

    def add(self, trigger: Action, *, parent: int, reply_to: int = NONE, revert_of: int = NONE) -> None:
        """Execute a trigger on the states after entry `parent` and append its entry."""
        if len(self.entries) == MAX_ENTRIES:
            raise PlanError(reason=f"more than {MAX_ENTRIES} entries")
        owner = trigger.rollup_id
        states = self._first if parent == NONE else self._after[parent]
        run = run_entry(
            states[owner],
            rollup_id=owner,
            l2_time=self._window.l2_time,
            trigger=trigger,
            fee_recipient=self._fee_recipient,
            unwound=None if revert_of == NONE else self.runs[revert_of].unwound,
            trace=False,
        )
        self._after.append({**states, owner: run.post})
        self.runs.append(run)
        self.entries.append(
            Entry(
                parent=parent,
                reply_to=reply_to,
                revert_of=revert_of,
                mid=run.mid,
                new_root=run.new_root,
                trigger=trigger,
                next_action=run.next_action,
            )
        )

    def call_answered_by(self, result: Action, wanted: Hash32, parent: int) -> int:
        """Entry whose outgoing call a missing RESULT answers: the one that suspended the frame that waits there."""
        states = self._first if parent == NONE else self._after[parent]
        waits = states[result.rollup_id].frames
        for index, run in enumerate(self.runs):
            call = run.next_action
            if run.suspended is not None and run.suspended is waits and call.kind in CALLS:
                if action_hash(result, action_hash(call)) != wanted:
                    break
                return index
        raise PlanError(reason="a result answers no call of this table")

    def undone_before(self, action: Action, wanted: Hash32) -> int:
        """Entry whose REVERT a missing REVERT_CONTINUE follows: its link names the REVERT and its root."""
        for index in range(len(self.entries) - 1, -1, -1):
            entry = self.entries[index]
            if entry.next_action.kind is not ActionKind.REVERT:
                continue
            link = continue_link(action_hash(entry.next_action), entry.new_root)
            if action_hash(action, link) == wanted:
                return index
        raise PlanError(reason="a scope is continued that this table did not revert")

    def core(self, executor: Address) -> Core:
        """The table as it stands."""
        return Core(
            lockset=tuple(Member(rollup_id=RollupId(r), pre_root=self._contexts[r].state.root) for r in self._lockset),
            l2_time=self._window.l2_time,
            not_before=self._window.not_before,
            valid_until=self._window.valid_until,
            executor=executor,
            triggers_hash=triggers_hash((0,)),
            fee_recipient=self._fee_recipient,
            entries=tuple(self.entries),
        )


def plan_call(
    intent: Intent | TransactionIntent,
    *,
    evm: Evm,
    rollups: Address,
    contexts: Mapping[int, RollupContext],
    window: Window,
    fee_recipient: Address,
) -> Plan:
    """Plan an intent. Blocks on the L1 node: run it in a worker thread.

    Args:
        evm: pinned at the block whose rollup states `contexts` holds.
        contexts: rollups that the flow may touch.
        window: `l2_time` at most the pinned block's timestamp.

    Raises:
        RollupUnknown: the flow touches a rollup that is not in `contexts`: plan again with it.
        PlanError: the transaction fails for another reason than a missing entry, or the table is too large.
        MissMaskable: this EVM does not show whether a contract on L1 hid a miss.
        StateError: the machine cannot run the intent.
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
            raise RollupUnknown(rollup_id)


def _plan_with(
    lockset: tuple[int, ...],
    intent: Intent | TransactionIntent,
    evm: Evm,
    rollups: Address,
    contexts: Mapping[int, RollupContext],
    window: Window,
    fee_recipient: Address,
) -> Plan:
    table = _Table(contexts, lockset, window, fee_recipient)
    table.add(intent.trigger, parent=NONE)
    code: dict[bytes, bytes] = {system: ACCEPT_ALL for r in lockset for system in contexts[r].config.systems}
    expects = expectations(contexts, lockset)
    triggers = encode_triggers((0,))
    while True:
        core = table.core(intent.sender)
        core_bytes = _encoded(core)
        data = load_and_run(core_bytes, planning_proofs(contexts, lockset), expects, triggers, b"")
        outcome = evm.run(
            Call(sender=intent.sender, to=rollups, value=intent.value_wei, data=data), Overrides(code=code)
        )
        missing = _missing(outcome, rollups)
        if missing is None:
            require_unmasked(core, evm)
            break
        action = decode_action(missing.action)
        if action.rollup_id not in lockset:
            raise _NeedsRollup(action.rollup_id)
        parent = missing.position(core_id(core_bytes), len(table.entries) - 1)
        is_result = action.kind is ActionKind.RESULT
        table.add(
            action,
            parent=parent,
            reply_to=table.call_answered_by(action, missing.wanted, parent) if is_result else NONE,
            revert_of=(
                table.undone_before(action, missing.wanted) if action.kind is ActionKind.REVERT_CONTINUE else NONE
            ),
        )
    return Plan(
        core=core,
        core_bytes=core_bytes,
        core_id=core_id(core_bytes),
        triggers=triggers,
        expects=expects,
        value_wei=intent.value_wei,
        runs=tuple(table.runs),
        steps=sum(run.step_count for run in table.runs),
        gas_without_proofs=outcome.gas_used,
        result=outcome.output,
    )


def require_unmasked(core: Core, evm: Evm) -> None:
    """Raises MissMaskable if a contract that the table calls could have hidden that it missed an entry."""
    called = frozenset(
        bytes(entry.next_action.destination)
        for entry in core.entries
        if entry.next_action.kind in CALLS and not entry.next_action.rollup_id
    )
    masking = evm.may_mask(called)
    if masking is not None:
        raise MissMaskable(account="0x" + masking.hex())


def _encoded(core: Core) -> bytes:
    try:
        return encode_core(core)
    except CodedError as error:  # too long; or the same entry is missed again and again: somebody feigns it
        raise PlanError(reason=str(error)) from error


def expectations(contexts: Mapping[int, RollupContext], lockset: tuple[int, ...]) -> bytes:
    """Packed precheck: roots, epochs and configurations as they are now."""
    return encode_expects(
        [
            Expectation(rollup_id=r, root=c.state.root, epoch=c.epoch, config_hash=c.config.hash)
            for r, c in ((r, contexts[r]) for r in lockset)
        ]
    )


def planning_proofs(contexts: Mapping[int, RollupContext], lockset: tuple[int, ...]) -> bytes:
    """As many proofs, and as long ones, as the final transaction has."""
    items = [
        ProofItem(rollup_id=r, system=system, proof=PLANNING_PROOF)
        for r in lockset
        for system in contexts[r].config.systems[: contexts[r].config.threshold]
    ]
    return encode_proofs(Proofs(payee=PLANNING_PAYEE, agreement_hash=ZERO_HASH, items=tuple(items)))


@dataclass(frozen=True, slots=True, kw_only=True)
class _Missing:
    """An entry that the run met and did not find."""

    wanted: Hash32
    """Its actionHash."""
    action: bytes
    at: InnerRevert
    """Where Rollups said so first."""

    def position(self, core: Hash32, last: int) -> int:
        """The last entry of the table that stands there: what came after it was undone, by a failed call or a scope."""
        if self.at.live_logs is None:
            return last  # then only tables without branches can be planned: a wrong place is missed again
        position = NONE
        for log in self.at.live_logs:
            consumed = consumed_entry(log.topics, log.data)
            if consumed is not None and consumed[0] == core:
                position = consumed[1]
        return position


def _missing(outcome: Outcome, rollups: Address) -> _Missing | None:
    """The first entry that the run lacks, also one whose absence a contract on L1 swallowed; None if it lacks none.

    With that entry the run goes on differently behind it, so later ones mean nothing yet.
    """
    for revert in outcome.reverts:
        found = missing_execution(revert.data) if revert.address == rollups else None
        if found is not None:
            return _Missing(wanted=found[0], action=found[1], at=revert)
    if not outcome.succeeded:
        raise PlanError(reason=f"the transaction fails: {outcome.halt or '0x' + outcome.output.hex()}")
    return None
