"""Every gossiped message between market hosts: lost and caught up, kept through a restart, in its shard only."""

from __future__ import annotations

from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import trio

from node.config import NetworkSection
from node.network import MarketGossip, market_topics, topic_channel, topic_name
from node.p2p.host import Host
from node.p2p.verdicts import Verdict
from node.peering import market_host, reached
from node.ports import Refused
from protocol.codec import decode_body
from protocol.commitments import shard_of
from protocol.gossip_memory import GossipMemory
from protocol.messages import (
    GOSSIP_CHANNELS,
    SHARDED,
    SHARDS,
    BidReveal,
    Cancel,
    Message,
    RequestCommit,
    StandDown,
    shards_of,
)
from protocol.signing import AccountKey
from tests.integration.p2p.network import DEADLINE_S
from tests.support.wire_samples import (
    MARKET,
    NOW_MS,
    PROVERS,
    REQUESTER,
    AllTickets,
    award,
    bid,
    framed,
    opening,
    request,
    samples,
)

WITHIN_S = 8.0  # after a message was lost; a round is every 2 s, and a busy machine may miss some
SHARD = shard_of(request().systems_hash, request().tier)


class Clock:
    """A moment at which everything below is in time."""

    def now_ms(self) -> int:
        """Before the bids close."""
        return NOW_MS + 1_000

    async def sleep_until(self, unix_ms: int) -> None:
        """Nobody waits here."""


class Node:
    """A market host and what it knows."""

    def __init__(self, host: Host, memory: GossipMemory) -> None:
        self.host = host
        self.memory = memory
        self.gossip = MarketGossip(host, MARKET, memory)

    def counts(self, channel: str, shard: int | None = None) -> dict[str, int]:
        """Verdicts of a topic."""
        return dict(self.host.gossip.counts(topic_name(MARKET, channel, shard)))

    def accepted(self, channel: str) -> int:
        """Frames accepted on all shards of a channel."""
        shards = [
            shard for shard in shards_of(channel) if topic_name(MARKET, channel, shard) in self.host.gossip.topics
        ]
        return sum(self.counts(channel, shard).get("accept", 0) for shard in shards)

    def topic(self, channel: str) -> str:
        """Of the channel, or of its shard of `request()`."""
        return topic_name(MARKET, channel, SHARD if channel in SHARDED else None)

    def lose(self, channel: str, frame: bytes) -> None:
        """Accept an own frame and hand it to nobody, as if every queue had been full."""
        verdict, code = self.host._intake.judge_own(self.topic(channel), frame, self.host.peer_id)
        assert verdict is Verdict.ACCEPT, code


@asynccontextmanager
async def node(folder: Path, dial: tuple[Node, ...] = (), **section: Any) -> AsyncIterator[Node]:
    """A host with the topics of the market, up until the block ends."""
    folder.mkdir(exist_ok=True)
    memory = GossipMemory()
    peers = tuple(other.host.addresses[0] for other in dial)
    settings = NetworkSection(peers=peers, **section)
    with market_host(settings, folder, market=MARKET, clock=Clock(), memory=memory, view=AllTickets()) as host:
        async with trio.open_nursery() as nursery:
            await nursery.start(host.serve)
            yield Node(host, memory)
            nursery.cancel_scope.cancel()


def story() -> Iterator[tuple[str, bytes]]:
    """(channel, frame) of every gossiped message, each acceptable when those before it are."""
    other = request(requester_ticket=1)
    told: list[tuple[Message, AccountKey]] = [(request(), REQUESTER), (other, REQUESTER)]
    told += [(bid(place), key) for place, key in enumerate(PROVERS[:2])]
    told += [(award(), REQUESTER), (StandDown(request_id=request().request_id, rank=2), REQUESTER)]
    told.append((BidReveal(request_id=request().request_id, opening=opening(0)), PROVERS[0]))
    told.append((Cancel(request_id=other.request_id, reason=1), REQUESTER))
    arranged = {type(message) for message, _ in told}
    channels = {kind: channel for channel, kinds in GOSSIP_CHANNELS.items() for kind in kinds}
    for message in samples():
        if message.ID in channels and type(message) not in arranged:
            told.append((message, REQUESTER))
    for number, (message, key) in enumerate(told):
        yield channels[message.ID], framed(message, key=key, sequence=100 + number, expires_ms=NOW_MS + 300_000)


async def test_every_message_that_gossip_lost_is_learned_within_seconds(tmp_path: Path) -> None:
    """By a peer that was connected all the time and never heard any of them."""
    frames = list(story())
    assert {int(kind) for kinds in GOSSIP_CHANNELS.values() for kind in kinds} == {frame[4] for _, frame in frames}
    async with node(tmp_path / "teller") as teller, node(tmp_path / "missing", (teller,)) as missing:
        with trio.fail_after(DEADLINE_S):
            await reached(teller.host, MARKET, [missing.host.peer_id])
            await missing.host.catch_up(teller.host.peer_id)  # done with its greeting
        for channel, frame in frames:
            teller.lose(channel, frame)
        wanted = {channel: sum(each == channel for each, _ in frames) for channel in GOSSIP_CHANNELS}
        inboxes = {channel: missing.host.gossip.receiver(missing.topic(channel)) for channel in GOSSIP_CHANNELS}
        with trio.fail_after(WITHIN_S):
            for channel, count in wanted.items():
                for _ in range(count):
                    await inboxes[channel].receive()

        assert wanted == {channel: missing.accepted(channel) for channel in GOSSIP_CHANNELS}
        assert 0 == missing.host.conduct.strikes(teller.host.peer_id)


