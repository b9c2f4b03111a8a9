"""The ready pool of one node: what is checked before a transaction is taken in, and what a block gets (SPEC §9.6).

`market.ready_pool` and `market.ready_chain` decide; here is what they are told about L1.
"""

from __future__ import annotations

import logging
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from functools import partial
from typing import Final, Protocol

from market.errors import PoolRefused
from market.ready_chain import Account, Chain, Head, best_chain
from market.ready_pool import Move, PoolLimits, ReadyPool, ReadyTx
from node.ports import Clock, InThread, Refused
from node.rawtx import RawCall
from node.readytx import ReadyCall, read_ready

log = logging.getLogger("unveto.ready")

MAX_NONCE_GAP: Final = 8
MAX_PARENTS: Final = 8  # transactions that are simulated before one that follows on them
MAX_ROUNDS: Final = 4  # choices for one block, if the simulation finds what the graph does not show
FEE_HEADROOM: Final = 9  # eighths of the next base fee that must be affordable: one full block lies between, at most


@dataclass(frozen=True, slots=True, kw_only=True)
class ReadyHead:
    """L1 at one block, all of it read at that block."""

    number: int
    block_hash: bytes
    timestamp: int
    base_fee_wei: int
    """Of the next block."""
    gas_limit: int


@dataclass(frozen=True, slots=True, kw_only=True)
class Tried:
    """What a transaction did in a local run."""

    succeeded: bool
    gas_used: int
    roots: Mapping[int, int]
    """Root of each rollup of its lockset afterwards."""
    why: str = ""


class ReadyChain(Protocol):
    """L1 as the pool needs it. All raise TryAgain when L1 cannot be asked."""

    async def head(self) -> ReadyHead:
        """The newest block."""
        ...

    async def account(self, at: ReadyHead, account: bytes) -> Account:
        """Nonce and balance."""
        ...

    async def root(self, at: ReadyHead, rollup_id: int) -> int:
        """Root of a rollup. Raises Refused if there is none."""
        ...

    async def try_in_order(self, at: ReadyHead, calls: Sequence[ReadyCall], time_s: int) -> tuple[Tried, ...]:
        """Runs transactions as the next block's, in this order, here and not at the client."""
        ...

    async def check_proofs(self, call: ReadyCall) -> None:
        """Verifies the proofs of a table. Raises Refused if one is missing or wrong."""
        ...


