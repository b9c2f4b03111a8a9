"""Peers for the order loops (`node.ports.Gossip`, `node.ports.Direct`), over the libp2p host of `node.p2p`."""

from __future__ import annotations

from collections import Counter
from collections.abc import AsyncIterator, Callable, Collection
from typing import Final

from node.frames import Judge
from node.p2p.addresses import is_public, parse_peer_address
from node.p2p.errors import (
    AddressInvalid,
    FrameTooLarge,
    MalformedFrame,
    ProtocolUnavailable,
    PublishRefused,
    RequestRefused,
    ShuttingDown,
    UnknownTopic,
    Unreachable,
)
from node.p2p.host import Host
from node.p2p.verdicts import Topic
from node.ports import Answer, Peer, Refused, TryAgain
from node.rollupserver import MAX_PART_BYTES, MAX_QUESTION_BYTES, RollupServer
from node.rollupserver import PROTOCOL_ID as ROLLUP_PROTOCOL
from node.rollupserver import TIMEOUT_S as ROLLUP_TIMEOUT_S
from protocol.codec import HEADER_BYTES, SIGNATURE_BYTES, decode_message, read_frame
from protocol.constants import MAX_FAULT_BODY, MAX_GOSSIP_BODY
from protocol.errors import Ignore, Reject
from protocol.gossip import MarketId, shard_in
from protocol.gossip_memory import GossipMemory
from protocol.messages import GOSSIP_CHANNELS, SHARDED, shards_of, topic
from protocol.reqresp import Exchange
from protocol.verdicts import WireCode

MAX_LEARNED_PER_MINUTE: Final = 60  # new addresses from messages, by exchange; an auction needs one or two
MAX_LEARNED_OF_PEER: Final = 8  # of these by peer
MAX_GOSSIP_FRAME = HEADER_BYTES + MAX_GOSSIP_BODY + SIGNATURE_BYTES
MAX_FAULT_FRAME = HEADER_BYTES + MAX_FAULT_BODY + SIGNATURE_BYTES


def topic_name(market: MarketId, channel: str, shard: int | None = None) -> str:
    """SPEC §9.2."""
    return topic(market.chain_id, market.contract, channel, shard)


def topic_channel(market: MarketId, name: str) -> str | None:
    """The reverse of `topic_name`, as far as the channel; None for a topic of another market."""
    for channel in GOSSIP_CHANNELS:
        if name in [topic_name(market, channel, shard) for shard in shards_of(channel)]:
            return channel
    return None


def joined_shards(channel: str, shards: Collection[int]) -> tuple[int | None, ...]:
    """Shards of a channel that a node takes part in; no `shards` are all."""
    return tuple(shard for shard in shards_of(channel) if not shards or shard is None or shard in shards)


Unchecked = Callable[[bytes, str], None]
"""`unchecked(frame, from_peer)`: a public ready table was announced whose content was not judged here yet. Sync."""


def market_topics(
    market: MarketId, judge: Judge, shards: Collection[int] = (), unchecked: Unchecked = lambda frame, peer: None
) -> tuple[Topic, ...]:
    """Every gossip topic of a market, or of some of its shards."""

    def validate(channel: str, shard: int | None) -> Callable[[bytes, str], None]:
        def check(frame: bytes, from_peer: str) -> None:
            try:
                judge(channel, frame, shard)
            except Ignore as refusal:
                if refusal.reason == WireCode.UNCHECKED_TABLE:
                    unchecked(frame, from_peer)
                raise

        return check

    return tuple(
        Topic(
            name=topic_name(market, channel, shard),
            validate=validate(channel, shard),
            max_frame_bytes=MAX_FAULT_FRAME if channel == "fault" else MAX_GOSSIP_FRAME,
            inbox=channel,
        )
        for channel in GOSSIP_CHANNELS
        for shard in joined_shards(channel, shards)
    )


class MarketGossip:
    """The channels of one market; their shards are the transport's affair."""

    def __init__(self, host: Host, market: MarketId, memory: GossipMemory) -> None:
        """
        Args:
            memory: the validator's, which knows the request that an own frame is about.
        """
        self._host = host
        self._market = market
        self._memory = memory

    async def publish(self, channel: str, frame: bytes) -> None:
        """Raises Refused if our own validation refuses it, TryAgain while the host shuts down."""
        name = topic_name(self._market, channel, self._shard(channel, frame))
        try:
            await self._host.gossip.publish(name, frame)
        except (PublishRefused, FrameTooLarge, UnknownTopic) as error:
            raise Refused(error.code, str(error)) from error
        except ShuttingDown as error:
            raise TryAgain(error.code, str(error)) from error

    async def frames(self, channel: str) -> AsyncIterator[bytes]:
        """Accepted frames of others, of all shards. One reader per channel."""
        async for received in self._host.gossip.receiver(self._topics(channel)[0]):
            yield received.frame

    def ignore(self, channel: str) -> None:
        """Say that nobody here reads a channel; its frames are still judged, relayed and kept for others."""
        self._host.gossip.receiver(self._topics(channel)[0]).close()

    def _topics(self, channel: str) -> list[str]:
        names = (topic_name(self._market, channel, shard) for shard in shards_of(channel))
        return [name for name in names if name in self._host.gossip.topics]

    def _shard(self, channel: str, frame: bytes) -> int | None:
        if channel not in SHARDED:
            return None
        try:
            shard = shard_in(decode_message(read_frame(frame)), self._memory)
        except Reject as error:
            raise Refused(str(error.reason)) from error
        if shard is None:
            raise Refused(WireCode.UNKNOWN_REQUEST, "the request is over, or was never heard")
        return shard


