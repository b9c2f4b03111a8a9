"""Which ready transactions a proposer puts into its block, and in which order (SPEC §9.6).

The order is one that an unchanged execution client makes by itself: by tip, each sender's nonces ascending. So of two
transactions of different senders that share a rollup which either moves, the earlier must pay a larger tip.

API:
    Account, Head           the state on which the block is built
    best_chain(txs, head)   the set with the largest fees that was found within a bounded number of steps
    check_chain(txs, head)  why a sequence cannot be a block's
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Final

from market.ready_pool import ReadyTx

STEPS: Final = 4_096
"""Positions looked at for one block: a fraction of a second."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Account:
    """A sender."""

    nonce: int
    balance_wei: int


@dataclass(frozen=True, slots=True, kw_only=True)
class Head:
    """The state on which the block is built, as far as the transactions are concerned."""

    roots: Mapping[int, int]
    """Present root of each rollup that a transaction has in its lockset."""
    accounts: Mapping[bytes, Account]
    base_fee_wei: int
    """Of the block that is built, or more."""
    time_s: int
    """Of the block that is built, unix seconds."""
    gas_limit: int
    """What the transactions may take together."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Chain:
    """What was chosen, in order."""

    txs: tuple[ReadyTx, ...]
    fee_wei: int
    """Tips that the proposer gets for the gas that the transactions use."""
    is_best: bool
    """Whether no other set pays more; else the steps were used up, or gas had to be divided."""


@dataclass(frozen=True, slots=True)
class _Spot:
    """A position in the search: what was put in, and the state after it."""

    chosen: tuple[ReadyTx, ...]
    open: tuple[ReadyTx, ...]
    """Not put in; those that pay most first."""
    waiting: frozenset[bytes]
    """Open ones that are passed over until a rollup of theirs is touched."""
    roots: Mapping[int, int]
    accounts: Mapping[bytes, Account]
    tips: Mapping[bytes, int]
    """Per sender the smallest tip that was put in: with that it is reached in the client's order."""
    reached: Mapping[bytes, int]
    """The same for each transaction that was put in, as of its place."""
    gas_left: int
    worth: int

    def admits(self, tx: ReadyTx, head: Head) -> bool:
        """Whether it can come next."""
        account = self.accounts.get(tx.sender)
        return (
            account is not None
            and tx.nonce == account.nonce
            and tx.most_wei <= account.balance_wei
            and tx.gas <= self.gas_left
            and tx.not_before <= head.time_s <= tx.valid_until
            and tx.tip_at(head.base_fee_wei) >= 0
            and all(self.roots.get(move.rollup_id) == move.pre_root for move in tx.moves)
            and self._is_after_all(tx, head)
        )

    def _is_after_all(self, tx: ReadyTx, head: Head) -> bool:
        """Whether the client, too, puts it after everything that it interferes with."""
        tip = self._tip(tx, head)
        return all(
            tip < self.reached[earlier.tx_hash]
            for earlier in self.chosen
            if earlier.sender != tx.sender and _interfere(tx, earlier)
        )

    def _tip(self, tx: ReadyTx, head: Head) -> int:
        own = tx.tip_at(head.base_fee_wei)
        return min(own, self.tips.get(tx.sender, own))

    def with_next(self, tx: ReadyTx, head: Head) -> _Spot:
        """The position after it."""
        account = self.accounts[tx.sender]
        tip = self._tip(tx, head)
        touched = {move.rollup_id for move in tx.moves}
        return _Spot(
            chosen=(*self.chosen, tx),
            open=tuple(other for other in self.open if other.tx_hash != tx.tx_hash),
            waiting=frozenset(
                other.tx_hash
                for other in self.open
                if other.tx_hash in self.waiting and touched.isdisjoint(move.rollup_id for move in other.moves)
            ),
            roots={**self.roots, **{move.rollup_id: move.post_root for move in tx.moves}},
            accounts={
                **self.accounts,
                tx.sender: Account(nonce=tx.nonce + 1, balance_wei=account.balance_wei - tx.most_wei),
            },
            tips={**self.tips, tx.sender: tip},
            reached={**self.reached, tx.tx_hash: tip},
            gas_left=self.gas_left - tx.gas,
            worth=self.worth + _worth(tx, head),
        )

    def without(self, tx: ReadyTx) -> _Spot:
        """The position in which it waits until somebody touches a rollup of its lockset."""
        return replace(self, waiting=self.waiting | {tx.tx_hash})


