"""The node's libp2p host, with what it accepted in its former life put back where it was."""

from __future__ import annotations

import secrets
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import trio

from node.config import NetworkSection
from node.framejournal import FrameJournal, JournaledStore, Kept
from node.frames import gossip_judge
from node.identity import load_or_create_host_key
from node.network import Unchecked, market_topics, topic_channel, topic_name
from node.p2p.config import P2PConfig
from node.p2p.host import Host
from node.ports import Clock
from node.skew import Skew
from protocol.codec import read_frame
from protocol.gossip import MarketId, TicketView, remember_again
from protocol.gossip_memory import GossipMemory
from protocol.messages import GOSSIP_CHANNELS, SHARDED


@contextmanager
def market_host(
    section: NetworkSection,
    folder: Path,
    *,
    market: MarketId,
    clock: Clock,
    memory: GossipMemory,
    view: TicketView,
    unchecked: Unchecked = lambda frame, peer: None,
    skew: Skew | None = None,
) -> Iterator[Host]:
    """A host with a market's topics; it does not serve yet.

    Args:
        folder: of the node: its host key, and the journal of what it accepts.
        memory: the validator's; what the journal holds is put into it.
        skew: told what frames say about this clock.
        unchecked: told of public ready tables that nobody has looked at here.
    """
    settings = P2PConfig(
        listen=(section.listen,),
        bootstrap=section.peers,
        degree=section.degree,
        degree_high=max(2 * section.degree, section.max_connections),
        max_connections=section.max_connections,
    )
    journal = FrameJournal(folder, now_ms=clock.now_ms)
    try:
        kept = journal.load()
        store = JournaledStore(
            journal,
            epoch=secrets.randbits(64),
            now=trio.current_time,
            max_age_s=settings.catchup_window_s,
            max_frames=settings.catchup_max_frames,
            max_bytes=settings.catchup_max_bytes,
        )
        store.recall(kept, clock.now_ms())
        judge = gossip_judge(market=market, clock=clock, memory=memory, view=view, skew=skew)
        topics = market_topics(market, judge, section.shards, unchecked)
        host = Host(settings, load_or_create_host_key(folder / "host.key"), topics, store=store)
        _recall(kept, market, memory, host, clock.now_ms())
        yield host
    finally:
        journal.close()


def _recall(kept: tuple[Kept, ...], market: MarketId, memory: GossipMemory, host: Host, now_ms: int) -> None:
    channels = {topic: topic_channel(market, topic) for topic in host.gossip.topics}
    for each in kept:
        channel = channels.get(each.topic)
        if channel is None:
            continue  # the node has left that shard, or serves another market
        # Also expired ones: a request outlives its frame, and awards of it are still to come.
        remember_again(channel, each.frame, market=market, accepted_ms=each.accepted_ms, memory=memory)
        if read_frame(each.frame).header.expires_ms > now_ms:
            host.restore(each.topic, each.frame)


async def reached(host: Host, market: MarketId, peer_ids: list[str]) -> None:
    """Returns once frames of ours would reach each of the peers."""
    # Whoever has told its topics has told all of them at once; in which shards it takes part is its own affair.
    whole = [topic_name(market, channel) for channel in GOSSIP_CHANNELS if channel not in SHARDED]
    for peer_id in peer_ids:
        for topic in whole:
            await host.gossip.wait_for_subscriber(topic, peer_id)
