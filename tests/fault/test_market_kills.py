"""The requester or the winner dies at every write of the ordinary story and is started again on the same disk.

The process's end is an exception here, raised inside the store on either side of a transaction; everything in memory
is gone, the
database and what L1 knows stay. The order must go on or end in a coded state, and nobody may be paid twice.
"""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import pytest
import trio

from market.lifecycle import State
from protocol.reqresp import KEY_EXCHANGE
from tests.support.market_ledger import planned_table
from tests.support.market_sim import Party, World, memory_folder, timed

LONG_S = 20_000  # of mock time: beyond every deadline

REQUESTER_POINTS = (
    "requester create",
    "requester commit",
    "requester done publish-request",
    "requester bid",
    "requester bids-closed",
    "requester winner-chosen",
    "requester done choose-winner",
    "requester done publish-award",
    "requester accept-received",
    "requester done ask-acceptance",
    "requester payload-sealed",
    "requester done seal-payload",
    "requester ack-received",
    "requester done release-payload",
    "requester proof-received",
    "requester proof-valid",
    "requester done verify-delivery",
    "requester tx-signed",
    "requester done build-transaction",
    "requester done announce-ready",
    "requester tx-accepted",
    "requester done send-transaction",
    "requester tx-landed",
    "requester payment-seen",
)
PROVER_POINTS = (
    "prover create",
    "prover bid-made",
    "prover done publish-bid",
    "prover awarded-us",
    "prover accept-signed",
    "prover done sign-acceptance",
    "prover payload-received",
    "prover payload-good",
    "prover done start-proof",
    "prover proof-started",
    "prover proof-made",
    "prover done check-payload",
    "prover receipt-received",
    "prover done deliver-proof",
    "prover payment-seen",
)
FAILOVER_POINTS = (
    "requester ack-timeout",
    "requester done chase",
    "requester done reauction",
    "standby create",
    "standby commit",
    "standby done publish-award",
    "standby accept-received",
    "standby done ask-acceptance",
    "standby called",
    "standby payload-sealed",
    "standby done seal-payload",
    "standby ack-received",
    "standby done release-payload",
    "standby proof-received",
    "standby proof-valid",
    "standby done verify-delivery",
    "requester taken-over",
    "standby chosen",
    "standby done take-over",
)
"""What the requester writes, beside its other points, when the winner is silent and the runner-up takes its place."""
ALWAYS = ("migrate", "sequence")

MAY_MISS_THE_AUCTION = {
    # The request was not out yet; its user sees NOT_STARTED and asks again.
    "after requester create": State.CANCELLED,
    "before requester commit": State.CANCELLED,
}
"""Points after which the story does not end with payment, and what it ends with."""


async def story(world: World, victim: Party, point: str) -> None:
    """One request, with `victim` ending once at `point` and coming back."""
    victim.kill_at = point
    world.requester.asks = planned_table()
    async with trio.open_nursery() as nursery:
        for party in reversed(world.parties):
            await nursery.start(party.run_lives)
        with trio.fail_after(LONG_S):
            await world.requester.ended.wait()
            if world.winner.order() is not None:
                await world.winner.ended.wait()
        nursery.cancel_scope.cancel()


async def test_the_story_writes_at_exactly_these_points(tmp_path: Path, autojump_clock: object) -> None:
    """A write without a kill point fails here."""
    with memory_folder(tmp_path) as folder:
        world = World(folder)
        await story(world, world.requester, "")
    written = {point for party in (world.requester, world.winner) for point in party.points}
    names = {*REQUESTER_POINTS, *PROVER_POINTS, *ALWAYS}
    print(f"{2 * len(names)} kill points")

    assert {f"{side} {name}" for name in names for side in ("before", "after")} == written