def best_chain(txs: Iterable[ReadyTx], head: Head, *, steps: int = STEPS) -> Chain:
    """The conflict-free sequence with the largest fees, as far as `steps` go. The same input gives the same answer.

    Transactions that share neither a rollup nor a sender, nor are joined by others, are looked at apart. The work is
    bounded: at most `steps` positions, each against all transactions of its part. At the end of the steps the best so
    far is taken, which is never less than taking what pays most at each place.
    """
    parts = _parts(sorted(txs, key=lambda tx: (-_fee(tx, head), tx.tx_hash)))
    share = max(1, steps // max(1, len(parts)))
    found = [_search(part, head, share) for part in parts]
    if sum(tx.gas for chain in found for tx in chain.txs) <= head.gas_limit:
        picked, is_best = found, all(chain.is_best for chain in found)
    else:
        picked, is_best = _divided(found, parts, head, share), False
    return Chain(
        txs=tuple(sorted_by_client([tx for chain in picked for tx in chain.txs], head)),
        fee_wei=sum(chain.fee_wei for chain in picked),
        is_best=is_best,
    )


def check_chain(txs: Sequence[ReadyTx], head: Head) -> str:
    """Empty if the sequence can be a block's; else the hash of the first transaction that does not fit, as hex."""
    spot = _start(tuple(txs), head)
    for tx in txs:
        if not spot.admits(tx, head):
            return tx.tx_hash.hex()
        spot = spot.with_next(tx, head)
    return ""


def sorted_by_client(txs: Sequence[ReadyTx], head: Head) -> list[ReadyTx]:
    """The order that an execution client makes of them: the largest tip among the senders' next nonces, repeatedly."""
    queues: dict[bytes, list[ReadyTx]] = {}
    for tx in sorted(txs, key=lambda each: each.nonce):
        queues.setdefault(tx.sender, []).append(tx)
    ordered = []
    while queues:
        sender = min(queues, key=lambda each: (-queues[each][0].tip_at(head.base_fee_wei), queues[each][0].tx_hash))
        ordered.append(queues[sender].pop(0))
        if not queues[sender]:
            del queues[sender]
    return ordered


def _fee(tx: ReadyTx, head: Head) -> int:
    return tx.gas_used * max(0, tx.tip_at(head.base_fee_wei))


def _worth(tx: ReadyTx, head: Head) -> int:
    """Fees first, then how many there are: what pays no tip is taken where it costs nothing."""
    return (_fee(tx, head) << 16) + 1


def _interfere(one: ReadyTx, other: ReadyTx) -> bool:
    """Whether their order matters: they share a rollup that either moves."""
    moved = {move.rollup_id: move.is_read for move in one.moves}
    return any(move.rollup_id in moved and not (moved[move.rollup_id] and move.is_read) for move in other.moves)


def _start(txs: tuple[ReadyTx, ...], head: Head) -> _Spot:
    return _Spot(
        chosen=(),
        open=txs,
        waiting=frozenset(),
        roots=head.roots,
        accounts=head.accounts,
        tips={},
        reached={},
        gas_left=head.gas_limit,
        worth=0,
    )


def _search(txs: Sequence[ReadyTx], head: Head, steps: int) -> Chain:
    """Depth first, what pays most first; a branch that cannot beat the best so far is left."""
    best = _start((), head)
    stack = [_start(tuple(txs), head)]
    while stack and steps:
        steps -= 1
        spot = stack.pop()
        if spot.worth > best.worth:
            best = spot
        if spot.worth + sum(_worth(tx, head) for tx in spot.open) <= best.worth:
            continue
        following = next((tx for tx in spot.open if tx.tx_hash not in spot.waiting and spot.admits(tx, head)), None)
        if following is not None:
            stack.append(spot.without(following))
            stack.append(spot.with_next(following, head))
    return Chain(txs=best.chosen, fee_wei=sum(_fee(tx, head) for tx in best.chosen), is_best=not stack)


def _parts(txs: Sequence[ReadyTx]) -> list[list[ReadyTx]]:
    """Groups that nothing joins: neither a rollup nor a sender."""
    owner: dict[object, int] = {}
    groups: dict[int, list[ReadyTx]] = {}
    for number, tx in enumerate(txs):
        keys: list[object] = [tx.sender, *(move.rollup_id for move in tx.moves)]
        joined = sorted({owner[key] for key in keys if key in owner})
        groups[number] = [each for group in joined for each in groups.pop(group)] + [tx]
        for each in groups[number]:
            for key in (each.sender, *(move.rollup_id for move in each.moves)):
                owner[key] = number
    return [sorted(group, key=txs.index) for group in groups.values()]


def _divided(found: Sequence[Chain], parts: Sequence[Sequence[ReadyTx]], head: Head, steps: int) -> list[Chain]:
    """Gas is short: the parts in the order of what they pay for it, each with what is left."""
    by_density = sorted(
        range(len(parts)),
        key=lambda i: (-found[i].fee_wei * 10**9 // max(1, sum(tx.gas for tx in found[i].txs)), i),
    )
    picked, left = [], head.gas_limit
    for place in by_density:
        chain = found[place]
        if sum(tx.gas for tx in chain.txs) > left:
            chain = _search(parts[place], replace(head, gas_limit=left), steps)
        left -= sum(tx.gas for tx in chain.txs)
        picked.append(chain)
    return picked
