"""The gossipsub router: the library's, minus what loses messages and what strangers can abuse."""

import random
from collections import defaultdict
from collections.abc import Iterable

from libp2p.custom_types import TProtocol
from libp2p.peer.id import ID
from libp2p.pubsub.gossipsub import GossipSub
from libp2p.pubsub.pb import rpc_pb2

from node.p2p.config import P2PConfig

MESHSUB = TProtocol(
    "/meshsub/1.1.0"
)  # later versions send IDONTWANT for each message to each mesh peer: only cost here

MAX_IDS_PER_RPC = 512  # IHAVE and IWANT ids honoured in one RPC; more than a mesh window of this market holds
MAX_BACKOFF_S = 600  # longest PRUNE back-off that a peer can impose on us


class FloodRouter(GossipSub):
    """Gossipsub v1.1 that floods own messages and offers IHAVE to peers in PRUNE back-off.

    Differences to the library:
    - An own message goes to every peer of the topic, not only to the mesh: leaves of a star and nodes whose mesh is
      still empty get it.
    - Back-off forbids only GRAFT (gossipsub v1.1 specification, "Prune backoff"); the library also withholds IHAVE,
      and a pruned peer then hears nothing for a minute.
    - Control messages are cut to our topics, distinct ids and bounded counts: the library answers an IWANT that names
      one id 20,000 times with 20,000 copies, and keeps a table entry for each topic name a peer makes up.
    - Peer exchange is off: the library dials whatever addresses a PRUNE carries.
    - Its rate limit, peer score and adaptive heartbeat are off; see node.p2p.verdicts and node.p2p.conduct.
    """

    def __init__(self, config: P2PConfig) -> None:
        super().__init__(
            [MESHSUB],
            config.degree,
            config.degree_low,
            config.degree_high,
            heartbeat_initial_delay=0.1,
            heartbeat_interval=config.heartbeat_s,
            do_px=False,
            spam_protection_enabled=False,  # drops beyond 10 messages a second, our own publishes included
            eclipse_protection_enabled=False,
            adaptive_gossip_enabled=False,  # lengthens the heartbeat to a minute when it thinks the network is ill
            pending_messages_ttl=0.0,  # do not hoard messages for peers that never subscribe
        )
        self.scorer = None

    def forget_deliveries(self) -> None:
        """Drop the library's list of delivery times, which only grows. Call once a minute."""
        self.recent_message_deliveries.clear()

    def longest_queue(self) -> int:
        """RPCs waiting in the fullest outbound queue; the library drops beyond 32."""
        pubsub = self.pubsub
        return 0 if pubsub is None else max(map(len, pubsub.peer_queues.values()), default=0)

    async def handle_rpc(self, rpc: rpc_pb2.RPC, sender_peer_id: ID) -> None:
        control = rpc_pb2.ControlMessage()
        control.ihave.extend(self._bounded_ihave(rpc.control.ihave))
        wanted = _distinct(mid for part in rpc.control.iwant for mid in part.messageIDs)
        if wanted:
            control.iwant.append(rpc_pb2.ControlIWant(messageIDs=wanted))
        for topic in self._own_topics(part.topicID for part in rpc.control.graft):
            control.graft.append(rpc_pb2.ControlGraft(topicID=topic))
        backoffs = {part.topicID: part.backoff for part in rpc.control.prune}
        for topic in self._own_topics(backoffs):
            backoff = min(backoffs[topic], MAX_BACKOFF_S)
            control.prune.append(rpc_pb2.ControlPrune(topicID=topic, backoff=backoff))
        await super().handle_rpc(rpc_pb2.RPC(control=control), sender_peer_id)

    def gossip_heartbeat(self) -> defaultdict[ID, dict[str, list[bytes]]]:
        offers: defaultdict[ID, dict[str, list[bytes]]] = defaultdict(dict)
        pubsub = self.pubsub
        if pubsub is None:
            return offers
        for topic, mesh in self.mesh.items():
            ids = self.mcache.window(topic)[-MAX_IDS_PER_RPC:]
            if not ids:
                continue
            outside = [
                peer for peer in pubsub.peer_topics.get(topic, ()) if peer not in mesh and peer in self.peer_protocol
            ]
            # As many as the mesh degree, and at least a quarter, so that it scales on hubs.
            for peer in random.sample(outside, min(len(outside), max(self.degree, len(outside) // 4))):
                offers[peer][topic] = ids
        return offers

    def _get_peers_to_send(
        self, topic_ids: Iterable[str], msg_forwarder: ID, origin: ID, msg_id: bytes | None = None
    ) -> Iterable[ID]:
        topics = list(topic_ids)
        targets = set(super()._get_peers_to_send(topics, msg_forwarder, origin, msg_id))
        pubsub = self.pubsub
        if pubsub is not None and origin == pubsub.my_id:
            for topic in topics:
                targets.update(peer for peer in pubsub.peer_topics.get(topic, ()) if peer in self.peer_protocol)
        return targets - {msg_forwarder, origin}

    def _own_topics(self, topics: Iterable[str]) -> list[str]:
        return [topic for topic in dict.fromkeys(topics) if topic in self.mesh]

    def _bounded_ihave(self, parts: Iterable[rpc_pb2.ControlIHave]) -> list[rpc_pb2.ControlIHave]:
        offered: dict[str, list[bytes]] = {}
        for part in parts:
            if part.topicID in self.mesh:
                offered.setdefault(part.topicID, []).extend(part.messageIDs[:MAX_IDS_PER_RPC])
        return [rpc_pb2.ControlIHave(topicID=topic, messageIDs=_distinct(ids)) for topic, ids in offered.items()]


def _distinct(ids: Iterable[bytes]) -> list[bytes]:
    chosen: dict[bytes, None] = {}
    for mid in ids:
        chosen[mid] = None
        if len(chosen) == MAX_IDS_PER_RPC:
            break
    return list(chosen)
