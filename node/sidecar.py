"""The self-building proposer's side: ready tables that are sealed to it, pulled before landing and checked (SPEC §9.3).

Injecting them into an execution client shortly before the proposer's slot is later work; what is pulled is shown in the
node's status.
"""

from __future__ import annotations

import logging
from dataclasses import dataclass

import trio
from trio_typing import TaskStatus

from node.frames import FrameWriter
from node.l1port import L1Port
from node.ports import ChainCall, Direct, Gossip, Refused, TryAgain
from node.rawtx import decode_raw
from node.ready import PulledTable, pull_table
from node.statusfile import StatusFile
from protocol.codec import decode_body
from protocol.hashing import keccak256
from protocol.messages import ReadyTable
from protocol.sealing import SealKeyPair

log = logging.getLogger("unveto.sidecar")

MAX_KEPT = 64  # tables in the pool; the oldest goes first
PULL_ATTEMPTS = 5
PULL_PAUSE_S = 0.2


@dataclass(frozen=True, slots=True, kw_only=True)
class CheckedTable:
    """A pulled transaction that would succeed on the head of the moment it was checked."""

    table_id: bytes
    raw: bytes
    tx_hash: bytes
    sender: bytes
    nonce: int
    gas_used: int
    valid_until: int


class Sidecar:
    """Pulls what is meant for its key. Made without side effects; `serve` runs it."""

    def __init__(
        self,
        *,
        gossip: Gossip,
        direct: Direct,
        frames: FrameWriter,
        chain: L1Port,
        rollups: bytes,
        key: SealKeyPair,
        status: StatusFile,
    ) -> None:
        self._gossip = gossip
        self._direct = direct
        self._frames = frames
        self._chain = chain
        self._rollups = rollups
        self._key = key
        self._status = status
        self._pool: dict[bytes, CheckedTable] = {}

    async def serve(self, *, task_status: TaskStatus[None] = trio.TASK_STATUS_IGNORED) -> None:
        """Runs until cancelled."""
        async with trio.open_nursery() as nursery:
            task_status.started()
            async for frame in self._gossip.frames("ready"):
                announcement = decode_body(ReadyTable, frame[80:-65])
                if announcement.seal_key == self._key.public:
                    nursery.start_soon(self._take, announcement, frame[52:72])

    async def _take(self, announcement: ReadyTable, announcer: bytes) -> None:
        for _attempt in range(PULL_ATTEMPTS):
            try:
                pulled = await pull_table(
                    announcement, announcer, direct=self._direct, frames=self._frames, key=self._key
                )
                self._keep(await self._check(pulled))
            except TryAgain as error:
                log.debug("table %s: %s", announcement.table_id.hex()[:8], error)
                await trio.sleep(PULL_PAUSE_S)
                continue
            except Refused as error:
                log.warning("table %s: %s", announcement.table_id.hex()[:8], error)
            return

    async def _check(self, pulled: PulledTable) -> CheckedTable:
        """Signature, target, and success on the head, all computed here.

        Raises:
            Refused: the transaction is not what a ready table may be.
        """
        call = decode_raw(pulled.raw)
        if call.to != self._rollups:
            raise Refused("READY_TARGET", call.to.hex())
        outcome = await self._chain.simulate(
            ChainCall(purpose="check", to=call.to, data=call.data, value_wei=call.value), sender=call.sender
        )
        if not outcome.succeeded:
            raise Refused("READY_FAILS", outcome.halt or outcome.output.hex())
        return CheckedTable(
            table_id=pulled.announcement.table_id,
            raw=pulled.raw,
            tx_hash=keccak256(pulled.raw),
            sender=call.sender,
            nonce=call.nonce,
            gas_used=outcome.gas_used,
            valid_until=pulled.announcement.valid_until,
        )

    def _keep(self, table: CheckedTable) -> None:
        self._pool[table.table_id] = table
        while len(self._pool) > MAX_KEPT:
            del self._pool[next(iter(self._pool))]
        self._status.put(
            "ready",
            {
                each.table_id.hex(): {
                    "tx_hash": each.tx_hash.hex(),
                    "sender": each.sender.hex(),
                    "nonce": each.nonce,
                    "gas_used": each.gas_used,
                    "bytes": len(each.raw),
                    "valid_until": each.valid_until,
                }
                for each in self._pool.values()
            },
        )
