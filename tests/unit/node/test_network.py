"""What a node does with the addresses that signed messages name."""

from __future__ import annotations

import pytest

from node.identity import HostKey
from node.network import MAX_LEARNED_OF_PEER, MAX_LEARNED_PER_MINUTE, MarketDirect
from node.p2p.config import P2PConfig
from node.p2p.host import Host
from node.ports import Peer, TryAgain
from protocol.hashing import keccak256
from protocol.reqresp import AWARD_EXCHANGE, TABLE_EXCHANGE, Exchange

PUBLIC = "/ip4/8.8.{}.{}/tcp/4001"


def peer_id(number: int) -> str:
    """The id of a peer of our own making."""
    return Host(P2PConfig(), HostKey.from_seed(keccak256(number.to_bytes(4, "big")))).peer_id


class World:
    """A host that is not up: addresses are learned, dialling fails at once."""

    def __init__(self, *, dials_private: bool = False) -> None:
        self.host = Host(P2PConfig(), HostKey.from_seed(bytes(32)))
        self.now_ms = 1_000_000_000_000
        self.direct = MarketDirect(self.host, now_ms=lambda: self.now_ms, dials_private=dials_private)

    async def ask(self, peer: str, *transports: str, exchange: Exchange = AWARD_EXCHANGE, of: str = "") -> None:
        """A message named these addresses and we ask its peer something."""
        addresses = tuple(f"{transport}/p2p/{of or peer}".encode() for transport in transports)
        with pytest.raises(TryAgain):
            await self.direct.ask(Peer(peer_id=peer.encode(), addresses=addresses), exchange, b"")


@pytest.mark.parametrize(
    "transport",
    ["/ip4/127.0.0.1/tcp/22", "/ip4/192.168.1.1/tcp/80", "/ip4/169.254.169.254/tcp/80", "/dns4/localhost/tcp/80"],
)
async def test_a_message_points_nobody_at_hosts_of_its_own_network(transport: str) -> None:
    """Unless the operator allows it, which development networks do."""
    for allowed in (False, True):
        world = World(dials_private=allowed)
        await world.ask(peer_id(1), transport)
        assert ((transport,) if allowed else ()) == world.host.book.transports(peer_id(1))


async def test_addresses_of_another_peer_and_junk_are_left_out() -> None:
    """A message speaks of its own peer only."""
    world = World()
    await world.ask(peer_id(1), PUBLIC.format(1, 1), of=peer_id(2))
    await world.ask(peer_id(1), "junk", "/ip4/8.8.8.8/udp/1")

    assert () == world.host.book.peers()


async def test_new_addresses_are_limited_by_exchange_and_minute() -> None:
    """A flood of announced tables teaches a bounded number, and leaves the winners of orders their own budget."""
    world = World()
    peers = [peer_id(number) for number in range(MAX_LEARNED_PER_MINUTE + 10)]
    for number, peer in enumerate(peers):
        await world.ask(peer, PUBLIC.format(1, number), exchange=TABLE_EXCHANGE)
    assert MAX_LEARNED_PER_MINUTE == len(world.host.book.peers())

    await world.ask(peers[-1], PUBLIC.format(2, 1), exchange=AWARD_EXCHANGE)
    assert (PUBLIC.format(2, 1),) == world.host.book.transports(peers[-1])

    world.now_ms += 60_000
    await world.ask(peers[-2], PUBLIC.format(3, 1), exchange=TABLE_EXCHANGE)
    assert (PUBLIC.format(3, 1),) == world.host.book.transports(peers[-2])


async def test_one_peer_cannot_use_up_the_minute() -> None:
    """Whatever signs in its name."""
    world = World()
    for number in range(3 * MAX_LEARNED_OF_PEER):
        await world.ask(peer_id(1), PUBLIC.format(1, number))
    latest = PUBLIC.format(1, MAX_LEARNED_OF_PEER - 1)
    assert latest == world.host.book.transports(peer_id(1))[0]

    await world.ask(peer_id(2), PUBLIC.format(2, 1))
    assert (PUBLIC.format(2, 1),) == world.host.book.transports(peer_id(2))


async def test_the_addresses_of_the_message_at_hand_are_tried_before_those_of_others() -> None:
    """Also if they are known: else a liar's later message about the same peer would come first."""
    world = World()
    honest, lies = PUBLIC.format(1, 1), [PUBLIC.format(2, number) for number in range(3)]
    await world.ask(peer_id(1), honest)
    await world.ask(peer_id(1), *lies)
    assert honest == world.host.book.transports(peer_id(1))[-1]

    await world.ask(peer_id(1), honest)

    assert honest == world.host.book.transports(peer_id(1))[0]
