"""Orders that their owner withdraws, stage by stage, at the price of the stage; on a mock clock."""

from __future__ import annotations

from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager, suppress
from dataclasses import replace
from pathlib import Path

import pytest
import trio

from market.cancelling import PRICES, CancelPrice
from market.lifecycle import TRANSITIONS, Event, Order, Role, State
from node.requester import Requester
from protocol.reqresp import AWARD_EXCHANGE, KEY_EXCHANGE
from tests.support.market_ledger import BOND_WEI, TICKET_WEI, let_pass, planned_table
from tests.support.market_sim import Killed, Party, World, memory_folder, timed

LONG_S = 20_000  # of mock time: beyond every deadline
PRICE_WEI = 10**14


@pytest.fixture
def folder(tmp_path: Path) -> Iterator[Path]:
    """In memory where the system can."""
    with memory_folder(tmp_path) as made:
        yield made


@asynccontextmanager
async def reached(world: World, state: State) -> AsyncIterator[tuple[Requester, Order]]:
    """All parties up, restarted if killed, and an order in a state."""
    async with trio.open_nursery() as nursery:
        for party in reversed(world.parties):
            await nursery.start(party.run_lives)
        node = world.requester.node
        assert isinstance(node, Requester)
        order = await node.request(planned_table(), ticket=0)
        with trio.fail_after(LONG_S):
            await node.loop.wait_for(order.order_id, lambda now: now.state is state)
        yield node, order
        nursery.cancel_scope.cancel()


async def until_over(*parties: Party) -> None:
    """Returns when the order of each party has ended; bounded in mock time."""
    with trio.fail_after(LONG_S):
        for party in parties:
            await party.ended.wait()


def end(party: Party) -> tuple[State, str]:
    """State and reason of a party's order."""
    order = party.order()
    assert order is not None
    return order.state, order.reason


def ticket_wei(world: World) -> int | None:
    """What the requester's ticket holds."""
    return world.ledger.tickets.get((world.requester.key.address, 0))


def bond_wei(world: World) -> int | None:
    """What the winner's ticket holds."""
    return world.ledger.tickets.get((world.winner.key.address, 0))


def test_a_price_is_stated_for_exactly_the_states_that_can_be_withdrawn() -> None:
    """The table of prices and the table of transitions say the same."""
    assert set(PRICES) == {
        state for state, event in TRANSITIONS if event is Event.CANCEL and state.role is Role.REQUESTER
    }


async def test_before_the_award_it_is_free_at_once(folder: Path, autojump_clock: object) -> None:
    """Everybody hears of it, and the ticket pays for another wish."""
    world = World(folder)
    async with reached(world, State.COMMITTED) as (node, order):
        await let_pass(1_000)  # for the bids
        assert CancelPrice.NOTHING is await node.cancel(order.order_id)
        await until_over(*world.parties)
        again = await node.request(planned_table(1), ticket=0)
    cancelled = {end(party) for party in world.provers}

    assert again.order_id != order.order_id
    assert {(State.LOST, "CANCELLED")} == cancelled
    assert TICKET_WEI == ticket_wei(world)


async def test_after_the_award_it_costs_the_tickets_time(folder: Path, autojump_clock: object) -> None:
    """The winner may countersign and never gets a payload; the ticket is promised until claimBy."""
    world = World(folder)
    world.winner.deaf_to = frozenset({AWARD_EXCHANGE.protocol_id})
    async with reached(world, State.AWARDED) as (node, order):
        assert CancelPrice.TICKET_TIME is await node.cancel(order.order_id)
        assert node.loop.order(order.order_id).state is State.WITHDRAWN  # type: ignore[union-attr]
        await until_over(world.requester, world.winner)

    assert (State.REFUNDED, "CANCELLED") == end(world.requester)
    assert State.RELEASED is end(world.winner)[0]
    assert (TICKET_WEI, BOND_WEI, []) == (ticket_wei(world), bond_wei(world), world.ledger.payments)


