"""Puts ready transactions into the proposer's own execution client shortly before its slots (SPEC §9.6).

For each slot that is ours: choose, write the choice down, hand the transactions to the client in their order, and after
the slot look at what the block has. A slot is served once: after a restart the written choice goes on, with the same
bytes, and nothing else is chosen. Nothing is sent once the slot has begun.
"""

from __future__ import annotations

import logging
from collections.abc import Awaitable, Callable
from dataclasses import dataclass, replace
from functools import partial
from typing import Final, NoReturn, Protocol, TypeVar

import trio
from trio_typing import TaskStatus

from market.ready_chain import Chain
from node.duties import Duties, SlotTimes
from node.ports import Clock, InThread, Refused, TryAgain
from node.statusfile import StatusFile
from node.store.slots import Injection, InjectionState, SlotPlan, SlotStore

log = logging.getLogger("unveto.injector")

T = TypeVar("T")

PAUSE_MS: Final = 500
"""Between two attempts, and between two looks at an empty pool."""
SHOWN: Final = 16  # slots in the node's status


@dataclass(frozen=True, slots=True, kw_only=True)
class Inclusion:
    """Where a transaction is in the chain."""

    block_number: int
    time_s: int
    """Of its block."""
    succeeded: bool
    gas_used: int
    tip_wei: int
    """What the block's proposer got: gas used, times price above the base fee."""


class ExecutionClient(Protocol):
    """The proposer's own node. All raise TryAgain when it cannot be asked."""

    async def inject(self, raw: bytes) -> None:
        """eth_sendRawTransaction; one that it has already is taken. Raises Refused if it does not take it."""
        ...

    async def inclusion(self, tx_hash: bytes) -> Inclusion | None:
        """Where it is, None if in no block."""
        ...


class Chooser(Protocol):
    """What is put in."""

    async def choose(self, time_s: int) -> Chain:
        """The best set for a block of that time on the present head. Raises TryAgain."""
        ...