async def test_a_restarted_node_knows_what_it_accepted(tmp_path: Path) -> None:
    """Nothing is accepted twice, nothing cancelled lives again, and what comes next is judged in its light."""
    early, late = [], []
    for channel, frame in story():
        (early if channel in ("req", "bid") or frame[4] == Cancel.ID else late).append((channel, frame))
    reveal = next(each for each in early if each[1][4] == BidReveal.ID)
    early.remove(reveal)
    cancelled = request(requester_ticket=1)
    async with node(tmp_path / "node") as first:
        for channel, frame in early:
            first.lose(channel, frame)
    async with node(tmp_path / "node") as again, node(tmp_path / "attacker") as attacker:
        with trio.fail_after(DEADLINE_S):
            assert again.memory.request(cancelled.request_id) is None
            known = again.memory.request(request().request_id)
            assert known is not None and {key.address for key in PROVERS[:2]} == set(known.bids)
            heard = again.host.gossip.receiver(topic_name(MARKET, "req", SHARD))
            assert [request(), cancelled] == [decode_body(RequestCommit, heard.receive_nowait().frame[80:-65])] + [
                decode_body(RequestCommit, heard.receive_nowait().frame[80:-65])
            ]
            for channel, frame in early:
                attacker.lose(channel, frame)
            other = framed(replace(cancelled), key=REQUESTER, sequence=999)  # the same request in a new frame
            again.host.want(attacker.host.addresses[0])
            await reached(again.host, MARKET, [attacker.host.peer_id])
            await again.host.catch_up(attacker.host.peer_id)
            assert 0 == sum(again.accepted(channel) for channel in GOSSIP_CHANNELS)
            for channel, frame in (*late, reveal):
                again.lose(channel, frame)
            again.lose("req", other)  # its requester, and nobody else, may ask again

        assert 0 == again.host.conduct.strikes(attacker.host.peer_id)


async def test_replayed_frames_are_refused_by_sequence_after_a_restart_even_if_their_content_fits(
    tmp_path: Path,
) -> None:
    """A signer's sequence is used up by one frame, over restarts; of another content with it nobody hears."""
    used = framed(request(), sequence=7)
    reused = framed(request(requester_ticket=5), sequence=7)
    async with node(tmp_path / "node") as first:
        first.lose("req", used)
    async with node(tmp_path / "node") as again:
        verdict, code = again.host._intake.judge_own(topic_name(MARKET, "req", SHARD), reused, again.host.peer_id)

    assert (Verdict.IGNORE, "WIRE-020" in code) == (verdict, True), code


async def test_a_frame_in_the_shard_of_another_class_is_rejected(tmp_path: Path) -> None:
    """Its sender could have known; so could everybody who passed it on."""
    async with node(tmp_path / "node") as one:
        for shard in set(range(SHARDS)) - {SHARD}:
            name = topic_name(MARKET, "req", shard)
            verdict, _ = one.host._intake.judge_own(name, framed(request()), one.host.peer_id)
            assert verdict is Verdict.REJECT
        one.lose("req", framed(request()))
        name = topic_name(MARKET, "bid", (SHARD + 1) % SHARDS)
        verdict, _ = one.host._intake.judge_own(name, framed(bid(0), key=PROVERS[0]), one.host.peer_id)
        assert verdict is Verdict.REJECT


async def test_a_node_of_some_shards_hears_their_auctions_only(tmp_path: Path) -> None:
    """And says so when it is asked to speak in another; what is not sharded it hears all."""
    elsewhere = next(
        made for tier in range(99) if shard_of(request().systems_hash, (made := request(tier=tier)).tier) != SHARD
    )
    async with node(tmp_path / "all") as whole, node(tmp_path / "some", (whole,), shards=(SHARD,)) as some:
        with trio.fail_after(DEADLINE_S):
            await reached(some.host, MARKET, [whole.host.peer_id])
            await reached(whole.host, MARKET, [some.host.peer_id])
            await whole.gossip.publish("req", framed(elsewhere, sequence=1))
            await whole.gossip.publish("req", framed(request(requester_ticket=1), sequence=2))
            heard = await some.host.gossip.receiver(topic_name(MARKET, "req", SHARD)).receive()
            assert request(requester_ticket=1) == decode_body(RequestCommit, heard.frame[80:-65])
            with pytest.raises(Refused, match="P2P-031"):
                await some.gossip.publish("req", framed(replace(elsewhere), sequence=3))
            await some.host.catch_up(whole.host.peer_id)

        assert 1 == some.accepted("req")
        assert 0 == some.host.conduct.strikes(whole.host.peer_id)


def test_topics_have_one_name_each_and_give_it_back() -> None:
    """SPEC §9.2."""
    names = [topic_name(MARKET, channel, shard) for channel in GOSSIP_CHANNELS for shard in shards_of(channel)]

    assert len(names) == len(set(names)) == len(SHARDED) * SHARDS + len(GOSSIP_CHANNELS) - len(SHARDED)
    assert [channel for channel in GOSSIP_CHANNELS for _ in shards_of(channel)] == [
        topic_channel(MARKET, name) for name in names
    ]
    assert topic_channel(MARKET, "/unveto/1/1/00/req") is None
    assert all(topic.inbox for topic in market_topics(MARKET, lambda channel, data, shard=None: None))
    with pytest.raises(ValueError, match="no shard"):
        topic_name(MARKET, "req")
