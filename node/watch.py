"""Keeps what this node can prove against others, and tells everybody (SPEC §9.4)."""

from __future__ import annotations

import logging
from functools import partial
from typing import Final

import trio
from trio_typing import TaskStatus  # the stubs of trio that libp2p brings along name it only here

from market.standing import PASSED_OVER
from node.frames import FrameWriter
from node.ports import Clock, Gossip, InThread, Refused, TryAgain
from node.store.faults import FaultStore
from protocol.codec import decode_body
from protocol.faults import FaultKind, accusation_of
from protocol.gossip_memory import GossipMemory
from protocol.messages import Fault

log = logging.getLogger("unveto.watch")

LOOK_EVERY_MS: Final = 1_000


class Watch:
    """The evidence of one node. `serve` runs it."""

    def __init__(
        self,
        *,
        memory: GossipMemory,
        faults: FaultStore,
        in_thread: InThread,
        gossip: Gossip,
        frames: FrameWriter,
        clock: Clock,
    ) -> None:
        """
        Args:
            memory: the validator's; what it saw is taken out of it.
        """
        self._memory = memory
        self._faults = faults
        self._in_thread = in_thread
        self._gossip = gossip
        self._frames = frames
        self._clock = clock

    async def serve(self, *, task_status: TaskStatus[None] = trio.TASK_STATUS_IGNORED) -> None:
        """Runs until cancelled."""
        async with trio.open_nursery() as nursery:
            nursery.start_soon(self._read)
            nursery.start_soon(self._look)
            task_status.started()

    async def accuse(self, fault: Fault) -> None:
        """Stores and publishes evidence that this node has; best effort, since others may have told it already."""
        market = self._frames.market
        said = accusation_of(fault, chain_id=market.chain_id, market=market.contract)
        await self._keep(said.accused, said.kind, said.subject, fault.first + fault.second)
        try:
            await self._gossip.publish("fault", await self._frames.frame(fault))
        except (Refused, TryAgain) as error:
            log.info("evidence is not published: %s", error)

    async def _read(self) -> None:
        async for frame in self._gossip.frames("fault"):
            fault = decode_body(Fault, frame[80:-65])
            market = self._frames.market
            said = accusation_of(fault, chain_id=market.chain_id, market=market.contract)
            await self._keep(said.accused, said.kind, said.subject, fault.first + fault.second)

    async def _look(self) -> None:
        while True:
            while self._memory.double_awards:
                first, second = self._memory.double_awards.pop()
                await self.accuse(Fault(kind=int(FaultKind.DOUBLE_AWARD), first=first, second=second))
            while self._memory.passed_over:
                requester, request_id = self._memory.passed_over.pop()
                await self._keep(requester, PASSED_OVER, request_id, b"")
            await self._clock.sleep_until(self._clock.now_ms() + LOOK_EVERY_MS)

    async def _keep(self, account: bytes, kind: int, subject: bytes, evidence: bytes) -> None:
        now_ms = self._clock.now_ms()
        if await self._in_thread(partial(self._faults.add, account, kind, subject, evidence, now_ms)):
            log.warning("fault %d of 0x%s", kind, account.hex())
