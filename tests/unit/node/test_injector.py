"""When a proposer's transactions are handed over, what is never done twice, and what is reported (mock clock)."""

from __future__ import annotations

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path

import trio
from trio.testing import MockClock

from node.duties import FixedDuties
from node.ports import TryAgain
from node.statusfile import read_status
from node.store.slots import InjectionState
from tests.support.slots import INJECT_MS, OURS, SLOT_MS, TIMES, Choices, Client, Proposer, chain_of, made_tx, until


@asynccontextmanager
async def running(proposer: Proposer) -> AsyncIterator[None]:
    """One life of it."""
    async with trio.open_nursery() as nursery:
        nursery.start_soon(proposer.run_lives)
        yield
        nursery.cancel_scope.cancel()


def states(proposer: Proposer, slot: int) -> list[InjectionState]:
    """Of a slot's transactions."""
    plan = proposer.plan(slot)
    assert plan is not None
    return [each.state for each in plan.injections]


async def test_our_slots_transactions_are_handed_over_shortly_before_it(
    tmp_path: Path, autojump_clock: MockClock
) -> None:
    """In their order, four seconds ahead, for our slots only; the report says what the block has."""
    proposer = Proposer(tmp_path)
    one, two = made_tx(1), made_tx(2)
    async with running(proposer):
        await until(101, -INJECT_MS - 1)
        assert [] == proposer.client.handed
        await until(101, -1)
        assert [(TIMES.start_ms(101) - INJECT_MS, tx.raw) for tx in (one, two)] == proposer.client.handed
        assert [InjectionState.SENT] * 2 == states(proposer, 101)
        proposer.client.mine(101, one)
        await until(103, 100)

    assert [TIMES.start_s(101)] == proposer.choices.asked_s  # not for 102 and 103
    assert [InjectionState.INCLUDED, InjectionState.MISSING] == states(proposer, 101)
    shown = (read_status(tmp_path) or {})["slots"]["101"]
    assert str(one.gas_used * one.tip_wei) == shown["earned_wei"]
    assert shown["reported"]


async def test_a_report_tells_reverted_and_elsewhere_apart(tmp_path: Path, autojump_clock: MockClock) -> None:
    """A failed one and one of another slot's block earn nothing in this slot, or less than was hoped."""
    proposer = Proposer(tmp_path)
    async with running(proposer):
        await until(101, -1)
        proposer.client.mine(101, made_tx(1), succeeded=False)
        proposer.client.mine(100, made_tx(2))
        await until(102, 100)

    assert [InjectionState.REVERTED, InjectionState.ELSEWHERE] == states(proposer, 101)


async def test_nothing_is_sent_once_the_slot_has_begun(tmp_path: Path, autojump_clock: MockClock) -> None:
    """A client that is away until then misses the slot, and says so; the next slot is another chance."""
    proposer = Proposer(tmp_path, client=Client(away_until_ms=TIMES.start_ms(101)))
    async with running(proposer):
        await until(103, 100)
        assert [] == proposer.client.handed
        assert [InjectionState.LATE] * 2 == states(proposer, 101)
        await until(104)

    assert 2 == len(proposer.client.handed)


async def test_a_refused_transaction_does_not_stop_the_others(tmp_path: Path, autojump_clock: MockClock) -> None:
    """Its code is kept."""
    proposer = Proposer(tmp_path, client=Client(refuses=frozenset({made_tx(1).raw})))
    async with running(proposer):
        await until(101)

    assert [InjectionState.REFUSED, InjectionState.SENT] == states(proposer, 101)
    plan = proposer.plan(101)
    assert plan is not None and "underpriced" in plan.injections[0].reason


async def test_an_empty_pool_is_looked_at_until_the_slot_begins(tmp_path: Path, autojump_clock: MockClock) -> None:
    """What comes in the last second still goes in; nothing is written down for an empty choice."""
    empty = [chain_of()] * 6
    proposer = Proposer(tmp_path, choices=Choices([*empty, chain_of(made_tx(1))]))
    async with running(proposer):
        await until(101)

    assert [TIMES.start_ms(101) - 1_000] == [at for at, _ in proposer.client.handed]


async def test_a_missed_moment_is_caught_up_before_the_slot_and_not_after(
    tmp_path: Path, autojump_clock: MockClock
) -> None:
    """Started a second before the slot: still in time. Started in it: only the next slot of ours."""
    await until(101, -1_000)
    first, second = Proposer(tmp_path / "a"), Proposer(tmp_path / "b")
    for proposer in (first, second):
        proposer.folder.mkdir()
    async with running(first):
        await until(101, 1)
        async with running(second):
            await until(103)

    assert 2 == len(first.client.handed)
    assert [] == second.client.handed


class Doubtful(FixedDuties):
    """A beacon node that is away for a while."""

    __slots__ = ()

    async def is_ours(self, slot: int) -> bool:
        if trio.current_time() * 1000 < SLOT_MS - 5_000 - INJECT_MS + 1_700:
            raise TryAgain("BEACON_AWAY")
        return await super().is_ours(slot)


async def test_a_beacon_node_that_is_away_is_asked_until_the_slot(tmp_path: Path, autojump_clock: MockClock) -> None:
    """Four questions in vain, then the slot is served."""
    duties = Doubtful(slot_times=OURS.slot_times, remainder=OURS.remainder, period=OURS.period)
    proposer = Proposer(tmp_path, duties=duties)
    async with running(proposer):
        await until(101)

    assert [TIMES.start_ms(101) - INJECT_MS + 2_000] * 2 == [at for at, _ in proposer.client.handed]