class MarketDirect:
    """Requests and answers between two peers."""

    def __init__(self, host: Host, *, now_ms: Callable[[], int], dials_private: bool) -> None:
        """
        Args:
            dials_private: also addresses that are not public, and names.
        """
        self._host = host
        self._now_ms = now_ms
        self._dials_private = dials_private
        self._learned = _Learned()
        self.bind: Callable[[bytes, str], None] = lambda account, peer_id: None
        """Told of the account whose signed request a peer itself brought, once its checks have passed."""

    @property
    def own(self) -> Peer:
        """Where we can be asked."""
        return Peer(
            peer_id=self._host.peer_id.encode(),
            addresses=tuple(address.encode() for address in self._host.addresses),
        )

    async def ask(self, peer: Peer, exchange: Exchange, request: bytes) -> bytes:
        """Raises TryAgain if there is no answer, Refused if the peer refuses."""
        peer_id = self._learn(peer, exchange)
        try:
            return await self._host.request(
                peer_id,
                exchange.protocol_id,
                request,
                timeout_s=exchange.timeout_ms // 1000,
                max_response=exchange.max_answer_bytes,
            )
        except RequestRefused as error:
            # Only the application's blame is final: busy, late and not-yet pass.
            if error.status == "REFUSED" and not error.remote_code.startswith(Ignore.code):
                raise Refused(error.code, str(error)) from error
            raise TryAgain(error.code, str(error)) from error
        except Unreachable as error:
            raise TryAgain(error.code, str(error)) from error
        except (FrameTooLarge, MalformedFrame) as error:
            raise Refused(error.code, str(error)) from error

    def serve(self, exchange: Exchange, answer: Answer) -> None:
        """Answer requests of an exchange from now on."""

        async def handle(peer_id: str, request: bytes) -> bytes:
            answered = await answer(request)
            self.bind(request[52:72], peer_id)
            return answered

        self._host.serve_protocol(
            exchange.protocol_id,
            handle,
            max_request=exchange.max_request_bytes,
            max_response=exchange.max_answer_bytes,
            timeout_s=exchange.timeout_ms // 1000,
        )

    def _learn(self, peer: Peer, exchange: Exchange) -> str:
        """Put the addresses of a message into the address book.

        Left out are those that name another peer than the message does, those that would let a stranger point us at
        hosts of our own network, and all while too many new ones came.
        """
        peer_id = peer.peer_id.decode("ascii", errors="replace")
        known = self._host.book.transports(peer_id)
        for text in peer.addresses:
            try:
                address = parse_peer_address(text.decode("ascii", errors="replace"))
            except AddressInvalid:
                continue
            if address.peer_id != peer_id or not (self._dials_private or is_public(address.transport)):
                continue
            if address.transport in known or self._learned.take(exchange.protocol_id, peer_id, self._now_ms()):
                self._host.book.learn(address)  # also a known one: this message is the one that we act on
        return peer_id


class RollupPeers:
    """Peers that may have states of rollups (`node.rollupsync.StatePeers`)."""

    def __init__(
        self, host: Host, shuffle: Callable[[list[str]], None], *, timeout_s: float = ROLLUP_TIMEOUT_S
    ) -> None:
        """
        Args:
            shuffle: puts a list into a random order, so that nobody is sure to be asked first.
            timeout_s: for one part.
        """
        self._host = host
        self._shuffle = shuffle
        self._timeout_s = timeout_s

    def connected(self) -> list[str]:
        """Connected peers in a random order."""
        peers = list(self._host.links.connected())
        self._shuffle(peers)
        return peers

    async def ask(self, peer_id: str, question: bytes, max_answer: int) -> bytes:
        """Raises TryAgain if there is no answer, Refused if the peer has none or breaks the exchange."""
        try:
            return await self._host.request(
                peer_id, ROLLUP_PROTOCOL, question, timeout_s=self._timeout_s, max_response=max_answer
            )
        except RequestRefused as error:
            if error.status in ("BUSY", "TIMEOUT"):
                raise TryAgain(error.code, str(error)) from error
            raise Refused(error.code, str(error)) from error
        except ProtocolUnavailable as error:
            raise Refused(error.code, str(error)) from error
        except Unreachable as error:
            raise TryAgain(error.code, str(error)) from error
        except (FrameTooLarge, MalformedFrame) as error:
            self.blame(peer_id)
            raise Refused(error.code, str(error)) from error

    def blame(self, peer_id: str) -> None:
        """It gave a wrong part, or more than was asked for."""
        self._host.strike(peer_id)


def serve_rollups(host: Host, server: RollupServer) -> None:
    """Answer questions about the rollups that this node follows."""
    host.serve_protocol(
        ROLLUP_PROTOCOL,
        server.answer,
        max_request=MAX_QUESTION_BYTES,
        max_response=MAX_PART_BYTES,
        timeout_s=ROLLUP_TIMEOUT_S,
    )


class _Learned:
    """Counts new addresses: dialling is the one thing that a message of a stranger makes this node do to others.

    Each exchange has a budget of its own, so that announcements of tables, which cost little, cannot use up what the
    award of an order needs; and each peer a part of it.
    """

    def __init__(self) -> None:
        self._minute = 0
        self._counts: Counter[tuple[str, str]] = Counter()

    def take(self, protocol_id: str, peer_id: str, now_ms: int) -> bool:
        """Whether one more may be learned in this minute."""
        minute = now_ms // 60_000
        if minute != self._minute:
            self._minute = minute
            self._counts.clear()
        whole, share = (protocol_id, ""), (protocol_id, peer_id)
        if self._counts[whole] >= MAX_LEARNED_PER_MINUTE or self._counts[share] >= MAX_LEARNED_OF_PEER:
            return False
        self._counts.update((whole, share))
        return True
