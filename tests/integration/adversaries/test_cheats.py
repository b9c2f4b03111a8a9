"""Cheats that keep the rules of the wire: who pays for them, and what the honest get. On a mock clock.

Those that other files show are listed in tests/README.md.
"""

from __future__ import annotations

from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager
from dataclasses import replace
from pathlib import Path

import pytest
import trio

from market.lifecycle import Order, State
from protocol.codec import decode_body
from protocol.commitments import bid_hash
from protocol.gossip_memory import MAX_BIDS
from protocol.messages import BidCommit, MessageId, RequestCommit
from protocol.signing import AccountKey
from tests.integration.test_evidence import LONG_S, faults_of, request, view_of
from tests.support.market_ledger import BOND_WEI, TICKET_WEI, TestClock, let_pass
from tests.support.market_relays import Relay
from tests.support.market_sim import Link, Party, World, memory_folder
from tests.support.wire_samples import bid, framed, opening


@pytest.fixture
def folder(tmp_path: Path) -> Iterator[Path]:
    """In memory where the system can."""
    with memory_folder(tmp_path) as made:
        yield made


@asynccontextmanager
async def running(world: World) -> AsyncIterator[None]:
    """All parties up."""
    async with trio.open_nursery() as nursery:
        for party in reversed(world.parties):
            await nursery.start(party.run)
        yield
        nursery.cancel_scope.cancel()


async def over(party: Party, order: Order) -> tuple[State, str]:
    """How a party's order ended; bounded in mock time."""
    with trio.fail_after(LONG_S):
        while (seen := view_of(party, order)) is None or not _is_over(party, order):
            await let_pass(1_000)
    return seen


def _is_over(party: Party, order: Order) -> bool:
    with party.disk() as store:
        return any(
            each.order_id == order.order_id and each.role is party.role and each.is_over for each in store.recent(9)
        )


async def heard(world: World, message: MessageId) -> bytes:
    """The first gossiped frame of a kind."""
    with trio.fail_after(LONG_S):
        while not (found := [frame for _, frame in world.network.frames if frame[4] == message]):
            await let_pass(5)
    return found[0]


def a_bid(world: World, asked: RequestCommit, key: AccountKey, price_wei: int) -> bytes:
    """A well-formed bid whose box nobody can open, in a frame of this moment."""
    offered = replace(opening(0, price_wei), bond_wei=BOND_WEI)
    message = replace(
        bid(0),
        request_id=asked.request_id,
        bid_hash=bid_hash(asked.request_id, key.address, offered),
        bond_wei=BOND_WEI,
    )
    now_ms = TestClock().now_ms()
    return framed(message, key, 1, created_ms=now_ms, expires_ms=now_ms + 60_000)


