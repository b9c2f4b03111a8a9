"""Planning for the requester's loop (`node.ports.Planner`): an intent becomes a table, from this node's own replay."""

from __future__ import annotations

import secrets
from collections.abc import Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass, replace
from functools import partial
from typing import Protocol

import trio
from eth_abi.exceptions import DecodingError

from node.chain.callevm import CallEvm
from node.chain.errors import ExecutionReverted
from node.chain.localevm import LocalEvm
from node.chain.records import Block
from node.errors import PlanError, RollupUnknown, StateUnavailable
from node.intents import AnyIntent, TableIntent, decode_intent
from node.l1 import Contracts
from node.l1port import asked
from node.planner import Plan, RollupContext, Window, plan_call
from node.ports import PlannedTable, Refused, TryAgain
from node.prepared import plan_table
from node.replay import Followed
from protocol.constants import MAX_LOCKSET
from protocol.errors import RuleError, StateError
from protocol.load import lockset_systems_hash
from protocol.payload import Payload, encode_payload, make_witness, smallest_size_log2
from protocol.statement import tier_by_number
from protocol.types import Address, Hash32, RollupId
from protocol.vm.machine import EntryRun
from protocol.vm.state import VmState, account_key, unpack_account
from proving.circuit.errors import CircuitError
from proving.circuit.plan import execute, fits
from proving.circuit.tiers import SHAPES

TABLE_LIFETIME_S = 900


class Rollups(Protocol):
    """States of rollups (`Follower`, `LightRollups`)."""

    async def rollup_at(self, rollup_id: int, number: int) -> Followed | None:
        """A rollup after a recent block; None if it is not followed, or only since a newer one."""

    async def widen(self, rollup_id: int, state: VmState, key: int) -> VmState | None:
        """The state with what a missing key holds, where states are partial; None if that changes nothing."""

    def told_peers(self, rollup_ids: Sequence[int]) -> tuple[str, ...]:
        """What peers learned when the states of these rollups were had, for people."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Planned:
    """A plan, and what it stands on."""

    plan: Plan
    contexts: Mapping[int, RollupContext]
    block: Block
    evm: LocalEvm | CallEvm
    is_proven: bool
    """Whether what L1 endpoints said was checked against the block's hash."""


class _TakenOver(Exception):
    """A rollup's state is known, but not at the pinned block."""


