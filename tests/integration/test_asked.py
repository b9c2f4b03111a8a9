"""A claim and a slash on the operator's word: when they are due, and the reason if they are not; on a mock clock."""

from __future__ import annotations

from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager
from pathlib import Path

import pytest
import trio

from market.lifecycle import Order, State
from node.errors import NotNow
from node.prover import ProvingNode
from node.requester import Requester
from protocol.reqresp import PROOF_EXCHANGE
from tests.support.market_ledger import BOND_WEI, TestClock, let_pass, planned_table
from tests.support.market_sim import World, memory_folder

LONG_S = 20_000  # of mock time: beyond every deadline


@pytest.fixture
def folder(tmp_path: Path) -> Iterator[Path]:
    """In memory where the system can."""
    with memory_folder(tmp_path) as made:
        yield made


@asynccontextmanager
async def asked(world: World) -> AsyncIterator[tuple[Requester, ProvingNode, Order]]:
    """All parties up, and an order."""
    async with trio.open_nursery() as nursery:
        for party in reversed(world.parties):
            await nursery.start(party.run_lives)
        ours, theirs = world.requester.node, world.winner.node
        assert isinstance(ours, Requester) and isinstance(theirs, ProvingNode)
        with trio.fail_after(LONG_S):
            yield ours, theirs, await ours.request(planned_table(), ticket=0)
        nursery.cancel_scope.cancel()


async def test_a_claim_is_made_when_it_is_due_and_no_earlier(folder: Path, autojump_clock: object) -> None:
    """Before, it would show the table; the node itself waits half a minute longer."""
    world = World(folder)
    world.requester.deaf_to = frozenset({PROOF_EXCHANGE.protocol_id})
    async with asked(world) as (_, theirs, order):
        await world.winner.reaches(State.AT_WORK)
        with pytest.raises(NotNow, match="NO_PROOF"):
            await theirs.claim(order.order_id)
        await world.winner.reaches(State.PROVED)
        with pytest.raises(NotNow, match="NOT_DUE"):
            await theirs.claim(order.order_id)
        await TestClock().sleep_until(order.deliver_by * 1000 + 999)
        with pytest.raises(NotNow, match="NOT_DUE"):
            await theirs.claim(order.order_id)
        await let_pass(1)
        assert State.OWED is await theirs.claim(order.order_id)
        assert await theirs.claim(order.order_id) in (State.OWED, State.CLAIMING)
        await world.winner.ended.wait()
        with pytest.raises(NotNow, match="OVER"):
            await theirs.claim(order.order_id)
        with pytest.raises(NotNow, match="OVER"):
            await theirs.claim(bytes(32))

    assert 10**14 == world.ledger.credit_wei[b"payee of prover2____"]
    assert 1 == len(world.ledger.payments)


async def test_a_slash_waits_for_the_claims_to_be_over(folder: Path, autojump_clock: object) -> None:
    world = World(folder)
    world.winner.prover.hangs = True
    world.requester.poll_ms = 60_000
    async with asked(world) as (ours, _, order):
        with pytest.raises(NotNow, match="NO_ACK"):
            await ours.slash(order.order_id)
        await ours.loop.wait_for(order.order_id, lambda now: now.state is State.DEFAULTED)
        with pytest.raises(NotNow, match="NOT_DUE"):
            await ours.slash(order.order_id)
        await TestClock().sleep_until(order.claim_by * 1000 + 999)
        with pytest.raises(NotNow, match="NOT_DUE"):
            await ours.slash(order.order_id)
        await let_pass(1)
        assert await ours.slash(order.order_id) in (State.SLASH_DUE, State.SLASHING)
        assert await ours.slash(order.order_id) in (State.SLASH_DUE, State.SLASHING)
        await world.requester.ended.wait()
        with pytest.raises(NotNow, match="OVER"):
            await ours.slash(order.order_id)

    assert BOND_WEI == world.ledger.credit_wei[world.requester.key.address]
    assert 1 == len(world.ledger.slashed)
