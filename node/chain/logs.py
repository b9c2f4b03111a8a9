"""Follows the logs of some contracts block by block, in order, through reorganisations, with a cursor to persist.

Every header between the cursor and the head is read and its parent hash checked, so that the events are those of one
chain. When the chain behind the cursor was replaced, one `Rollback` to the common ancestor comes first. Memory is
bounded by one span of blocks, the channel's size and the trail of hashes that the cursor keeps.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, Final

from node.chain.errors import ChainMoved, ReorgTooDeep
from node.chain.records import Block, Log
from node.chain.rpc import Rpc

TRAIL_BLOCKS: Final = 96  # hashes remembered: three epochs, beyond which mainnet is final
SPAN_BLOCKS: Final = 64  # read at once while catching up


@dataclass(frozen=True, slots=True)
class BlockRef:
    """A block by height and hash."""

    number: int
    hash: bytes
    """32 bytes."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Cursor:
    """How far a follower came. Data: persist it together with what the events up to it changed."""

    start: int
    """First block of interest."""
    trail: tuple[BlockRef, ...] = ()
    """The last blocks followed, consecutive and ascending, at most TRAIL_BLOCKS; empty before the first."""

    @property
    def tip(self) -> BlockRef | None:
        """The last block followed."""
        return self.trail[-1] if self.trail else None

    @property
    def next_number(self) -> int:
        """Height of the block to follow next."""
        return self.trail[-1].number + 1 if self.trail else self.start

    def extended(self, blocks: Sequence[Block]) -> Cursor:
        """The cursor after these blocks."""
        refs = tuple(BlockRef(block.number, block.hash) for block in blocks)
        return Cursor(start=self.start, trail=(*self.trail, *refs)[-TRAIL_BLOCKS:])

    def to_json(self) -> dict[str, Any]:
        """For a text column."""
        return {"start": self.start, "trail": [[ref.number, ref.hash.hex()] for ref in self.trail]}

    @classmethod
    def from_json(cls, value: Any) -> Cursor:
        """Read what `to_json` gave.

        Raises:
            ValueError: it is something else.
        """
        match value:
            case {"start": int(start), "trail": list(entries)}:
                pass
            case _:
                raise ValueError("a cursor is an object with start and trail")
        trail: list[BlockRef] = []
        for entry in entries:
            match entry:
                case [int(number), str(digits)] if len(digits) == 64 and (not trail or number == trail[-1].number + 1):
                    trail.append(BlockRef(number, bytes.fromhex(digits)))
                case _:
                    raise ValueError("a cursor's trail is a list of consecutive [height, hash]")
        return cls(start=start, trail=tuple(trail))


@dataclass(frozen=True, slots=True, kw_only=True)
class BlockLogs:
    """A block that has logs of interest, or the last of a span (then `logs` may be empty)."""

    block: Block
    logs: tuple[Log, ...]
    """In block order."""
    cursor: Cursor
    """After this block."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Rollback:
    """Everything above `to` was replaced: undo it."""

    to: BlockRef | None
    """Common ancestor; None when every block from the start on is gone."""
    dropped_blocks: int
    """At least 1."""
    cursor: Cursor
    """At the common ancestor."""


Event = BlockLogs | Rollback


class LogFollower:
    """Reads events on demand (`advance`)."""

    def __init__(self, rpc: Rpc, addresses: Sequence[bytes], cursor: Cursor, *, confirmations: int = 0) -> None:
        """Nothing is asked yet.

        Args:
            rpc: the node.
            addresses: contracts to follow, 20 bytes each.
            cursor: where to go on.
            confirmations: stay this many blocks behind the head.
        """
        self._rpc = rpc
        self._addresses = tuple(addresses)
        self._confirmations = confirmations
        self.cursor = cursor
        """After the last event that `advance` gave."""

    async def advance(self) -> tuple[Event, ...]:
        """Events of at most one span, none when the cursor is at the head.

        Raises:
            Recoverable: the node was away or the chain moved meanwhile; nothing was skipped.
            ReorgTooDeep: the cursor remembers no canonical block.
        """
        head = await self._rpc.head()
        tip = self.cursor.tip
        if tip is not None and not await self._is_canonical(tip, head):
            rollback = await self._rollback()
            self.cursor = rollback.cursor
            return (rollback,)
        first = self.cursor.next_number
        last = min(head.number - self._confirmations, first + SPAN_BLOCKS - 1)
        if last < first:
            return ()
        blocks = await self._rpc.blocks(first, last)
        if len(blocks) != last - first + 1:
            raise ChainMoved(last, head.hash, bytes(32))
        parent = tip
        for block in blocks:
            if parent is not None and block.parent_hash != parent.hash:
                raise ChainMoved(parent.number, parent.hash, block.parent_hash)
            parent = BlockRef(block.number, block.hash)
        logs = await self._rpc.logs(first, last, self._addresses)
        for log in logs:
            if log.block_hash != blocks[log.block_number - first].hash:
                raise ChainMoved(log.block_number, blocks[log.block_number - first].hash, log.block_hash)
        # A range read on another fork may lack logs; if the last header is still canonical, so are all before it.
        after = await self._rpc.block(last)
        if after is None or after.hash != blocks[-1].hash:
            raise ChainMoved(last, blocks[-1].hash, bytes(32) if after is None else after.hash)
        events = self._events(blocks, logs)
        self.cursor = events[-1].cursor
        return events

    def _events(self, blocks: Sequence[Block], logs: Sequence[Log]) -> tuple[BlockLogs, ...]:
        by_number: dict[int, list[Log]] = {}
        for log in logs:
            by_number.setdefault(log.block_number, []).append(log)
        return tuple(
            BlockLogs(
                block=block,
                logs=tuple(by_number.get(block.number, ())),
                cursor=self.cursor.extended(blocks[: position + 1]),
            )
            for position, block in enumerate(blocks)
            if block.number in by_number or block is blocks[-1]
        )

    async def _is_canonical(self, ref: BlockRef, head: Block) -> bool:
        if ref.number > head.number:
            return False
        block = head if ref.number == head.number else await self._rpc.block(ref.number)
        return block is not None and block.hash == ref.hash

    async def _rollback(self) -> Rollback:
        trail = self.cursor.trail
        canonical = await self._rpc.blocks(trail[0].number, trail[-1].number)
        kept = 0
        for ref, block in zip(trail, canonical, strict=False):  # the new chain may be shorter
            if block.hash != ref.hash:
                break
            kept += 1
        if kept == len(trail):
            raise ChainMoved(trail[-1].number, trail[-1].hash, trail[-1].hash)
        if not kept and trail[0].number > self.cursor.start:
            raise ReorgTooDeep(trail[0].number)
        cursor = Cursor(start=self.cursor.start, trail=trail[:kept])
        return Rollback(to=cursor.tip, dropped_blocks=len(trail) - kept, cursor=cursor)
