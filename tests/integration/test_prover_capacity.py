"""A prover keeps what it has promised, and survives the death of one proving process."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import pytest
import trio

from market.lifecycle import Order, Role, State
from market.pricing import PriceRule
from node.prover import ProvingNode
from node.requester import Requester
from tests.integration.test_market import ends, running, until_over
from tests.support.market_ledger import BOND_WEI, TICKET_WEI, let_pass, planned_table
from tests.support.market_sim import Party, World, memory_folder


@pytest.fixture
def folder(tmp_path: Path) -> Iterator[Path]:
    """In memory where the system can."""
    with memory_folder(tmp_path) as made:
        yield made


async def ask(world: World, ticket: int) -> Order:
    """The requester starts an auction of its own for each ticket."""
    world.ledger.tickets[(world.requester.key.address, ticket)] = TICKET_WEI
    node = world.requester.node
    assert isinstance(node, Requester)
    return await node.request(planned_table(ticket), ticket=ticket)


def seen(party: Party, order: Order) -> tuple[State, str]:
    """How an order stands at a prover."""
    with party.disk() as store:
        found = store.order(order.order_id, Role.PROVER)
    return found.state, found.reason


async def reached(party: Party, order: Order, states: set[State]) -> None:
    """Returns when an order of a prover is in one of the states."""
    node = party.node
    assert isinstance(node, ProvingNode)
    with trio.fail_after(60):
        while (now := node.loop.order(order.order_id)) is None or now.state not in states:
            await let_pass(10)


async def test_a_second_request_finds_no_capacity_until_the_first_is_lost(folder: Path, autojump_clock: object) -> None:
    """One slot: the bid holds it, the award to another frees it."""
    world = World(folder)
    loser = world.provers[0]
    async with running(world):
        first = await ask(world, 0)
        await reached(loser, first, {State.BID})
        second = await ask(world, 1)
        await reached(loser, second, {State.SKIPPED})
        await reached(loser, first, {State.LOST})
        third = await ask(world, 2)
        await reached(loser, third, {State.BID})

    assert (State.SKIPPED, "NO_CAPACITY") == seen(loser, second)


async def test_two_requests_at_once_cannot_take_one_slot(folder: Path, autojump_clock: object) -> None:
    """Neither had bid when the other was looked at."""
    world = World(folder)
    loser = world.provers[0]
    async with running(world):
        async with trio.open_nursery() as nursery:
            for ticket in (0, 1):
                nursery.start_soon(ask, world, ticket)
        node = loser.node
        assert isinstance(node, ProvingNode)
        with trio.fail_after(60):
            while len(orders := node.loop.orders()) < 2 or any(order.state is State.SEEN for order in orders):
                await let_pass(10)
        states = sorted(order.state for order in orders)

    assert [State.BID, State.SKIPPED] == states


async def test_a_slot_stays_held_over_a_restart(folder: Path, autojump_clock: object) -> None:
    """What was bid before is counted after."""
    world = World(folder)
    loser = world.provers[0]
    async with running(world):
        first = await ask(world, 0)
        await reached(loser, first, {State.BID})
    async with running(world):
        second = await ask(world, 1)
        await reached(loser, second, {State.SKIPPED})

    assert (State.SKIPPED, "NO_CAPACITY") == seen(loser, second)


async def test_proofs_that_do_not_fit_into_memory_are_not_bid_on(folder: Path, autojump_clock: object) -> None:
    """Two slots, but 1,024 MiB and 600 for each proof."""
    world = World(folder)
    loser = world.provers[0]
    loser.slots = 2
    async with running(world):
        node = loser.node
        assert isinstance(node, ProvingNode)
        costs = {0: replace(node.offer.curve.costs[0], memory_mib=600)}
        node.adopt(replace(node.offer, curve=replace(node.offer.curve, costs=costs)))
        first = await ask(world, 0)
        await reached(loser, first, {State.BID})
        second = await ask(world, 1)
        await reached(loser, second, {State.SKIPPED})

    assert (State.SKIPPED, "NO_MEMORY") == seen(loser, second)


async def test_new_conditions_hold_for_the_next_bid(folder: Path, autojump_clock: object) -> None:
    """The cheapest prover's operator refuses this requester from now on; ticket and payee stay."""
    world = World(folder)
    async with running(world):
        node = world.winner.node
        assert isinstance(node, ProvingNode)
        rules = (PriceRule(requester=world.requester.key.address, price_permille=0),)
        curve = replace(node.offer.curve, rules=rules)
        node.adopt(replace(node.offer, curve=curve, tickets=(7,), payee=b"\0" * 20))
        kept = (node.offer.tickets, node.offer.payee)
        order = await ask(world, 0)
        await until_over(world.requester)

    assert (State.SKIPPED, "OPERATOR") == seen(world.winner, order)
    assert ((0,), b"payee of prover2____") == kept


@pytest.mark.parametrize("when", ["dies_checking", "dies_proving"])
async def test_a_process_that_dies_once_is_started_again(folder: Path, autojump_clock: object, when: str) -> None:
    """Before the Ack and after it; the order is paid."""
    world = World(folder)
    setattr(world.winner.prover, when, 1)
    async with running(world):
        await ask(world, 0)
        await until_over(world.requester, world.winner)

    assert (State.PAID, State.EARNED) == (ends(world)["requester"][0], ends(world)["prover2"][0])
    assert 0 == getattr(world.winner.prover, when)


async def test_a_process_that_dies_twice_before_the_ack_is_a_decline(folder: Path, autojump_clock: object) -> None:
    """It costs the order, nobody's bond, and is not the requester's fault."""
    world = World(folder)
    world.winner.prover.dies_checking = 2
    async with running(world):
        await ask(world, 0)
        await until_over(world.requester, world.winner)

    assert (State.DECLINED, "DIED") == ends(world)["prover2"]
    assert BOND_WEI == world.ledger.tickets[(world.winner.key.address, 0)]


async def test_a_process_that_dies_twice_after_the_ack_costs_the_bond(folder: Path, autojump_clock: object) -> None:
    """A third one is not started."""
    world = World(folder)
    world.winner.prover.dies_proving = 9
    async with running(world):
        await ask(world, 0)
        await until_over(world.requester)

    assert State.SLASHED is ends(world)["requester"][0]
    assert 7 == world.winner.prover.dies_proving


async def test_a_dead_process_is_not_replaced_without_time_for_another(folder: Path, autojump_clock: object) -> None:
    """The check alone took nearly all the time to the Ack."""
    world = World(folder)
    world.winner.prover.check_s = 10
    world.winner.prover.dies_checking = 1
    async with running(world):
        await ask(world, 0)
        await until_over(world.requester, world.winner)

    assert (State.DECLINED, "DIED") == ends(world)["prover2"]
