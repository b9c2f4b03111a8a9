"""Laws of the ready pool and of the choice of a block's transactions, against a search of all subsets that shares no
code with it."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from itertools import combinations

from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, invariant, rule

from market.errors import PoolRefused
from market.ready_chain import Account, Head, best_chain, check_chain
from market.ready_pool import Move, PoolLimits, ReadyPool, ReadyTx

QUICK = settings(max_examples=150, deadline=None, derandomize=True)
ROLLUPS = (1, 2, 3)
SENDERS = tuple(bytes([n]) * 20 for n in (1, 2, 3))
RICH = 10**24
TIME_S = 1_000_000


def ready(number: int, *, sender: bytes = SENDERS[0], nonce: int = 0, tip: int = 5, **changed: object) -> ReadyTx:
    """A transaction that may land now."""
    made = ReadyTx(
        tx_hash=number.to_bytes(32, "big"),
        table_id=number.to_bytes(32, "little"),
        sender=sender,
        nonce=nonce,
        gas=100_000,
        gas_used=90_000,
        max_fee_wei=1_000 + tip,
        tip_wei=tip,
        value_wei=0,
        raw=bytes(100),
        moves=(Move(rollup_id=1, pre_root=0, post_root=1),),
        not_before=0,
        valid_until=2 * TIME_S,
        received_ms=number,
        is_sealed=False,
    )
    return replace(made, **changed)  # type: ignore[arg-type]


def head(**changed: object) -> Head:
    """Every rollup at root 0, every sender rich and unused."""
    made = Head(
        roots=dict.fromkeys(ROLLUPS, 0),
        accounts={sender: Account(nonce=0, balance_wei=RICH) for sender in SENDERS},
        base_fee_wei=100,
        time_s=TIME_S,
        gas_limit=30_000_000,
    )
    return replace(made, **changed)  # type: ignore[arg-type]


ROOTS = st.integers(0, 2)
MOVES = st.dictionaries(st.sampled_from(ROLLUPS), st.tuples(ROOTS, ROOTS), min_size=1, max_size=2)


@st.composite
def batches(draw: st.DrawFn, largest: int = 5) -> list[ReadyTx]:
    """Transactions of few senders on few roots, with tips that are all different, one of each sender and nonce."""
    shapes = draw(st.lists(st.tuples(st.sampled_from(SENDERS), MOVES), min_size=1, max_size=largest))
    tips = draw(st.permutations(range(1, len(shapes) + 1)))
    nonces = dict.fromkeys(SENDERS, 0)
    made = []
    for number, ((sender, moves), tip) in enumerate(zip(shapes, tips, strict=True), start=1):
        ordered = tuple(Move(rollup_id=r, pre_root=a, post_root=b) for r, (a, b) in sorted(moves.items()))
        made.append(ready(number, sender=sender, nonce=nonces[sender], tip=tip, moves=ordered))
        nonces[sender] += 1
    return made


def client_runs(txs: Sequence[ReadyTx], state: Head) -> bool:
    """Whether a client that is handed these, and takes the best tip among the next nonces, makes all of them work."""
    roots, nonces = dict(state.roots), {sender: account.nonce for sender, account in state.accounts.items()}
    waiting = list(txs)
    while waiting:
        next_ones = [tx for tx in waiting if tx.nonce == min(t.nonce for t in waiting if t.sender == tx.sender)]
        tx = max(next_ones, key=lambda each: each.tip_wei)
        if tx.nonce != nonces[tx.sender] or any(roots[move.rollup_id] != move.pre_root for move in tx.moves):
            return False
        nonces[tx.sender] += 1
        roots |= {move.rollup_id: move.post_root for move in tx.moves}
        waiting.remove(tx)
    return True


def most_by_trying(txs: Sequence[ReadyTx], state: Head) -> int:
    """The largest sum of tips of any subset that works."""
    return max(
        sum(tx.gas_used * tx.tip_wei for tx in subset)
        for size in range(len(txs) + 1)
        for subset in combinations(txs, size)
        if client_runs(subset, state)
    )


@QUICK
@given(batches())
def test_the_choice_is_the_best_subset_that_a_client_can_run(txs: list[ReadyTx]) -> None:
    """Trying all subsets finds nothing that pays more, and a client runs what was chosen without a failure."""
    chosen = best_chain(txs, head())

    assert chosen.is_best
    assert most_by_trying(txs, head()) == chosen.fee_wei == sum(tx.gas_used * tx.tip_wei for tx in chosen.txs)
    assert client_runs(chosen.txs, head())
    assert "" == check_chain(chosen.txs, head())


@QUICK
@given(batches(largest=9), st.integers(1, 40), st.integers(0, 9))
def test_any_bound_gives_a_chain_that_works(txs: list[ReadyTx], steps: int, fit: int) -> None:
    """However few steps and however little gas: no conflict, the gas fits, and order of arrival changes nothing."""
    state = head(gas_limit=fit * 100_000)
    chosen = best_chain(txs, state, steps=steps)

    assert "" == check_chain(chosen.txs, state)
    assert client_runs(chosen.txs, state)
    assert sum(tx.gas for tx in chosen.txs) <= state.gas_limit
    assert chosen == best_chain(list(reversed(txs)), state, steps=steps)


def test_two_on_one_root_exclude_each_other() -> None:
    """The one that pays more is taken."""
    one, other = ready(1, sender=SENDERS[0], tip=5), ready(2, sender=SENDERS[1], tip=6)

    assert (other,) == best_chain([one, other], head()).txs


def test_a_follower_comes_second_only_if_it_pays_less() -> None:
    """A client that sorts by tip would put the better-paying follower first, where it fails."""
    first = ready(1, sender=SENDERS[0], tip=5)
    on_it = (Move(rollup_id=1, pre_root=1, post_root=2),)
    poorer, richer = (ready(2, sender=SENDERS[1], tip=tip, moves=on_it) for tip in (4, 6))
    same = ready(2, sender=SENDERS[1], tip=5, moves=on_it)

    assert (first, poorer) == best_chain([poorer, first], head()).txs
    assert (first,) == best_chain([richer, first], head()).txs
    assert (first,) == best_chain([same, first], head()).txs  # a tie is anybody's order


def test_nonces_of_one_sender_order_whatever_the_tips_say() -> None:
    """Same sender: nonce order."""
    first = ready(1, tip=5)
    second = ready(2, nonce=1, tip=50, moves=(Move(rollup_id=1, pre_root=1, post_root=2),))

    assert (first, second) == best_chain([second, first], head()).txs


def test_what_cannot_be_included_is_left_out() -> None:
    """Each for one reason: nonce, balance, window, base fee, unknown rollup, unknown sender."""
    poor = head(accounts={SENDERS[0]: Account(nonce=0, balance_wei=ready(1).most_wei - 1)})
    good = ready(1)

    assert (good,) == best_chain([good], head()).txs
    assert () == best_chain([good], poor).txs
    assert () == best_chain([replace(good, nonce=1)], head()).txs
    assert () == best_chain([replace(good, not_before=TIME_S + 1)], head()).txs
    assert () == best_chain([replace(good, valid_until=TIME_S - 1)], head()).txs
    assert () == best_chain([good], head(base_fee_wei=good.max_fee_wei + 1)).txs
    assert () == best_chain([good], head(roots={2: 0})).txs
    assert () == best_chain([replace(good, sender=b"\x09" * 20)], head()).txs
    assert () == best_chain([good], head(gas_limit=good.gas - 1)).txs


LIMITS = PoolLimits(txs=6, size_bytes=2_000, per_sender=3, age_ms=60_000)


class PoolHistory(RuleBasedStateMachine):
    """Anything anybody may send, in any order, with time going on."""

    def __init__(self) -> None:
        super().__init__()
        self.pool = ReadyPool(LIMITS)
        self.now_ms = TIME_S * 1000
        self.number = 0

    @rule(
        sender=st.sampled_from(SENDERS),
        nonce=st.integers(0, 4),
        tip=st.integers(0, 20),
        size=st.integers(1, 900),
        lives_s=st.integers(-5, 100),
    )
    def add(self, sender: bytes, nonce: int, tip: int, size: int, lives_s: int) -> None:
        self.number += 1
        tx = ready(
            self.number,
            sender=sender,
            nonce=nonce,
            tip=tip,
            raw=bytes(size),
            valid_until=self.now_ms // 1000 + lives_s,
            received_ms=self.now_ms,
        )
        self.pool.expire(self.now_ms)
        before = {each.tx_hash: each for each in self.pool.txs}
        try:
            gone = self.pool.add(tx, self.now_ms)
        except PoolRefused:
            assert before == {each.tx_hash: each for each in self.pool.txs}
            return
        assert set(gone) <= set(before)
        assert all(before[each].tip_wei < tip for each in gone)
        assert {each.tx_hash for each in self.pool.txs} == (set(before) - set(gone)) | {tx.tx_hash}

    @rule(later_ms=st.integers(0, 30_000))
    def wait(self, later_ms: int) -> None:
        self.now_ms += later_ms
        self.pool.expire(self.now_ms)

    @rule(sender=st.sampled_from(SENDERS), nonce=st.integers(0, 4))
    def use(self, sender: bytes, nonce: int) -> None:
        self.pool.drop_used({sender: nonce})
        assert all(tx.sender != sender or tx.nonce >= nonce for tx in self.pool.txs)

    @invariant()
    def bounds_hold(self) -> None:
        txs = self.pool.txs
        assert len(txs) <= LIMITS.txs
        assert sum(len(tx.raw) for tx in txs) == self.pool.size_bytes <= LIMITS.size_bytes
        assert len({(tx.sender, tx.nonce) for tx in txs}) == len(txs)
        assert all(sum(tx.sender == sender for tx in txs) <= LIMITS.per_sender for sender in SENDERS)
        assert all(tx.received_ms + LIMITS.age_ms >= self.now_ms for tx in txs)


PoolHistory.TestCase.settings = settings(max_examples=40, stateful_step_count=30, deadline=None, derandomize=True)
test_any_history_keeps_the_laws_of_the_pool = PoolHistory.TestCase


def test_a_replacement_pays_an_eighth_more_on_both_fees() -> None:
    """12.5 %, as a base fee rises in one block; one fee alone is not enough."""
    pool, old = ReadyPool(), ready(1, tip=800, max_fee_wei=8_000)
    pool.add(old, 0)
    for tip, max_fee in ((899, 9_100), (905, 8_999), (800, 8_000)):
        try:
            pool.add(ready(2, tip=tip, max_fee_wei=max_fee), 0)
        except PoolRefused as refused:
            assert "UNDERPRICED" == refused.reason
        else:
            raise AssertionError((tip, max_fee))

    assert (old.tx_hash,) == pool.add(ready(3, tip=905, max_fee_wei=9_041), 0)
    assert [ready(3).tx_hash] == [tx.tx_hash for tx in pool.txs]


def test_parents_are_those_that_lead_to_a_missing_root() -> None:
    """Not those on a root that is there already, nor mere readers."""
    first = ready(1)
    follower = ready(2, sender=SENDERS[1], moves=(Move(rollup_id=1, pre_root=1, post_root=2),))
    reader = ready(3, sender=SENDERS[2], moves=(Move(rollup_id=1, pre_root=1, post_root=1),))
    pool = ReadyPool()
    for tx in (first, follower, reader):
        pool.add(tx, 0)

    assert (first,) == pool.parents(follower, {1: 0})
    assert (first,) == pool.parents(reader, {1: 0})
    assert () == pool.parents(follower, {1: 1})
    assert () == pool.parents(first, {1: 0})


def test_a_reader_goes_before_whoever_moves_the_root_and_pays_more_in_all() -> None:
    """The mover is looked at first, since it uses more gas, and taken second, since its tip is smaller."""
    mover = ready(1, sender=SENDERS[0], tip=5, gas_used=90_000)
    reader = ready(2, sender=SENDERS[1], tip=6, gas_used=21_000, moves=(Move(rollup_id=1, pre_root=0, post_root=0),))

    assert (reader, mover) == best_chain([mover, reader], head()).txs
