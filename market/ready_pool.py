"""Ready transactions that wait for a block: what is kept, and what goes when there is too much (SPEC §9.6).

Each one moves the rollups of its lockset from a root to a root, so the pool is a graph and not a list: two that leave
the same root exclude each other, and one can follow on another's root. `market.ready_chain` chooses among them.

API:
    Move, ReadyTx           one signed transaction and what it does
    PoolLimits              hard bounds
    ReadyPool               add, expire, remove, txs, parents
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Final

from market.errors import PoolRefused

REPLACE_PERCENT: Final = 13  # both fees: an eighth more, as a base fee can rise in one block, rounded up


@dataclass(frozen=True, slots=True, kw_only=True)
class Move:
    """What a transaction does to one rollup of its lockset."""

    rollup_id: int
    pre_root: int
    """The root on which it stands, a field element."""
    post_root: int
    """The root that it leaves; the same where it only reads."""

    @property
    def is_read(self) -> bool:
        """Whether the rollup stays where it is."""
        return self.pre_root == self.post_root


@dataclass(frozen=True, slots=True, kw_only=True)
class ReadyTx:
    """A signed EIP-1559 transaction that loads and runs one table. Its checks are the node's (SPEC §9.6)."""

    tx_hash: bytes
    """32 bytes, its name in the pool."""
    table_id: bytes
    """The announcement's; one transaction can be announced under several."""
    sender: bytes
    """20 bytes."""
    nonce: int
    gas: int
    """Gas limit: what it takes of a block, and what its sender must be able to pay."""
    gas_used: int
    """As simulated: what it pays for. At most `gas`."""
    max_fee_wei: int
    """Per gas, base fee included."""
    tip_wei: int
    """Per gas; at most `max_fee_wei`."""
    value_wei: int
    raw: bytes
    moves: tuple[Move, ...]
    """1..8, ascending by rollup."""
    not_before: int
    """Unix seconds, inclusive, as the next."""
    valid_until: int
    received_ms: int
    """Unix ms."""
    is_sealed: bool
    """Meant for us alone: never shown to peers."""

    def tip_at(self, base_fee_wei: int) -> int:
        """What it gives the proposer per gas above a base fee; below 0 it cannot be included."""
        return min(self.tip_wei, self.max_fee_wei - base_fee_wei)

    @property
    def most_wei(self) -> int:
        """What its sender must have for a client to take it."""
        return self.value_wei + self.gas * self.max_fee_wei


@dataclass(frozen=True, slots=True, kw_only=True)
class PoolLimits:
    """Hard bounds of a pool."""

    txs: int = 256
    size_bytes: int = 4 << 20
    """Of all raw transactions."""
    per_sender: int = 8
    age_ms: int = 30 * 60_000
    """Whoever waits longer is dropped, whatever it pays."""


