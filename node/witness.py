"""A relay's receipts: when bids close it signs which ones it had, before anybody knows what is in them (SPEC §9.4)."""

from __future__ import annotations

import logging
from typing import Final

import trio
from trio_typing import TaskStatus  # the stubs of trio that libp2p brings along name it only here

from node.frames import FrameWriter
from node.ports import Clock, Gossip, Refused, TryAgain
from protocol.gossip_memory import GossipMemory
from protocol.hashing import keccak256
from protocol.messages import BidsSeen

LOOK_EVERY_MS: Final = 100  # an award may follow the close of bids at once

log = logging.getLogger("unveto.witness")


class Witness:
    """Signs for one account, which has a ticket that it does not use otherwise. `serve` runs it."""

    def __init__(self, *, memory: GossipMemory, gossip: Gossip, frames: FrameWriter, clock: Clock, ticket: int) -> None:
        """
        Args:
            memory: the validator's, which holds bids that came in time and no others.
            ticket: number of a live escrow ticket of the account.
        """
        self._memory = memory
        self._gossip = gossip
        self._frames = frames
        self._clock = clock
        self._ticket = ticket
        self._refused: set[bytes] = set()

    async def serve(self, *, task_status: TaskStatus[None] = trio.TASK_STATUS_IGNORED) -> None:
        """Runs until cancelled."""
        task_status.started()
        while True:
            now_ms = self._clock.now_ms()
            closed = self._memory.closed(now_ms)
            self._refused &= {known.request.request_id for known in closed}
            for known in closed:
                name = known.request.request_id
                if self._frames.key.address not in known.witnesses and name not in self._refused:
                    bids = tuple(sorted(keccak256(body) for body in known.bodies.values()))
                    await self._say(BidsSeen(request_id=name, bids=bids, ticket=self._ticket))
            await self._clock.sleep_until(now_ms + LOOK_EVERY_MS)

    async def _say(self, seen: BidsSeen) -> None:
        try:
            await self._gossip.publish("bid", await self._frames.frame(seen))
        except (Refused, TryAgain) as error:
            if isinstance(error, Refused):  # enough others were faster: another number would be refused too
                self._refused.add(seen.request_id)
            log.info("bids seen are not told: %s", error)
