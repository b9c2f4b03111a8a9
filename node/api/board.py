"""What `GET /v1/ready` shows of the pool: the transactions, what each stands on, and the best block of them."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Final

import trio

from market.ready_chain import Chain
from market.ready_pool import ReadyTx
from node.ports import Clock
from node.readypool import ReadyKeeper

FRESH_MS: Final = 1_000
"""How long one look at L1 serves all who ask."""
MAX_SHOWN: Final = 256
DEFAULT_SHOWN: Final = 64


@dataclass(frozen=True, slots=True, kw_only=True)
class Wanted:
    """A question."""

    rollup_id: int | None = None
    """Only what has this rollup in its lockset."""
    max_gas: int | None = None
    """Only what takes at most this gas."""
    limit: int = DEFAULT_SHOWN
    """1 to MAX_SHOWN."""


class ReadyBoard:
    """Answers. Any number of questions cost one look at L1 in FRESH_MS."""

    def __init__(self, keeper: ReadyKeeper, clock: Clock, *, shows_sealed: bool) -> None:
        """
        Args:
            shows_sealed: also what is meant for this node alone: where nobody else can ask.
        """
        self._keeper = keeper
        self._clock = clock
        self._shows_sealed = shows_sealed
        self._lock = trio.Lock()
        self._looked_ms = -FRESH_MS
        self._roots: Mapping[int, int] = {}
        self._chain = Chain(txs=(), fee_wei=0, is_best=True)

    async def ready(self, wanted: Wanted) -> dict[str, Any]:
        """The answer, as the schema `ready_ls` says; those that pay the largest tip first. Raises TryAgain."""
        async with self._lock:
            now_ms = self._clock.now_ms()
            if now_ms - self._looked_ms >= FRESH_MS:
                self._roots, self._chain = await self._keeper.outlook(now_ms // 1000)
                self._looked_ms = now_ms
        shown = [tx for tx in self._keeper.pool.txs if self._shows_sealed or not tx.is_sealed]
        fits = [tx for tx in shown if _fits(tx, wanted)]
        fits.sort(key=lambda tx: (-tx.tip_wei, tx.tx_hash))
        listed = {tx.tx_hash for tx in fits[: wanted.limit]}
        return {
            "total": len(fits),
            "transactions": [self._json(tx) for tx in fits if tx.tx_hash in listed],
            "roots": {str(rollup_id): _word(root) for rollup_id, root in sorted(self._roots.items())},
            "block": [_hex(tx.tx_hash) for tx in self._chain.txs if tx.tx_hash in listed],
        }

    def _json(self, tx: ReadyTx) -> dict[str, Any]:
        parents = [p for p in self._keeper.pool.parents(tx, self._roots) if self._shows_sealed or not p.is_sealed]
        return {
            "tx_hash": _hex(tx.tx_hash),
            "table_id": _hex(tx.table_id),
            "policy": "sealed" if tx.is_sealed else "public",
            "raw": _hex(tx.raw),
            "sender": _hex(tx.sender),
            "nonce": tx.nonce,
            "gas": tx.gas,
            "gas_used": tx.gas_used,
            "max_fee_wei": str(tx.max_fee_wei),
            "tip_wei": str(tx.tip_wei),
            "value_wei": str(tx.value_wei),
            "not_before": tx.not_before,
            "valid_until": tx.valid_until,
            "moves": [
                {"rollup_id": m.rollup_id, "pre_root": _word(m.pre_root), "post_root": _word(m.post_root)}
                for m in tx.moves
            ],
            "requires": [_hex(parent.tx_hash) for parent in parents],
        }


def _fits(tx: ReadyTx, wanted: Wanted) -> bool:
    in_lockset = wanted.rollup_id is None or any(move.rollup_id == wanted.rollup_id for move in tx.moves)
    return in_lockset and (wanted.max_gas is None or tx.gas <= wanted.max_gas)


def _hex(data: bytes) -> str:
    return "0x" + data.hex()


def _word(root: int) -> str:
    return f"0x{root:064x}"
