"""Relays of the market in one process (`tests.support.market_sim`): they judge, keep evidence and sign receipts."""

from __future__ import annotations

from dataclasses import dataclass, field

import trio
from trio_typing import TaskStatus

from node.frames import FrameWriter, gossip_judge
from node.store.database import Database
from node.store.faults import FaultStore
from node.store.sequences import Sequences
from node.watch import Watch
from node.witness import Witness
from protocol.gossip_memory import GossipMemory
from protocol.signing import AccountKey
from tests.support.market_ledger import BOND_WEI, MARKET, START_MS, TestClock
from tests.support.market_sim import Link, World, inline
from tests.support.sim_chain import LedgerChain


@dataclass
class Relay:
    """A relay with a ticket, without disk."""

    world: World
    name: str
    number: int
    """Of its key."""
    memory: GossipMemory = field(default_factory=GossipMemory)

    def __post_init__(self) -> None:
        self.key = AccountKey(bytes([0x70 + self.number]) * 32)
        self.world.ledger.tickets[(self.key.address, 0)] = BOND_WEI
        self._database = Database("sqlite://", now_ms=START_MS)
        self._faults = FaultStore(self._database)

    def faults(self) -> list[tuple[bytes, int]]:
        """(account, kind) of what it has evidence of."""
        return [(fault.account, fault.kind) for fault in self._faults.since(0)]

    async def run(self, *, task_status: TaskStatus[None] = trio.TASK_STATUS_IGNORED) -> None:
        """Runs until cancelled."""
        clock = TestClock()
        chain = LedgerChain(self.world.ledger, self.key.address, clock, {})
        link = Link(
            self.world.network,
            self.name.encode(),
            gossip_judge(market=MARKET, clock=clock, memory=self.memory, view=chain),
        )
        frames = FrameWriter(
            market=MARKET,
            key=self.key,
            sequences=Sequences(self._database, self.key.address),
            clock=clock,
            in_thread=inline,
        )
        witness = Witness(memory=self.memory, gossip=link, frames=frames, clock=clock, ticket=0)
        watch = Watch(
            memory=self.memory,
            faults=self._faults,
            in_thread=inline,
            gossip=link,
            frames=frames,
            clock=clock,
            is_slashed=chain.is_slashed,
        )
        try:
            async with trio.open_nursery() as nursery:
                nursery.start_soon(link.run)
                await nursery.start(witness.serve)
                await nursery.start(watch.serve)
                task_status.started()
        finally:
            link.leave()
            self._database.close()