class Injector:
    """Serves the slots of one proposer. Made without side effects; `serve` runs it."""

    def __init__(
        self,
        *,
        duties: Duties,
        chooser: Chooser,
        client: ExecutionClient,
        store: SlotStore,
        in_thread: InThread,
        clock: Clock,
        status: StatusFile,
        inject_ms: int,
    ) -> None:
        """
        Args:
            inject_ms: how long before a slot its transactions are chosen and handed over.
        """
        self._duties = duties
        self._chooser = chooser
        self._client = client
        self._store = store
        self._in_thread = in_thread
        self._clock = clock
        self._status = status
        self._inject_ms = inject_ms

    async def serve(self, *, task_status: TaskStatus[None] = trio.TASK_STATUS_IGNORED) -> NoReturn:
        """Runs until cancelled."""
        task_status.started()
        times = await self._times()
        await self._show()
        async with trio.open_nursery() as nursery:
            slot = times.slot_at(self._clock.now_ms()) + 1
            for plan in await self._in_thread(self._store.unreported):
                if plan.slot < slot:
                    nursery.start_soon(self._go_on, plan, times)
            while True:
                await self._clock.sleep_until(times.start_ms(slot) - self._inject_ms)
                nursery.start_soon(self._serve_slot, slot, times)
                slot = max(slot, times.slot_at(self._clock.now_ms())) + 1
        raise AssertionError("serves until cancelled")

    # -- one slot --------------------------------------------------------------------------------------------------

    async def _serve_slot(self, slot: int, times: SlotTimes) -> None:
        plan = await self._in_thread(partial(self._store.plan, slot))
        if plan is None:
            start_ms = times.start_ms(slot)
            if await self._until(start_ms, partial(self._duties.is_ours, slot)):
                plan = await self._choose(slot, times)
        if plan is not None and not plan.is_reported:
            await self._go_on(plan, times)

    async def _choose(self, slot: int, times: SlotTimes) -> SlotPlan | None:
        """Choose something and write it down; None if there is nothing until the slot begins."""

        async def something() -> Chain:
            chosen = await self._chooser.choose(times.start_s(slot))
            if not chosen.txs:
                raise TryAgain("NOTHING_READY")
            return chosen

        chosen = await self._until(times.start_ms(slot), something)
        if chosen is None:
            return None
        txs = [(tx.tx_hash, tx.raw) for tx in chosen.txs]
        now_ms = self._clock.now_ms()
        await self._in_thread(partial(self._store.choose, slot, txs, fee_wei=chosen.fee_wei, now_ms=now_ms))
        log.info("slot %d: %d ready transactions, %d wei expected", slot, len(txs), chosen.fee_wei)
        return await self._in_thread(partial(self._store.plan, slot))

    async def _go_on(self, plan: SlotPlan, times: SlotTimes) -> None:
        """From a written choice to its report."""
        for each in plan.injections:
            if each.state is InjectionState.CHOSEN:
                state, reason = await self._hand_over(each, times.start_ms(plan.slot))
                await self._in_thread(partial(self._store.sent, plan.slot, each.place, state, reason))
        await self._show()
        await self._clock.sleep_until(times.start_ms(plan.slot + 1))
        await self._report(plan.slot, times)

    async def _hand_over(self, injection: Injection, start_ms: int) -> tuple[InjectionState, str]:
        async def hand_over() -> tuple[InjectionState, str]:
            try:
                await self._client.inject(injection.raw)
            except Refused as error:
                return InjectionState.REFUSED, str(error)[:200]
            return InjectionState.SENT, ""

        done = await self._until(start_ms, hand_over)
        return (InjectionState.LATE, "") if done is None else done

    async def _report(self, slot: int, times: SlotTimes) -> None:
        plan = await self._in_thread(partial(self._store.plan, slot))
        assert plan is not None, "a choice is written before it is reported"
        found = [await self._look(each, times.start_s(slot)) for each in plan.injections]
        await self._in_thread(partial(self._store.report, slot, found, self._clock.now_ms()))
        included = [each for each in found if each.state is InjectionState.INCLUDED]
        earned_wei = sum(each.tip_wei for each in included)
        log.info("slot %d: %d of %d included, %d wei earned", slot, len(included), len(found), earned_wei)
        await self._show()

    async def _look(self, injection: Injection, time_s: int) -> Injection:
        where = await self._always(partial(self._client.inclusion, injection.tx_hash))
        if where is None:
            was = injection.state
            return (
                injection
                if was in (InjectionState.REFUSED, InjectionState.LATE)
                else replace(injection, state=InjectionState.MISSING)
            )
        state = InjectionState.INCLUDED if where.succeeded else InjectionState.REVERTED
        return replace(
            injection,
            state=state if where.time_s == time_s else InjectionState.ELSEWHERE,
            block_number=where.block_number,
            gas_used=where.gas_used,
            tip_wei=where.tip_wei if where.time_s == time_s else 0,
        )

    # -- inside ----------------------------------------------------------------------------------------------------

    async def _times(self) -> SlotTimes:
        return await self._always(self._duties.times)

    async def _until(self, end_ms: int, ask: Callable[[], Awaitable[T]]) -> T | None:
        """The answer, asked for until there is one or a time is past; None then."""
        while (now_ms := self._clock.now_ms()) < end_ms:
            try:
                return await ask()
            except TryAgain as error:
                log.debug("%s", error)
                await self._clock.sleep_until(min(end_ms, now_ms + PAUSE_MS))
        return None

    async def _always(self, ask: Callable[[], Awaitable[T]]) -> T:
        while True:
            try:
                return await ask()
            except TryAgain as error:
                log.warning("%s", error)
                await self._clock.sleep_until(self._clock.now_ms() + PAUSE_MS)

    async def _show(self) -> None:
        recent = await self._in_thread(partial(self._store.recent, SHOWN))
        self._status.put("slots", {str(plan.slot): slot_json(plan) for plan in recent})


def slot_json(plan: SlotPlan) -> dict[str, object]:
    """A slot as it is shown."""
    return {
        "reported": plan.is_reported,
        "expected_wei": str(plan.fee_wei),
        "earned_wei": str(sum(each.tip_wei for each in plan.injections)),
        "transactions": [
            {
                "tx_hash": "0x" + each.tx_hash.hex(),
                "state": each.state.value,
                "reason": each.reason,
                "block": each.block_number or None,
                "gas_used": each.gas_used,
            }
            for each in plan.injections
        ],
    }
