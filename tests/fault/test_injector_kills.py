"""The proposer's sidecar dies before and after each of its writes and around each hand-over, and starts again."""

from __future__ import annotations

from pathlib import Path

import pytest
import trio
from trio.testing import MockClock

from node.store.slots import InjectionState
from tests.support.market_sim import Killed
from tests.support.slots import TIMES, Choices, Client, Proposer, chain_of, made_tx, until

ONE, TWO, THREE = made_tx(1), made_tx(2), made_tx(3)
POINTS = [
    f"{side} {name}"
    for name in ("migrate", "slot chosen", "slot sent", "slot reported")
    for side in ("before", "after")
]


def fickle() -> Choices:
    """A pool that has something else each time it is asked."""
    return Choices([chain_of(ONE, TWO), chain_of(THREE), chain_of(TWO, THREE)])


async def lives(proposer: Proposer) -> None:
    """From slot 100 to the report of slot 101, with whatever deaths."""
    async with trio.open_nursery() as nursery:
        nursery.start_soon(proposer.run_lives)
        await until(101, -1)
        proposer.client.mine(101, ONE, TWO)
        await until(103)
        nursery.cancel_scope.cancel()


def check_slot(proposer: Proposer) -> None:
    """One choice, all of it and nothing else handed over before the slot, and a report."""
    plan = proposer.plan(101)
    assert plan is not None
    assert plan.is_reported
    chosen = [tx.raw for each in plan.injections for tx in (ONE, TWO, THREE) if tx.tx_hash == each.tx_hash]
    assert chosen == proposer.client.pool
    assert all(at < TIMES.start_ms(101) for at, _ in proposer.client.handed)


async def test_the_points_are_all_that_there_are(tmp_path: Path, autojump_clock: MockClock) -> None:
    """A new write needs a point of this list."""
    proposer = Proposer(tmp_path, choices=fickle())
    await lives(proposer)

    assert set(POINTS) == set(proposer.points)
    check_slot(proposer)


@pytest.mark.parametrize("point", POINTS)
async def test_death_at_a_write_serves_the_slot_once(point: str, tmp_path: Path, autojump_clock: MockClock) -> None:
    """Whatever the pool says after the restart: what was written is what is sent, and it is reported."""
    proposer = Proposer(tmp_path, choices=fickle(), kill_at=point)
    await lives(proposer)

    assert "" == proposer.kill_at
    check_slot(proposer)


@pytest.mark.parametrize("place", [1, 2])
async def test_death_after_a_hand_over_repeats_the_same_bytes(
    place: int, tmp_path: Path, autojump_clock: MockClock
) -> None:
    """The answer was not written down, so the client gets the same transaction again, which it has already."""
    client = Client()
    proposer = Proposer(tmp_path, choices=fickle(), client=client)

    def die_once() -> None:
        if len(client.handed) == place:
            raise Killed(f"hand-over {place}")

    client.on_inject = die_once
    await lives(proposer)

    assert 3 == len(client.handed)
    assert [ONE.raw, TWO.raw] == client.pool
    check_slot(proposer)


async def test_death_until_after_the_slot_leaves_a_report(tmp_path: Path, autojump_clock: MockClock) -> None:
    """A choice that was written and not sent in time is never sent; its slot is reported all the same."""
    proposer = Proposer(tmp_path, choices=fickle(), kill_at="after slot chosen")
    assert await proposer.run()
    await until(101, 1)
    async with trio.open_nursery() as nursery:
        nursery.start_soon(proposer.run)
        await until(103)
        nursery.cancel_scope.cancel()

    plan = proposer.plan(101)
    assert plan is not None
    assert plan.is_reported
    assert [InjectionState.LATE] * 2 == [each.state for each in plan.injections]
    assert [] == proposer.client.handed
