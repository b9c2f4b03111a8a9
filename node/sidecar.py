"""The self-building proposer's side: ready tables that are sealed to it, pulled before landing, checked and pooled
(SPEC §9.6). `node.injector` puts them into the proposer's execution client."""

from __future__ import annotations

import logging
from collections import Counter
from typing import Final

import trio
from trio_typing import TaskStatus

from node.frames import FrameWriter
from node.ports import Clock, Direct, Gossip, Refused, TryAgain
from node.ready import PulledTable, pull_table
from node.readypool import ReadyKeeper
from node.statusfile import StatusFile
from protocol.codec import decode_body
from protocol.constants import MAX_LIFETIME_MS
from protocol.messages import ReadyTable
from protocol.sealing import SealKeyPair

log = logging.getLogger("unveto.sidecar")

MAX_PULLS: Final = 16  # at a time
MAX_ANNOUNCED: Final = 256  # announcements under way; what comes meanwhile is dropped
MAX_OF_ANNOUNCER: Final = 8  # of them, so that one with dead addresses does not take the place of others
PULL_ATTEMPTS: Final = 5
PULL_PAUSE_MS: Final = 200
MAX_WAITING: Final = 64  # tables that L1 does not admit yet; the oldest goes first
AGAIN_MS: Final = 2_000
PASSING: Final = frozenset({"READY_NONCE", "READY_BALANCE", "READY_FEE", "READY_ORPHAN", "READY_FAILS"})
"""Refusals that another block may end."""


class Sidecar:
    """Pulls what is meant for its key. Made without side effects; `serve` runs it."""

    def __init__(
        self,
        *,
        gossip: Gossip,
        direct: Direct,
        frames: FrameWriter,
        keeper: ReadyKeeper,
        clock: Clock,
        key: SealKeyPair,
        status: StatusFile,
    ) -> None:
        self._gossip = gossip
        self._direct = direct
        self._frames = frames
        self._keeper = keeper
        self._clock = clock
        self._key = key
        self._status = status
        self._pulling = trio.CapacityLimiter(MAX_PULLS)
        self._pulled: dict[bytes, int] = {}  # table id -> valid until, of everything that is or was pulled
        self._announced: Counter[bytes] = Counter()  # announcer -> announcements under way
        self._waiting: dict[bytes, PulledTable] = {}

    async def serve(self, *, task_status: TaskStatus[None] = trio.TASK_STATUS_IGNORED) -> None:
        """Runs until cancelled."""
        async with trio.open_nursery() as nursery:
            nursery.start_soon(self._try_again)
            task_status.started()
            async for frame in self._gossip.frames("ready"):
                announcement = decode_body(ReadyTable, frame[80:-65])
                announcer = frame[52:72]
                if (
                    announcement.seal_key == self._key.public
                    and announcement.table_id not in self._pulled
                    and self._announced.total() < MAX_ANNOUNCED
                    and self._announced[announcer] < MAX_OF_ANNOUNCER
                ):
                    self._announced[announcer] += 1
                    self._pulled[announcement.table_id] = min(announcement.valid_until, self._remembered_until_s())
                    nursery.start_soon(self._take, announcement, announcer)

    def _remembered_until_s(self) -> int:
        """Longer than a frame lives; what is announced anew is pulled anew."""
        return (self._clock.now_ms() + 2 * MAX_LIFETIME_MS) // 1000

    async def _take(self, announcement: ReadyTable, announcer: bytes) -> None:
        try:
            async with self._pulling:
                pulled = await self._pull(announcement, announcer)
        finally:
            self._announced[announcer] -= 1
        if pulled is None:
            self._pulled.pop(announcement.table_id, None)  # the next announcement of it is another chance
        else:
            await self._admit(pulled)

    async def _pull(self, announcement: ReadyTable, announcer: bytes) -> PulledTable | None:
        for _attempt in range(PULL_ATTEMPTS):
            try:
                return await pull_table(
                    announcement, announcer, direct=self._direct, frames=self._frames, key=self._key
                )
            except TryAgain as error:
                log.debug("table %s: %s", announcement.table_id.hex()[:8], error)
                await self._clock.sleep_until(self._clock.now_ms() + PULL_PAUSE_MS)
            except Refused as error:
                log.warning("table %s: %s", announcement.table_id.hex()[:8], error)
                break
        return None

    async def _admit(self, pulled: PulledTable) -> None:
        table_id = pulled.announcement.table_id
        try:
            await self._keeper.admit(self._keeper.read(pulled.raw), table_id=table_id, is_sealed=True)
            self._waiting.pop(table_id, None)
        except TryAgain as error:
            log.debug("table %s: %s", table_id.hex()[:8], error)
            self._wait(pulled)
        except Refused as error:
            level = logging.DEBUG if table_id in self._waiting else logging.WARNING
            log.log(level, "table %s: %s", table_id.hex()[:8], error)
            self._waiting.pop(table_id, None)
            if error.code in PASSING:
                self._wait(pulled)
        self.show()

    def _wait(self, pulled: PulledTable) -> None:
        self._waiting[pulled.announcement.table_id] = pulled
        while len(self._waiting) > MAX_WAITING:
            del self._waiting[next(iter(self._waiting))]

    async def _try_again(self) -> None:
        while True:
            await self._clock.sleep_until(self._clock.now_ms() + AGAIN_MS)
            now_s = self._clock.now_ms() // 1000
            self._pulled = {table_id: until for table_id, until in self._pulled.items() if until >= now_s}
            for pulled in list(self._waiting.values()):
                if pulled.announcement.valid_until < now_s:
                    del self._waiting[pulled.announcement.table_id]
                else:
                    await self._admit(pulled)

    def show(self) -> None:
        """The pool, in the node's status."""
        self._status.put(
            "ready",
            {
                tx.table_id.hex(): {
                    "tx_hash": tx.tx_hash.hex(),
                    "sender": tx.sender.hex(),
                    "nonce": tx.nonce,
                    "gas_used": tx.gas_used,
                    "bytes": len(tx.raw),
                    "valid_until": tx.valid_until,
                }
                for tx in self._keeper.pool.txs
            },
        )