async def test_sybil_bids_leave_room_for_provers_with_more_at_stake(folder: Path, autojump_clock: object) -> None:
    """As many accounts as bids are kept, each with the smallest ticket, all before anybody honest; all their bids are
    void, and the honest ones are heard."""
    world = World(folder)
    for prover in world.provers:
        world.ledger.tickets[(prover.key.address, 0)] = 4 * BOND_WEI
    sybils = [AccountKey(bytes([0x80 + n // 256, n % 256]) * 16) for n in range(MAX_BIDS + 6)]
    for key in sybils:
        world.ledger.tickets[(key.address, 0)] = BOND_WEI
    async with running(world):
        order = await request(world, 0)
        asked = decode_body(RequestCommit, (await heard(world, MessageId.REQUEST_COMMIT))[80:-65])
        crowd = Link(world.network, b"crowd", lambda channel, frame: None)
        for key in sybils:
            await crowd.publish("bid", a_bid(world, asked, key, 1))
        known = world.requester.known(order.order_id)
        assert known is not None and MAX_BIDS == len(known.bids)
        end = await over(world.requester, order)

    assert (State.PAID, "") == end
    assert 10**14 == world.ledger.credit_wei[b"payee of prover2____"]
    assert all(world.ledger.tickets[(key.address, 0)] == BOND_WEI for key in sybils)


async def test_a_last_look_comes_too_late_and_sees_nothing(folder: Path, autojump_clock: object) -> None:
    """A shill of the requester bids a wei below the best once bids are closed: every node ignores the bid, relays sign
    receipts that lack it, and the auction goes as the rule says."""
    world = World(folder)
    relays = [Relay(world, f"relay{n}", n) for n in range(3)]
    shill = AccountKey(b"\x99" * 32)
    world.ledger.tickets[(shill.address, 0)] = 4 * BOND_WEI
    async with trio.open_nursery() as nursery:
        for relay in relays:
            await nursery.start(relay.run)
        async with running(world):
            order = await request(world, 0)
            asked = decode_body(RequestCommit, (await heard(world, MessageId.REQUEST_COMMIT))[80:-65])
            sealed = [frame for _, frame in world.network.frames if frame[4] == MessageId.BID_COMMIT]
            await let_pass(asked.bid_close_ms - TestClock().now_ms())
            link = Link(world.network, b"shill", lambda channel, frame: None)
            await link.publish("bid", a_bid(world, asked, shill, 10**14 - 1))
            known = [world.requester.known(order.order_id), *(each.memory.request(order.order_id) for each in relays)]
            end = await over(world.requester, order)
        nursery.cancel_scope.cancel()

    assert all(each is not None and shill.address not in each.bids for each in known)
    assert (State.PAID, "") == end
    assert 10**14 == world.ledger.credit_wei[b"payee of prover2____"]
    prices = [price.to_bytes(12, "big") for price in (10**14, 2 * 10**14, 3 * 10**14)]
    bodies = [frame for frame in (*sealed, *(f for _, f in world.network.frames if f[4] == MessageId.BID_COMMIT))]
    assert bodies and not any(price in body for price in prices for body in bodies)  # before the award nobody can look
    assert all(len({len(decode_body(BidCommit, body[80:-65]).sealed_opening)}) == 1 for body in bodies)


async def test_a_shill_that_wins_its_own_auction_costs_only_its_requester(folder: Path, autojump_clock: object) -> None:
    """The requester runs a prover of its own that underbids; the others lose nothing, and the next order is theirs."""
    world = World(folder)
    shill = world.provers[2]
    shill.price_wei = 1
    async with running(world):
        first = await request(world, 0)
        assert (State.PAID, "") == await over(world.requester, first)
        lost = [await over(prover, first) for prover in world.provers[:2]]
        bonds = [world.ledger.tickets[(prover.key.address, 0)] for prover in world.provers[:2]]
    shill.price_wei = 10**15
    async with running(world):
        second = await request(world, 1)
        assert (State.PAID, "") == await over(world.requester, second)

    assert [(State.LOST, "")] * 2 == lost
    assert [BOND_WEI] * 2 == bonds
    assert 10**14 == world.ledger.credit_wei[b"payee of prover2____"]


async def test_awards_that_vanish_free_the_prover_and_cost_the_requester_its_standing(
    folder: Path, autojump_clock: object
) -> None:
    """No payload after an award: the winner keeps its bond and works for others; nobody is slashed for nothing."""
    world = World(folder)
    world.requester.kill_at = "after requester accept-received"
    async with running(world):
        order = await request(world, 0)
        assert await over(world.winner, order) == (State.RELEASED, "NO_PAYLOAD")

    assert BOND_WEI == world.ledger.tickets[(world.winner.key.address, 0)]
    assert TICKET_WEI == world.ledger.tickets[(world.requester.key.address, 0)]
    assert [] == faults_of(world.winner)  # silence is not provable; it weighs in the winner's own log
    world.requester.is_dead, world.requester.kill_at = False, ""
    async with running(world):
        again = await request(world, 1)
        assert (State.PAID, "") == await over(world.requester, again)
