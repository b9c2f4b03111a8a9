"""Another auction for a wish that got no proof: how often, at which limit, with which ticket, and once."""

from __future__ import annotations

from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager
from dataclasses import replace
from pathlib import Path

import pytest
import trio

from market.lifecycle import Order, Role, State
from node import market_state as kept
from node.requester import Requester
from node.rounds import unpack_round
from tests.support.market_ledger import BOND_WEI, TICKET_WEI, let_pass, planned_table
from tests.support.market_sim import Party, World, memory_folder

LONG_S = 20_000  # of mock time: beyond every deadline


@pytest.fixture
def folder(tmp_path: Path) -> Iterator[Path]:
    """In memory where the system can."""
    with memory_folder(tmp_path) as made:
        yield made


def world_with(folder: Path, *, rounds: int, spare_tickets: tuple[int, ...] = ()) -> World:
    """A requester that asks again, and has a second ticket."""
    world = World(folder)
    world.requester.terms = replace(world.requester.terms, rounds=rounds, spare_tickets=spare_tickets)
    world.ledger.tickets[(world.requester.key.address, 1)] = TICKET_WEI
    return world


@asynccontextmanager
async def running(world: World, intent: bytes = b"") -> AsyncIterator[None]:
    """All parties up, restarted if killed, and an order asked for."""
    async with trio.open_nursery() as nursery:
        for party in reversed(world.parties):
            await nursery.start(party.run_lives)
        node = world.requester.node
        if world.requester.asks is None and isinstance(node, Requester):
            await node.request(planned_table(), ticket=0, intent=intent)
        yield
        nursery.cancel_scope.cancel()


def orders(party: Party) -> list[Order]:
    """The requester's orders, oldest first."""
    with party.disk() as store:
        found = [order for order in store.recent(9) if order.role is Role.REQUESTER]
    return sorted(found, key=lambda order: order.bid_close_ms)


def limits(party: Party) -> list[int]:
    """The price limit of each auction."""
    with party.disk() as store:
        secrets = [store.secret(order.order_id, Role.REQUESTER, kept.ROUND) for order in orders(party)]
    return [unpack_round(secret).limit_wei for secret in secrets if secret is not None]


async def until(world: World, count: int) -> list[Order]:
    """The requester's orders, once there are so many and all are over."""
    with trio.fail_after(LONG_S):
        while len(found := orders(world.requester)) < count or not all(order.is_over for order in found):
            await let_pass(2_000)
    return found


async def test_bids_above_the_ceiling_are_met_by_a_higher_one_at_last_by_the_users_own(
    folder: Path, autojump_clock: object
) -> None:
    """Somebody was paid next to nothing; the wish is fulfilled all the same, and the intent is planned afresh."""
    world = world_with(folder, rounds=2)
    world.requester.seen_wei = (10**12,)
    async with running(world, intent=b"wish"):
        found = await until(world, 3)
        seen_limits = limits(world.requester)

    assert [2 * 10**12, 3 * 10**12, 10**16] == seen_limits
    assert [(State.EXPIRED, "NO_VALID_BIDS"), (State.EXPIRED, "NO_VALID_BIDS"), (State.PAID, "AUCTION_3")] == [
        (order.state, order.reason) for order in found
    ]
    assert [b"wish", b"wish"] == world.requester.planned
    assert 1 == len(world.ledger.payments)


async def test_without_bids_it_ends_after_the_configured_number(folder: Path, autojump_clock: object) -> None:
    """Each with its reason; the ticket is free for the next one every time."""
    world = world_with(folder, rounds=2)
    world.provers = ()
    async with running(world):
        await until(world, 3)
        await let_pass(60_000)
        found = orders(world.requester)

    assert [(State.EXPIRED, "NO_BIDS")] * 3 == [(order.state, order.reason) for order in found]
    assert TICKET_WEI == world.ledger.tickets[(world.requester.key.address, 0)]


@pytest.mark.parametrize(("spare", "ends"), [((1,), [State.SLASHED, State.PAID]), ((), [State.SLASHED])])
async def test_a_failed_prover_is_followed_by_an_auction_on_a_spare_ticket_only(
    folder: Path, autojump_clock: object, spare: tuple[int, ...], ends: list[State]
) -> None:
    """The first ticket is promised until claimBy: to name it again would be the double promise that is slashable."""
    world = world_with(folder, rounds=1, spare_tickets=spare)
    world.winner.prover.crashes = True  # and its bond stays taken, so another one wins then
    async with running(world):
        found = await until(world, len(ends))

    assert ends == [order.state for order in found]
    assert len(spare) == len(world.ledger.payments)
    assert TICKET_WEI == world.ledger.tickets[(world.requester.key.address, 0)]
    assert BOND_WEI <= world.ledger.credit_wei[world.requester.key.address]


@pytest.mark.parametrize(
    "point",
    ["after requester no-bids", "before requester done reauction", "after requester done publish-cancel"],
)
async def test_a_death_between_two_auctions_makes_neither_none_nor_two(
    folder: Path, autojump_clock: object, point: str
) -> None:
    """The next order is made once, whenever the process ends."""
    world = world_with(folder, rounds=1)
    world.provers = ()
    world.requester.kill_at = point
    world.requester.asks = planned_table()
    async with running(world):
        await until(world, 2)
        await let_pass(60_000)
        found = orders(world.requester)

    assert "" == world.requester.kill_at
    assert [(State.EXPIRED, "NO_BIDS")] * 2 == [(order.state, order.reason) for order in found]
