"""Consensus and builders on top of an unchanged anvil: one block per slot, most slots of a builder that censors.

The censoring builder looks at the pool and leaves out one account's transactions; anvil, which knows no such thing, is
told to drop them just before the block is made. In a slot of the self-builder nothing is done but `evm_mine`.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any

import trio

from node.chain.rpc import Rpc
from node.commands.ready import ask
from node.duties import SlotTimes
from node.launch import NodeProcess
from node.ports import SystemClock
from node.statusfile import read_status


@dataclass(slots=True, kw_only=True)
class Builders:
    """Takes turns."""

    rpc: Rpc
    clock: SystemClock
    times: SlotTimes
    period: int
    remainder: int
    censored: bytes
    """The account, 20 bytes, whose transactions the other builder leaves out."""
    left_out: dict[str, int] = field(default_factory=dict)
    """Transaction hash -> slot in which it was left out first."""
    ours: set[int] = field(default_factory=set)
    """Numbers of the self-builder's blocks."""
    theirs: set[int] = field(default_factory=set)

    async def ask(self, method: str, *params: Any) -> Any:
        """One call of the client's own interface."""
        return await trio.to_thread.run_sync(self.rpc.transport.request, method, *params)

    async def run(self) -> None:
        """A block at the begin of each slot, until cancelled."""
        await self.ask("evm_setAutomine", False)
        slot = self.times.slot_at(self.clock.now_ms()) + 1
        while True:
            await self.clock.sleep_until(self.times.start_ms(slot))
            is_own = slot % self.period == self.remainder
            if is_own and not self.left_out:
                slot += 1  # a missed slot: the story is about what was left out before
                continue
            if not is_own:
                await self._leave_out(slot)
            await self.ask("evm_setNextBlockTimestamp", self.times.start_s(slot))
            await self.ask("evm_mine")
            head = await self.rpc.head()
            assert head.timestamp == self.times.start_s(slot)
            (self.ours if is_own else self.theirs).add(head.number)
            slot += 1

    async def _leave_out(self, slot: int) -> None:
        pool = await self.ask("txpool_content")
        for queue in ("pending", "queued"):
            for sender, by_nonce in pool[queue].items():
                if bytes.fromhex(sender[2:]) == self.censored:
                    for transaction in by_nonce.values():
                        self.left_out.setdefault(transaction["hash"], slot)
                        await self.ask("anvil_dropTransaction", transaction["hash"])


async def reported(proposer: NodeProcess, slot: int) -> dict[str, Any]:
    """A slot's report, once it is there; bounded by the caller."""
    while not (found := (read_status(proposer.folder) or {}).get("slots", {}).get(str(slot), {})).get("reported"):
        await trio.sleep(0.1)
    assert isinstance(found, dict)
    return found


async def listed(url: str, found: list[str]) -> None:
    """Asks a node's API until its pool holds something, and puts down the hashes."""
    while not found:
        told = await trio.to_thread.run_sync(ask, url, {})
        found += [transaction["tx_hash"] for transaction in told["transactions"]]
        await trio.sleep(0.2)