@dataclass(slots=True, kw_only=True)
class TablePlanner:
    """Plans with the states that this node has replayed or checked."""

    contracts: Contracts
    follower: Rollups
    fee_recipient: Address
    confirmations: int

    async def plan(self, intent: bytes) -> PlannedTable:
        """A table for the head of this moment.

        Raises:
            PlanError: with a reason for the user.
            StateUnavailable: a rollup's state cannot be had.
        """
        return await self.table(await self.try_out(decode_intent(intent)))

    async def table(self, planned: Planned) -> PlannedTable:
        """What is auctioned for a plan.

        Raises:
            PlanError: no circuit proves it, or a rollup has no key of the circuit that does.
        """
        table = await trio.to_thread.run_sync(partial(_planned, planned.plan, planned.contexts))
        for member in planned.plan.core.lockset:
            rollup_id, context = member.rollup_id, planned.contexts[member.rollup_id]
            for system, family in zip(context.config.systems, context.config.families, strict=True):
                await self._require_key(rollup_id, system, family, table.tier)
        return table

    async def _require_key(self, rollup_id: int, system: bytes, family: bytes, tier: int) -> None:
        """Every family has a key of tier 0; what is no Groth16 system has no keys, and is not asked again."""
        with suppress(ExecutionReverted, DecodingError):
            if tier and await self.contracts.verifying_key(system, family, tier) is None:
                name = tier_by_number(tier).name
                raise PlanError(reason=f"TIER_KEY: rollup {rollup_id} has no verifying key of tier {name}")

    async def try_out(self, wanted: AnyIntent) -> Planned:
        """Plan for the head of this moment, with all that the plan stands on.

        Raises:
            as `plan`.
        """
        for _ in range(1 + MAX_LOCKSET):
            with suppress(_TakenOver):
                return await self._plan_at(wanted, await self._block())
        raise PlanError(reason="L1 moves while rollups are taken over; try again")

    async def account(self, rollup_id: int, address: Address) -> tuple[int, int]:
        """Transactions so far, and wei, of an account of a rollup.

        Raises:
            as `plan`.
        """
        block = await self._block()
        state = (await self._context(rollup_id, block, self.contracts.evm(block))).state
        key = account_key(int.from_bytes(address, "big"))
        state = await self.follower.widen(rollup_id, state, key) or state
        return unpack_account(state.tree.get(key)[0])

    async def _plan_at(self, wanted: AnyIntent, block: Block) -> Planned:
        evm = self.contracts.evm(block)
        contexts: dict[int, RollupContext] = {}
        while True:
            try:
                plan = await trio.to_thread.run_sync(partial(self._tried, wanted, block, evm, contexts))
            except RollupUnknown as unknown:  # only what the flow touches is waited for; at most MAX_LOCKSET times
                contexts[unknown.rollup_id] = await self._context(unknown.rollup_id, block, evm)
                continue
            except StateError as missing:
                if not await self._widened(contexts, missing):
                    raise
                continue
            is_proven = self.contracts.state == "proof"
            return Planned(plan=plan, contexts=contexts, block=block, evm=evm, is_proven=is_proven)

    async def _widened(self, contexts: dict[int, RollupContext], missing: StateError) -> bool:
        """Whether some state has more than before: of whichever rollup the missing key is."""
        key, is_wider = missing.values.get("key"), False
        if missing.reason != "NODE_MISSING" or not isinstance(key, int):
            return False
        for rollup_id, context in list(contexts.items()):
            wider = await self.follower.widen(rollup_id, context.state, key)
            if wider is not None:
                contexts[rollup_id] = replace(context, state=wider)
                is_wider = True
        return is_wider

    def _tried(
        self, wanted: AnyIntent, block: Block, evm: LocalEvm | CallEvm, contexts: Mapping[int, RollupContext]
    ) -> Plan:
        rollups = self.contracts.rollups
        if isinstance(wanted, TableIntent):
            return plan_table(wanted, evm=evm, rollups=rollups, contexts=contexts)
        window = Window(
            l2_time=block.timestamp, not_before=block.timestamp, valid_until=block.timestamp + TABLE_LIFETIME_S
        )
        return plan_call(
            wanted, evm=evm, rollups=rollups, contexts=contexts, window=window, fee_recipient=self.fee_recipient
        )

    async def plan_again(self, intent: bytes) -> PlannedTable:
        """`plan` for a loop that may ask again.

        Raises:
            TryAgain: L1 is away, or moves too fast to plan.
            Refused: NOT_PLANNABLE, the intent cannot become a table any more.
        """
        try:
            return await asked(lambda: self.plan(intent))
        except StateUnavailable as error:
            raise TryAgain(error.code, str(error)) from error
        except (PlanError, CircuitError) as error:
            raise Refused("NOT_PLANNABLE", str(error)) from error

    async def _block(self) -> Block:
        head = await self.contracts.rpc.head()
        block = await self.contracts.rpc.block(max(head.number - self.confirmations, 0))
        assert block is not None
        return block

    async def _context(self, rollup_id: int, block: Block, evm: LocalEvm | CallEvm) -> RollupContext:
        followed = await self.follower.rollup_at(rollup_id, block.number)
        if followed is None:
            if (await self._block()).number > block.number:
                raise _TakenOver  # perhaps: its state is known since a newer block
            raise PlanError(reason=f"there is no rollup {rollup_id}")
        if followed.state is None:
            raise PlanError(reason=f"rollup {rollup_id} cannot be used: {followed.fault}")
        view = await self.contracts.rollup_on(evm, rollup_id)
        if view.root != followed.state.root:
            raise PlanError(reason=f"rollup {rollup_id} moved while planning; try again")
        config = await self.contracts.config_on(evm, rollup_id, view.epoch)
        return RollupContext(state=followed.state, epoch=view.epoch, config=config)


def _planned(plan: Plan, contexts: Mapping[int, RollupContext]) -> PlannedTable:
    lockset = tuple(member.rollup_id for member in plan.core.lockset)
    tier = _tier(plan, {rollup_id: contexts[rollup_id].state for rollup_id in lockset})
    salt = Hash32(secrets.token_bytes(32))
    payload = Payload(
        salt=salt,
        core=plan.core,
        witnesses=tuple((RollupId(r), make_witness(contexts[r].state, _runs_of(plan, r))) for r in lockset),
    )
    size_log2 = smallest_size_log2(payload)
    return PlannedTable(
        core=plan.core_bytes,
        core_id=plan.core_id,
        salt=salt,
        payload=encode_payload(payload, size_log2),
        size_log2=size_log2,
        systems_hash=lockset_systems_hash([contexts[r].config.hash for r in lockset]),
        tier=tier,
        proof_count=len(lockset),
        work_log2=max(plan.steps - 1, 0).bit_length(),
        valid_until=plan.core.valid_until,
        expects=plan.expects,
        triggers=plan.triggers,
        value_wei=plan.value_wei,
    )


def _runs_of(plan: Plan, rollup_id: int) -> list[EntryRun]:
    return [run for index, run in enumerate(plan.runs) if plan.core.owner(index) == rollup_id]


def _tier(plan: Plan, states: Mapping[int, VmState]) -> int:
    """The smallest tier that has room for the proof of every rollup.

    Raises:
        PlanError: none has; the reason is that of the largest.
    """
    refusal = "no circuit"
    try:
        runs = {rollup_id: execute(plan.core, rollup_id, state) for rollup_id, state in states.items()}
        for number, shape in sorted(SHAPES.items()):
            if number < plan.tier:
                continue
            refused = [fits(shape, plan.core, rollup_id, of) for rollup_id, of in runs.items()]
            if not any(refused):
                return number
            refusal = "; ".join(str(reason) for reason in refused if reason)
    except (CircuitError, RuleError) as error:
        refusal = str(error)
    raise PlanError(reason=refusal)