class ReadyKeeper:
    """Checks transactions, keeps them, chooses among them. Made without side effects."""

    def __init__(
        self,
        *,
        chain: ReadyChain,
        clock: Clock,
        compute: InThread,
        chain_id: int,
        rollups: bytes,
        limits: PoolLimits | None = None,
    ) -> None:
        """
        Args:
            compute: runs the search for the best chain, a fraction of a second.
            rollups: address of the Rollups contract.
        """
        self.pool = ReadyPool(limits)
        self._chain = chain
        self._clock = clock
        self._compute = compute
        self._chain_id = chain_id
        self._rollups = rollups
        self._calls: dict[bytes, ReadyCall] = {}

    def read(self, raw: bytes) -> ReadyCall:
        """The checks that need no L1; see `node.readytx.read_ready`. Raises Refused."""
        return read_ready(raw, chain_id=self._chain_id, rollups=self._rollups)

    async def admit(self, call: ReadyCall, *, table_id: bytes, is_sealed: bool) -> ReadyTx:
        """Checks a transaction against L1, cheapest first, and takes it in.

        Raises:
            Refused: READY_OVER, READY_NONCE, READY_BALANCE, READY_FEE, READY_ROLLUP, READY_ORPHAN (a root of its
                lockset is neither its rollup's nor one that the pool leads to), a proof's reason, READY_FAILS, or the
                pool's reason.
            TryAgain: L1 cannot be asked.
        """
        now_ms = self._clock.now_ms()
        if call.core.valid_until * 1000 + 999 < now_ms:
            raise Refused("READY_OVER", str(call.core.valid_until))
        at = await self._chain.head()
        self._check_account(call.call, await self._chain.account(at, call.call.sender), at)
        before = await self._before(call, at)
        await self._chain.check_proofs(call)
        time_s = max(at.timestamp, now_ms // 1000, call.core.not_before)
        *_, tried = await self._chain.try_in_order(at, [*before, call], time_s)
        if not tried.succeeded:
            raise Refused("READY_FAILS", tried.why)
        tx = _ready_tx(call, tried, table_id=table_id, is_sealed=is_sealed, received_ms=now_ms)
        try:
            for gone in self.pool.add(tx, now_ms):
                self._calls.pop(gone, None)
        except PoolRefused as refused:
            raise Refused(refused.reason, str(refused)) from refused
        self._calls[tx.tx_hash] = call
        return tx

    async def choose(self, time_s: int, *, gas_limit: int | None = None) -> Chain:
        """The best conflict-free set for a block of that time on the present head, run through before it is given.

        Args:
            gas_limit: what the set may take; None is half of the block, which is what a block aims at.

        Raises:
            TryAgain: L1 cannot be asked.
        """
        at = await self._chain.head()
        head = await self._head(at, time_s, at.gas_limit // 2 if gas_limit is None else gas_limit)
        left, known = self.pool.txs, dict(self._calls)  # others may be taken in meanwhile, and push some of these out
        chosen = Chain(txs=(), fee_wei=0, is_best=True)
        for _round in range(MAX_ROUNDS):
            chosen = await self._compute(partial(best_chain, left, head))
            calls = [known[tx.tx_hash] for tx in chosen.txs]
            tried = await self._chain.try_in_order(at, calls, time_s)
            bad = next((place for place, each in enumerate(tried) if not each.succeeded), None)
            if bad is None:
                return chosen
            failed = chosen.txs[bad]
            log.info("ready transaction %s fails in its place: %s", failed.tx_hash.hex()[:8], tried[bad].why)
            left = tuple(tx for tx in left if tx.tx_hash != failed.tx_hash)
            chosen = replace(chosen, txs=chosen.txs[:bad], is_best=False)  # what stood before it is good
        return chosen

    async def outlook(self, time_s: int) -> tuple[Mapping[int, int], Chain]:
        """Present root of each rollup that the pool is about, and the best set for a block now, not run through.

        Raises:
            TryAgain: L1 cannot be asked.
        """
        at = await self._chain.head()
        head = await self._head(at, max(time_s, at.timestamp), at.gas_limit // 2)
        return head.roots, await self._compute(partial(best_chain, self.pool.txs, head))

    def remove(self, tx_hash: bytes) -> None:
        """Forgets a transaction."""
        self.pool.remove(tx_hash)
        self._calls.pop(tx_hash, None)

    # -- inside ----------------------------------------------------------------------------------------------------

    def _check_account(self, call: RawCall, account: Account, at: ReadyHead) -> None:
        if not account.nonce <= call.nonce < account.nonce + MAX_NONCE_GAP:
            raise Refused("READY_NONCE", f"{call.nonce}, the account's is {account.nonce}")
        pending_wei = sum(
            tx.most_wei for tx in self.pool.txs if tx.sender == call.sender and account.nonce <= tx.nonce < call.nonce
        )
        if account.balance_wei < pending_wei + call.value + call.gas * call.max_fee_wei:
            raise Refused("READY_BALANCE", str(account.balance_wei))
        if call.max_fee_wei < at.base_fee_wei:
            raise Refused("READY_FEE", f"{call.max_fee_wei}, the base fee is {at.base_fee_wei}")

    async def _before(self, call: ReadyCall, at: ReadyHead) -> list[ReadyCall]:
        """What must run first, so that `call` finds its roots and its nonce."""
        roots = {}
        for member in call.core.lockset:
            try:
                roots[member.rollup_id] = await self._chain.root(at, member.rollup_id)
            except Refused as error:
                raise Refused("READY_ROLLUP", str(member.rollup_id)) from error
        wanted = {m.rollup_id: m.pre_root for m in call.core.lockset if roots[m.rollup_id] != m.pre_root}
        found: list[ReadyTx] = []
        # Backwards from the root that is wanted to the one that is there; of several ways, the one that pays most.
        for rollup_id, root in wanted.items():
            seen = {root}
            while root != roots[rollup_id]:
                leads = [
                    tx
                    for tx in self.pool.txs
                    if any(
                        m.rollup_id == rollup_id and m.post_root == root and m.pre_root not in seen for m in tx.moves
                    )
                ]
                if not leads or len(found) == MAX_PARENTS:
                    raise Refused("READY_ORPHAN", f"rollup {rollup_id}")
                best = max(leads, key=lambda tx: (tx.tip_wei, tx.tx_hash))
                root = next(m.pre_root for m in best.moves if m.rollup_id == rollup_id)
                seen.add(root)
                if best not in found:
                    found.append(best)
        found.reverse()
        return [self._calls[tx.tx_hash] for tx in found]

    async def _head(self, at: ReadyHead, time_s: int, gas_limit: int) -> Head:
        self.pool.expire(self._clock.now_ms())
        txs = self.pool.txs
        accounts = {sender: await self._chain.account(at, sender) for sender in sorted({tx.sender for tx in txs})}
        self.pool.drop_used({sender: account.nonce for sender, account in accounts.items()})
        self._calls = {tx.tx_hash: self._calls[tx.tx_hash] for tx in self.pool.txs}
        rollup_ids = sorted({move.rollup_id for tx in self.pool.txs for move in tx.moves})
        return Head(
            roots={rollup_id: await self._chain.root(at, rollup_id) for rollup_id in rollup_ids},
            accounts=accounts,
            base_fee_wei=at.base_fee_wei * FEE_HEADROOM // 8,
            time_s=time_s,
            gas_limit=gas_limit,
        )


def _ready_tx(call: ReadyCall, tried: Tried, *, table_id: bytes, is_sealed: bool, received_ms: int) -> ReadyTx:
    signed = call.call
    return ReadyTx(
        tx_hash=call.tx_hash,
        table_id=table_id,
        sender=signed.sender,
        nonce=signed.nonce,
        gas=signed.gas,
        gas_used=min(tried.gas_used, signed.gas),
        max_fee_wei=signed.max_fee_wei,
        tip_wei=signed.tip_wei,
        value_wei=signed.value,
        raw=call.raw,
        moves=tuple(
            Move(rollup_id=m.rollup_id, pre_root=m.pre_root, post_root=tried.roots[m.rollup_id])
            for m in call.core.lockset
        ),
        not_before=call.core.not_before,
        valid_until=call.core.valid_until,
        received_ms=received_ms,
        is_sealed=is_sealed,
    )
