"""Follows every table-VM rollup from L1 logs alone, each in its own turns (SPEC §8.1).

`Follower` feeds a `RollupLog` from L1. Events are replayed in threads, the rollup that has used least time first, and
one worker only serves rollups that somebody waits for: entries that take minutes delay those who use that rollup.
"""

from __future__ import annotations

import time
from collections import Counter
from collections.abc import Sequence
from functools import partial
from typing import Final

import trio
from trio_typing import TaskStatus

from node.chain.errors import Recoverable, ReorgTooDeep, RpcMisbehaved, RpcRefused
from node.chain.logs import BlockLogs, Cursor, Event, LogFollower
from node.chain.records import Log
from node.chain.rpc import Rpc
from node.l1 import TABLE_LOADED
from node.replay import MAX_WAITING, Followed, Loaded, RollupLog, Snapshot, Turn, read_events
from protocol.types import Address, Hash32
from protocol.vm.state import VmState

WORKERS: Final = 4
"""Threads that replay. One of them is for rollups that somebody waits for."""


class Follower:
    """Keeps a `RollupLog` at the head of L1, and lets tasks wait for it."""

    def __init__(
        self,
        rpc: Rpc,
        rollups: Address,
        *,
        start_block: int,
        confirmations: int,
        poll_s: float,
        first_block: int | None = None,
    ) -> None:
        """Nothing is read yet.

        Args:
            start_block: the first block that is read; rollups that were created before it are unknown until `adopt`.
            first_block: the first that can hold a table of a rollup that is adopted; None is `start_block`.
            confirmations: blocks on top of a block before it is applied.
            poll_s: seconds between two looks at the head.
        """
        self._source = LogFollower(rpc, [rollups], Cursor(start=start_block), confirmations=confirmations)
        self._start = start_block
        self._first = start_block if first_block is None else first_block
        self._rpc = rpc
        self._rollups = rollups
        self._confirmations = confirmations
        self._poll_s = poll_s
        self._log = RollupLog()
        self._wanted: Counter[int] = Counter()
        self._moved = trio.Event()
        self._noted = trio.Event()

    @property
    def latest(self) -> Snapshot:
        """After the last block read; a rollup whose turns still wait is shown as far as it is replayed."""
        return self._log.latest

    @property
    def number(self) -> int:
        """The last block read."""
        return self._log.number

    async def serve(self, *, task_status: TaskStatus[None] = trio.TASK_STATUS_IGNORED) -> None:
        """Follow for ever; started once the logs up to the head of this moment are read."""
        async with trio.open_nursery() as nursery:
            for worker in range(WORKERS):
                nursery.start_soon(self._work, worker == 0)
            await self._read(task_status)

    async def at_block(self, number: int) -> Snapshot:
        """Wait until `number` is read and every rollup replayed up to it; the newest snapshot."""
        while self.number < number or any(
            not self._log.is_replayed(rollup_id, number) for rollup_id in self.latest.rollups
        ):
            await self._moved.wait()
        return self.latest

    async def rollup_at(self, rollup_id: int, number: int) -> Followed | None:
        """One rollup after a recent block, waiting for its own turns only; None if it is not followed."""
        self._wanted[rollup_id] += 1
        self._wake()
        try:
            while self.number < number or not self._log.is_replayed(rollup_id, number):
                await self._moved.wait()
            return self._log.at(rollup_id, number)
        finally:
            self._wanted[rollup_id] -= 1
            if not self._wanted[rollup_id]:
                del self._wanted[rollup_id]

    async def widen(self, _rollup_id: int, _state: VmState, _key: int) -> VmState | None:
        """States are whole."""
        return None

    def told_peers(self, _rollup_ids: Sequence[int]) -> tuple[str, ...]:
        """Nothing."""
        return ("nothing: this node replays all rollups from L1 logs",)

    async def change(self) -> Snapshot:
        """Wait until something was read or replayed."""
        await self._moved.wait()
        return self.latest

    def adopt(self, rollup_id: int, number: int, block_hash: bytes, followed: Followed) -> bool:
        """Follow a rollup from its state after a block; False if that is not the last block read."""
        latest = self._log.last_block
        if latest != (number, block_hash):
            return False
        self._log.adopt(rollup_id, number, followed)
        self._show()
        return True

    async def supply_cores(self, replay: RollupLog, logs: Sequence[Log], before: int) -> None:
        """Give a replay the tables of these logs that were loaded before it began, from the logs of their loads.

        Args:
            before: the block after which the replay began.

        Raises:
            ChainError: L1 does not give them.
        """
        unknown = replay.unknown_cores(await trio.to_thread.run_sync(read_events, logs))
        await self._supply(replay, unknown, before)

    async def _supply(self, replay: RollupLog, unknown: frozenset[Hash32], before: int) -> None:
        if not unknown:
            return
        topics = [frozenset({TABLE_LOADED}), frozenset(bytes(each) for each in unknown)]
        loads = await self._rpc.logs(self._first, max(before, self._first), [self._rollups], topics)
        for load in loads:
            for event in await trio.to_thread.run_sync(read_events, [load]):
                if isinstance(event, Loaded):
                    replay.supply(load.block_number, event)

    # -- reading -----------------------------------------------------------------------------------------------

    async def _read(self, task_status: TaskStatus[None]) -> None:
        started = False
        while True:
            while self._log.waiting > MAX_WAITING:
                await self._moved.wait()
            try:
                events = await self._source.advance()
            except (Recoverable, RpcRefused, RpcMisbehaved):
                await trio.sleep(self._poll_s)
                continue
            except ReorgTooDeep:
                self._restart()
                continue
            for event in events:
                await self._take(event)
            if events:
                continue
            if not started:
                started = True
                task_status.started()
            await trio.sleep(self._poll_s)

    async def _take(self, event: Event) -> None:
        if isinstance(event, BlockLogs):
            read = await trio.to_thread.run_sync(partial(read_events, event.logs))
            while unknown := self._log.unknown_cores(read):
                try:
                    await self._supply(self._log, unknown, event.block.number)
                    break  # what L1 has no load of is a fault of the rollup that uses it
                except (Recoverable, RpcRefused, RpcMisbehaved):
                    await trio.sleep(self._poll_s)
            self._log.note(event.block.number, event.block.hash, read)
        elif event.to is None or not self._log.rollback(event.to.number):
            self._restart()
        self._wake()
        self._show()

    def _restart(self) -> None:
        self._log = RollupLog()
        self._source = LogFollower(
            self._rpc, [self._rollups], Cursor(start=self._start), confirmations=self._confirmations
        )

    def _wake(self) -> None:
        self._noted.set()
        self._noted = trio.Event()

    def _show(self) -> None:
        self._moved.set()
        self._moved = trio.Event()

    # -- replaying ---------------------------------------------------------------------------------------------

    async def _work(self, is_reserved: bool) -> None:
        while True:
            turn = self._next(is_reserved)
            if turn is None:
                await self._noted.wait()
                continue
            log = self._log
            # In a thread: anybody's rollup can make one entry cost a minute of replay, and orders have deadlines.
            after, spent_s = await trio.to_thread.run_sync(
                partial(_timed, turn),
                abandon_on_cancel=True,  # type: ignore[call-arg]  # old stubs
            )
            if log.finish(turn, after, spent_s):
                self._show()
            self._wake()

    def _next(self, is_reserved: bool) -> Turn | None:
        """The turn to replay: of a rollup that somebody waits for, else of the one that used least time."""
        ready = self._log.ready()
        wanted = [each for each in ready if each in self._wanted]
        chosen = wanted or ([] if is_reserved else list(ready))
        return self._log.turn(chosen[0]) if chosen else None


def _timed(turn: Turn) -> tuple[Followed, float]:
    """The rollup after a turn, and the seconds of processor time that it took."""
    began = time.thread_time()
    return turn.run(), time.thread_time() - began
