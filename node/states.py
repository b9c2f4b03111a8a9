"""Where this node's states of rollups come from, and whether it gives them to others."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from random import SystemRandom

from node.bucketsync import BucketRollups
from node.chunkstore import ChunkStore
from node.config import NodeConfig
from node.follower import Follower
from node.identity import load_or_create_host_key
from node.l1 import Contracts
from node.light import LightRollups
from node.network import RollupPeers, serve_rollups
from node.p2p.host import Host
from node.planning import Rollups
from node.rollupserver import RollupServer
from node.rollupsync import RollupSync


def is_light(config: NodeConfig) -> bool:
    """Whether the node takes states over instead of replaying all."""
    return config.role == "requester" and config.requester.sync != "logs"


async def make_follower(config: NodeConfig, contracts: Contracts) -> Follower:
    """A follower from the first block of the contracts, or from the head of this moment."""
    chain = config.chain
    start = chain.start_block
    if is_light(config):
        start = max(start, (await contracts.rpc.head()).number - chain.confirmations)
    return Follower(
        contracts.rpc,
        contracts.rollups,
        start_block=start,
        confirmations=chain.confirmations,
        poll_s=chain.poll_ms / 1000,
        first_block=chain.start_block,
    )


def state_server(config: NodeConfig, follower: Follower, host: Host) -> RollupServer | None:
    """Answers others, once it is served; None for a light node: what it could answer would tell what it uses."""
    if is_light(config):
        return None
    server = RollupServer(follower)
    serve_rollups(host, server)
    return server


def rollups_of(
    config: NodeConfig, follower: Follower, contracts: Contracts, host: Host, on_write: Callable[[str], None]
) -> Rollups:
    """What the planner asks."""
    if not is_light(config):
        return follower
    random = SystemRandom()
    peers = RollupPeers(host, random.shuffle)
    if config.requester.sync == "buckets":
        secret = load_or_create_host_key(config.path("decoys.key")).seed
        return BucketRollups(contracts, peers, secret=secret, decoys=config.requester.decoys, shuffle=random.shuffle)
    store = ChunkStore(Path(config.path("states")), on_write=on_write)
    return LightRollups(follower, contracts, RollupSync(peers, store))
