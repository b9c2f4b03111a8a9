"""The same auction between four libp2p hosts on loopback: real gossip and streams, through the adapters of the node."""

from __future__ import annotations

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import replace
from pathlib import Path

import trio

from market.lifecycle import State
from node.frames import FrameWriter, gossip_judge
from node.identity import HostKey
from node.network import MarketDirect, MarketGossip, market_topics
from node.p2p.config import P2PConfig
from node.p2p.host import Host
from node.requester import Requester
from node.store.database import Database
from node.store.faults import FaultStore
from node.store.orders import OrderStore
from node.store.sequences import Sequences
from node.store.vault import Vault
from node.store.writer import WriterThread
from protocol.gossip_memory import GossipMemory
from protocol.hashing import keccak256
from protocol.messages import GOSSIP_CHANNELS
from tests.support.market_ledger import MARKET, SALT, START_MS, TestClock, planned_table
from tests.support.market_sim import TERMS, Party, World, memory_folder, timed
from tests.support.sim_chain import LedgerChain

DEADLINE_S = 60
FAST = timed(replace(TERMS, ready_wait_ms=0), bid_ms=3_000)


@asynccontextmanager
async def on_host(party: Party, dial: list[Host]) -> AsyncIterator[Host]:
    """A party's node on a libp2p host that keeps connections to others."""
    clock, memory = TestClock(), GossipMemory()
    chain = LedgerChain(party.ledger, party.key.address, clock, party.prepared)
    judge = gossip_judge(market=MARKET, clock=clock, memory=memory, view=chain)
    config = P2PConfig(bootstrap=tuple(other.addresses[0] for other in dial))
    host = Host(config, HostKey.from_seed(keccak256(party.name.encode())), market_topics(MARKET, judge))
    database = Database(f"sqlite:///{party.folder / (party.name + '.db')}", now_ms=START_MS)
    in_thread = WriterThread(database.together)
    store = OrderStore(database, Vault(party.folder / f"{party.name}.key"))
    frames = FrameWriter(
        market=MARKET,
        key=party.key,
        sequences=Sequences(database, party.key.address),
        clock=clock,
        in_thread=in_thread,
    )
    gossip, direct = MarketGossip(host, MARKET, memory), MarketDirect(host, now_ms=clock.now_ms, dials_private=True)
    for unread in set(GOSSIP_CHANNELS) - {"req", "bid", "award"}:
        gossip.ignore(unread)
    async with trio.open_nursery() as nursery:
        await nursery.start(host.serve)
        party.faults = FaultStore(database)
        node = party.make_node(store, clock, gossip, direct, chain, frames)
        await nursery.start(node.serve)
        yield host
        nursery.cancel_scope.cancel()
    database.close()


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
