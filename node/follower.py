"""Rebuilds every table-VM rollup from L1 logs alone (SPEC §3.4, §8.1).

`RollupLog` is the synchronous part: blocks of logs in, states out, any recent block can be taken back. `Follower`
feeds it from L1. States are persistent values, so keeping one per recent block costs little.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass, replace
from functools import partial
from types import MappingProxyType

import trio
from trio_typing import TaskStatus

from node.chain.errors import Recoverable, ReorgTooDeep
from node.chain.logs import BlockLogs, Cursor, Event, LogFollower
from node.chain.records import Log
from node.chain.rpc import Rpc
from node.l1 import ExecutionConsumed, RollupCreated, TableLoaded, event_from_log
from protocol.errors import ProtocolError
from protocol.table import Core, decode_core
from protocol.types import Address, Hash32
from protocol.vm.genesis import decode_genesis, state_from_genesis
from protocol.vm.rollup import apply_entry
from protocol.vm.state import VmState

MAX_ROLLBACK_BLOCKS = 256  # a deeper reorganisation starts the replay again


@dataclass(frozen=True, slots=True, kw_only=True)
class Followed:
    """One rollup as replayed."""

    state: VmState | None
    """None once the rollup cannot be followed."""
    fault: str | None = None
    """Why it cannot: a coded reason. A rollup with a fault must not be used."""
    entries: int = 0
    """Consumed entries so far."""


NOTHING_KNOWN: Mapping[int, Followed] = MappingProxyType({})


@dataclass(frozen=True, slots=True, kw_only=True)
class Snapshot:
    """Everything known after one block."""

    number: int
    block_hash: bytes
    rollups: Mapping[int, Followed]
    cores: Mapping[Hash32, Core]


class RollupLog:
    """Replays logs of Rollups in block order."""

    def __init__(self, known: Mapping[int, Followed] = NOTHING_KNOWN) -> None:
        """Start before any block, with what is known by other means."""
        start = Snapshot(number=-1, block_hash=b"", rollups=known, cores=MappingProxyType({}))
        self._snapshots: deque[Snapshot] = deque([start], maxlen=MAX_ROLLBACK_BLOCKS)

    @property
    def latest(self) -> Snapshot:
        """After the last block that was applied."""
        return self._snapshots[-1]

    def apply(self, number: int, block_hash: bytes, logs: Sequence[Log]) -> Snapshot:
        """Apply one block's logs. A fault of one rollup ends that rollup only."""
        rollups, cores = dict(self.latest.rollups), dict(self.latest.cores)
        for log in logs:
            event = event_from_log(log)
            if isinstance(event, RollupCreated):
                rollups[event.rollup_id] = _created(event)
            elif isinstance(event, TableLoaded):
                with suppress(ProtocolError):  # then what it moves cannot be followed; everything else still can
                    cores[event.core_id] = decode_core(event.core)
            elif isinstance(event, ExecutionConsumed):
                known = rollups.get(event.rollup_id)
                if known is not None:
                    rollups[event.rollup_id] = _consumed(known, event, cores.get(event.core_id))
        snapshot = Snapshot(
            number=number,
            block_hash=block_hash,
            rollups=MappingProxyType(rollups),
            cores=MappingProxyType(cores),
        )
        self._snapshots.append(snapshot)
        return snapshot

    def rollback(self, number: int) -> bool:
        """Forget the blocks above `number`; False if too few are kept, then the replay must start again."""
        kept = [snapshot for snapshot in self._snapshots if snapshot.number <= number]
        if not kept:
            return False
        self._snapshots = deque(kept, maxlen=MAX_ROLLBACK_BLOCKS)
        return True


def _created(event: RollupCreated) -> Followed:
    try:
        state = state_from_genesis(decode_genesis(event.genesis))
    except ProtocolError as error:
        return Followed(state=None, fault=f"genesis: {error.code}")
    if state.root != event.genesis_root:
        return Followed(state=None, fault="genesis: ROOT_MISMATCH")
    return Followed(state=state)


def _consumed(known: Followed, event: ExecutionConsumed, core: Core | None) -> Followed:
    if known.state is None:
        return known
    if core is None or event.index >= len(core.entries):
        return replace(known, state=None, fault="entry: UNKNOWN_CORE")
    if core.owner(event.index) != event.rollup_id or core.entries[event.index].new_root != event.new_root:
        return replace(known, state=None, fault="entry: EVENT_MISMATCH")
    try:
        run = apply_entry(known.state, core, event.index)
    except ProtocolError as error:
        # Either the proof system is broken or this replay is: both must stop, not guess.
        return replace(known, state=None, fault=f"entry: {error}")
    return Followed(state=run.post, entries=known.entries + 1)


class Follower:
    """Keeps a `RollupLog` at the head of L1, and lets tasks wait for it."""

    def __init__(self, rpc: Rpc, rollups: Address, *, start_block: int, confirmations: int, poll_s: float) -> None:
        """Nothing is read yet.

        Args:
            start_block: the first block that can hold a log of Rollups.
            confirmations: blocks on top of a block before it is applied.
            poll_s: seconds between two looks at the head.
        """
        self._source = LogFollower(rpc, [rollups], Cursor(start=start_block), confirmations=confirmations)
        self._start = start_block
        self._rpc = rpc
        self._rollups = rollups
        self._confirmations = confirmations
        self._poll_s = poll_s
        self._log = RollupLog()
        self._moved = trio.Event()

    @property
    def latest(self) -> Snapshot:
        """The replayed state of everything."""
        return self._log.latest

    async def serve(self, *, task_status: TaskStatus[None] = trio.TASK_STATUS_IGNORED) -> None:
        """Follow for ever; started once the head of this moment is reached."""
        started = False
        while True:
            try:
                events = await self._source.advance()
            except Recoverable:
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

    async def at_block(self, number: int) -> Snapshot:
        """Wait until `number` is applied; the newest snapshot."""
        while self.latest.number < number:
            await self._moved.wait()
        return self.latest

    async def change(self) -> Snapshot:
        """Wait for the next snapshot."""
        await self._moved.wait()
        return self.latest

    async def _take(self, event: Event) -> None:
        if isinstance(event, BlockLogs):
            # In a thread: anybody's rollup can make one entry cost a minute of replay, and orders have deadlines.
            block = event.block
            apply = partial(self._log.apply, block.number, block.hash, event.logs)
            await trio.to_thread.run_sync(apply, abandon_on_cancel=True)  # type: ignore[call-arg]  # old stubs
        elif event.to is None or not self._log.rollback(event.to.number):
            self._restart()
        self._moved.set()
        self._moved = trio.Event()

    def _restart(self) -> None:
        self._log = RollupLog()
        self._source = LogFollower(
            self._rpc, [self._rollups], Cursor(start=self._start), confirmations=self._confirmations
        )
