"""What a node does against cheats beside its role: keeps evidence, makes it, tells it, and cuts whom it convicts."""

from __future__ import annotations

from dataclasses import dataclass

import trio
from trio_typing import TaskStatus  # the stubs of trio that libp2p brings along name it only here

from node.frames import FrameWriter
from node.network import MarketDirect, MarketGossip
from node.p2p.host import Host
from node.ports import Chain, Clock, InThread
from node.prosecution import Prosecution
from node.shunning import Shunning
from node.store.faults import FaultStore
from node.store.orders import OrderStore
from node.watch import Watch
from node.witness import Witness
from protocol.gossip_memory import GossipMemory


@dataclass(frozen=True, slots=True, kw_only=True)
class Vigilance:
    """The tasks of one node. `serve` runs them."""

    watch: Watch
    prosecution: Prosecution
    shunning: Shunning
    witness: Witness | None

    @staticmethod
    def of(
        *,
        store: OrderStore,
        faults: FaultStore,
        in_thread: InThread,
        clock: Clock,
        memory: GossipMemory,
        host: Host,
        gossip: MarketGossip,
        direct: MarketDirect,
        frames: FrameWriter,
        chain: Chain,
        witness_ticket: int | None,
    ) -> Vigilance:
        """
        Args:
            witness_ticket: ticket of a relay that signs receipts for bids; None for none.
        """
        watch = Watch(
            memory=memory,
            faults=faults,
            in_thread=in_thread,
            gossip=gossip,
            frames=frames,
            clock=clock,
            is_slashed=chain.is_slashed,
            # No bad proof is believed yet: PROOF_DELIVERY does not say for which statement it is, so that evidence
            # which leaves an amend away would convict an honest prover.
            is_bad=None,
        )
        shunning = Shunning(faults=faults, store=store, in_thread=in_thread, clock=clock, host=host)
        host.gossip.add_author_tap(shunning.heard)
        direct.bind = shunning.bind
        return Vigilance(
            watch=watch,
            prosecution=Prosecution(store=store, in_thread=in_thread, memory=memory, clock=clock, accuse=watch.accuse),
            shunning=shunning,
            witness=None
            if witness_ticket is None
            else Witness(memory=memory, gossip=gossip, frames=frames, clock=clock, ticket=witness_ticket),
        )

    async def serve(self, *, task_status: TaskStatus[None] = trio.TASK_STATUS_IGNORED) -> None:
        """Runs until cancelled."""
        async with trio.open_nursery() as nursery:
            await nursery.start(self.watch.serve)
            await nursery.start(self.prosecution.serve)
            await nursery.start(self.shunning.serve)
            if self.witness is not None:
                await nursery.start(self.witness.serve)
            task_status.started()