class ReadyPool:
    """Bounded pool. Pure: times come in as parameters.

    Laws, for any history of calls: the bounds hold; no two transactions have one sender and nonce; what is refused
    changes nothing; what is evicted pays less per gas than what came, or is older than allowed.
    """

    def __init__(self, limits: PoolLimits | None = None) -> None:
        self.limits = limits if limits is not None else PoolLimits()
        self._txs: dict[bytes, ReadyTx] = {}
        self._by_nonce: dict[tuple[bytes, int], bytes] = {}
        self._size_bytes = 0

    def __len__(self) -> int:
        return len(self._txs)

    def __contains__(self, tx_hash: object) -> bool:
        return tx_hash in self._txs

    @property
    def size_bytes(self) -> int:
        """Of all raw transactions."""
        return self._size_bytes

    @property
    def txs(self) -> tuple[ReadyTx, ...]:
        """All of them, in the order they came."""
        return tuple(self._txs.values())

    def get(self, tx_hash: bytes) -> ReadyTx | None:
        """One of them."""
        return self._txs.get(tx_hash)

    def add(self, tx: ReadyTx, now_ms: int) -> tuple[bytes, ...]:
        """Takes a transaction in.

        Returns:
            Hashes of those that had to go for it.

        Raises:
            PoolRefused: KNOWN, EXPIRED, TOO_LARGE, UNDERPRICED (one of this sender and nonce pays as much),
                SENDER_QUOTA, POOL_FULL (everything here pays as much).
        """
        self.expire(now_ms)
        if tx.tx_hash in self._txs:
            raise PoolRefused("KNOWN")
        if tx.valid_until * 1000 + 999 < now_ms:
            raise PoolRefused("EXPIRED", valid_until=tx.valid_until)
        if len(tx.raw) > self.limits.size_bytes:
            raise PoolRefused("TOO_LARGE", size=len(tx.raw))
        goes = self._replaced(tx)
        goes += self._crowded_out(tx, goes)
        for tx_hash in goes:
            self.remove(tx_hash)
        self._txs[tx.tx_hash] = tx
        self._by_nonce[(tx.sender, tx.nonce)] = tx.tx_hash
        self._size_bytes += len(tx.raw)
        return goes

    def remove(self, tx_hash: bytes) -> None:
        """Forgets a transaction, if it is there."""
        tx = self._txs.pop(tx_hash, None)
        if tx is not None:
            del self._by_nonce[(tx.sender, tx.nonce)]
            self._size_bytes -= len(tx.raw)

    def expire(self, now_ms: int) -> tuple[bytes, ...]:
        """Drops what can no longer land, and what has waited too long. Returns the hashes."""
        gone = tuple(
            tx.tx_hash
            for tx in self._txs.values()
            if tx.valid_until * 1000 + 999 < now_ms or tx.received_ms + self.limits.age_ms < now_ms
        )
        for tx_hash in gone:
            self.remove(tx_hash)
        return gone

    def drop_used(self, nonces: Mapping[bytes, int]) -> tuple[bytes, ...]:
        """Drops whatever has a nonce that its account has used. Returns the hashes."""
        gone = tuple(tx.tx_hash for tx in self._txs.values() if tx.nonce < nonces.get(tx.sender, 0))
        for tx_hash in gone:
            self.remove(tx_hash)
        return gone

    def parents(self, tx: ReadyTx, roots: Mapping[int, int]) -> tuple[ReadyTx, ...]:
        """Those that lead to a root on which `tx` stands and which is not its rollup's present one.

        Args:
            roots: present root of each rollup.
        """
        wanted = {move.rollup_id: move.pre_root for move in tx.moves if roots.get(move.rollup_id) != move.pre_root}
        return tuple(
            other
            for other in self._txs.values()
            if other.tx_hash != tx.tx_hash
            and any(not m.is_read and wanted.get(m.rollup_id) == m.post_root for m in other.moves)
        )

    # -- inside ----------------------------------------------------------------------------------------------------

    def _replaced(self, tx: ReadyTx) -> tuple[bytes, ...]:
        old = self._txs.get(self._by_nonce.get((tx.sender, tx.nonce), b""))
        if old is None:
            if sum(other.sender == tx.sender for other in self._txs.values()) >= self.limits.per_sender:
                raise PoolRefused("SENDER_QUOTA", limit=self.limits.per_sender)
            return ()
        if tx.tip_wei < bumped(old.tip_wei) or tx.max_fee_wei < bumped(old.max_fee_wei):
            raise PoolRefused("UNDERPRICED", tip_wei=tx.tip_wei, needed_wei=bumped(old.tip_wei))
        return (old.tx_hash,)

    def _crowded_out(self, tx: ReadyTx, goes: tuple[bytes, ...]) -> tuple[bytes, ...]:
        kept = [other for other in self._txs.values() if other.tx_hash not in goes]
        count, size = len(kept) + 1, sum(len(other.raw) for other in kept) + len(tx.raw)
        out: list[bytes] = []
        for other in self._cheapest_first(kept):
            if count <= self.limits.txs and size <= self.limits.size_bytes:
                break
            # Among equals whoever was first stays: equal fees must not be able to wash the pool out.
            if other.tip_wei >= tx.tip_wei:
                raise PoolRefused("POOL_FULL", tip_wei=tx.tip_wei, needed_wei=other.tip_wei + 1)
            out.append(other.tx_hash)
            count, size = count - 1, size - len(other.raw)
        return tuple(out)

    @staticmethod
    def _cheapest_first(txs: list[ReadyTx]) -> Iterator[ReadyTx]:
        return iter(sorted(txs, key=lambda tx: (tx.tip_wei, tx.received_ms, tx.tx_hash)))


def bumped(fee_wei: int) -> int:
    """The least that replaces a fee."""
    return fee_wei * (100 + REPLACE_PERCENT) // 100 + 1