@pytest.mark.parametrize("side", [pytest.param("before", marks=pytest.mark.campaign), "after"])
@pytest.mark.parametrize("name", [*REQUESTER_POINTS, *PROVER_POINTS])
async def test_a_death_at_any_write_ends_in_payment_or_a_coded_state(
    tmp_path: Path, autojump_clock: object, name: str, side: str
) -> None:
    """The other party never notices more than a delay, and the price is paid once."""
    with memory_folder(tmp_path) as folder:
        world = World(folder)
        victim = world.requester if name.startswith("requester") else world.winner
        await story(world, victim, f"{side} {name}")
        order, won = world.requester.order(), world.winner.order()

    assert order is not None
    assert victim.kill_at == "", "the story never came to this point"
    assert MAY_MISS_THE_AUCTION.get(f"{side} {name}", State.PAID) is order.state, order.reason
    assert (1 if order.state is State.PAID else 0) == len(world.ledger.payments)
    assert won is None or won.is_over
    assert order.reason or order.state is State.PAID


def failover_world(folder: Path) -> World:
    """The winner countersigns and never answers the payload."""
    world = World(folder)
    world.requester.terms = timed(replace(world.requester.terms, standbys=1), claim_s=450)
    world.winner.deaf_to = frozenset({KEY_EXCHANGE.protocol_id})
    return world


async def test_a_failover_writes_at_exactly_these_points(tmp_path: Path, autojump_clock: object) -> None:
    """A write without a kill point fails here."""
    with memory_folder(tmp_path) as folder:
        world = failover_world(folder)
        await story(world, world.requester, "")
    written = {point for point in world.requester.points if point.startswith("after ")}

    assert {f"after {name}" for name in FAILOVER_POINTS} <= written
    assert written <= {f"after {name}" for name in (*FAILOVER_POINTS, *REQUESTER_POINTS, *ALWAYS)}


@pytest.mark.parametrize("side", [pytest.param("before", marks=pytest.mark.campaign), "after"])
@pytest.mark.parametrize("name", FAILOVER_POINTS)
async def test_a_death_during_failover_pays_the_runner_up_once(
    tmp_path: Path, autojump_clock: object, name: str, side: str
) -> None:
    """Nobody is paid twice or loses a bond, and the order ends as paid."""
    with memory_folder(tmp_path) as folder:
        world = failover_world(folder)
        await story(world, world.requester, f"{side} {name}")
        order, runner_up = world.requester.order(), world.provers[2].order()

    assert order is not None and runner_up is not None
    assert world.requester.kill_at == "", "the story never came to this point"
    assert State.PAID is order.state, order.reason
    assert 1 == len(world.ledger.payments)
    assert [] == sorted(world.ledger.slashed)
    assert 2 * 10**14 == world.ledger.credit_wei[b"payee of prover3____"]


async def test_a_prover_that_died_before_it_priced_a_request_bids_when_it_is_back(
    tmp_path: Path, autojump_clock: object
) -> None:
    """Else it would miss the auction, and its ticket would be taken by an order that it never touched."""
    with memory_folder(tmp_path) as folder:
        world = World(folder)
        await story(world, world.winner, "after prover create")
        won = world.winner.order()

    assert won is not None
    assert State.EARNED is won.state


@pytest.mark.parametrize("side", [pytest.param("before", marks=pytest.mark.campaign), "after"])
@pytest.mark.parametrize(
    "name", ["payload-breaks", "fee-granted", "decline-signed", "fee-seen", "done ask-fee", "done build-decline"]
)
async def test_a_death_during_a_dispute_collects_the_fee_once(
    tmp_path: Path, autojump_clock: object, name: str, side: str
) -> None:
    """The requester's envelope lies; it signs, and pays a tenth of the price however often the prover ends."""
    with memory_folder(tmp_path) as folder:
        world = World(folder)
        world.winner.kill_at = f"{side} prover {name}"
        world.requester.asks = replace(planned_table(), proof_count=2)
        async with trio.open_nursery() as nursery:
            for party in reversed(world.parties):
                await nursery.start(party.run_lives)
            with trio.fail_after(LONG_S):
                await world.requester.ended.wait()
                await world.winner.ended.wait()
            nursery.cancel_scope.cancel()
        won = world.winner.order()

    assert won is not None
    assert "" == world.winner.kill_at
    assert State.COMPENSATED is won.state, won.reason
    assert 10**13 == world.ledger.credit_wei[b"payee of prover2____"]
    assert [] == world.ledger.payments