async def test_with_the_payload_out_a_silent_prover_is_owed_nothing(folder: Path, autojump_clock: object) -> None:
    world = World(folder)
    world.winner.deaf_to = frozenset({KEY_EXCHANGE.protocol_id})
    async with reached(world, State.KEYED) as (node, order):
        assert CancelPrice.PRICE_IF_ACKED is await node.cancel(order.order_id)
        await until_over(world.requester, world.winner)

    assert (State.REFUNDED, "CANCELLED") == end(world.requester)
    assert (TICKET_WEI, BOND_WEI, []) == (ticket_wei(world), bond_wei(world), world.ledger.payments)


async def test_with_the_payload_out_a_prover_that_acknowledged_claims_its_price(
    folder: Path, autojump_clock: object
) -> None:
    """Its Ack is under way while we withdraw: what it was promised holds."""
    world = World(folder)
    world.winner.prover.check_s = 5
    async with reached(world, State.KEYED) as (node, order):
        await node.cancel(order.order_id)
        await until_over(world.requester, world.winner)

    assert (State.PAID, "CANCELLED") == end(world.requester)
    assert State.EARNED is end(world.winner)[0]
    assert PRICE_WEI == world.ledger.credit_wei[b"payee of prover2____"]
    assert 1 == len(world.ledger.payments)


async def test_after_the_ack_the_proof_is_owed_its_price(folder: Path, autojump_clock: object) -> None:
    world = World(folder)
    async with reached(world, State.PROVING) as (node, order):
        assert CancelPrice.PRICE_IF_PROVEN is await node.cancel(order.order_id)
        assert node.loop.order(order.order_id).state is State.GIVEN_UP  # type: ignore[union-attr]
        await until_over(world.requester, world.winner)

    assert (State.PAID, "CANCELLED") == end(world.requester)
    assert State.EARNED is end(world.winner)[0]
    assert PRICE_WEI == world.ledger.credit_wei[b"payee of prover2____"]


async def test_after_the_ack_no_proof_costs_the_bond_as_ever(folder: Path, autojump_clock: object) -> None:
    """To withdraw forgives nobody."""
    world = World(folder)
    world.winner.prover.hangs = True
    async with reached(world, State.PROVING) as (node, order):
        await node.cancel(order.order_id)
        await until_over(world.requester, world.winner)

    assert State.SLASHED is end(world.requester)[0]
    assert State.FORFEITED is end(world.winner)[0]
    assert BOND_WEI == world.ledger.credit_wei[world.requester.key.address]


async def test_a_verified_proof_is_not_landed_and_is_owed_its_price(folder: Path, autojump_clock: object) -> None:
    """No transaction is signed: its nonce would stay in the way."""
    world = World(folder)
    world.requester.terms = replace(world.requester.terms, is_submitted=False)
    async with reached(world, State.VERIFIED) as (node, order):
        assert CancelPrice.PRICE is await node.cancel(order.order_id)
        node.submit(order.order_id)  # too late
        await until_over(world.requester, world.winner)

    assert (State.PAID, "CANCELLED") == end(world.requester)
    assert {} == world.requester.prepared
    assert PRICE_WEI == world.ledger.credit_wei[b"payee of prover2____"]


async def test_a_delivery_that_is_being_judged_is_waited_for(folder: Path, autojump_clock: object) -> None:
    """Whether it costs the price is known a moment later."""
    world = World(folder)
    world.requester.terms = replace(world.requester.terms, is_submitted=False)
    async with reached(world, State.DELIVERED) as (node, order):
        assert CancelPrice.PRICE is await node.cancel(order.order_id)


@pytest.mark.parametrize("state", [State.TX_STORED, State.TX_SENT])
async def test_a_signed_transaction_cannot_be_withdrawn(folder: Path, autojump_clock: object, state: State) -> None:
    """It may be out; and a second cancel, or one of an unknown order, changes nothing either."""
    world = World(folder)
    async with reached(world, state) as (node, order):
        assert None is await node.cancel(order.order_id)
        assert None is await node.cancel(bytes(32))
        await until_over(world.requester, world.winner)
        assert None is await node.cancel(order.order_id)

    assert (State.PAID, "") == end(world.requester)


