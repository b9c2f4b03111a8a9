"""A stranger with a raw libp2p host talks to live node processes while an order is under way.

tests/integration/p2p and tests/unit/protocol say which check refuses what; here the question is what a market of
processes does: it takes the one good frame among the bad ones, cuts the junker, and the order goes on.
"""

from __future__ import annotations

import random
import time
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import trio
from libp2p.exceptions import BaseLibp2pError

from market.lifecycle import State
from node.evidence import read_frames
from node.identity import AccountKey
from node.network import MAX_GOSSIP_FRAME, topic_name
from node.orderview import OrderView
from node.statusfile import read_status
from protocol.gossip import MarketId, shard_in
from protocol.gossip_memory import GossipMemory
from protocol.hashing import keccak256
from protocol.messages import RequestCommit
from tests.integration.p2p.network import raw_stream, stranger
from tests.integration.p2p.test_hostile import MESHSUB, envelope, published
from tests.support import wire_samples
from tests.support.forks import ForkedNode
from tests.support.nodeworld import World, fund_account

ORDER_TIMEOUT_S = 120
JUNK_FRAMES = 16  # the limit of broken rules, see node/p2p/config.py


@dataclass(frozen=True, slots=True)
class Target:
    """Where a stranger dials."""

    addresses: tuple[str, ...]

    @staticmethod
    def of(node: ForkedNode) -> Target:
        """A live node."""
        about = (read_status(node.folder) or {})["node"]
        return Target(tuple(about["addresses"]))


def _request(name: str, **changes: Any) -> RequestCommit:
    """A request of a stranger that is valid at this moment."""
    now_ms = time.time_ns() // 1_000_000
    times = {
        "bid_close_ms": now_ms + 60_000,
        "award_by_ms": now_ms + 61_000,
        "accept_by_ms": now_ms + 62_000,
        "ack_by": now_ms // 1000 + 70,
        "deliver_by": now_ms // 1000 + 80,
        "claim_by": now_ms // 1000 + 600,
    }
    return wire_samples.request(statement_commit=keccak256(name.encode()), **{**times, **changes})


def _frame(world: World, message: RequestCommit, sequence: int, **header: Any) -> bytes:
    now_ms = time.time_ns() // 1_000_000
    contracts = world.stage.contracts
    usual = {
        "chain_id": contracts.chain_id,
        "market": contracts.market,
        "created_ms": now_ms,
        "expires_ms": now_ms + 60_000,
    }
    return wire_samples.framed(message, sequence=sequence, **{**usual, **header})


def _bad_frames(world: World, real: bytes) -> Mapping[str, bytes]:
    """Each would be a request, but for one thing."""
    now_ms = time.time_ns() // 1_000_000
    rng = random.Random(3)
    unsigned = _frame(world, _request("wrongly signed"), 1)
    late = _request("late", bid_close_ms=now_ms - 1)
    return {
        "junk": rng.randbytes(300),
        "oversize": real[:80] + bytes(MAX_GOSSIP_FRAME),
        "wrongly signed": unsigned[:-40] + bytes([unsigned[-40] ^ 1]) + unsigned[-39:],
        "replayed": real,
        "late": _frame(world, late, 2, created_ms=now_ms - 60_000, expires_ms=now_ms + 1_000),
        "expired": _frame(world, _request("expired"), 3, created_ms=now_ms - 60_000, expires_ms=now_ms - 30_000),
        "another chain": _frame(world, _request("another chain"), 4, chain_id=1),
        "no such ticket": _frame(world, _request("no such ticket", requester_ticket=77), 5),
    }


async def _is_cut(host: Any) -> None:
    while host.get_network().get_connections():
        await trio.sleep(0)


async def test_junk_from_strangers_changes_nothing_and_the_order_goes_on(world: World) -> None:
    """Bad frames reach no prover, the good frame after them does, every process lives, and the user's table lands."""
    contracts = world.stage.contracts
    market = MarketId(chain_id=contracts.chain_id, contract=contracts.market)
    topic = topic_name(market, "req", shard_in(_request("any"), GossipMemory()))
    await fund_account(world.stage, AccountKey.from_secret(bytes.fromhex("01" * 32)), tickets=1)
    await world.with_ticket()
    order_id = await world.wish(await world.new_option())
    await world.reach(order_id, {State.AWARDED, State.ACCEPTED, State.KEYED, State.PROVING}, timeout_s=ORDER_TIMEOUT_S)
    pids = [node.process.pid for node in world.nodes if node.process is not None]
    (real,) = [frame for name, frame in read_frames(world.relay.folder) if "/req/" in name and order_id in frame]

    with trio.fail_after(ORDER_TIMEOUT_S):
        for node in world.nodes:
            for name, frame in _bad_frames(world, real).items():
                liar = f"{node.name} {name}"
                await _tell(Target.of(node), liar, envelope(liar, frame, topics=[topic]))
        await _junk_until_cut(Target.of(world.relay), topic)
        good = _request("good")
        await _tell(Target.of(world.relay), "friend", envelope("friend", _frame(world, good, 6), topics=[topic]))
        for prover in world.provers:
            while (heard := _heard_by(prover)) <= set(world.orders):
                await trio.sleep(0)
            assert {good.request_id} == heard - set(world.orders)
        await world.reach(order_id, {State.VERIFIED}, timeout_s=ORDER_TIMEOUT_S)
        await world.submit(order_id)
        order = await world.end(order_id, timeout_s=ORDER_TIMEOUT_S)

    assert State.PAID is order.state, order.reason
    assert pids == [node.process.pid for node in world.nodes if node.process is not None and node.poll() is None]
    assert {good.request_id} == _heard_by(world.provers[0]) - set(world.orders)


def _heard_by(prover: ForkedNode) -> set[bytes]:
    return {order.order_id for order in OrderView(prover.folder).recent(100)}


async def _tell(target: Target, name: str, message: Any) -> None:
    """One message from a peer of its own, so that what one peer did is not held against the next."""
    async with stranger(name, target) as host:
        stream = await raw_stream(host, target, MESHSUB)
        await stream.write(published(message))
        await stream.close()


async def _junk_until_cut(target: Target, topic: str) -> None:
    async with stranger("junker", target) as junker:
        stream = await raw_stream(junker, target, MESHSUB)
        try:
            for number in range(4 * JUNK_FRAMES):
                junk = random.Random(number).randbytes(200)
                await stream.write(published(envelope("junker", junk, seqno=number + 1, topics=[topic])))
        except BaseLibp2pError:
            pass  # cut in the middle of it
        await _is_cut(junker)
