"""Peers of convicted accounts are cut and refused; peers that only pass on what such accounts say are not."""

from __future__ import annotations

from contextlib import suppress
from dataclasses import replace
from pathlib import Path

import pytest
import trio

from market.standing import HALF_LIFE_MS
from node.network import market_topics, topic_name
from node.p2p.config import P2PConfig
from node.p2p.errors import PeerBanned, Unreachable
from node.p2p.host import Host
from node.shunning import LOOK_EVERY_MS, MAX_ACCOUNTS, MAX_PEERS, SHUN_S, Shunning
from node.store.database import Database
from node.store.faults import FaultStore
from node.store.orders import OrderStore
from node.store.vault import Vault
from protocol.faults import FaultKind
from tests.integration.p2p.network import DEADLINE_S, key
from tests.support.market_ledger import TestClock
from tests.support.market_sim import inline
from tests.support.wire_samples import MARKET, NOW_MS, PROVERS, REQUESTER, framed, ready_table


class Shunned:
    """Notes who is shunned."""

    def __init__(self) -> None:
        self.peers: list[tuple[str, float]] = []

    def shun(self, peer_id: str, length_s: float) -> None:
        """As the host."""
        self.peers.append((peer_id, length_s))


class World:
    """Shunning with a store of its own."""

    def __init__(self, folder: Path, host: Host | Shunned) -> None:
        self.clock = TestClock()
        self.database = Database("sqlite://", now_ms=NOW_MS)
        self.faults = FaultStore(self.database)
        self.shunning = Shunning(
            faults=self.faults,
            store=OrderStore(self.database, Vault(folder / "vault.key")),
            in_thread=inline,
            clock=self.clock,
            host=host,
        )

    def convict(
        self,
        account: bytes,
        kind: FaultKind = FaultKind.DOUBLE_AWARD,
        *,
        subject: bytes = b"subject",
        age_ms: int = 0,
    ) -> None:
        """There is evidence against an account, since a while ago."""
        self.faults.add(account, int(kind), subject, b"evidence", self.clock.now_ms() - age_ms)

    async def look(self) -> None:
        """The first look, which a start begins with."""
        with trio.move_on_after(LOOK_EVERY_MS / 2000):
            await self.shunning.serve()


async def test_peers_of_a_convicted_account_are_shunned_and_no_others(tmp_path: Path, autojump_clock: object) -> None:
    """Until the evidence weighs too little."""
    host = Shunned()
    world = World(tmp_path, host)
    world.shunning.bind(PROVERS[1].address, "cheat of last month")
    world.convict(PROVERS[1].address, age_ms=4 * HALF_LIFE_MS)
    world.shunning.bind(REQUESTER.address, "cheat")
    world.shunning.bind(PROVERS[0].address, "honest")
    await world.look()
    assert [] == host.peers

    world.convict(REQUESTER.address)
    await world.look()
    assert [("cheat", SHUN_S)] == host.peers
    world.database.close()


async def test_small_faults_shun_only_when_they_add_up(tmp_path: Path, autojump_clock: object) -> None:
    """Bids passed over may have had their reasons."""
    host = Shunned()
    world = World(tmp_path, host)
    world.shunning.bind(REQUESTER.address, "cheat")
    for number in range(2):
        world.convict(REQUESTER.address, FaultKind.BID_IGNORED, subject=bytes([number]))
    await world.look()
    assert [] == host.peers

    world.convict(REQUESTER.address, FaultKind.BID_IGNORED, subject=b"third")
    await world.look()
    assert [("cheat", SHUN_S)] == host.peers
    world.database.close()


def test_bindings_are_bounded(tmp_path: Path) -> None:
    """A flood of ids forgets the oldest; one peer with many accounts keeps its first."""
    world = World(tmp_path, Shunned())
    for number in range(MAX_PEERS + 10):
        world.shunning.bind(REQUESTER.address, f"peer {number}")
    for number in range(3 * MAX_ACCOUNTS):
        world.shunning.bind(bytes([number]) * 20, f"peer {MAX_PEERS}")

    assert MAX_PEERS == len(world.shunning._accounts)
    assert "peer 0" not in world.shunning._accounts
    assert MAX_ACCOUNTS == len(world.shunning._accounts[f"peer {MAX_PEERS}"])
    world.database.close()


def _host(name: str, *dial: Host) -> Host:
    config = P2PConfig(bootstrap=tuple(other.addresses[0] for other in dial), redial_min_s=0.05, redial_max_s=0.1)
    return Host(config, key(name), market_topics(MARKET, lambda channel, data, shard=None: None))


async def test_a_convicted_peer_is_cut_and_kept_out_and_the_relay_between_is_not(tmp_path: Path) -> None:
    """The relay passed on everything that the cheat said; the frames' envelopes are the cheat's."""
    relay = _host("relay")
    async with trio.open_nursery() as nursery:
        with trio.fail_after(DEADLINE_S):
            await nursery.start(relay.serve)
            node = _host("node", relay)
            world = World(tmp_path, node)
            node.gossip.add_author_tap(lambda frame, author: world.shunning.bind(frame[52:72], author))
            await nursery.start(node.serve)
            cheat = _host("cheat", relay)
            await nursery.start(cheat.serve)
            ready = topic_name(MARKET, "ready")
            for one, other in ((relay, node), (relay, cheat), (cheat, relay), (node, relay)):
                await one.gossip.wait_for_subscriber(ready, other.peer_id)
            await cheat.gossip.publish(ready, framed(ready_table()))
            assert framed(ready_table()) == (await node.gossip.receiver(ready).receive()).frame
            assert (relay.peer_id,) == node.links.connected()

            cheat.want(node.addresses[0])  # comes to us itself
            await node.links.wait_until(lambda: cheat.peer_id in node.links.connected())
            world.convict(REQUESTER.address)
            nursery.start_soon(world.shunning.serve)
            await node.links.wait_until(lambda: cheat.peer_id not in node.links.connected())

            assert node.conduct.is_banned(cheat.peer_id)
            with pytest.raises(PeerBanned):
                await node.links.connect(cheat.peer_id)
            for _ in range(3):  # it comes back, and a connection lasts until it has said who it is
                with suppress(Unreachable):
                    await cheat.links.connect(node.peer_id)
                await node.links.wait_until(lambda: not node.links.is_connected(cheat.peer_id))
            assert (relay.peer_id,) == node.links.connected()
            assert not node.conduct.is_banned(relay.peer_id)
            other = framed(replace(ready_table(), ticket=1), key=PROVERS[0])
            await relay.gossip.publish(ready, other)
            assert other == (await node.gossip.receiver(ready).receive()).frame
            nursery.cancel_scope.cancel()
    world.database.close()