async def test_a_withdrawn_order_calls_no_runner_up(folder: Path, autojump_clock: object) -> None:
    """It stood by, hears that it is not needed, and never sees the payload."""
    world = World(folder)
    world.requester.terms = timed(replace(world.requester.terms, standbys=1), claim_s=450)
    world.winner.deaf_to = frozenset({KEY_EXCHANGE.protocol_id})
    async with reached(world, State.KEYED) as (node, order):
        await let_pass(1_000)
        await node.cancel(order.order_id)
        await until_over(world.requester, world.provers[2])

    assert (State.REFUNDED, "CANCELLED") == end(world.requester)
    assert (State.RELEASED, "NOT_NEEDED") == end(world.provers[2])
    assert [] == world.ledger.payments


async def test_a_runner_up_that_is_at_work_when_the_order_is_withdrawn_claims(
    folder: Path, autojump_clock: object
) -> None:
    """It gave its Ack; its proof is owed the price whoever wants it."""
    world = World(folder)
    world.requester.terms = timed(replace(world.requester.terms, standbys=1), claim_s=450)
    world.winner.deaf_to = frozenset({KEY_EXCHANGE.protocol_id})
    runner_up = world.provers[2]
    async with reached(world, State.KEYED) as (node, order):
        with trio.fail_after(LONG_S):
            await runner_up.reaches(State.AT_WORK)
        assert CancelPrice.PRICE_IF_ACKED is await node.cancel(order.order_id)
        await until_over(world.requester, runner_up)

    assert (State.PAID, "PAID_RANK_2") == end(world.requester)
    assert State.EARNED is end(runner_up)[0]
    assert 2 * PRICE_WEI == world.ledger.credit_wei[b"payee of prover3____"]


async def test_a_withdrawn_wish_is_not_auctioned_again(folder: Path, autojump_clock: object) -> None:
    """Even if a spare ticket waits for that."""
    world = World(folder)
    world.requester.terms = replace(world.requester.terms, rounds=2, spare_tickets=(1,))
    world.ledger.tickets[(world.requester.key.address, 1)] = TICKET_WEI
    world.winner.deaf_to = frozenset({AWARD_EXCHANGE.protocol_id})
    async with reached(world, State.AWARDED) as (node, order):
        await node.cancel(order.order_id)
        await until_over(world.requester)
        await let_pass(60_000)
        with world.requester.disk() as store:
            orders = store.recent(9)

    assert 1 == len(orders)


@pytest.mark.parametrize("side", [pytest.param("before", marks=pytest.mark.campaign), "after"])
@pytest.mark.parametrize("state", [State.KEYED, State.PROVING])
async def test_a_death_while_withdrawing_withdraws_or_pays_and_nothing_else(
    folder: Path, autojump_clock: object, state: State, side: str
) -> None:
    """The command died before the write: the order goes on; after it: it is withdrawn."""
    world = World(folder)
    world.winner.prover.check_s = 5
    async with reached(world, state) as (node, order):
        if state is State.KEYED:
            await world.winner.reaches(State.HOLDING)  # the payload is out
        world.requester.kill_at = f"{side} requester cancel"
        async with trio.open_nursery() as nursery:
            nursery.start_soon(_cancel_and_die, node, order.order_id)
        await until_over(world.requester, world.winner)

    assert "" == world.requester.kill_at
    assert State.PAID is end(world.requester)[0]
    assert ("CANCELLED" if side == "after" else "") == end(world.requester)[1]
    assert 1 == len(world.ledger.payments)


async def _cancel_and_die(node: Requester, order_id: bytes) -> None:
    with suppress(Killed):
        await node.cancel(order_id)
