"""Rollups of a node that replays none from its genesis: each is taken over from peers when it is first needed.

The state that peers give is checked against the root that L1 has (`RollupSync`); what happened since that block is
replayed from L1 logs. A reorganisation below the block of the take-over forgets the rollup, and it is taken over anew:
chunks that did not change are on disk.
"""

from __future__ import annotations

import logging
from collections import defaultdict
from collections.abc import Sequence
from functools import partial
from typing import Final, Protocol

import trio

from node.chain.errors import ExecutionReverted
from node.chain.records import Block, Log
from node.errors import StateUnavailable
from node.follower import Follower
from node.l1 import Contracts
from node.replay import Followed, RollupLog
from node.rollupsync import patiently
from protocol.types import Hash32
from protocol.vm.state import VmState

log = logging.getLogger("unveto.light")
MAX_STARTS: Final = 4  # downloads for one take-over; each begins at a newer root
MAX_STEPS: Final = 16  # stretches of logs in one: each is as long as the one before took to replay


class Fetcher(Protocol):
    """Gives the state of a rollup at a root (`RollupSync`)."""

    async def fetch(self, rollup_id: int, root: int) -> VmState:
        """Raises StateUnavailable."""


class LightRollups:
    """`Follower.rollup_at` for rollups that were there before this node."""

    def __init__(self, follower: Follower, contracts: Contracts, fetcher: Fetcher) -> None:
        """Nothing is asked yet.

        Args:
            follower: begins at a recent block.
        """
        self._follower = follower
        self._contracts = contracts
        self._fetcher = fetcher
        self._locks: defaultdict[int, trio.Lock] = defaultdict(trio.Lock)

    async def rollup_at(self, rollup_id: int, number: int) -> Followed | None:
        """The rollup after a recent block; None if it does not exist, or was taken over after that block: look again
        at a newer one.

        Raises:
            StateUnavailable: peers do not give it.
            ChainError: L1 does not answer.
        """
        known = await self._follower.rollup_at(rollup_id, number)
        if known is not None:
            return known
        async with self._locks[rollup_id]:
            known = await self._follower.rollup_at(rollup_id, number)
            if known is None and rollup_id not in self._follower.latest.rollups:
                await self._take_over(rollup_id)
        return await self._follower.rollup_at(rollup_id, number)

    async def widen(self, _rollup_id: int, _state: VmState, _key: int) -> VmState | None:
        """States are whole."""
        return None

    def told_peers(self, rollup_ids: Sequence[int]) -> tuple[str, ...]:
        """Which rollups it takes over, and when."""
        return tuple(f"those that gave its state: that this node uses rollup {each}" for each in rollup_ids)

    async def _take_over(self, rollup_id: int) -> None:
        for _ in range(MAX_STARTS):
            block = await self._block(self._follower.number)
            root = await self._root(rollup_id, block)
            if root is None:
                return
            state = await patiently(partial(self._fetcher.fetch, rollup_id, root))
            if await self._catch_up(rollup_id, block, Followed(state=state)):
                log.info("rollup %d taken over at block %d", rollup_id, block.number)
                return
        raise StateUnavailable(rollup_id=rollup_id, why="L1 moves faster than it can be replayed")

    async def _catch_up(self, rollup_id: int, block: Block, followed: Followed) -> bool:
        """Replay what happened since a block, until the follower is where the replay is. False: begin again."""
        replay = RollupLog({rollup_id: followed}, number=block.number)
        for _ in range(MAX_STEPS):
            if self._follower.adopt(rollup_id, block.number, block.hash, replay.latest.rollups[rollup_id]):
                return True
            target = await self._block(self._follower.number)
            if target.number <= block.number:
                return False
            logs = await self._contracts.rpc.logs(block.number + 1, target.number, [self._contracts.rollups])
            await self._follower.supply_cores(replay, logs, block.number)
            await trio.to_thread.run_sync(partial(_replay, replay, logs, target))
            block, followed = target, replay.latest.rollups[rollup_id]
            # By its root, which L1 has, and not by the logs alone: of these some may be of another fork.
            if followed.state is None or followed.state.root != await self._root(rollup_id, target):
                return False
        return False

    async def _block(self, number: int) -> Block:
        block = await self._contracts.rpc.block(number)
        if block is None:
            raise StateUnavailable(rollup_id=0, why=f"L1 has no block {number}")
        return block

    async def _root(self, rollup_id: int, block: Block) -> int | None:
        try:
            return (await self._contracts.rollup_on(self._contracts.evm(block), rollup_id)).root or None
        except ExecutionReverted:
            return None


def _replay(replay: RollupLog, logs: Sequence[Log], target: Block) -> None:
    by_block: dict[int, list[Log]] = {target.number: []}
    for each in logs:
        by_block.setdefault(each.block_number, []).append(each)
    for number in sorted(by_block):
        replay.apply(number, target.hash if number == target.number else Hash32(bytes(32)), by_block[number])
