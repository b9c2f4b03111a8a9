"""The parties of `tests.support.market_sim` on libp2p hosts of this process, on loopback and in real time."""

from __future__ import annotations

from collections.abc import AsyncIterator, Sequence
from contextlib import AsyncExitStack, asynccontextmanager
from dataclasses import dataclass
from pathlib import Path

import trio

from node.frames import FrameWriter, gossip_judge
from node.identity import HostKey
from node.network import MarketDirect, MarketGossip, market_topics
from node.p2p.config import P2PConfig
from node.p2p.host import Host
from node.store.database import Database
from node.store.faults import FaultStore
from node.store.orders import OrderStore
from node.store.sequences import Sequences
from node.store.vault import Vault
from node.store.writer import WriterThread
from node.watch import Watch
from protocol.gossip_memory import GossipMemory
from protocol.hashing import keccak256
from protocol.messages import GOSSIP_CHANNELS
from protocol.signing import AccountKey
from tests.support.market_ledger import MARKET, START_MS, Ledger, TestClock
from tests.support.market_sim import Party, World
from tests.support.sim_chain import LedgerChain


@asynccontextmanager
async def on_host(party: Party, dial: Sequence[Host]) -> AsyncIterator[Host]:
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
    for unread in set(GOSSIP_CHANNELS) - {"req", "bid", "award", "fault"}:
        gossip.ignore(unread)
    async with trio.open_nursery() as nursery:
        await nursery.start(host.serve)
        party.faults = FaultStore(database)
        party.known = memory.request
        watch = Watch(
            memory=memory,
            faults=party.faults,
            in_thread=in_thread,
            gossip=gossip,
            frames=frames,
            clock=clock,
            is_slashed=chain.is_slashed,
        )
        party.accuser = watch.accuse
        node = party.make_node(store, clock, gossip, direct, chain, frames)
        await nursery.start(watch.serve)
        await nursery.start(node.serve)
        yield host
        nursery.cancel_scope.cancel()
    database.close()


@dataclass(frozen=True, kw_only=True)
class Third:
    """A node that takes no part in any order: it judges, relays and keeps evidence."""

    host: Host
    memory: GossipMemory
    faults: FaultStore


@asynccontextmanager
async def third_party(folder: Path, ledger: Ledger) -> AsyncIterator[Third]:
    """A relay on a host; others dial it."""
    clock, memory, key = TestClock(), GossipMemory(), AccountKey(b"\x77" * 32)
    chain = LedgerChain(ledger, key.address, clock, {})
    judge = gossip_judge(market=MARKET, clock=clock, memory=memory, view=chain)
    host = Host(P2PConfig(), HostKey.from_seed(keccak256(b"third party")), market_topics(MARKET, judge))
    database = Database(f"sqlite:///{folder / 'third.db'}", now_ms=START_MS)
    in_thread = WriterThread(database.together)
    sequences = Sequences(database, key.address)
    frames = FrameWriter(market=MARKET, key=key, sequences=sequences, clock=clock, in_thread=in_thread)
    gossip, faults = MarketGossip(host, MARKET, memory), FaultStore(database)
    for unread in set(GOSSIP_CHANNELS) - {"fault"}:
        gossip.ignore(unread)
    watch = Watch(
        memory=memory,
        faults=faults,
        in_thread=in_thread,
        gossip=gossip,
        frames=frames,
        clock=clock,
        is_slashed=chain.is_slashed,
    )
    async with trio.open_nursery() as nursery:
        await nursery.start(host.serve)
        await nursery.start(watch.serve)
        yield Third(host=host, memory=memory, faults=faults)
        nursery.cancel_scope.cancel()
    database.close()


@asynccontextmanager
async def hosted(world: World) -> AsyncIterator[tuple[Third, list[Host]]]:
    """A relay that all parties dial, and the parties, each of which also dials the one before; all have met."""
    async with AsyncExitStack() as stack:
        third = await stack.enter_async_context(third_party(world.folder, world.ledger))
        hosts: list[Host] = []
        for party in world.parties:
            hosts.append(await stack.enter_async_context(on_host(party, [third.host, *hosts[-1:]])))
        for host in hosts:
            for topic in host.gossip.topics:
                await third.host.gossip.wait_for_subscriber(topic, host.peer_id)
                await host.gossip.wait_for_subscriber(topic, third.host.peer_id)
        yield third, hosts
