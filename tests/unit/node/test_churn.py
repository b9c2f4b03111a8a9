"""The log of moves of roots: what counts as one, of which rollups, over which time."""

from __future__ import annotations

from types import MappingProxyType

import pytest

from market.lanes import Churn
from node.churn import LOOK_BACK_MS, MAX_MOVES, RootMoves
from node.replay import Followed, Snapshot
from protocol.vm.genesis import Genesis, state_from_genesis
from tests.support.machines import oracle_state
from tests.support.market_ledger import planned_table

CORE = planned_table().core  # of rollup 1
MOVED = state_from_genesis(Genesis(accounts=()))
STANDS = oracle_state()


class Hands:
    """A clock that is set by hand."""

    def __init__(self) -> None:
        self.at_ms = 1_000_000

    def now_ms(self) -> int:
        return self.at_ms

    async def sleep_until(self, unix_ms: int) -> None:
        raise AssertionError("nothing sleeps here")


def snapshot(number: int, **rollups: Followed) -> Snapshot:
    """What is known after a block: `r1=` is rollup 1."""
    known = {int(name[1:]): followed for name, followed in rollups.items()}
    return Snapshot(number=number, block_hash=b"", rollups=MappingProxyType(known))


@pytest.fixture
def clock() -> Hands:
    return Hands()


@pytest.fixture
def moves(clock: Hands) -> RootMoves:
    """A log that has seen rollup 1 and 2 stand somewhere."""
    log = RootMoves(clock=clock)
    log.take(snapshot(1, r1=Followed(state=STANDS), r2=Followed(state=STANDS)))
    return log


def test_nothing_was_seen_before_the_first_snapshot(clock: Hands) -> None:
    assert Churn(moves=0, seen_ms=0) == RootMoves(clock=clock).churn(CORE)


def test_only_a_change_of_a_rollup_of_the_table_counts(clock: Hands, moves: RootMoves) -> None:
    clock.at_ms += 5_000
    moves.take(snapshot(2, r1=Followed(state=STANDS), r2=Followed(state=MOVED, entries=1)))
    assert Churn(moves=0, seen_ms=5_000) == moves.churn(CORE)

    clock.at_ms += 5_000
    moves.take(snapshot(3, r1=Followed(state=MOVED, entries=1), r2=Followed(state=MOVED, entries=1)))
    assert Churn(moves=1, seen_ms=10_000) == moves.churn(CORE)


def test_a_root_that_moved_and_came_back_has_moved(clock: Hands, moves: RootMoves) -> None:
    """A table that was planned in between is no good any more."""
    moves.take(snapshot(2, r1=Followed(state=STANDS, entries=2)))
    assert 1 == moves.churn(CORE).moves


def test_a_new_rollup_and_one_that_cannot_be_followed_do_not_move(clock: Hands, moves: RootMoves) -> None:
    moves.take(snapshot(2, r1=Followed(state=None, fault="entry: UNKNOWN_CORE"), r3=Followed(state=STANDS)))
    assert 0 == moves.churn(CORE).moves


def test_old_moves_are_forgotten(clock: Hands, moves: RootMoves) -> None:
    moves.take(snapshot(2, r1=Followed(state=STANDS, entries=1)))
    clock.at_ms += LOOK_BACK_MS
    assert Churn(moves=1, seen_ms=LOOK_BACK_MS) == moves.churn(CORE)
    clock.at_ms += 1
    assert Churn(moves=0, seen_ms=LOOK_BACK_MS) == moves.churn(CORE)


def test_a_full_log_claims_to_have_looked_only_as_far_as_it_remembers(clock: Hands, moves: RootMoves) -> None:
    """Else a flood of another rollup's moves would make this one look quiet."""
    for entries in range(1, MAX_MOVES + 2):
        clock.at_ms += 100
        moves.take(snapshot(1 + entries, r2=Followed(state=STANDS, entries=entries)))

    assert Churn(moves=0, seen_ms=100 * (MAX_MOVES - 1)) == moves.churn(CORE)
