"""The same auction between four libp2p hosts on loopback: real gossip and streams, through the adapters of the node."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import trio

from market.lifecycle import State
from node.requester import Requester
from tests.support.market_hosts import on_host
from tests.support.market_ledger import SALT, TestClock, planned_table
from tests.support.market_sim import TERMS, World, memory_folder, timed

DEADLINE_S = 60
FAST = timed(replace(TERMS, ready_wait_ms=0), bid_ms=3_000)


async def test_an_auction_between_four_hosts_is_won_proven_and_paid(tmp_path: Path) -> None:
    """Lowest bid wins, payment happens once, and no frame holds anything private."""
    with memory_folder(tmp_path) as folder, trio.fail_after(DEADLINE_S):
        world = World(folder)
        gossiped: list[bytes] = []
        for party in world.parties:
            party.terms, party.poll_ms, party.prover.prove_s = FAST, 100, 0.2
        async with on_host(world.requester, []) as first:
            first.gossip.add_tap(lambda _topic, frame: gossiped.append(frame))
            async with (
                on_host(world.provers[0], [first]) as second,
                on_host(world.provers[1], [first, second]) as third,
                on_host(world.provers[2], [first, third]) as fourth,
            ):
                for other in (second, third, fourth):
                    for topic in first.gossip.topics:
                        await first.gossip.wait_for_subscriber(topic, other.peer_id)
                        await other.gossip.wait_for_subscriber(topic, first.peer_id)
                node = world.requester.node
                assert isinstance(node, Requester)
                plan = replace(planned_table(), valid_until=TestClock().now_ms() // 1000 + 600)
                order = await node.request(plan, ticket=0)
                end = await node.loop.wait_for(order.order_id, lambda now: now.is_over)
                won = world.winner.node
                assert won is not None
                earned = await won.loop.wait_for(order.order_id, lambda now: now.is_over)
        assert end is not None
        assert earned is not None

        assert (State.PAID, "") == (end.state, end.reason)
        assert (State.EARNED, "") == (earned.state, earned.reason)
        assert 1 == len(world.ledger.payments)
        assert 5 <= len(gossiped)  # request, three bids, award
        private = (planned_table().core_id, SALT, planned_table().payload[40:104])
        leaks = [field.hex() for field in private for frame in gossiped if field in frame]
        assert [] == leaks
